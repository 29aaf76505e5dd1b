"""A clip of any length in windows that a network takes one at a time."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, cycle, islice

import numpy as np

# What video networks are trained on (Carreira and Zisserman, arXiv:1705.07750); of a clip too long to go in as one.
LENGTH = 64

# Up to so many frames a clip is one window: twelve seconds, so that the ten seconds of Kinetics are, as in that paper's
# tests. The largest network at hand then takes 1.9 GB (5 MB a frame of 224 by 224, measured from 64 to 300).
WHOLE = 300


def windows(
    frames: Iterable[np.ndarray],
    *,
    window: int | None = None,
    stride: int | None = None,
    loop: bool = False,
) -> Iterator[np.ndarray]:
    """The windows of a clip, each as soon as its last frame is there; no more than one of them is held.

    Windows begin at 0, stride, 2 × stride, … If frames are left behind the last one, one more window ends with the
    clip, so that every frame counts. A clip shorter than a window is one window, as long as it is.

    Args:
        frames: Arrays of one shape.
        window: Frames of a window. Unless given, a clip of up to 300 frames is one window, and a longer one is cut
            into windows of 64.
        stride: From the beginning of one to that of the next; as long as the window unless given.
        loop: Repeat a shorter clip from its beginning until the window (of 64, unless given) is full.

    Yields:
        Arrays of (frames, *shape of a frame).

    Example:
        >>> frames = [np.array([k]) for k in range(7)]
        >>> [array.ravel().tolist() for array in windows(frames, window=3)]
        [[0, 1, 2], [3, 4, 5], [4, 5, 6]]
        >>> [array.ravel().tolist() for array in windows(frames, window=3, stride=2)]
        [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
        >>> [array.ravel().tolist() for array in windows(frames[:2], window=5, loop=True)]
        [[0, 1, 0, 1, 0]]
    """
    frames = iter(frames)
    if window is None and stride is None:
        first = list(islice(frames, WHOLE + 1))
        if len(first) <= WHOLE and not (loop and len(first) < LENGTH):
            if first:
                yield np.stack(first)
            return
        frames = chain(_handed_over(first), frames)
    window = min(window or LENGTH, sys.maxsize)
    stride = stride or window
    # A window is complete when its last frame comes, and then is the last `window` frames that came.
    held: deque[np.ndarray] = deque(maxlen=window)
    count, complete, covered = 0, window, 0
    for frame in frames:
        held.append(frame)
        count += 1
        if count == complete:
            yield np.stack(held)
            complete, covered = complete + stride, count
    if 0 < count < window:
        yield np.stack(list(islice(cycle(held), window)) if loop else held)
    elif count > covered:
        yield np.stack(held)


def _handed_over(frames: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The frames one after the other, none kept."""
    frames.reverse()
    while frames:
        yield frames.pop()
