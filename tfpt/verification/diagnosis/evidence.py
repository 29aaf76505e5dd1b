"""Evidence from the difference itself: where it is and what it looks like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfpt.networks.endpoints import Endpoint
from tfpt.networks.recording.recordings import RecordedEndpoint
from tfpt.verification.agreement import reals
from tfpt.verification.diagnosis.trace import FunctionCall

# A value counts as different from this share of the largest value on; a wrong layer changes most values by ten times
# as much.
_SIGNIFICANT = 1e-4
# A rule explains a difference if it leaves no more than this share of it.
_MAX_REMAINDER = 0.02
# Fewer samples than this are not enough to judge a part of an activation.
_MIN_SAMPLES = 8
_MAX_CHANNELS = 512


@dataclass(frozen=True)
class Sign:
    """Something that the difference shows, and the causes that it suggests."""

    shows: str
    suggests: str


@dataclass(frozen=True)
class Difference:
    """Recorded and computed values of one endpoint, at the recorded positions.

    Attributes:
        computed, recorded: The values, flattened, in float64.
        indices: For each axis, in TensorFlow's order, the index of each value along it.
        shape: The shape of the whole activation.
        channel: The axis of the channels.
    """

    computed: np.ndarray
    recorded: np.ndarray
    indices: tuple[np.ndarray, ...]
    shape: tuple[int, ...]
    channel: int

    @classmethod
    def of(cls, recorded: RecordedEndpoint, computed: np.ndarray, endpoint: Endpoint) -> Difference:
        """The difference at the recorded positions of an array of the endpoint's shape."""
        return cls(
            reals(recorded.samples_of(computed)),
            reals(recorded.values),
            indices_of(recorded, computed),
            computed.shape or (1,),
            channel_axis(endpoint, computed.ndim),
        )

    @property
    def differs(self) -> np.ndarray:
        """Which values differ by more than rounding."""
        with np.errstate(invalid="ignore"):
            close: np.ndarray = np.abs(self.computed - self.recorded) <= _SIGNIFICANT * np.abs(
                self.recorded
            ).max(initial=0.0)
        return ~close


def indices_of(recorded: RecordedEndpoint, computed: np.ndarray) -> tuple[np.ndarray, ...]:
    """For each axis, the index of each of the recorded `reals` along it; a scalar counts as one axis of size 1."""
    positions = recorded.samples_of(np.arange(computed.size).reshape(computed.shape)).reshape(-1)
    if recorded.values.dtype.kind == "c":
        positions = np.tile(positions, 2)
    return np.unravel_index(positions, computed.shape or (1,))


def is_constant(values: np.ndarray) -> bool:
    """Whether all values are equal, so that agreement proves nothing; a single value proves nothing only if 0.

    Example:
        >>> is_constant(np.zeros((2, 3))), is_constant(np.ones(3)), is_constant(np.ones(1)), is_constant(np.arange(3))
        (True, True, False, False)
    """
    return bool((values == values.reshape(-1)[:1]).all()) and (values.size > 1 or not values.any())


def channel_axis(endpoint: Endpoint, dimensions: int) -> int:
    """Which of TensorFlow's axes has the channels: PyTorch's second if the axes are exchanged, otherwise the last."""
    second = max(0, min(1, dimensions - 1))
    layout = endpoint.layout
    if layout is None or layout.left == layout.right:
        return max(0, dimensions - 1)
    if len(layout.right) != len(layout.left) or len(layout.right) != dimensions:
        return second
    # PyTorch may have merged several of TensorFlow's axes.
    return layout.left.index(layout.right[second]) if layout.right[second] in layout.left else second


def signs(difference: Difference) -> Iterator[Sign]:
    """What the difference shows, most informative first.

    Example:
        >>> b = np.arange(40.0).reshape(1, 5, 8)
        >>> indices = np.unravel_index(np.arange(40), b.shape)
        >>> found = Difference(3 * b.reshape(-1), b.reshape(-1), indices, b.shape, 2)
        >>> [sign.shows for sign in signs(found)]
        ['every value is 3 times the recorded one']
    """
    a, b = difference.computed, difference.recorded
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        side = "the model" if not np.isfinite(a).all() else "the recording"
        number = int((~np.isfinite(a)).sum() or (~np.isfinite(b)).sum())
        yield Sign(f"{number} of {a.size} values of {side} are not finite", "a variance below 0, or overflow")
        return
    if not difference.differs.any():
        yield Sign(
            "no compared value differs by more than rounding",
            "rounding: try --dtype float64, which leaves only TensorFlow's rounding, or a larger --tolerance",
        )
        return
    if is_constant(b):
        yield Sign(
            f"every recorded value is {b[0]:g}",
            "an input that activates too little of the network: record another one",
        )
        return
    yield from _sign_of_relu(a, b)
    if scale := list(_sign_of_scale(a, b)):
        yield from scale
        return
    yield from _sign_at_border(difference)
    yield from _sign_by_step(difference)
    yield from _sign_by_channel(difference)
    yield from _sign_of_channel_order(difference)


def agreeing_branches(difference: Difference, concatenation: FunctionCall) -> list[str]:
    """The concatenated branches whose values agree, by the modules that produced them."""
    if difference.channel >= len(difference.shape) or len(set(concatenation.sources)) < len(
        concatenation.sources
    ):
        return []
    widths = [shape[1] if len(shape) > 1 else 0 for shape in concatenation.shapes]
    if sum(widths) != difference.shape[difference.channel]:
        return []
    channels, differs = difference.indices[difference.channel], difference.differs
    found, begin = [], 0
    for source, width in zip(concatenation.sources, widths, strict=True):
        inside = (channels >= begin) & (channels < begin + width)
        if source and inside.sum() >= _MIN_SAMPLES and not differs[inside].any():
            found.append(source)
        begin += width
    return found


def differing_channels(difference: Difference) -> str:
    """Which channels differ, in words; empty if all of them do."""
    channels = difference.indices[difference.channel]
    bad = sorted(set(channels[difference.differs].tolist()))
    seen = set(channels.tolist())
    if not bad or len(bad) == len(seen) or difference.channel == 0:
        return ""
    inside = {channel for channel in seen if bad[0] <= channel <= bad[-1]}
    if len(inside) == len(bad):
        return f"only channels {bad[0]} to {bad[-1]} of {difference.shape[difference.channel]} differ"
    return f"{len(bad)} of {len(seen)} channels differ"


def _sign_of_relu(a: np.ndarray, b: np.ndarray) -> Iterator[Sign]:
    small = _SIGNIFICANT * float(np.abs(b).max(initial=0.0))
    if b.min() >= 0 and a.min() < -small and np.allclose(np.maximum(a, 0), b, rtol=0, atol=small):
        yield Sign(
            "the model's values are negative where the recorded ones are 0, and agree elsewhere",
            "a missing ReLU",
        )
    elif a.min() >= 0 and b.min() < -small and np.allclose(np.maximum(b, 0), a, rtol=0, atol=small):
        yield Sign(
            "the recorded values are negative where the model's are 0, and agree elsewhere",
            "a superfluous ReLU",
        )


def _sign_of_scale(a: np.ndarray, b: np.ndarray) -> Iterator[Sign]:
    norm = float(b @ b)
    factor = float(a @ b) / norm if norm else 0.0
    if factor and _explains(a - factor * b, a - b):
        yield Sign(
            f"every value is {factor:.5g} times the recorded one",
            "a factor: the range of the input, a scale, or a sum instead of a mean",
        )


def _sign_at_border(difference: Difference) -> Iterator[Sign]:
    differs = difference.differs
    axes = [axis for axis in range(1, len(difference.shape)) if axis != difference.channel]
    border = np.zeros(differs.shape, bool)
    for axis in axes:
        size, place = difference.shape[axis], difference.indices[axis]
        if size >= 4:
            border |= (place < 1 + size // 16) | (place >= size - 1 - size // 16)
    if border.any() and not border.all() and not differs[~border].any():
        yield Sign(
            "only values at the border differ",
            "padding: uneven SAME padding, or an average that counts its padding",
        )


def _sign_by_step(difference: Difference) -> Iterator[Sign]:
    """Which steps of a sequence, [batch, steps, channels], differ, if the first or the last do not."""
    if len(difference.shape) != 3 or difference.channel != 2:
        return
    steps, differs = difference.indices[1], difference.differs
    bad = sorted(set(steps[differs].tolist()))
    seen = sorted(set(steps.tolist()))
    if len(bad) == len(seen) or bad != list(range(bad[0], bad[-1] + 1)):
        return
    which = f"steps {bad[0]} to {bad[-1]}" if len(bad) > 1 else f"step {bad[0]}"
    if bad[0] > seen[0]:
        suggests = "a causal mask, the padding of a sequence, or the state of a recurrent layer"
    else:
        suggests = "a causal mask, the direction of a recurrent layer, or the padding of a sequence"
    yield Sign(f"only {which} of {difference.shape[1]} differ", suggests)


def _sign_by_channel(difference: Difference) -> Iterator[Sign]:
    """Whether each channel is a multiple of the recorded one, or differs from it by a constant."""
    channels = difference.indices[difference.channel]
    if difference.channel == 0 or difference.shape[difference.channel] < 2:
        return
    groups = [np.flatnonzero(channels == channel) for channel in np.unique(channels)]
    groups = [group for group in groups if group.size >= _MIN_SAMPLES // 2]
    if sum(group.size for group in groups) < difference.computed.size // 2:
        return
    scaled, moved = np.zeros_like(difference.computed), np.zeros_like(difference.computed)
    used = np.concatenate(groups)
    for group in groups:
        a, b = difference.computed[group], difference.recorded[group]
        square = float(b @ b)
        scaled[group] = a - (float(a @ b) / square if square else 0.0) * b
        # After a ReLU, values that were clipped to 0 show nothing.
        known = (a != 0) & (b != 0)
        moved[group] = np.where(known, a - b - (np.median((a - b)[known]) if known.any() else 0.0), 0.0)
    apart = difference.computed[used] - difference.recorded[used]
    if _explains(scaled[used], apart):
        yield Sign(
            "each channel is the recorded one times its own factor",
            "a normalization's epsilon, variance or gamma",
        )
    elif _explains(moved[used], apart):
        yield Sign(
            "each channel differs from the recorded one by its own constant",
            "a bias, or a normalization's beta or mean",
        )
    elif text := differing_channels(difference):
        yield Sign(text, "one branch or group of filters")


def _sign_of_channel_order(difference: Difference) -> Iterator[Sign]:
    """Whether the channels are the recorded ones in another order; needs the whole activation."""
    axis = difference.channel
    if difference.computed.size != np.prod(difference.shape) or axis == 0:
        return
    number = difference.shape[axis]
    if not 2 <= number <= _MAX_CHANNELS or difference.computed.size // number < 2:
        return
    a, b = (
        np.moveaxis(values.reshape(difference.shape), axis, 0).reshape(number, -1)
        for values in (difference.computed, difference.recorded)
    )
    order = _matching(a, b)
    if order is not None:
        first = next(index for index, other in enumerate(order) if index != other)
        yield Sign(
            f"the channels are the recorded ones in another order: channel {first} is the recorded {order[first]}",
            "branches concatenated in another order, groups of filters, or a wrong layout in the mapping",
        )


def _matching(a: np.ndarray, b: np.ndarray) -> Sequence[int] | None:
    """For each row of `a` the equal row of `b`, if that is a permutation other than the identity."""
    lengths = np.linalg.norm(a, axis=1)[:, None], np.linalg.norm(b, axis=1)[None]
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.nan_to_num((a @ b.T) / (lengths[0] * lengths[1]))
    order = [int(index) for index in alike.argmax(1)]
    moved = order != list(range(len(order)))
    return (
        order
        if moved and sorted(order) == list(range(len(order))) and _explains(a - b[order], a - b)
        else None
    )


def _explains(rest: np.ndarray, apart: np.ndarray) -> bool:
    """Whether hardly anything is left of a difference."""
    return float(np.linalg.norm(rest)) <= _MAX_REMAINDER * float(np.linalg.norm(apart))
