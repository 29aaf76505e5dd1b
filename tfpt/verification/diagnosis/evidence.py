"""Evidence: what the difference itself says, where it lies and what it looks like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tfpt.networks.endpoints import Endpoint
from tfpt.networks.recording.recordings import RecordedEndpoint
from tfpt.verification.agreement import reals
from tfpt.verification.diagnosis.trace import Called

# A value counts as off by this share of the largest; a tenth of what a wrong layer makes of most values.
_OFF = 1e-4
# What a rule that accounts for a difference may leave of it.
_LEFT = 0.02
# Fewer samples than that say nothing about a part of an activation.
_ENOUGH = 8
_MOST_CHANNELS = 512


@dataclass(frozen=True)
class Sign:
    """One thing that the difference shows, and what it is usually a sign of."""

    shows: str
    suggests: str


@dataclass(frozen=True)
class Difference:
    """Recorded and computed values of one endpoint, at the recorded positions.

    Attributes:
        a, b: Computed and recorded, in float64, along one axis.
        places: For each axis, in TensorFlow's order, where each value stands along it.
        shape: Of the whole activation.
        channel: The axis of the channels.
    """

    a: np.ndarray
    b: np.ndarray
    places: tuple[np.ndarray, ...]
    shape: tuple[int, ...]
    channel: int

    @classmethod
    def of(cls, recorded: RecordedEndpoint, computed: np.ndarray, endpoint: Endpoint) -> Difference:
        """The difference at the recorded positions of an array of the endpoint's shape."""
        return cls(
            reals(recorded.samples_of(computed)),
            reals(recorded.values),
            places_of(recorded, computed),
            computed.shape or (1,),
            channel_axis(endpoint, computed.ndim),
        )

    @property
    def off(self) -> np.ndarray:
        """Which values differ by more than rounding."""
        with np.errstate(invalid="ignore"):
            close: np.ndarray = np.abs(self.a - self.b) <= _OFF * np.abs(self.b).max(initial=0.0)
        return ~close


def places_of(recorded: RecordedEndpoint, computed: np.ndarray) -> tuple[np.ndarray, ...]:
    """For each axis, where each of the recorded `reals` stands along it; a number alone has one axis of one place."""
    positions = recorded.samples_of(np.arange(computed.size).reshape(computed.shape)).reshape(-1)
    if recorded.values.dtype.kind == "c":
        positions = np.tile(positions, 2)
    return np.unravel_index(positions, computed.shape or (1,))


def constant(values: np.ndarray) -> bool:
    """Whether values are all alike, and so say nothing; a number alone says something unless it is 0.

    Example:
        >>> constant(np.zeros((2, 3))), constant(np.ones(3)), constant(np.ones(1)), constant(np.arange(3))
        (True, True, False, False)
    """
    return bool((values == values.reshape(-1)[:1]).all()) and (values.size > 1 or not values.any())


def channel_axis(endpoint: Endpoint, dimensions: int) -> int:
    """Which of TensorFlow's axes holds what PyTorch has second: the channels."""
    second = max(0, min(1, dimensions - 1))
    layout = endpoint.layout
    if layout is None or len(layout.right) != len(layout.left) or len(layout.right) != dimensions:
        return second
    # Several of TensorFlow's axes may be one of PyTorch's.
    return layout.left.index(layout.right[second]) if layout.right[second] in layout.left else second


def signs(difference: Difference) -> Iterator[Sign]:
    """What the difference shows, the most telling first.

    Example:
        >>> b = np.arange(40.0).reshape(1, 5, 8)
        >>> places = np.unravel_index(np.arange(40), b.shape)
        >>> found = Difference(3 * b.reshape(-1), b.reshape(-1), places, b.shape, 2)
        >>> [sign.shows for sign in signs(found)]
        ['every value is 3 times the recorded one']
    """
    a, b = difference.a, difference.b
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        side = "the model" if not np.isfinite(a).all() else "the recording"
        number = int((~np.isfinite(a)).sum() or (~np.isfinite(b)).sum())
        yield Sign(f"{number} of {a.size} values of {side} are not finite", "a variance below 0, or overflow")
        return
    if not difference.off.any():
        yield Sign(
            "no compared value is off by more than rounding makes",
            "rounding: try --dtype float64, which leaves only TensorFlow's own; or a larger --tolerance",
        )
        return
    if constant(b):
        yield Sign(f"every recorded value is {b[0]:g}", "an input that says too little: record another one")
        return
    yield from _sign_of_relu(a, b)
    if scale := list(_of_scale(a, b)):
        yield from scale
        return
    yield from _at_the_border(difference)
    yield from _by_channel(difference)
    yield from _moved_channels(difference)


def agreeing_pieces(difference: Difference, pieces: Called) -> list[str]:
    """Of concatenated branches those whose values agree, by the modules that made them."""
    if difference.channel >= len(difference.shape) or len(set(pieces.sources)) < len(pieces.sources):
        return []
    widths = [shape[1] if len(shape) > 1 else 0 for shape in pieces.shapes]
    if sum(widths) != difference.shape[difference.channel]:
        return []
    channels, off = difference.places[difference.channel], difference.off
    found, begin = [], 0
    for source, width in zip(pieces.sources, widths, strict=True):
        inside = (channels >= begin) & (channels < begin + width)
        if source and inside.sum() >= _ENOUGH and not off[inside].any():
            found.append(source)
        begin += width
    return found


def off_channels(difference: Difference) -> str:
    """Which channels differ, in words, where not all of them do; else empty."""
    channels = difference.places[difference.channel]
    bad = sorted(set(channels[difference.off].tolist()))
    seen = set(channels.tolist())
    if not bad or len(bad) == len(seen) or difference.channel == 0:
        return ""
    inside = {channel for channel in seen if bad[0] <= channel <= bad[-1]}
    if len(inside) == len(bad):
        return f"only channels {bad[0]} to {bad[-1]} of {difference.shape[difference.channel]} differ"
    return f"{len(bad)} of {len(seen)} channels differ"


def _sign_of_relu(a: np.ndarray, b: np.ndarray) -> Iterator[Sign]:
    small = _OFF * float(np.abs(b).max(initial=0.0))
    if b.min() >= 0 and a.min() < -small and np.allclose(np.maximum(a, 0), b, rtol=0, atol=small):
        yield Sign(
            "where the recorded value is 0 the model's is negative, and all others agree", "a missing ReLU"
        )
    elif a.min() >= 0 and b.min() < -small and np.allclose(np.maximum(b, 0), a, rtol=0, atol=small):
        yield Sign(
            "where the model's value is 0 the recorded one is negative, all others agree", "a ReLU too many"
        )


def _of_scale(a: np.ndarray, b: np.ndarray) -> Iterator[Sign]:
    norm = float(b @ b)
    factor = float(a @ b) / norm if norm else 0.0
    if factor and _accounts(a - factor * b, a - b):
        yield Sign(
            f"every value is {factor:.5g} times the recorded one",
            "a factor: the range of the input, a scale, or a sum in place of a mean",
        )


def _at_the_border(difference: Difference) -> Iterator[Sign]:
    off = difference.off
    axes = [axis for axis in range(1, len(difference.shape)) if axis != difference.channel]
    border = np.zeros(off.shape, bool)
    for axis in axes:
        size, place = difference.shape[axis], difference.places[axis]
        if size >= 4:
            border |= (place < 1 + size // 16) | (place >= size - 1 - size // 16)
    if border.any() and not border.all() and not off[~border].any():
        yield Sign("only values at the border differ", "padding: uneven SAME pads, or pads that are counted")


def _by_channel(difference: Difference) -> Iterator[Sign]:
    """Whether each channel is a multiple of the recorded one, or lies a constant above it."""
    channels = difference.places[difference.channel]
    if difference.channel == 0 or difference.shape[difference.channel] < 2:
        return
    groups = [np.flatnonzero(channels == channel) for channel in np.unique(channels)]
    groups = [group for group in groups if group.size >= _ENOUGH // 2]
    if sum(group.size for group in groups) < difference.a.size // 2:
        return
    scaled, moved = np.zeros_like(difference.a), np.zeros_like(difference.a)
    used = np.concatenate(groups)
    for group in groups:
        a, b = difference.a[group], difference.b[group]
        square = float(b @ b)
        scaled[group] = a - (float(a @ b) / square if square else 0.0) * b
        # Behind a ReLU what was cut off says nothing.
        seen = (a != 0) & (b != 0)
        moved[group] = np.where(seen, a - b - (np.median((a - b)[seen]) if seen.any() else 0.0), 0.0)
    apart = difference.a[used] - difference.b[used]
    if _accounts(scaled[used], apart):
        yield Sign(
            "each channel is the recorded one times a factor of its own",
            "a normalization's epsilon, variance or gamma",
        )
    elif _accounts(moved[used], apart):
        yield Sign(
            "each channel lies a constant of its own off the recorded one",
            "a bias, or a normalization's beta or mean",
        )
    elif text := off_channels(difference):
        yield Sign(text, "one branch or group of filters")


def _moved_channels(difference: Difference) -> Iterator[Sign]:
    """Whether the channels are the recorded ones in another order: for whole activations alone."""
    axis = difference.channel
    if difference.a.size != np.prod(difference.shape) or axis == 0:
        return
    number = difference.shape[axis]
    if not 2 <= number <= _MOST_CHANNELS or difference.a.size // number < 2:
        return
    a, b = (
        np.moveaxis(values.reshape(difference.shape), axis, 0).reshape(number, -1)
        for values in (difference.a, difference.b)
    )
    order = _matching(a, b)
    if order is not None:
        first = next(index for index, other in enumerate(order) if index != other)
        yield Sign(
            f"the channels are the recorded ones in another order: channel {first} is the recorded {order[first]}",
            "branches concatenated in another order, groups of filters, or a layout's letters",
        )


def _matching(a: np.ndarray, b: np.ndarray) -> Sequence[int] | None:
    """For each row of `a` the equal row of `b`, if that is an order other than the one they have."""
    lengths = np.linalg.norm(a, axis=1)[:, None], np.linalg.norm(b, axis=1)[None]
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.nan_to_num((a @ b.T) / (lengths[0] * lengths[1]))
    order = [int(index) for index in alike.argmax(1)]
    moved = order != list(range(len(order)))
    return (
        order
        if moved and sorted(order) == list(range(len(order))) and _accounts(a - b[order], a - b)
        else None
    )


def _accounts(rest: np.ndarray, apart: np.ndarray) -> bool:
    """Whether hardly anything of a difference is left."""
    return float(np.linalg.norm(rest)) <= _LEFT * float(np.linalg.norm(apart))
