"""Frames at a steady rate from frames at any times."""

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
    """At each of the times start, start + 1/fps, start + 2/fps, … the frame that is shown then.

    That is the nearest frame not later: from 50 frames a second every second one is taken for 25, from 24 one
    is repeated each second. The last frame is shown for as long as the file says, else for as long as the one
    before it. Times are fractions, so that whole ratios come out exactly.

    Args:
        frames: In the order of their times; the first one counts as shown from the beginning.
        fps: The rate wanted; ``None`` for every frame as it is.
        start, end: Seconds; times from `start` on and before `end` are taken.
        tick: The unit to which the times are rounded. A frame up to half of it later than its time counts as not
            later: Matroska's milliseconds put the second frame of 15 a second at 0.067, after its 1/15.
        location: The clip, for the error.

    Raises:
        SourceError: The times run backwards.

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
        "the times of the video's frames run backwards",
        where=location,
        got=f"{float(after):.3f} s after {float(before):.3f} s",
        hint="--fps RATE takes the frames as evenly spaced",
    )
