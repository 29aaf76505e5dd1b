"""From a clip to a network's input, as its mapping describes it: sampled, resized, cropped, converted to flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from tfpt.errors import MappingError, SourceError, TfptError
from tfpt.language.mapping import Mapping
from tfpt.networks.inputs import input_axes
from tfpt.video.clips.arrays import value_range
from tfpt.video.clips.clip import Clip, Frame, rate
from tfpt.video.clips.flow import flows
from tfpt.video.clips.geometry import cropped, resized
from tfpt.video.clips.sampling import sampled

CHANNELS = {"rgb": 3, "flow": 2}

# How far values of a prepared clip may exceed the network's range: resampling can overshoot a little.
_SLACK = 0.01


def check_input(mapping: Mapping) -> None:
    """Check that a mapping's input is a clip or a picture.

    Raises:
        MappingError: It is not.
    """
    axes = set(input_axes(mapping))
    entry = mapping.input
    if entry.kind is None or not axes >= set("bhwc") or axes - set("bthwc"):
        raise MappingError(
            f"the mapping {mapping.name} does not say what kind of clip the network takes",
            where=str(mapping.path),
            expected='input: {kind: rgb, layout: "b t h w c -> b c t h w", range: [-1, 1], size: 224, fps: 25}',
            got=f"kind: {entry.kind}, layout: {entry.layout}",
        )


def check_clip(clip: Clip, mapping: Mapping) -> tuple[str, ...]:
    """Check that a clip fits a network; returns notes for the user.

    Raises:
        SourceError: The values have the wrong size, number of channels or range; or the clip is flow and the network
            takes pictures.
        MappingError: The mapping does not give the range to which pictures are scaled.
    """
    entry = mapping.input
    kind, size = str(entry.kind), entry.size
    notes = [clip.note] if clip.note else []
    if clip.kind == "pictures":
        if entry.range is None:
            raise MappingError(
                f"the mapping {mapping.name} does not give the range to which pictures are scaled",
                where=str(mapping.path),
                expected="input: with range, such as range: [-1, 1]",
            )
        if entry.fps is not None and clip.fps is None:
            notes.append(f"assuming {entry.fps:g} frames per second (--fps gives another rate)")
        elif (
            entry.fps is not None and clip.fps is not None and clip.fps < rate(entry.fps) * Fraction(98, 100)
        ):
            notes.append(
                f"{float(clip.fps):.4g} frames per second, repeated to get the network's {entry.fps:g}"
            )
        return tuple(notes)
    if clip.channels != CHANNELS[kind]:
        raise SourceError(
            f"the clip has {clip.channels} channels, but the network takes {CHANNELS[kind]}",
            where=clip.location,
            expected=f"kind: {kind}, as the mapping {mapping.name} says",
            got="drawn flow" if clip.kind == "flow" else f"values with {clip.channels} channels",
            hint="if this is the clip of another stream, put --clip after that stream's --mapping",
        )
    if size is not None and clip.size != (size, size):
        raise SourceError(
            "the prepared clip does not have the network's input size",
            where=clip.location,
            expected=f"{size} by {size}",
            got=f"{clip.size[0]} by {clip.size[1]}",
            hint="resize and crop the video before it is scaled, or give the video itself",
        )
    if clip.kind == "values" and entry.range is not None:
        notes += _check_range(clip, entry.range[0], entry.range[1])
    return tuple(notes)


def _check_range(clip: Clip, low: float, high: float) -> list[str]:
    least, largest = value_range(clip)
    slack = _SLACK * (high - low)
    if least < low - slack or largest > high + slack:
        bytes_like = least >= 0 and 2 < largest <= 255
        scale = f"{(high - low) / 255:.6g} * clip + {low:g}"
        raise SourceError(
            "the clip's values are outside the network's range",
            where=clip.location,
            expected=f"values from {low:g} to {high:g}",
            got=f"values from {least:.6g} to {largest:.6g}",
            hint=f"save the pictures as uint8, or scale them: {scale}" if bytes_like else "scale the values",
        )
    if low < 0 <= least and largest > 0:
        return [
            f"no value is negative, but the network takes {low:g} to {high:g}: is the clip scaled from 0 to 1?"
        ]
    return []


def prepared(
    clip: Clip,
    mapping: Mapping,
    *,
    start: float | None = None,
    end: float | None = None,
    but_last: bool = False,
) -> Iterator[np.ndarray]:
    """A clip's frames prepared for a network, generated lazily.

    Pictures are sampled at the mapping's rate (see `sampled`), resized (see `resized`) and center-cropped. For
    ``kind: flow``, TV-L1 flow is computed between neighbors at the resized size, then cropped: one flow less than
    frames. Prepared values and drawn flow are only cut to `start` and `end`.

    Args:
        clip: A clip that `check_clip` accepted.
        start, end: Seconds. By default, the whole clip.
        but_last: Omit the last picture, so that a stream of pictures is as long as a stream of flow computed from
            them.

    Yields:
        (size, size, channels): uint8 for pictures, otherwise float32. `scaled` converts both to the network's range.

    Raises:
        SourceError: The clip is damaged, its pictures change in size, or it has no frame between `start` and `end`.
    """
    frames = timed(clip, mapping, start=start, end=end)
    if clip.kind != "pictures":
        yield from _at_least_one((frame.read() for frame in frames), clip, start, end)
        return
    size = mapping.input.size
    pictures = _at_least_one(_resized(frames, clip, size), clip, start, end)
    if mapping.input.kind == "flow":
        yield from (cropped(flow, size) for flow in flows(pictures))
    else:
        yield from (cropped(picture, size) for picture in (_all_but_last(pictures) if but_last else pictures))


def timed(
    clip: Clip, mapping: Mapping, *, start: float | None = None, end: float | None = None
) -> Iterator[Frame]:
    """The frames that `prepared` uses, unread: sampled at the mapping's rate if they are pictures.

    Raises:
        TfptError: `start` or `end` is given, but the frame rate is unknown.
    """
    if (start is not None or end is not None) and clip.fps is None and mapping.input.fps is None:
        raise TfptError(
            "a start or end needs a frame rate, and the clip has none",
            where=clip.location,
            hint="give --fps as well",
        )
    begin = rate(start or 0)
    fps = mapping.input.fps if clip.kind == "pictures" and clip.fps is not None else None
    return sampled(
        clip.frames(begin),
        None if fps is None else rate(fps),
        start=begin,
        end=None if end is None else rate(end),
        tick=clip.tick,
        location=clip.location,
    )


def scaled(frames: np.ndarray, mapping: Mapping, clip: Clip) -> np.ndarray:
    """Frames from `prepared` in the network's range, float32.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> clip = Clip("", "pictures", (1, 3), None, lambda start: iter(()))
        >>> scaled(np.array([0, 51, 255], np.uint8), load_mapping("i3d_rgb"), clip)
        array([-1. , -0.6,  1. ], dtype=float32)
    """
    if clip.kind == "values" or mapping.input.range is None:
        return frames.astype(np.float32, copy=False)
    low, high = mapping.input.range
    if frames.dtype == np.uint8:
        # A table computed in float64: each value is the float32 nearest to the exact one.
        levels = (low + np.arange(256) * (high - low) / 255).astype(np.float32)
        return np.asarray(levels[frames])
    return np.asarray((frames + np.float32(1)) * np.float32((high - low) / 2) + np.float32(low))


def _resized(frames: Iterable[Frame], clip: Clip, size: int | None) -> Iterator[np.ndarray]:
    before: Frame | None = None
    picture: np.ndarray = np.empty(0, np.uint8)
    shape: tuple[int, ...] | None = None
    for frame in frames:
        if frame is not before:  # resize a repeated frame only once
            picture = resized(frame.read(), size, clip.location)
            before = frame
        shape = shape or picture.shape
        if picture.shape != shape:
            raise SourceError(
                "the clip's pictures change in size",
                where=f"{clip.location}, at {float(frame.time):.2f} s",
                expected=f"{shape[0]} by {shape[1]}, after resizing, as before",
                got=f"{picture.shape[0]} by {picture.shape[1]}",
            )
        yield picture


def _at_least_one(
    frames: Iterator[np.ndarray], clip: Clip, start: float | None, end: float | None
) -> Iterator[np.ndarray]:
    first = next(frames, None)
    if first is None:
        span = f"from {start or 0:g} s" + ("" if end is None else f" to {end:g} s")
        raise SourceError("the clip has no frame in this span", where=clip.location, got=span)
    yield first
    yield from frames


def _all_but_last(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    before = next(frames)
    for frame in frames:
        yield before
        before = frame
