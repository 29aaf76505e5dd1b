"""Start and end times of each module of a model, and of each node of its autograd graph.

In the forward pass, hooks before and after each module read the clock. In the backward pass, each node of the autograd
graph is timed and attributed to the module that created it, so that functions without a module (a ReLU written as
`torch.relu`) count for the module that calls them. Unlike torch's own backward hooks, this does not change the graph
and works with in-place operations.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._autograd import _get_sequence_nr

from tfpt.profiling.timing import synchronize

# The sequence number of autograd nodes that only accumulate a parameter's gradient.
_ACCUMULATES = 2**64 - 1


class Clock:
    """Timestamps on a device: taken immediately on the host, or when the device reaches them."""

    def __init__(self, device: torch.device) -> None:
        self._events = device.type == "cuda"
        self.device = device

    def mark(self) -> Any:
        if not self._events:
            if self.device.type != "cpu":
                synchronize(self.device)
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds between two marks; the device must be synchronized first."""
        return float(start.elapsed_time(end)) / 1000 if self._events else float(end - start)


@dataclass(frozen=True)
class Call:
    """One run of a module: its start and end, and the autograd sequence numbers then.

    Attributes:
        path: Its path in the model; if it has several, the first one below the calling module.
        parent: The path of the module that called it.
        start, end: Marks of a clock.
        first, last: The next autograd sequence numbers before and after the call.
    """

    path: str
    parent: str | None
    start: Any
    end: Any
    first: int
    last: int


@dataclass
class Marks:
    """The records of the hooks in one pass."""

    calls: list[Call] = field(default_factory=list)
    open: list[tuple[str, Any, int]] = field(default_factory=list)
    nodes: list[tuple[str, Any, Any]] = field(default_factory=list)


def places(model: nn.Module) -> dict[nn.Module, tuple[str, ...]]:
    """Every module of a model, in order, with all its paths in the model.

    Example:
        >>> layer = nn.ReLU()
        >>> list(places(nn.Sequential(layer, nn.Sequential(layer))).values())
        [('',), ('0', '1.0'), ('1',)]
    """
    found: dict[nn.Module, tuple[str, ...]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        found[module] = (*found.get(module, ()), path)
    return found


def path_of_call(paths: tuple[str, ...], caller: str) -> str:
    """The path of a called module: its first path below the caller, else its first path.

    Example:
        >>> path_of_call(("left.norm", "right.norm"), "right"), path_of_call(("left.norm", "right.norm"), "head")
        ('right.norm', 'left.norm')
    """
    inside = f"{caller}." if caller else ""
    return next((path for path in paths if path.startswith(inside)), paths[0])


@contextmanager
def hooked(model: nn.Module, clock: Clock) -> Iterator[Marks]:
    """Record every run of every module within the block.

    Example:
        >>> model = nn.Sequential(nn.ReLU(), nn.Flatten())
        >>> with hooked(model, Clock(torch.device("cpu"))) as marks:
        ...     _ = model(torch.zeros(2, 3))
        >>> [(call.path, call.parent) for call in marks.calls]
        [('0', ''), ('1', ''), ('', None)]
    """
    marks = Marks()
    handles = []

    def before(paths: tuple[str, ...]) -> Callable[..., None]:
        def begin(*_: Any) -> None:
            path = path_of_call(paths, marks.open[-1][0] if marks.open else "")
            marks.open.append((path, clock.mark(), _get_sequence_nr()))

        return begin

    def behind(*_: Any) -> None:
        end = clock.mark()
        path, start, first = marks.open.pop()
        parent = marks.open[-1][0] if marks.open else None
        marks.calls.append(Call(path, parent, start, end, first, _get_sequence_nr()))

    # These hooks run outside a module's existing hooks, whose time thus counts for the module.
    # A module that raises an error counts as run: its caller may handle the error.
    for module, paths in places(model).items():
        handles.append(module.register_forward_pre_hook(before(paths), prepend=True))
        handles.append(module.register_forward_hook(behind, always_call=True))
    try:
        yield marks
    finally:
        for handle in handles:
            handle.remove()


def watch_nodes(loss: Tensor, marks: Marks, owners: dict[int, str], clock: Clock) -> list[Any]:
    """Time every node of the graph of a loss, for the module that created it."""
    owner = _owner_of_number(marks)
    handles: list[Any] = []
    started: dict[Any, Any] = {}

    def watch(node: Any, path: str) -> None:
        def before(_gradients: Any) -> None:
            started[node] = clock.mark()

        def behind(_to: Any, _from: Any) -> None:
            marks.nodes.append((path, started.pop(node), clock.mark()))

        handles.append(node.register_prehook(before))
        handles.append(node.register_hook(behind))

    waiting, seen = [loss.grad_fn], {loss.grad_fn}
    while waiting:
        node: Any = waiting.pop()
        number = node._sequence_nr()
        found = owners.get(id(node.variable)) if number == _ACCUMULATES else owner(number)
        if found is not None:
            watch(node, found)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return handles


def _owner_of_number(marks: Marks) -> Callable[[int], str | None]:
    """Maps a sequence number to the module that created the node: the innermost call that was running then."""
    # Calls are nested: sorted by start, outer before inner, the last that has started and not ended is the innermost.
    spans = sorted((call.first, -call.last, call.path) for call in marks.calls)
    begins = [first for first, _, _ in spans]

    def owner(number: int) -> str | None:
        for index in range(bisect.bisect_right(begins, number) - 1, -1, -1):
            _, last, path = spans[index]
            if number < -last:
                return path
        return None

    return owner
