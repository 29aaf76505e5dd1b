"""From a clip to what a network is fed, as its mapping describes it: sampled, resized, cropped, turned into flow."""

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

# Of a prepared clip's values, beyond the range of the network: resampled by others, they may overshoot a little.
_SLACK = 0.01


def check_input(mapping: Mapping) -> None:
    """Check that a mapping describes a clip or a picture.

    Raises:
        MappingError: It does not.
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
    """Check that a network can be fed a clip; what should be said about it, though it can, is returned.

    Raises:
        SourceError: Values of another size, number of channels or range; drawn flow for a network that takes
            pictures.
        MappingError: The mapping does not say into which range pictures are to be scaled.
    """
    entry = mapping.input
    kind, size = str(entry.kind), entry.size
    notes = [clip.note] if clip.note else []
    if clip.kind == "pictures":
        if entry.range is None:
            raise MappingError(
                f"the mapping {mapping.name} does not say into which range pictures are to be scaled",
                where=str(mapping.path),
                expected="input: with range: [-1, 1]",
            )
        if entry.fps is not None and clip.fps is None:
            notes.append(f"its frames are taken to be {entry.fps:g} a second (--fps says otherwise)")
        elif (
            entry.fps is not None and clip.fps is not None and clip.fps < rate(entry.fps) * Fraction(98, 100)
        ):
            notes.append(
                f"{float(clip.fps):.4g} frames a second, repeated to make the {entry.fps:g} that the network takes"
            )
        return tuple(notes)
    if clip.channels != CHANNELS[kind]:
        raise SourceError(
            f"a clip of {clip.channels} channels, where the network takes {CHANNELS[kind]}",
            where=clip.location,
            expected=f"kind: {kind}, as the mapping {mapping.name} says",
            got="drawn flow" if clip.kind == "flow" else f"values of {clip.channels} channels",
            hint="is it the clip of another stream? --clip behind a --mapping gives a stream its own",
        )
    if size is not None and clip.size != (size, size):
        raise SourceError(
            "a prepared clip of another size than the network takes",
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
            "the clip's values lie outside of the network's range",
            where=clip.location,
            expected=f"values from {low:g} to {high:g}",
            got=f"values from {least:.6g} to {largest:.6g}",
            hint=f"save the pictures as uint8, or scale them: {scale}" if bytes_like else "scale the values",
        )
    if low < 0 <= least and largest > 0:
        return [
            f"no value is negative, where the network takes {low:g} to {high:g}: is it scaled from 0 to 1?"
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
    """A clip's frames as a network takes them, one after the other, no sooner than they are asked for.

    Pictures are sampled to the mapping's rate (see `sampled`), resized (see `resized`) and cropped to the center. For
    ``kind: flow`` TV-L1 is computed between neighbors at the resized size, and then cropped: one flow fewer than
    frames. Values that are prepared already, and drawn flow, are cut to `start` and `end` and otherwise left.

    Args:
        clip: What `check_clip` has no objection to.
        start, end: Seconds; all of it unless given.
        but_last: Leave the last picture out, which begins no flow, so that a stream of pictures and one of flow are
            equally long.

    Yields:
        (size, size, channels): uint8 of pictures, float32 of all else. `scaled` makes the network's values of either.

    Raises:
        SourceError: The clip is damaged, its pictures change in size, or nothing lies between `start` and `end`.
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
    """The frames that `prepared` works on, unread: sampled to the mapping's rate if they are pictures.

    Raises:
        TfptError: `start` or `end` of a clip of which nobody says how many frames a second it has.
    """
    if (start is not None or end is not None) and clip.fps is None and mapping.input.fps is None:
        raise TfptError(
            "a clip without times cannot begin or end at a time",
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
    """Frames as `prepared` gives them in the network's range, float32.

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
        # By a table, worked out in float64: each value is the float32 nearest to the exact one.
        levels = (low + np.arange(256) * (high - low) / 255).astype(np.float32)
        return np.asarray(levels[frames])
    return np.asarray((frames + np.float32(1)) * np.float32((high - low) / 2) + np.float32(low))


def _resized(frames: Iterable[Frame], clip: Clip, size: int | None) -> Iterator[np.ndarray]:
    before: Frame | None = None
    picture: np.ndarray = np.empty(0, np.uint8)
    shape: tuple[int, ...] | None = None
    for frame in frames:
        if frame is not before:  # one that is repeated is resized once
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
        raise SourceError("the clip has no frame there", where=clip.location, got=span)
    yield first
    yield from frames


def _all_but_last(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    before = next(frames)
    for frame in frames:
        yield before
        before = frame
