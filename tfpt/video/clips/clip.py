"""A clip that has been opened but not read: its location, the kind of its frames, and their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

Kind = Literal["pictures", "flow", "values"]


@dataclass(frozen=True)
class Frame:
    """One frame: its time, in seconds from the first frame, and a function to read its pixels.

    Attributes:
        time: When it appears.
        end: When it disappears; ``None`` if the file does not say.
        read: Returns the pixels, (height, width, channels). Only frames that are used are decoded to pixels.
    """

    time: Fraction
    end: Fraction | None
    read: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Clip:
    """A clip whose frames are still in the file: an hour of video would not fit into memory.

    Attributes:
        location: The file or folder, as the user named it.
        kind: What the frames are. ``pictures``: uint8, RGB, of any size. ``flow``: float32 with two channels, optical
            flow divided by 20 pixels. ``values``: float32, already prepared for a network.
        size: Height and width of the frames.
        fps: Frames per second; ``None`` if the file does not say (frame times then follow the default rate given to
            `open_clip`).
        frames: Yields the frames in order. May skip frames before the given time (in seconds).
        length: The number of frames; ``None`` for a video, which would have to be decoded to count them.
        tick: The unit to which the file rounds its times, in seconds.
        note: A note for the user about the origin of the frames.
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
    """A frame rate as an exact fraction of its decimal notation.

    Example:
        >>> rate(29.97), rate(25.0)
        (Fraction(2997, 100), Fraction(25, 1))
    """
    return fps if isinstance(fps, Fraction) else Fraction(str(fps))


def evenly(number: int, fps: Fraction, read: Callable[[int], np.ndarray]) -> Iterator[Frame]:
    """`number` frames at a constant rate; `read` returns the pixels of a frame by its index.

    Example:
        >>> [(float(frame.time), frame.end) for frame in evenly(2, Fraction(10), lambda k: np.zeros((1, 1, 3)))]
        [(0.0, Fraction(1, 10)), (0.1, Fraction(1, 5))]
    """
    for index in range(number):
        yield Frame(index / fps, (index + 1) / fps, lambda index=index: read(index))  # type: ignore[misc]
