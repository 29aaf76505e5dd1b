"""Sampling frames at a constant rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from tfpt.errors import SourceError
from tfpt.video.clips.clip import Frame


def sampled(
    frames: Iterable[Frame],
    fps: Fraction | None,
    *,
    start: Fraction = Fraction(0),
    end: Fraction | None = None,
    tick: Fraction = Fraction(0),
    location: str = "",
) -> Iterator[Frame]:
    """The frame shown at each of the times start, start + 1/fps, start + 2/fps, …

    That is the latest frame not after that time: going from 50 to 25 frames per second takes every second frame, from
    24 to 25 repeats one each second. The last frame is shown for its duration in the file, else as long as the one
    before it. Times are fractions, so that integer ratios are exact.

    Args:
        frames: In the order of their times; the first one counts as shown from the start.
        fps: The target rate; ``None`` to keep every frame.
        start, end: Seconds; from `start` to just before `end`.
        tick: The unit to which the times are rounded. A frame that is late by up to half a tick counts as on time:
            Matroska's milliseconds put the second frame at 15 frames per second at 0.067, later than 1/15.
        location: The clip, for errors.

    Raises:
        SourceError: The times are not in order.

    Example:
        >>> frames = [Frame(Fraction(k, 10), Fraction(k + 1, 10), lambda: None) for k in range(3)]
        >>> [float(frame.time) for frame in sampled(frames, Fraction(20))]
        [0.0, 0.0, 0.1, 0.1, 0.2, 0.2]
        >>> [float(frame.time) for frame in sampled(frames, Fraction(5))]
        [0.0, 0.2]
    """
    if fps is None:
        yield from _between(frames, start, end)
        return
    taken = 0
    current: Frame | None = None
    shown: Fraction | None = None
    for frame in frames:
        if current is not None:
            if frame.time < current.time:
                raise _backwards(location, current.time, frame.time)
            while (time := start + taken / fps) < frame.time - tick / 2:
                if end is not None and time >= end:
                    return
                yield current
                taken += 1
            shown = frame.time - current.time
        current = frame
    if current is None:
        return
    if current.end is not None and current.end > current.time:
        last = current.end - tick
    else:
        last = current.time + (shown or 1 / fps) - tick
    while (time := start + taken / fps) < last and (end is None or time < end):
        yield current
        taken += 1


def _between(frames: Iterable[Frame], start: Fraction, end: Fraction | None) -> Iterator[Frame]:
    for frame in frames:
        if end is not None and frame.time >= end:
            return
        if frame.time >= start:
            yield frame


def _backwards(location: str, before: Fraction, after: Fraction) -> SourceError:
    return SourceError(
        "the times of the video's frames are not in order",
        where=location,
        got=f"{float(after):.3f} s after {float(before):.3f} s",
        hint="--fps RATE ignores the times and assumes a constant rate",
    )
