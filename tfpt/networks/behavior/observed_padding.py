"""Observes convolutions and pools while a model runs: their own padding, and the padding applied to their input.

A run uses the meta device and a copy of the model without values, since only sizes matter.
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

from tfpt.networks.behavior.input_origins import Origin, OriginTracker, Pads, tensors_in
from tfpt.networks.behavior.layers import Contradiction, has_windows_of, window_count
from tfpt.nn.padding import pads

_MAX_POOLS = ("max_pool2d_with_indices", "max_pool3d_with_indices")
_AVG_POOLS = ("avg_pool2d", "avg_pool3d")
# The index of the epsilon among the arguments of torch's normalization operators.
_EPS_INDEX = {
    "native_batch_norm": 7,
    "_native_batch_norm_legit": 7,
    "_native_batch_norm_legit_no_training": 6,
    "native_layer_norm": 4,
    "native_group_norm": 7,
    "_fused_rms_norm": 3,
}
# Below any activation: what code writes that means minus infinity.
_LOWEST = -1e30


@dataclass(frozen=True)
class Call:
    """One call of a convolution or pool.

    Attributes:
        kind: ``conv``, ``max`` or ``avg``; ``other`` if the padding rules do not apply to it.
        sizes: The spatial sizes of its input, including padding applied before.
        kernel, stride, dilation: One number for each spatial axis.
        pads: Its own padding, one number for both sides of each spatial axis.
        ceil_mode: Whether the last window may extend beyond the padded input.
        count_include_pad: Whether an average counts the operator's own padding.
        divisor: What an average divides by, if not the number of kernel positions.
        origin: The history of its input.
        own_pads: How many of the paddings in `origin` the layer itself applied.
    """

    kind: str
    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    ceil_mode: bool = False
    count_include_pad: bool = False
    divisor: int | None = None
    origin: Origin = field(default_factory=Origin)
    own_pads: int = 0

    def contradiction(self, rule: str) -> Contradiction | bool | None:
        """How it differs from a rule; ``False`` if it does not, ``None`` if undecided.

        Padding before the call may belong to the layer, or to a separate layer that TensorFlow's network has as well;
        either interpretation is accepted.
        """
        if self.kind == "other":
            return None
        ways = range(self.own_pads, len(self.origin.pads) + 1)
        found = [self._against(rule, self.origin.pads[:number]) for number in ways]
        if False in found:
            return False
        if None in found or not found or not self.origin.known:
            return None
        return found[-1]

    def _against(self, rule: str, applied: Sequence[Pads]) -> Contradiction | bool | None:
        axes = len(self.sizes)
        own = [(each, each) for each in self.pads]
        separate = [pads.of(axes) for pads in applied]
        for axis in range(axes):
            kernel, stride, dilation = self.kernel[axis], self.stride[axis], self.dilation[axis]
            before = sum(each[axis][0] for each in separate)
            after = sum(each[axis][1] for each in separate)
            size = self.sizes[axis] - before - after
            if size < 1:
                return None
            both = (before + own[axis][0], after + own[axis][1])
            count = window_count(
                self.sizes[axis], own[axis], kernel, stride, dilation, ceil_mode=self.ceil_mode
            )
            if not has_windows_of(rule, size, both[0], count, kernel, stride, dilation):
                wanted = pads(rule, size, kernel, stride, dilation)
                got = f"the module pads {both}{' with ceil_mode' if self.ceil_mode else ''}"
                return Contradiction(f"which pads {wanted} at size {size}", got)
        return self._values(rule, [each for each in applied if any(any(pair) for pair in each.of(axes))])

    def _values(self, rule: str, applied: Sequence[Pads]) -> Contradiction | bool | None:
        """Compare the padding values, given that the windows are in the right positions."""
        if self.kind == "avg":
            # An average's divisor includes padding applied by a separate operator.
            if rule == "same" and (applied or (self.count_include_pad and any(self.pads))):
                return Contradiction("pads not counted in averages", "pads counted")
            plain = self.divisor is None or (rule == "valid" and self.divisor == math.prod(self.kernel))
            return False if plain else Contradiction("", f"divisor_override={self.divisor}")
        for each in applied:
            if each.value is None:
                return Contradiction("with zeros", "pads with values of the input")
            if self.kind == "conv" and each.value != 0:
                return Contradiction("with zeros", f"pads with {each.value:g}")
            if self.kind == "max" and each.value > _LOWEST:
                # Zeros do not change a maximum of values that are at least 0.
                if each.value == 0 and self.origin.not_negative:
                    continue
                if each.value == 0 and self.origin.is_input:
                    return None
                return Contradiction("below every value", f"pads with {each.value:g}")
        return False


@dataclass
class Observations:
    """What was observed in a run.

    Attributes:
        calls: The convolutions and pools of each layer, by path.
        eps: The epsilons that each module's normalizations used, by path.
        sliced: The layers whose transposed convolutions are followed by a slice.
    """

    calls: dict[str, list[Call]] = field(default_factory=dict)
    eps: dict[str, list[float]] = field(default_factory=dict)
    sliced: set[str] = field(default_factory=set)


def meta_copy(model: nn.Module) -> nn.Module:
    """A copy of a model on the meta device, without values.

    Raises:
        Exception: Whatever copying a user's module raises.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers, vars(module)):
            for value in tensors.values():
                if isinstance(value, Tensor) and id(value) not in memo:
                    empty = torch.empty_like(value, device="meta", requires_grad=False)
                    memo[id(value)] = (
                        nn.Parameter(empty, requires_grad=False) if isinstance(value, nn.Parameter) else empty
                    )
    return copy.deepcopy(model, memo).eval()


def observe(module: nn.Module, layers: dict[str, nn.Module], value: Tensor) -> Observations:
    """Run a module on the meta device and record what its layers do.

    Args:
        module: The module to call, from a `meta_copy`.
        layers: The modules in it to observe, by path.
        value: The single argument, on the meta device.

    Raises:
        Exception: Whatever the forward method of a user's module raises.
    """
    seen, origins = Observations(), OriginTracker()
    active: list[tuple[str, int]] = []

    def enter(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            given = next(tensors_in((*arguments, named)), None)
            active.append((path, 0 if given is None else len(origins.of(given).pads)))

        return hook

    def leave(_module: nn.Module, _arguments: Any, _output: Any) -> None:
        active.pop()

    handles = []
    for path, layer in layers.items():
        handles.append(layer.register_forward_pre_hook(enter(path), with_kwargs=True))
        handles.append(layer.register_forward_hook(leave))
    origins.note(value, Origin(is_input=True))
    try:
        with torch.no_grad(), torch.device("meta"), _Observer(seen, origins, active):
            module(value)
    finally:
        for handle in handles:
            handle.remove()
    return seen


class _Observer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, seen: Observations, origins: OriginTracker, active: Sequence[tuple[str, int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen, self._origins, self._active = seen, origins, active
        # Tensors that a transposed convolution made, with its path; kept alive, so that their ids stay unique.
        self._transposed: dict[int, tuple[Tensor, str]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch for each operator."""
        output = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        if self._active:
            path, outside = self._active[-1]
            call = _call(name, args, self._origins, outside)
            if call is not None:
                self._seen.calls.setdefault(path, []).append(call)
            if name in _EPS_INDEX:
                self._seen.eps.setdefault(path, []).append(float(args[_EPS_INDEX[name]]))
        self._origins.follow(name, args, output)
        self._follow_transposed(name, args, output)
        return output

    def _follow_transposed(self, name: str, args: Sequence[Any], output: Any) -> None:
        """Note whether something is cut off after a transposed convolution, up to the next change of the shape."""
        if not isinstance(output, Tensor):
            return
        if name == "convolution":
            if args[6] and self._active:
                self._transposed[id(output)] = (output, self._active[-1][0])
            return
        for tensor in tensors_in(args):
            _, path = self._transposed.get(id(tensor), (None, ""))
            if path and tensor.shape == output.shape:
                self._transposed[id(output)] = (output, path)
            elif path and name in ("slice", "constant_pad_nd", "index_select", "index"):
                self._seen.sliced.add(path)


def _call(name: str, args: Sequence[Any], origins: OriginTracker, outside: int) -> Call | None:
    """The call of a convolution or pool that an ATen operator performs; ``None`` for other operators."""
    if name not in ("convolution", *_MAX_POOLS, *_AVG_POOLS):
        return None
    given = args[0]
    origin = origins.of(given)
    own_pads = max(0, len(origin.pads) - outside)

    def at(index: int, axes: int, default: Any) -> tuple[int, ...]:
        values = args[index] if len(args) > index else None
        numbers = tuple(int(each) for each in values or default)
        return numbers * axes if len(numbers) == 1 else numbers

    if name == "convolution":
        kernel = tuple(args[1].shape[2:])
        axes = len(kernel)
        kind = "other" if args[6] else "conv"
        stride, own, dilation = at(3, axes, (1,)), at(4, axes, (0,)), at(5, axes, (1,))
        return Call(
            kind, tuple(given.shape[-axes:]), kernel, stride, dilation, own, origin=origin, own_pads=own_pads
        )
    axes = int(name.partition("_pool")[2][0])
    kernel = at(1, axes, ())
    sizes, stride, own = tuple(given.shape[-axes:]), at(2, axes, kernel), at(3, axes, (0,))
    if name in _MAX_POOLS:
        ceil = bool(args[5]) if len(args) > 5 else False
        dilation = at(4, axes, (1,))
        return Call("max", sizes, kernel, stride, dilation, own, ceil, origin=origin, own_pads=own_pads)
    ceil, counts = (bool(args[index]) if len(args) > index else index == 5 for index in (4, 5))
    divisor = args[6] if len(args) > 6 else None
    return Call("avg", sizes, kernel, stride, (1,) * axes, own, ceil, counts, divisor, origin, own_pads)
