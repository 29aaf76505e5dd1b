"""A cache of the results of what runs before a span, so that trials need not compute them again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.verification.diagnosis import changes

# Beyond this the oldest results are evicted and replaced by NaN placeholders, so that a model that does need them
# yields NaN rather than a wrong value.
MAX_BYTES = 1 << 29


@dataclass
class _Result:
    path: str
    value: Any
    nbytes: int


@dataclass
class Cache:
    """The results of the outermost modules that finished before the span started.

    Attributes:
        results: The results in the order in which they were computed.
        running: For each module that is still running, the results of the modules that it called.
        complete: Whether every result can be reused: only tensors, and tuples, lists and dicts of tensors, can.
    """

    results: list[_Result] = field(default_factory=list)
    running: list[list[_Result]] = field(default_factory=list)
    complete: bool = True

    def enter(self, path: str) -> None:
        """Note that a module has started."""
        self.running.append([])

    def leave(self, path: str, output: Any, *, keep: bool) -> None:
        """Note that a module has finished; with `keep`, before the span, so that its result is cached."""
        inner = self.running.pop()
        if not keep:
            # A module that was running when the span started may finish before the trace ends.
            self.results = [*inner, *self.results] if inner else self.results
            return
        if not self.running:
            return
        try:
            value = _mapped(output, lambda tensor: tensor.detach().clone())
        except TypeError:
            self.complete = False
            return
        self.running[-1].append(_Result(path, value, sum(tensor.nbytes for tensor in _tensors(value))))
        self._evict()

    def close(self) -> None:
        """End the trace: every module that is still running started before the span."""
        for inner in reversed(self.running):
            self.results = [*inner, *self.results]
        self.running = []

    def _evict(self) -> None:
        cached = [result for inner in self.running for result in inner]
        total = sum(result.nbytes for result in cached)
        for result in cached:
            if total <= MAX_BYTES:
                break
            total -= result.nbytes
            result.value, result.nbytes = _mapped(result.value, _placeholder), 0

    @contextmanager
    def in_use(self, model: nn.Module, latest: int | None = None) -> Iterator[None]:
        """Let the model reuse cached results; all but the `latest` ones are replaced by placeholders of their shape."""
        real = self.results if latest is None else self.results[len(self.results) - latest :]
        reusable = {id(result) for result in real}
        by_path: dict[str, list[Any]] = defaultdict(list)
        for result in self.results:
            by_path[result.path].append(
                result.value if id(result) in reusable else _mapped(result.value, _placeholder)
            )
        counts: Counter[str] = Counter()
        with ExitStack() as stack:
            for path, values in by_path.items():
                module = model.get_submodule(path)
                stack.enter_context(
                    changes.forward(module, _cached_forward(path, values, counts, module.forward))
                )
            handle = model.register_forward_pre_hook(lambda *_: counts.clear(), prepend=True)
            stack.callback(handle.remove)
            yield


def _cached_forward(
    path: str, values: list[Any], counts: Counter[str], compute: Callable[..., Any]
) -> Callable[..., Any]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        index = counts[path]
        counts[path] += 1
        # If a module is used several times, its later runs belong to the span.
        return _mapped(values[index], _copy) if index < len(values) else compute(*args, **kwargs)

    return forward


def _copy(tensor: Tensor) -> Tensor:
    # Later layers may write into it; a placeholder is one expanded value, to which nothing can be written.
    return tensor.clone()


def _placeholder(tensor: Tensor) -> Tensor:
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
