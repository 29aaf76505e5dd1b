"""The input as a cause: channels in another order, values in another range, axes mistaken for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from tfpt.verification.diagnosis.changes import Change, Hypothesis
from tfpt.verification.diagnosis.context import Scene

# The colors of ImageNet, of which many ports subtract the mean and divide by the deviation.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def inputs(scene: Scene) -> Iterator[Hypothesis]:
    """What else the model may take, where nothing ran before the span."""
    given = scene.inputs
    if not scene.trace.from_start or not isinstance(given, Tensor) or not given.is_floating_point():
        return
    for value, cause, has, had, function in [*_channels(given), *_ranges(given), *_axes(given)]:
        change = Change("", has, had, partial(_fed, scene.model, function))
        advice = (
            f"{had}: in the input, or in the first layer's weights if those are wrong; "
            "input: of the mapping says what the network is fed"
        )
        yield Hypothesis("input", value, cause, ((change,),), advice)


_Feed = tuple[str, str, str, str, Callable[[Tensor], Tensor]]


def _channels(given: Tensor) -> Iterator[_Feed]:
    number = given.shape[1] if given.ndim > 2 else 0
    if 2 <= number <= 4:
        kind = "RGB is taken for BGR" if number == 3 else "reversed"
        yield (
            "reversed channels",
            f"the input's channels are in another order than the first layer expects: {kind}",
            "takes the channels as they are given",
            "channels reversed",
            lambda x: x.flip(1),
        )
    if number == 2:
        yield (
            "negated",
            "the input has the other sign: a flow's displacements point the other way",
            "takes the values as they are given",
            "values negated",
            lambda x: -x,
        )


def _ranges(given: Tensor) -> Iterator[_Feed]:
    cause = "the input's values are in another range than the first layer expects"
    low, high = float(given.min()), float(given.max())
    has = f"takes values from {low:.3g} to {high:.3g}"
    if low < 0 and max(-low, high) <= 1.001:
        ranges = {
            "0 to 255": lambda x: (x + 1) * 127.5,
            "0 to 1": lambda x: (x + 1) / 2,
            "-0.5 to 0.5": lambda x: x / 2,
            "-128 to 127": lambda x: x * 127.5,
        }
    elif high <= 1.001:
        ranges = {
            "-1 to 1": lambda x: 2 * x - 1,
            "0 to 255": lambda x: x * 255,
            "-0.5 to 0.5": lambda x: x - 0.5,
        }
    else:
        ranges = {"-1 to 1": lambda x: x / 127.5 - 1, "0 to 1": lambda x: x / 255}
    for name, function in ranges.items():
        yield name, cause, has, f"values from {name}", function
    if given.ndim > 2 and given.shape[1] == 3 and low >= 0:
        scale = 1 if high <= 1.001 else 255
        yield (
            "ImageNet",
            cause,
            has,
            "values less ImageNet's mean, over its deviation",
            lambda x: (x / scale - _colors(x, _MEAN)) / _colors(x, _DEVIATION),
        )


def _axes(given: Tensor) -> Iterator[_Feed]:
    cause = "the input's axes are mistaken for each other"
    names = {3: "w", 4: "hw", 5: "thw"}.get(given.ndim, "")
    for index, name in enumerate(names):
        axis = 2 + index
        if given.shape[axis] > 1:
            yield (
                f"mirrored {name}",
                f"the input is mirrored along {name}",
                "takes it as given",
                f"mirrored along {name}",
                partial(torch.flip, dims=(axis,)),
            )
    if given.ndim >= 4 and given.shape[-1] == given.shape[-2]:
        yield (
            "h w",
            cause,
            "takes height and width as given",
            "the two exchanged",
            lambda x: x.transpose(-1, -2),
        )
    if given.ndim >= 4:
        yield (
            "reshaped",
            "the input was reshaped where its axes should have been moved (channels last to channels first)",
            "takes it with its axes moved",
            "the same numbers, reshaped",
            lambda x: x.movedim(1, -1).reshape(x.shape),
        )


def _colors(like: Tensor, numbers: tuple[float, ...]) -> Tensor:
    return torch.tensor(numbers, dtype=like.dtype, device=like.device).reshape(1, -1, *(1,) * (like.ndim - 2))


@contextmanager
def _fed(model: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    handle = model.register_forward_pre_hook(lambda _, args: (function(args[0]), *args[1:]))
    try:
        yield
    finally:
        handle.remove()
