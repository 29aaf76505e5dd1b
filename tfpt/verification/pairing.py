"""Pairs of activations of the two networks: equal values in some order of the axes, perhaps after a function."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tfpt.networks.precision import full_precision
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording
from tfpt.verification.agreement import DEFAULT_TOLERANCE, measure

_MOST_AXES = 5
# How far mean absolute values may be apart for a close look at two activations, relative to the recorded one.
_SIMILAR = 0.05
# How activations of TensorFlow are laid out, and where PyTorch has their axes.
CHANNELS_FIRST = {
    3: "b w c -> b c w",
    4: "b h w c -> b c h w",
    5: "b t h w c -> b c t h w",
}


@dataclass(frozen=True)
class Agreement:
    """An activation that both networks compute.

    Attributes:
        tf: TensorFlow's name of it.
        pt: The path of the module whose output it is; empty for the model itself.
        layout: From TensorFlow's axes to PyTorch's; empty if they are the same.
        apply: What the module leaves to another: ``relu``, ``sigmoid``, ``tanh``, ``softmax``; empty if nothing.
        difference: The largest difference, relative to the largest value.
    """

    tf: str
    pt: str
    layout: str
    difference: float
    apply: str = ""

    @property
    def row(self) -> str:
        """The keys of an endpoint in a mapping besides its names."""
        keys = []
        layout = self.layout
        if self.apply == "softmax":
            layout = layout or "b c -> b c"
            keys.append(f"apply: {{softmax: {layout.partition(' -> ')[0].split()[-1]}}}")
        elif self.apply:
            keys.append(f"apply: {self.apply}")
        return ", ".join([*([f'layout: "{layout}"'] if layout else []), *keys])


@dataclass(frozen=True)
class Pairing:
    """Which activations of the two networks agree in one run.

    Attributes:
        agreements: For each recorded activation that some module computes, the module that is closest to it.
        modules: For each module that computes some recorded activation, the activation that is closest to it.
        shapes: The shapes of the modules' outputs, by path, in the order in which they ended. Of several calls only
            the first counts, and only a tensor.
        output: The recorded activation that the model's output agrees with; ``None`` if there is none.
        apart: The smallest difference of the model's output from any recorded activation, relative to the largest
            value; infinite if none has its shape.
    """

    agreements: dict[str, Agreement]
    modules: dict[str, Agreement]
    shapes: dict[str, tuple[int, ...]]
    output: Agreement | None
    apart: float

    @property
    def ran(self) -> tuple[str, ...]:
        """The modules in the order in which they ended."""
        return tuple(self.shapes)


def paired(
    model: nn.Module,
    run: Callable[[], Any],
    recording: Recording,
    tolerance: float = DEFAULT_TOLERANCE,
) -> Pairing:
    """Run a model without gradients, and pair its activations with those of a recording.

    Args:
        model: The model. Its mode is not changed.
        run: Calls it, and returns its output.
        recording: What TensorFlow computed.
        tolerance: The relative difference up to which two activations count as equal, as in `Measure.agrees`.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
        >>> _ = model[0].weight.data.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
        >>> relu = RecordedEndpoint.of("dense/Relu", np.float32([[5, 0]]))
        >>> found = paired(model, lambda: model(torch.tensor([[1.0, 2.0]])), Recording({"dense/Relu": relu}))
        >>> found.agreements["dense/Relu"].pt, found.modules["0"].apply, found.output.tf
        ('1', 'relu', 'dense/Relu')
    """
    by_size: dict[int, list[RecordedEndpoint]] = {}
    for endpoint in recording.endpoints.values():
        by_size.setdefault(math.prod(endpoint.shape), []).append(endpoint)
    agreements: dict[str, Agreement] = {}
    modules: dict[str, Agreement] = {}
    shapes: dict[str, tuple[int, ...]] = {}

    def hook(path: str) -> Callable[[Any, Any, Any], None]:
        def watch(_module: Any, _arguments: Any, output: Any) -> None:
            tensor = tensor_in(output)
            if tensor is None or path in shapes:
                return
            shapes[path] = tuple(tensor.shape)
            computed = Computed(as_array(tensor))
            for endpoint in by_size.get(computed.array.size, ()):
                agreement = agreement_of(endpoint, path, computed, tolerance)
                if agreement is None:
                    continue
                if is_closer(agreement, agreements.get(endpoint.name)):
                    agreements[endpoint.name] = agreement
                if is_closer(agreement, modules.get(path)):
                    modules[path] = agreement

        return watch

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules() if path]
    try:
        with torch.no_grad(), full_precision():
            output = tensor_in(run())
    finally:
        for handle in handles:
            handle.remove()
    best: Agreement | None = None
    apart = math.inf
    if output is not None:
        computed = Computed(as_array(output))
        for endpoint in by_size.get(computed.array.size, ()):
            closest = min(smallest_difference(endpoint, applied)[0] for _, applied, _ in computed.forms())
            apart = min(apart, closest)
            agreement = agreement_of(endpoint, "", computed, tolerance)
            if agreement is not None and is_closer(agreement, best):
                best = agreement
    return Pairing(agreements, modules, shapes, best, apart)


def one_per_module(agreements: Iterable[Agreement]) -> list[Agreement]:
    """One agreement for each module: of several names of one activation, such as that of an Identity, the first.

    Example:
        >>> found = [Agreement("relu", "act", "", 0.0), Agreement("Identity", "act", "", 0.0)]
        >>> [each.tf for each in one_per_module(found)]
        ['relu']
    """
    first: dict[str, Agreement] = {}
    for each in agreements:
        first.setdefault(each.pt, each)
    return list(first.values())


def tensor_in(output: Any) -> Tensor | None:
    """The first tensor of a module's output."""
    if isinstance(output, Tensor):
        return output
    values = (
        output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    )
    return next((found for each in values if (found := tensor_in(each)) is not None), None)


def as_array(tensor: Tensor) -> np.ndarray:
    """A tensor's values in float32; float64 if it has that."""
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    tensor = tensor.detach()
    return (tensor.abs() if tensor.dtype.is_complex else tensor).to(dtype).cpu().numpy()


def is_closer(one: Agreement, other: Agreement | None) -> bool:
    """Whether it is better than another: without a function if possible, then by its difference."""
    return other is None or (one.apply != "", one.difference) < (other.apply != "", other.difference)


@dataclass(frozen=True)
class Computed:
    """An output of a module, with what the functions make of it that a layer of Keras may include.

    Example:
        >>> computed = Computed(np.float32([[-1, 3]]))
        >>> [(name, round(mean, 3)) for name, _, mean in computed.forms()]
        [('', 2.0), ('relu', 1.5), ('tanh', 0.878), ('sigmoid', 0.611), ('softmax', 0.5)]
    """

    array: np.ndarray
    _forms: list[tuple[str, np.ndarray, float]] = field(default_factory=list)

    def forms(self) -> Iterator[tuple[str, np.ndarray, float]]:
        """Each function, its result, and the mean absolute value of that."""
        for place, (name, function) in enumerate(self._functions.items()):
            if place == len(self._forms):
                applied = function(self.array)
                mean = float(np.abs(applied).mean(dtype=np.float64)) if applied.size else 0.0
                self._forms.append((name, applied, mean))
            yield self._forms[place]

    @cached_property
    def _functions(self) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        found: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "": lambda x: x,
            "relu": lambda x: np.maximum(x, 0),
            "tanh": np.tanh,
            "sigmoid": _sigmoid,
        }
        if self.array.ndim == 2 and self.array.size:
            found["softmax"] = _softmax
        return found


def _sigmoid(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-array)))


def _softmax(array: np.ndarray) -> np.ndarray:
    exponential = np.exp(array - array.max(axis=-1, keepdims=True))
    return np.asarray(exponential / exponential.sum(axis=-1, keepdims=True))


def agreement_of(
    endpoint: RecordedEndpoint, path: str, computed: Computed, tolerance: float = DEFAULT_TOLERANCE
) -> Agreement | None:
    """The agreement of a module's output with a recorded activation, if they agree.

    Constant activations of several values agree with nothing: they are alike in networks that have nothing in common.
    """
    if endpoint.values.size > 1 and endpoint.values.min() == endpoint.values.max():
        return None
    for name, applied, mean in computed.forms():
        if endpoint.mean_abs is not None and abs(mean - endpoint.mean_abs) > _SIMILAR * max(
            endpoint.mean_abs, 1e-30
        ):
            continue
        difference, layout, ordered = closest_order(endpoint, applied)
        if ordered is not None and measure(endpoint, ordered).agrees(tolerance):
            return Agreement(endpoint.name, path, layout, difference, name)
    return None


def smallest_difference(endpoint: RecordedEndpoint, array: np.ndarray) -> tuple[float, str]:
    """The smallest difference under any order of the axes, and the layout from TensorFlow's axes to PyTorch's.

    It is relative to the largest recorded value, and infinite if that is 0: zeros agree with anything that is dead.

    Example:
        >>> recorded = RecordedEndpoint.of("relu", np.float32([[1, 2], [3, 4], [5, 8]]))
        >>> smallest_difference(recorded, np.float32([[1, 3, 5], [2, 4, 7]]))
        (0.125, 'a b -> b a')
    """
    return closest_order(endpoint, array)[:2]


def closest_order(endpoint: RecordedEndpoint, array: np.ndarray) -> tuple[float, str, np.ndarray | None]:
    """The smallest difference, its layout, and the array in that order of axes."""
    if array.size == 0 or array.ndim > _MOST_AXES:
        return math.inf, "", None
    recorded = np.asarray(endpoint.values, np.float64).reshape(-1)
    scale = float(np.abs(recorded).max(initial=0))
    if not scale:
        return math.inf, "", None
    best, layout, closest = math.inf, "", None
    for order, kept, pattern in _orders(tuple(array.shape), endpoint.shape):
        ordered = np.transpose(array.reshape(kept), order).reshape(endpoint.shape)
        samples = endpoint.samples_of(ordered).astype(np.float64)
        difference = float(np.abs(samples - recorded).max(initial=0)) / scale
        if difference < best:
            best, layout, closest = difference, pattern, ordered
    return best, layout, closest


def _orders(
    shape: tuple[int, ...], recorded: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], str]]:
    """Every order in which the axes of an output have the recorded sizes, the axes that it moves, and its layout.

    If one of the two has more axes of size 1, such as a batch or the axes of an average, the others are moved.

    Example:
        >>> list(_orders((2, 3, 5), (2, 5, 3)))
        [((0, 2, 1), (2, 3, 5), 'b w c -> b c w')]
        >>> list(_orders((2, 7), (2, 1, 1, 7)))
        [((0, 1), (2, 7), 'b 1 1 c -> b c')]
    """
    if len(shape) == len(recorded):
        for order in itertools.permutations(range(len(shape))):
            if tuple(shape[axis] for axis in order) == recorded:
                yield order, shape, _layout(order)
        return
    batch = bool(shape and recorded and shape[0] == recorded[0] == 1)
    ours, theirs = (
        [axis for axis, size in enumerate(each) if size > 1 or (batch and axis == 0)]
        for each in (shape, recorded)
    )
    if len(ours) != len(theirs):
        return
    names = {2: "bc", 3: "bwc", 4: "bhwc", 5: "bthwc"}.get(len(recorded), "abcdefg")
    for order in itertools.permutations(range(len(ours))):
        if [shape[ours[axis]] for axis in order] != [recorded[axis] for axis in theirs]:
            continue
        left = [names[axis] if axis in theirs else "1" for axis in range(len(recorded))]
        right = ["1"] * len(shape)
        for place, axis in enumerate(order):
            right[ours[axis]] = names[theirs[place]]
        kept = tuple(shape[axis] for axis in ours)
        yield order, kept, f"{' '.join(left)} -> {' '.join(right)}"


def _layout(order: tuple[int, ...]) -> str:
    """From TensorFlow's axes to PyTorch's, for a transpose from PyTorch's to TensorFlow's.

    Example:
        >>> _layout((0, 2, 3, 1)), _layout((0, 1))
        ('b h w c -> b c h w', '')
    """
    if order == tuple(range(len(order))):
        return ""
    letters = {3: "bwc", 4: "bhwc", 5: "bthwc"}.get(len(order), "abcdefg"[: len(order)])
    left = " ".join(letters)
    right = " ".join(letters[order.index(axis)] for axis in range(len(order)))
    return f"{left} -> {right}"
