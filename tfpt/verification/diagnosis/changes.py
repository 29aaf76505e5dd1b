"""Changes: one thing done otherwise in a model, for as long as a trial takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tfpt.verification.diagnosis.calls import CallKey, watching_calls

# How a call of a torch function is answered instead: the function, its arguments, its keyword arguments.
Answer = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


@dataclass(frozen=True)
class Change:
    """One thing done otherwise.

    Attributes:
        path: The module that it concerns; empty for the model as a whole.
        has: What it does, as a verb with its object: ``has eps 1e-05``.
        had: What TensorFlow would have had, as what follows "with": ``eps 0.001``.
        put: Puts it into effect within a `with` block and takes it back afterwards.
        call: A call of a torch function, which `answer` answers.
        alike: What other places have that make the same mistake; `has` unless given.
        parameter: The parameter whose values it moves, whose row of the mapping a report then names.
    """

    path: str
    has: str
    had: str
    put: Callable[[], AbstractContextManager[None]] | None = None
    call: CallKey | None = None
    answer: Answer | None = None
    alike: str = ""
    parameter: str = ""


@dataclass(frozen=True)
class Hypothesis:
    """What may be wrong, and what would put it right.

    Attributes:
        kind: What sort of mistake it is, as ``epsilon``.
        value: Which one of that sort, so that the same can be looked for elsewhere.
        cause: In plain words, as a clause: "the batch norms' epsilon is not TensorFlow's".
        parts: What a trial does otherwise, place by place; the first change of each is the one that is named.
        advice: What to do if it is so; or what makes it, of the changes that turn out to be needed.
        stated: What a row of the mapping would state, for the layer to be checked from then on.
    """

    kind: str
    value: str
    cause: str
    parts: tuple[tuple[Change, ...], ...]
    advice: str | Callable[[tuple[Change, ...]], str]
    stated: str = ""

    @property
    def changes(self) -> tuple[Change, ...]:
        """All of it at once."""
        return tuple(change for part in self.parts for change in part)

    @property
    def told(self) -> str:
        """What to do, of these changes and no others."""
        return self.advice if isinstance(self.advice, str) else self.advice(self.changes)

    @property
    def key(self) -> tuple[str, str]:
        """What two hypotheses about different places have in common."""
        return self.kind, self.value


@contextmanager
def applied(model: nn.Module, changes: Sequence[Change]) -> Iterator[None]:
    """The model with these changes, until the block is left.

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
            stack.enter_context(watching_calls(model, answer=answers))
        yield


@contextmanager
def attribute(module: nn.Module, name: str, value: Any) -> Iterator[None]:
    """A module with another value of an attribute."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextmanager
def values(*pairs: tuple[Tensor, Tensor]) -> Iterator[None]:
    """Parameters or buffers with other values; each pair holds one and its values."""
    before = [tensor.data for tensor, _ in pairs]
    # A copy: a batch norm in training mode moves its statistics in place, and the values may be another's.
    copies = [other.clone() for _, other in pairs]
    try:
        for (tensor, _), other in zip(pairs, copies, strict=True):
            tensor.data = other
        yield
    finally:
        for (tensor, _), own in zip(pairs, before, strict=True):
            tensor.data = own


@contextmanager
def moved(tensor: Tensor, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """A parameter or buffer with what a function makes of its values."""
    with values((tensor, function(tensor.data))):
        yield


@contextmanager
def forward(module: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """A module that computes another function; its hooks still see the result."""
    # In the instance, where it hides the class's method.
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = function
    try:
        yield
    finally:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before
