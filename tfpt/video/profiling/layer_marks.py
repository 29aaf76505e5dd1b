"""When each module of a model begins and ends, and when each node of its autograd graph does.

Forward, a hook before and one behind each module look at the clock. Backward, the nodes of the autograd graph are
watched one by one; each belongs to the module in which it was made, so that functions without a module (a ReLU written
as `torch.relu`) count for the module that calls them. Unlike torch's own backward hooks this leaves the graph as it is,
and bears operations in place.
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

from tfpt.video.profiling.timing import synchronize

# The number that autograd gives to the nodes that only add a gradient to a parameter's.
_ACCUMULATES = 2**64 - 1


class Clock:
    """Marks in time on a device: read at once where the host does the work, else when the device has come so far."""

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
        """Between two marks; the device must have been waited for."""
        return float(start.elapsed_time(end)) / 1000 if self._events else float(end - start)


@dataclass(frozen=True)
class Call:
    """One run of a module: when it began and ended, and which numbers autograd had reached then.

    Attributes:
        path: Where the model has it; of several places, the first below the module that called it.
        parent: The path of the module that called it.
        start, end: Marks of a clock.
        first, last: The numbers that autograd gave next, before and behind.
    """

    path: str
    parent: str | None
    start: Any
    end: Any
    first: int
    last: int


@dataclass
class Marks:
    """What the hooks of one pass write down."""

    calls: list[Call] = field(default_factory=list)
    open: list[tuple[str, Any, int]] = field(default_factory=list)
    nodes: list[tuple[str, Any, Any]] = field(default_factory=list)


def places(model: nn.Module) -> dict[nn.Module, tuple[str, ...]]:
    """Every module of a model, in its order, with all paths at which the model has it.

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
    """Which of a module's paths a call is meant by: the first below the caller, else the first.

    Example:
        >>> path_of_call(("left.norm", "right.norm"), "right"), path_of_call(("left.norm", "right.norm"), "head")
        ('right.norm', 'left.norm')
    """
    inside = f"{caller}." if caller else ""
    return next((path for path in paths if path.startswith(inside)), paths[0])


@contextmanager
def hooked(model: nn.Module, clock: Clock) -> Iterator[Marks]:
    """Write down every run of every module within the block.

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

    # The hooks of a module stand outside of those it has already, so that what these do counts as the module's.
    # A module that raises has run as well: its caller may go on without it.
    for module, paths in places(model).items():
        handles.append(module.register_forward_pre_hook(before(paths), prepend=True))
        handles.append(module.register_forward_hook(behind, always_call=True))
    try:
        yield marks
    finally:
        for handle in handles:
            handle.remove()


def watch_nodes(loss: Tensor, marks: Marks, owners: dict[int, str], clock: Clock) -> list[Any]:
    """Have every node of the graph behind a loss timed for the module that made it."""
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
    """Which module made the node of that number: the innermost call during which autograd counted it."""
    # Calls nest: sorted by their begin, outer before inner, the last that has begun and not ended is the innermost.
    spans = sorted((call.first, -call.last, call.path) for call in marks.calls)
    begins = [first for first, _, _ in spans]

    def owner(number: int) -> str | None:
        for index in range(bisect.bisect_right(begins, number) - 1, -1, -1):
            _, last, path = spans[index]
            if number < -last:
                return path
        return None

    return owner
