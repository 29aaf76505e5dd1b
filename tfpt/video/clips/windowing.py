"""Cutting a clip of any length into windows, which are run one at a time."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, cycle, islice

import numpy as np

# The window length for long clips: what video networks are trained on (Carreira and Zisserman, arXiv:1705.07750).
LENGTH = 64

# A clip of up to this many frames is one window: twelve seconds, more than the ten seconds of Kinetics, which that
# paper's tests classify whole. I3D then takes 1.9 GB (5 MB per frame of 224 by 224, measured from 64 to 300).
WHOLE = 300


def windows(
    frames: Iterable[np.ndarray],
    *,
    window: int | None = None,
    stride: int | None = None,
    loop: bool = False,
) -> Iterator[np.ndarray]:
    """The windows of a clip, each as soon as its last frame is available; only one is in memory at a time.

    Windows start at 0, stride, 2 × stride, … If frames remain after the last one, one more window is aligned with the
    end of the clip, so that every frame counts. A clip shorter than a window is a single, shorter window.

    Args:
        frames: Arrays of one shape.
        window: Frames per window. By default, a clip of up to 300 frames is one window, and a longer one is cut into
            windows of 64.
        stride: Frames from the start of one window to the next. By default, the length of a window.
        loop: Repeat a shorter clip until it fills the window (64 by default).

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
        frames = chain(_consumed(first), frames)
    window = min(window or LENGTH, sys.maxsize)
    stride = stride or window
    # A window is complete when its last frame arrives; it then consists of the last `window` frames.
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


def _consumed(frames: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the frames and releases each."""
    frames.reverse()
    while frames:
        yield frames.pop()
