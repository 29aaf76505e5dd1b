"""What layers with windows do while a model runs: the pads they take, their own and those put around their input.

A run is on the meta device, of a copy of the model without values: sizes are all that is looked at.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tfpt.networks.behavior.input_origins import Origin, Origins, Pads, tensors_in
from tfpt.networks.behavior.rules import Contradiction, windows_of
from tfpt.nn.padding import pads, span

_MAX_POOLS = ("max_pool2d_with_indices", "max_pool3d_with_indices")
_AVG_POOLS = ("avg_pool2d", "avg_pool3d")
# Where torch's normalizations take their epsilon.
_EPS_AT = {
    "native_batch_norm": 7,
    "_native_batch_norm_legit": 7,
    "_native_batch_norm_legit_no_training": 6,
    "native_layer_norm": 4,
    "native_group_norm": 7,
    "_fused_rms_norm": 3,
}
# Below every value that a network computes with: what code that means minus infinity writes.
_LEAST = -1e30


@dataclass(frozen=True)
class Call:
    """One convolution or pool as it ran.

    Attributes:
        kind: ``conv``, ``max`` or ``avg``; ``other`` where it is not known what the rules mean for it.
        sizes: Of what it was given, along its axes.
        kernel, stride, dilation, pads: Its own, along its axes; pads on both sides alike.
        ceil: Whether a last window may stand out.
        counts: Whether an average counts the operator's own pads.
        divisor: What an average divides by, if not by the number of taps.
        origin: Where its input comes from.
        inside: How many of the pads put around the input the layer itself put there.
    """

    kind: str
    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    ceil: bool = False
    counts: bool = False
    divisor: int | None = None
    origin: Origin = field(default_factory=Origin)
    inside: int = 0

    def contradiction(self, rule: str) -> Contradiction | bool | None:
        """How it differs from a rule; ``False`` if it does not, ``None`` if that cannot be told.

        Pads that stand in front of it are the layer's, or a layer of their own that TensorFlow's network has, too:
        either will do.
        """
        if self.kind == "other":
            return None
        ways = range(self.inside, len(self.origin.pads) + 1)
        found = [self._against(rule, self.origin.pads[:number]) for number in ways]
        if False in found:
            return False
        if None in found or not found or not self.origin.known:
            return None
        return found[-1]

    def _against(self, rule: str, around: Sequence[Pads]) -> Contradiction | bool | None:
        axes = len(self.sizes)
        own = [(each, each) for each in self.pads]
        put = [pads.of(axes) for pads in around]
        for axis in range(axes):
            kernel, stride, dilation = self.kernel[axis], self.stride[axis], self.dilation[axis]
            before = sum(each[axis][0] for each in put)
            after = sum(each[axis][1] for each in put)
            size = self.sizes[axis] - before - after
            if size < 1:
                return None
            wanted = pads(rule, size, kernel, stride, dilation)
            windows = (size + sum(wanted) - span(kernel, dilation)) // stride + 1
            got = windows_of(self.sizes[axis], own[axis], kernel, stride, dilation, ceil=self.ceil)
            both = (before + own[axis][0], after + own[axis][1])
            if (wanted[0], windows) != (both[0], got):
                does = f"the module pads {both}{' with ceil_mode' if self.ceil else ''}"
                return Contradiction(f"which pads {wanted} at size {size}", does, size)
        return self._values(rule, [each for each in around if any(any(pair) for pair in each.of(axes))])

    def _values(self, rule: str, around: Sequence[Pads]) -> Contradiction | bool | None:
        """What stands in the pads, where the windows lie as they should."""
        if self.kind == "avg":
            # The divisor counts what an operator of its own put around the input.
            if rule == "same" and (around or (self.counts and any(self.pads))):
                return Contradiction("pads not counted in averages", "pads counted")
            plain = self.divisor is None or (rule == "valid" and self.divisor == math.prod(self.kernel))
            return False if plain else Contradiction("", f"divisor_override={self.divisor}")
        for each in around:
            if each.value is None:
                return Contradiction("with zeros", "pads with values of the input")
            if self.kind == "conv" and each.value != 0:
                return Contradiction("with zeros", f"pads with {each.value:g}")
            if self.kind == "max" and each.value > _LEAST:
                # A maximum of values that are 0 or more does not see zeros.
                if each.value == 0 and self.origin.not_negative:
                    continue
                if each.value == 0 and self.origin.entry:
                    return None
                return Contradiction("below every value", f"pads with {each.value:g}")
        return False


@dataclass
class Seen:
    """What was seen in runs.

    Attributes:
        calls: The convolutions and pools of each layer, by its path.
        eps: The epsilons that each module's normalizations ran with.
    """

    calls: dict[str, list[Call]] = field(default_factory=dict)
    eps: dict[str, list[float]] = field(default_factory=dict)


def without_values(model: nn.Module) -> nn.Module:
    """A copy on the meta device: everything but the values.

    Raises:
        Exception: Whatever copying a stranger's module raises.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for held in (module._parameters, module._buffers, vars(module)):
            for value in held.values():
                if isinstance(value, Tensor) and id(value) not in memo:
                    empty = torch.empty_like(value, device="meta", requires_grad=False)
                    memo[id(value)] = (
                        nn.Parameter(empty, requires_grad=False) if isinstance(value, nn.Parameter) else empty
                    )
    return copy.deepcopy(model, memo).eval()


def run(module: nn.Module, layers: dict[str, nn.Module], value: Tensor) -> Seen:
    """Run a module of a copy without values, and look at its layers.

    Args:
        module: What is called.
        layers: The modules in it to look at, by their paths.
        value: Its only argument, on the meta device.

    Raises:
        Exception: Whatever a stranger's forward raises.
    """
    seen, origins = Seen(), Origins()
    within: list[tuple[str, int]] = []

    def enter(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = next(tensors_in((*arguments, named)), None)
            within.append((path, 0 if given is None else len(origins.of(given).pads)))

        return hook

    def leave(_module: nn.Module, _arguments: Any, _output: Any) -> None:
        within.pop()

    handles = []
    for path, layer in layers.items():
        handles.append(layer.register_forward_pre_hook(enter(path), with_kwargs=True))
        handles.append(layer.register_forward_hook(leave))
    origins.note(value, Origin(entry=True))
    try:
        with torch.no_grad(), torch.device("meta"), _Watching(seen, origins, within):
            module(value)
    finally:
        for handle in handles:
            handle.remove()
    return seen


class _Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, seen: Seen, origins: Origins, within: Sequence[tuple[str, int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen, self._origins, self._within = seen, origins, within

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of each operator."""
        output = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        if self._within:
            path, outside = self._within[-1]
            call = _call(name, args, self._origins, outside)
            if call is not None:
                self._seen.calls.setdefault(path, []).append(call)
            if name in _EPS_AT:
                self._seen.eps.setdefault(path, []).append(float(args[_EPS_AT[name]]))
        self._origins.follow(name, args, output)
        return output


def _call(name: str, args: Sequence[Any], origins: Origins, outside: int) -> Call | None:
    """The convolution or pool that an operator of ATen is."""
    if name not in ("convolution", *_MAX_POOLS, *_AVG_POOLS):
        return None
    given = args[0]
    origin = origins.of(given)
    inside = max(0, len(origin.pads) - outside)

    def at(place: int, axes: int, default: Any) -> tuple[int, ...]:
        values = args[place] if len(args) > place else None
        numbers = tuple(int(each) for each in values or default)
        return numbers * axes if len(numbers) == 1 else numbers

    if name == "convolution":
        kernel = tuple(args[1].shape[2:])
        axes = len(kernel)
        kind = "other" if args[6] else "conv"
        stride, own, dilation = at(3, axes, (1,)), at(4, axes, (0,)), at(5, axes, (1,))
        return Call(
            kind, tuple(given.shape[-axes:]), kernel, stride, dilation, own, origin=origin, inside=inside
        )
    axes = int(name.partition("_pool")[2][0])
    kernel = at(1, axes, ())
    sizes, stride, own = tuple(given.shape[-axes:]), at(2, axes, kernel), at(3, axes, (0,))
    if name in _MAX_POOLS:
        ceil = bool(args[5]) if len(args) > 5 else False
        dilation = at(4, axes, (1,))
        return Call("max", sizes, kernel, stride, dilation, own, ceil, origin=origin, inside=inside)
    ceil, counts = (bool(args[place]) if len(args) > place else place == 5 for place in (4, 5))
    divisor = args[6] if len(args) > 6 else None
    return Call("avg", sizes, kernel, stride, (1,) * axes, own, ceil, counts, divisor, origin, inside)
