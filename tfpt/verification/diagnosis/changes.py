"""Changes made to a model for the duration of a trial, and hypotheses, which propose them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tfpt.verification.diagnosis.calls import CallKey, intercepting_calls

# What replaces a call of a torch function. Called with the function, its arguments and its keyword arguments.
Answer = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


@dataclass(frozen=True)
class Change:
    """One change to a model.

    Attributes:
        path: The module that is changed; empty for the model as a whole.
        actual: What it does now, as a verb with its object: ``has eps 1e-05``.
        expected: What TensorFlow has, as a noun phrase: ``eps 0.001``.
        put: Returns a context manager that makes the change and undoes it afterwards.
        call: A call of a torch function, which `answer` replaces.
        mistake: What identifies the same mistake in other places; `actual` unless given.
        parameter: The parameter whose values are changed; reports name the row of the mapping that writes it.
    """

    path: str
    actual: str
    expected: str
    put: Callable[[], AbstractContextManager[None]] | None = None
    call: CallKey | None = None
    answer: Answer | None = None
    mistake: str = ""
    parameter: str = ""


@dataclass(frozen=True)
class Hypothesis:
    """A possible cause, and the changes that would repair it.

    Attributes:
        kind: The kind of mistake, such as ``epsilon``.
        value: Distinguishes hypotheses of one kind, so that the same one can be tried elsewhere.
        cause: The cause as a clause: "the batch norms' epsilon is not TensorFlow's".
        parts: The changes, place by place; reports describe the first change of each part.
        advice: What to do if it is proven; or a function that says so, given the changes that are needed.
        mapping_entry: An entry for `modules` in the mapping that would make tfpt check the layer.
        elsewhere: The same hypothesis for every place that another context shows, where its kind alone does not propose
            it: if a number was solved for.
    """

    kind: str
    value: str
    cause: str
    parts: tuple[tuple[Change, ...], ...]
    advice: str | Callable[[tuple[Change, ...]], str]
    mapping_entry: str = ""
    elsewhere: Callable[[Any], Hypothesis | None] | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes of all parts."""
        return tuple(change for part in self.parts for change in part)

    @property
    def advice_text(self) -> str:
        """What to do about these changes."""
        return self.advice if isinstance(self.advice, str) else self.advice(self.changes)

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the same hypothesis about different places."""
        return self.kind, self.value


@contextmanager
def applied(model: nn.Module, changes: Sequence[Change]) -> Iterator[None]:
    """Apply changes to the model within a `with` block.

    Example:
        >>> norm = nn.BatchNorm2d(3, eps=1e-5)
        >>> with applied(norm, [Change("", "has eps 1e-05", "eps 0.001", lambda: attribute(norm, "eps", 1e-3))]):
        ...     print(norm.eps)
        0.001
        >>> norm.eps
        1e-05
    """
    answers = {change.call: change.answer for change in changes if change.call and change.answer}
    with ExitStack() as stack:
        for change in changes:
            if change.put is not None:
                stack.enter_context(change.put())
        if answers:
            stack.enter_context(intercepting_calls(model, answer=answers))
        yield


@contextmanager
def attribute(module: nn.Module, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of a module within a `with` block."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextmanager
def values(*pairs: tuple[Tensor, Tensor]) -> Iterator[None]:
    """Replace the values of parameters or buffers; each pair is a tensor and its new values."""
    before = [tensor.data for tensor, _ in pairs]
    # Copied because a batch norm in training mode updates its statistics in place, and the values may be shared.
    copies = [other.clone() for _, other in pairs]
    try:
        for (tensor, _), other in zip(pairs, copies, strict=True):
            tensor.data = other
        yield
    finally:
        for (tensor, _), own in zip(pairs, before, strict=True):
            tensor.data = own


def exchanged(*pairs: tuple[Tensor, Tensor]) -> AbstractContextManager[None]:
    """Give the two parameters or buffers of each pair each other's values."""
    return values(*((a, b.data) for a, b in pairs), *((b, a.data) for a, b in pairs))


@contextmanager
def mapped_values(tensor: Tensor, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the values of a parameter or buffer by a function of them."""
    with values((tensor, function(tensor.data))):
        yield


@contextmanager
def forward(module: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """Replace what a module computes; its hooks still see the result."""
    # Set on the instance, where it shadows the method of the class.
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = function
    try:
        yield
    finally:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before
