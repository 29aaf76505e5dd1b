"""Causes in the input: channels in another order, values in another range, exchanged or mirrored axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from tfpt.verification.diagnosis.changes import Change, Hypothesis
from tfpt.verification.diagnosis.trace import Context

# The mean and standard deviation of ImageNet's colors, by which many ports normalize their input.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def inputs(context: Context) -> Iterator[Hypothesis]:
    """Other forms that the input may need, if the span starts at the input."""
    given = context.inputs
    if context.trace.from_start and isinstance(given, Tensor):
        yield from _reversed_steps(context, given)
    if not context.trace.from_start or not isinstance(given, Tensor) or not given.is_floating_point():
        return
    for value, cause, actual, expected, function in [*_channels(given), *_ranges(given), *_axes(given)]:
        change = Change("", actual, expected, partial(_transformed, context.model, function))
        advice = (
            f"apply this to the input ({expected}), or to the first layer's weights if those are wrong; "
            "the mapping's input: describes what the network is fed"
        )
        yield Hypothesis("input", value, cause, ((change,),), advice)


def _reversed_steps(context: Context, given: Tensor) -> Iterator[Hypothesis]:
    """A sequence, [batch, steps] of ids or [batch, steps, channels], from its end."""
    if (given.ndim == 3 or (given.ndim == 2 and not given.is_floating_point())) and given.shape[1] > 1:
        function = partial(torch.flip, dims=(1,))
        words = "takes the steps of its input as given", "the steps from the last to the first"
        yield Hypothesis(
            "input",
            "reversed steps",
            "the steps of the input are in the other direction",
            ((Change("", *words, partial(_transformed, context.model, function)),),),
            "reverse the sequence",
        )


def affine_input(model: nn.Module, numbers: Sequence[float], reverse: bool) -> Hypothesis:
    """The input minus a mean, divided by a deviation, for each channel.

    Args:
        numbers: The means of all channels, followed by their deviations.
        reverse: Whether the channels are reversed before.
    """
    means, deviations = numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]
    texts = [", ".join(f"{number:.6g}" for number in one) for one in (means, deviations)]
    order = "channels reversed, " if reverse else ""
    expected = f"{order}values minus ({texts[0]}), divided by ({texts[1]})"

    def function(x: Tensor) -> Tensor:
        x = x.flip(1) if reverse else x
        return (x - _colors(x, tuple(means))) / _colors(x, tuple(deviations))

    return Hypothesis(
        "input",
        expected,
        "the input's values are in another range than the first layer expects",
        ((Change("", "takes its input as given", expected, partial(_transformed, model, function)),),),
        f"apply this to the input ({expected}), or to the first layer's weights if those are wrong; "
        "the mapping's input: describes what the network is fed",
    )


_Form = tuple[str, str, str, str, Callable[[Tensor], Tensor]]


def _channels(given: Tensor) -> Iterator[_Form]:
    number = given.shape[1] if given.ndim > 2 else 0
    if 2 <= number <= 4:
        kind = "RGB where BGR is expected, or the reverse" if number == 3 else "reversed"
        yield (
            "reversed channels",
            f"the input's channels are in another order than the first layer expects: {kind}",
            "takes the channels as given",
            "channels reversed",
            lambda x: x.flip(1),
        )
    if number == 2:
        yield (
            "negated",
            "the input has the opposite sign: the flow's displacements point the other way",
            "takes the values as given",
            "values negated",
            lambda x: -x,
        )


def _ranges(given: Tensor) -> Iterator[_Form]:
    cause = "the input's values are in another range than the first layer expects"
    low, high = float(given.min()), float(given.max())
    actual = f"takes values from {low:.3g} to {high:.3g}"
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
        yield name, cause, actual, f"values from {name}", function
    if given.ndim > 2 and given.shape[1] == 3 and low >= 0:
        scale = 1 if high <= 1.001 else 255
        yield (
            "ImageNet",
            cause,
            actual,
            "values minus ImageNet's mean, divided by its standard deviation",
            lambda x: (x / scale - _colors(x, _MEAN)) / _colors(x, _DEVIATION),
        )


def _axes(given: Tensor) -> Iterator[_Form]:
    cause = "axes of the input are exchanged"
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
            "height and width exchanged",
            lambda x: x.transpose(-1, -2),
        )
    if given.ndim >= 4:
        yield (
            "reshaped",
            "the input was reshaped where its axes should have been transposed (channels last to channels first)",
            "takes it transposed",
            "the same values, reshaped",
            lambda x: x.movedim(1, -1).reshape(x.shape),
        )


def _colors(like: Tensor, numbers: tuple[float, ...]) -> Tensor:
    return torch.tensor(numbers, dtype=like.dtype, device=like.device).reshape(1, -1, *(1,) * (like.ndim - 2))


@contextmanager
def _transformed(model: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    handle = model.register_forward_pre_hook(lambda _, args: (function(args[0]), *args[1:]))
    try:
        yield
    finally:
        handle.remove()
