"""Time by layer: each module's share of a pass, forward and backward, by the module's path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.profiling.layer_marks import Clock, Marks, hooked, watch_nodes
from tfpt.profiling.timing import synchronize


@dataclass(frozen=True)
class LayerTime:
    """The time of one module, in seconds per pass.

    Attributes:
        path: Its path in the model; if it has several, the first one below the calling module. Empty for the model
            itself.
        kind: Its class.
        parameters: The number of its parameters, including those of its children.
        calls: How often a pass runs it; 0 for a list of modules, whose time is the sum of theirs.
        leaf: Whether nothing below it ran.
        forward: Time from call to return, including modules below it, excluding modules elsewhere that it calls.
        own: The part of `forward` not spent in modules below it.
        backward: The same for the backward pass; ``None`` if it was not measured.
        own_backward: The part of `backward` that does not belong to modules below it.
    """

    path: str
    kind: str
    parameters: int
    calls: int
    leaf: bool
    forward: float
    own: float
    backward: float | None = None
    own_backward: float | None = None

    @property
    def depth(self) -> int:
        """The number of components of its path: 0 for the model itself."""
        return len(self.path.split(".")) if self.path else 0

    @property
    def total(self) -> float:
        """Forward and, if measured, backward."""
        return self.forward + (self.backward or 0.0)

    def to_json(self) -> dict[str, Any]:
        return vars(self).copy()


@dataclass(frozen=True)
class LayerTimes:
    """Means over several passes measured layer by layer.

    Attributes:
        layers: Every module that ran or that contains one that ran, in model order; the model itself first.
        total: Seconds per pass, including the hooks.
        step: Seconds of the optimizer step and of clearing gradients; ``None`` without a training step.
        repeats: The number of passes.
    """

    layers: tuple[LayerTime, ...]
    total: float
    step: float | None
    repeats: int

    def rows(self, depth: int | None = None) -> tuple[LayerTime, ...]:
        """The rows of a table without double counting: the leaves, or the modules at `depth` (and leaves above).

        `outside` is the rest of the model.
        """
        if depth is None:
            return tuple(layer for layer in self.layers if layer.leaf)
        return tuple(
            layer for layer in self.layers if layer.depth == depth or (layer.leaf and layer.depth < depth)
        )

    def outside(self, depth: int | None = None) -> tuple[float, float | None]:
        """Forward and backward seconds outside `rows`: functions called by containers, autograd itself."""
        rows = self.rows(depth)
        (model,) = (layer for layer in self.layers if not layer.path)
        forward = model.forward - sum(layer.forward for layer in rows)
        if model.backward is None:
            return forward, None
        # The total includes the autograd engine's own work and the loss, which belong to no module.
        rest = self.total - model.forward - (self.step or 0.0)
        return forward, rest - sum(layer.backward or 0.0 for layer in rows)

    def to_json(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "step": self.step,
            "repeats": self.repeats,
            "rows": [layer.to_json() for layer in self.layers],
        }


def measure_forward(
    model: nn.Module, run: Callable[[], Any], device: torch.device, repeats: int
) -> LayerTimes:
    """The times of the layers in a forward pass.

    Args:
        model: The modules to time.
        run: One pass.
        device: Where it is computed.
        repeats: How many passes to take the mean of.

    Example:
        >>> import time
        >>> class Sleep(nn.Module):
        ...     def forward(self, x):
        ...         time.sleep(0.02)
        ...         return x
        >>> model = nn.Sequential(nn.ReLU(), Sleep())
        >>> found = measure_forward(model, lambda: model(torch.zeros(1)), torch.device("cpu"), repeats=2)
        >>> [(layer.path, layer.kind, layer.calls) for layer in found.layers]
        [('', 'Sequential', 1), ('0', 'ReLU', 1), ('1', 'Sleep', 1)]
        >>> found.layers[2].forward > 0.019
        True
    """
    totals = _Totals(model, Clock(device))
    for _ in range(repeats):
        synchronize(device)
        with hooked(model, totals.clock) as marks:
            run()
        synchronize(device)
        totals.add_forward(marks)
    return totals.means(repeats, with_backward=False)


def measure_training(
    model: nn.Module,
    forward: Callable[[], Tensor],
    clear: Callable[[], None],
    step: Callable[[], Any],
    device: torch.device,
    repeats: int,
) -> LayerTimes:
    """The times of the layers forward and backward, and of the optimizer's step.

    Args:
        model: The modules to time, in training mode.
        forward: From the input to the loss.
        clear: Clears the gradients.
        step: The optimizer step.
        device: Where it is computed.
        repeats: How many passes to take the mean of.
    """
    totals = _Totals(model, Clock(device))
    clock = totals.clock
    owners = {
        id(parameter): path
        for path, module in model.named_modules()
        for parameter in module.parameters(recurse=False)
    }
    for _ in range(repeats):
        synchronize(device)
        begin = clock.mark()
        clear()
        cleared = clock.mark()
        with hooked(model, clock) as marks:
            loss = forward()
        computed = clock.mark()
        handles = watch_nodes(loss, marks, owners, clock)
        ready = clock.mark()
        loss.backward()  # type: ignore[no-untyped-call]
        behind = clock.mark()
        step()
        end = clock.mark()
        synchronize(device)
        for handle in handles:
            handle.remove()
        totals.add_forward(marks)
        totals.add_backward(marks)
        totals.step += clock.seconds(begin, cleared) + clock.seconds(behind, end)
        totals.rest += clock.seconds(cleared, computed) + clock.seconds(ready, behind)
    return totals.means(repeats, with_backward=True)


class _Totals:
    """Sums over passes, by path."""

    def __init__(self, model: nn.Module, clock: Clock) -> None:
        self.model = model
        self.clock = clock
        self.calls: dict[str, int] = defaultdict(int)
        self.own: dict[str, float] = defaultdict(float)
        self.own_backward: dict[str, float] = defaultdict(float)
        self.step = 0.0
        self.rest = 0.0

    def add_forward(self, marks: Marks) -> None:
        for call in marks.calls:
            seconds = self.clock.seconds(call.start, call.end)
            self.calls[call.path] += 1
            self.own[call.path] += seconds
            if call.parent is not None:
                self.own[call.parent] -= seconds

    def add_backward(self, marks: Marks) -> None:
        for path, start, end in marks.nodes:
            self.own_backward[path] += self.clock.seconds(start, end)

    def means(self, repeats: int, *, with_backward: bool) -> LayerTimes:
        # Includes the parents of each module that ran: a list of modules never runs itself.
        ran = {"", *(path[:end] for path in self.calls for end in _ends(path))}
        layers = tuple(
            self._layer(path, module, repeats, with_backward)
            for path, module in self.model.named_modules(remove_duplicate=False)
            if path in ran
        )
        if not with_backward:
            return LayerTimes(layers, sum(self.own.values()) / repeats, None, repeats)
        total = (self.rest + self.step) / repeats
        return LayerTimes(layers, total, self.step / repeats, repeats)

    def _layer(self, path: str, module: nn.Module, repeats: int, with_backward: bool) -> LayerTime:
        inside = f"{path}." if path else ""

        def whole(own: dict[str, float]) -> float:
            parts = (seconds for other, seconds in own.items() if other == path or other.startswith(inside))
            return sum(parts) / repeats

        return LayerTime(
            path=path,
            kind=type(module).__name__,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            calls=round(self.calls[path] / repeats),
            leaf=not any(other != path and other.startswith(inside) for other in self.calls),
            forward=whole(self.own),
            own=self.own[path] / repeats,
            backward=whole(self.own_backward) if with_backward else None,
            own_backward=self.own_backward[path] / repeats if with_backward else None,
        )


def _ends(path: str) -> list[int]:
    """The end index of each component of a path."""
    return [index for index, letter in enumerate(path) if letter == "."] + [len(path)]
