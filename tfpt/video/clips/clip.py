"""A clip that has been recognized and not yet read: where it is, what its frames hold, and when they are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

Kind = Literal["pictures", "flow", "values"]


@dataclass(frozen=True)
class Frame:
    """One frame: when it is shown, in seconds from the clip's first, and how to get at its pixels.

    Attributes:
        time: When it appears.
        end: When it disappears; ``None`` where the file does not say.
        read: Gives the pixels, (height, width, channels). A decoder does this work only for frames that are used.
    """

    time: Fraction
    end: Fraction | None
    read: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Clip:
    """A clip, its frames still in the file: an hour of video would not fit into memory.

    Attributes:
        location: The file or folder, as it was named.
        kind: What a frame holds. ``pictures``: uint8, RGB, of any size. ``flow``: float32 of two channels, optical
            flow as a share of 20 pixels. ``values``: float32, what a network is fed, prepared already.
        size: Height and width of the frames.
        fps: Frames a second; ``None`` where the file does not say (its frames then have the times of the rate that
            `open_clip` was told to take).
        frames: Yields the frames in order, those before a time (in seconds) perhaps left out.
        length: The number of frames; ``None`` for a video, of which only decoding tells.
        tick: The unit to which the file rounds its times, in seconds.
        note: What a reader should know about where the frames come from.
    """

    location: str
    kind: Kind
    size: tuple[int, int]
    fps: Fraction | None
    frames: Callable[[Fraction], Iterator[Frame]]
    length: int | None = None
    tick: Fraction = Fraction(0)
    note: str | None = None
    channels: int = 3


def rate(fps: float | Fraction) -> Fraction:
    """Frames a second, exactly as they were written.

    Example:
        >>> rate(29.97), rate(25.0)
        (Fraction(2997, 100), Fraction(25, 1))
    """
    return fps if isinstance(fps, Fraction) else Fraction(str(fps))


def evenly(number: int, fps: Fraction, read: Callable[[int], np.ndarray]) -> Iterator[Frame]:
    """So many frames at a steady rate; `read` gives the pixels of one by its number.

    Example:
        >>> [(float(frame.time), frame.end) for frame in evenly(2, Fraction(10), lambda k: np.zeros((1, 1, 3)))]
        [(0.0, Fraction(1, 10)), (0.1, Fraction(1, 5))]
    """
    for index in range(number):
        yield Frame(index / fps, (index + 1) / fps, lambda index=index: read(index))  # type: ignore[misc]
