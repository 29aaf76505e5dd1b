"""Memory: the results of what runs before a span, so that trials of the span need not compute them again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.verification.diagnosis import changes

# Beyond this the oldest results are forgotten; what stands in for them is not-a-number, so that a model that does
# need them is found out.
MOST_BYTES = 1 << 29


@dataclass
class _Result:
    path: str
    value: Any
    nbytes: int


@dataclass
class Memory:
    """The results of the outermost modules that were done before the span began.

    Attributes:
        results: In the order in which they were made.
        open: For each module that is running, the results of those that it called.
        whole: Whether every one of them can be given back: only tensors, and tuples, lists and dicts of them.
    """

    results: list[_Result] = field(default_factory=list)
    open: list[list[_Result]] = field(default_factory=list)
    whole: bool = True

    def enter(self, path: str) -> None:
        """A module begins."""
        self.open.append([])

    def leave(self, path: str, output: Any, *, keep: bool) -> None:
        """A module is done; with `keep`, it was so before the span."""
        inner = self.open.pop()
        if not keep:
            # The span lies within what was open when it began; its frame may close before the trace ends.
            self.results = [*inner, *self.results] if inner else self.results
            return
        if not self.open:
            return
        try:
            value = _mapped(output, lambda tensor: tensor.detach().clone())
        except TypeError:
            self.whole = False
            return
        self.open[-1].append(_Result(path, value, sum(tensor.nbytes for tensor in _tensors(value))))
        self._forget()

    def close(self) -> None:
        """The trace is over: everything that is still open had begun before the span."""
        for inner in reversed(self.open):
            self.results = [*inner, *self.results]
        self.open = []

    def _forget(self) -> None:
        held = [result for inner in self.open for result in inner]
        total = sum(result.nbytes for result in held)
        for result in held:
            if total <= MOST_BYTES:
                break
            total -= result.nbytes
            result.value, result.nbytes = _mapped(result.value, _stand_in), 0

    @contextmanager
    def recalled(self, model: nn.Module, latest: int | None = None) -> Iterator[None]:
        """The model, not computing again what is remembered; all but the `latest` results have only their shape."""
        kept = self.results if latest is None else self.results[len(self.results) - latest :]
        given = {id(result) for result in kept}
        by_path: dict[str, list[Any]] = defaultdict(list)
        for result in self.results:
            by_path[result.path].append(
                result.value if id(result) in given else _mapped(result.value, _stand_in)
            )
        counts: Counter[str] = Counter()
        with ExitStack() as stack:
            for path, values in by_path.items():
                module = model.get_submodule(path)
                stack.enter_context(changes.forward(module, _recall(path, values, counts, module.forward)))
            handle = model.register_forward_pre_hook(lambda *_: counts.clear(), prepend=True)
            stack.callback(handle.remove)
            yield


def _recall(
    path: str, values: list[Any], counts: Counter[str], compute: Callable[..., Any]
) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        index = counts[path]
        counts[path] += 1
        # Later runs of a module that is used several times belong to the span.
        return _mapped(values[index], _copy) if index < len(values) else compute(*args, **kwargs)

    return forward


def _copy(tensor: Tensor) -> Tensor:
    # What follows may write into it; a stand-in has one value in memory and may not be written to at all.
    return tensor.clone()


def _stand_in(tensor: Tensor) -> Tensor:
    value = torch.zeros((), dtype=tensor.dtype, device=tensor.device)
    if tensor.dtype.is_floating_point:
        value.fill_(float("nan"))
    return value.expand(tensor.shape)


def _mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if type(value) in (tuple, list):
        return type(value)(_mapped(one, function) for one in value)
    if type(value) is dict:
        return {name: _mapped(one, function) for name, one in value.items()}
    raise TypeError(type(value).__name__)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value
    return [tensor for one in inner for tensor in _tensors(one)]
