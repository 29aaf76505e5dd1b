"""Networks with their clips opened, and checked against each other before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tfpt.errors import SourceError, TfptError
from tfpt.language import mapping as rows
from tfpt.language.loader import load_mapping
from tfpt.networks.inputs import input_axes
from tfpt.video.clips.clip import Clip
from tfpt.video.clips.preparation import check_clip, check_input, prepared, scaled, timed
from tfpt.video.clips.recognition import open_clip
from tfpt.video.clips.windowing import windows
from tfpt.video.clips.writing import ClipWriter

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Stream:
    """One network and what it is fed.

    Attributes:
        mapping: A bundled name or a path.
        weights: A TensorFlow checkpoint, PyTorch weights, or a model that is ready, which is used as it is. ``None``
            for the checkpoint that the mapping was published for, fetched into the cache.
        clip: Its own clip; ``None`` for the common one.
        weight: By what its logits are multiplied before they are added to those of the others.
    """

    mapping: str | os.PathLike[str]
    weights: str | os.PathLike[str] | nn.Module | None = None
    clip: str | os.PathLike[str] | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Cut:
    """Which part of the clips is looked at, and in what windows; see `tfpt.predict`."""

    start: float | None = None
    end: float | None = None
    window: int | None = None
    stride: int | None = None
    loop: bool = False


@dataclass
class Count:
    """What went by: frames so far, and how many make a window."""

    frames: int = 0
    window: int = 0


@dataclass(frozen=True)
class Feed:
    """A stream with its clip opened.

    Attributes:
        stream: As it was asked for.
        mapping: Its mapping, compiled.
        clip: Its own clip or the common one.
        notes: What a reader should know of the clip.
        but_last: Whether the last picture is left out, since another stream takes the flow between these pictures.
    """

    stream: Stream
    mapping: rows.Mapping
    clip: Clip
    notes: tuple[str, ...]
    but_last: bool = False

    @property
    def computes_flow(self) -> bool:
        """Whether pictures are turned into flow for this stream."""
        return self.clip.kind == "pictures" and self.mapping.input.kind == "flow"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the network is fed."""
        size = self.mapping.input.size
        return self.clip.size if size is None else (size, size)

    @property
    def fps(self) -> float | None:
        """Frames a second of what the network is fed; ``None`` if nobody says."""
        sampled = self.clip.kind == "pictures" and self.mapping.input.fps is not None
        if sampled or self.clip.fps is None:
            return self.mapping.input.fps
        return float(self.clip.fps)

    def length(self, cut: Cut) -> int | None:
        """How many frames the network will see; ``None`` for a video, which only decoding tells."""
        if self.clip.length is None:
            return None
        frames = timed(self.clip, self.mapping, start=cut.start, end=cut.end)
        return sum(1 for _ in frames) - (self.computes_flow or self.but_last)

    def windows(self, cut: Cut, count: Count, writer: ClipWriter | None = None) -> Iterator[np.ndarray]:
        """The windows that the network takes, in its range, float32; the frames of all of them go to `writer` too."""
        window, stride = cut.window, cut.stride
        if "t" not in input_axes(self.mapping):
            window, stride = 1, stride or 1
        frames = prepared(self.clip, self.mapping, start=cut.start, end=cut.end, but_last=self.but_last)
        counted = self._counted(frames, count, writer)
        for array in windows(counted, window=window, stride=stride, loop=cut.loop):
            count.window = count.window or len(array)
            yield scaled(array, self.mapping, self.clip)

    def _counted(
        self, frames: Iterator[np.ndarray], count: Count, writer: ClipWriter | None
    ) -> Iterator[np.ndarray]:
        for frame in frames:
            count.frames += 1
            if writer is not None:
                writer.append(scaled(frame, self.mapping, self.clip))
            yield frame


def open_feeds(
    streams: Sequence[Stream],
    clip: str | os.PathLike[str] | None,
    cut: Cut,
    *,
    fps: float | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
) -> tuple[Feed, ...]:
    """Read the mappings, open the clips, and check that each network can be fed its clip.

    Args:
        streams: At least one.
        clip: The clip of those that have none of their own.
        cut: What of the clips is looked at.
        fps: Frames a second, in place of what the clips say.
        settings: Values for the mappings' parameters.
        config: The models' configuration, as a dict or a JSON file.

    Raises:
        TfptError: A mapping or clip cannot be read; a network takes others; two clips differ in length.
    """
    feeds = []
    for stream in streams:
        mapping = load_mapping(os.fspath(stream.mapping), settings, config)
        check_input(mapping)
        path = clip if stream.clip is None else stream.clip
        if path is None:
            raise TfptError(
                f"the stream {mapping.name} has no clip",
                expected="one for all streams, or one of its own",
                hint="tfpt predict CLIP --mapping MAPPING --weights WEIGHTS",
            )
        opened = open_clip(path, fps=fps, default_fps=mapping.input.fps)
        _check_rate(opened, mapping, fps)
        feeds.append(Feed(stream, mapping, opened, check_clip(opened, mapping)))
    feeds = _of_one_length(feeds)
    check_lengths(feeds, [feed.length(cut) for feed in feeds])
    return tuple(feeds)


def check_lengths(feeds: Sequence[Feed], lengths: Sequence[int | None]) -> None:
    """Check that all streams see as many frames; those whose length is not known pass.

    Raises:
        SourceError: They do not.
    """
    known = [(feed, length) for feed, length in zip(feeds, lengths, strict=True) if length is not None]
    for feed, length in known[1:]:
        first, expected = known[0]
        if length != expected:
            raise SourceError(
                "the streams' clips differ in length, so their windows do not go together",
                where=feed.clip.location,
                expected=f"{expected} frames, as {first.mapping.name} gets from {first.clip.location}",
                got=f"{length} frames for {feed.mapping.name}",
                hint="--end cuts both at one time",
            )


def _of_one_length(feeds: Sequence[Feed]) -> list[Feed]:
    """n pictures make n - 1 flows: the streams that see the pictures themselves leave out the last."""
    turned = {_place(feed) for feed in feeds if feed.computes_flow}
    return [
        replace(
            feed,
            but_last=feed.clip.kind == "pictures" and not feed.computes_flow and _place(feed) in turned,
        )
        for feed in feeds
    ]


def _place(feed: Feed) -> str:
    return os.path.realpath(feed.clip.location)


def _check_rate(clip: Clip, mapping: rows.Mapping, fps: float | None) -> None:
    if fps is not None and clip.kind != "pictures" and mapping.input.fps not in (None, fps):
        raise SourceError(
            "prepared frames are not sampled to another rate",
            where=clip.location,
            expected=f"{mapping.input.fps:g} frames a second",
            got=f"--fps {fps:g}",
            hint="leave --fps out, or give the video",
        )
