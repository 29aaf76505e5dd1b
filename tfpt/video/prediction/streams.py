"""Networks and their clips: opened, and checked against each other before anything runs."""

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
from tfpt.video.clips.arrays import ClipWriter
from tfpt.video.clips.clip import Clip
from tfpt.video.clips.preparation import check_clip, check_input, prepared, scaled, timed
from tfpt.video.clips.recognition import open_clip
from tfpt.video.clips.windowing import windows

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Stream:
    """One network and its input.

    Attributes:
        mapping: A bundled name or a path.
        weights: A TensorFlow checkpoint, PyTorch weights, or a model with its weights. ``None`` for the checkpoint
            published for the mapping, downloaded into the cache.
        clip: Its own clip; ``None`` for the common one.
        weight: Factor for its logits in the sum over the streams.
    """

    mapping: str | os.PathLike[str]
    weights: str | os.PathLike[str] | nn.Module | None = None
    clip: str | os.PathLike[str] | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Cut:
    """The part of the clips to classify, and the windows; see `tfpt.predict`."""

    start: float | None = None
    end: float | None = None
    window: int | None = None
    stride: int | None = None
    loop: bool = False


@dataclass
class Count:
    """Counts while a clip is read: frames so far, and frames per window."""

    frames: int = 0
    window: int = 0


@dataclass(frozen=True)
class Feed:
    """A stream with its clip opened.

    Attributes:
        stream: As given by the user.
        mapping: Its mapping, compiled.
        clip: Its own clip or the common one.
        notes: Notes for the user about the clip.
        but_last: Whether to omit the last picture, because another stream takes the flow between these pictures.
    """

    stream: Stream
    mapping: rows.Mapping
    clip: Clip
    notes: tuple[str, ...]
    but_last: bool = False

    @property
    def computes_flow(self) -> bool:
        """Whether flow is computed from pictures for this stream."""
        return self.clip.kind == "pictures" and self.mapping.input.kind == "flow"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        size = self.mapping.input.size
        return self.clip.size if size is None else (size, size)

    @property
    def fps(self) -> float | None:
        """Frames per second of the network's input; ``None`` if unknown."""
        sampled = self.clip.kind == "pictures" and self.mapping.input.fps is not None
        if sampled or self.clip.fps is None:
            return self.mapping.input.fps
        return float(self.clip.fps)

    def length(self, cut: Cut) -> int | None:
        """The number of frames for the network; ``None`` for a video, which would have to be decoded."""
        if self.clip.length is None:
            return None
        frames = timed(self.clip, self.mapping, start=cut.start, end=cut.end)
        return sum(1 for _ in frames) - (self.computes_flow or self.but_last)

    def windows(self, cut: Cut, count: Count, writer: ClipWriter | None = None) -> Iterator[np.ndarray]:
        """The network's input windows, in its range, float32; all their frames are also passed to `writer`."""
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
    """Read the mappings, open the clips, and check that each clip fits its network.

    Args:
        streams: At least one.
        clip: The clip of streams without their own.
        cut: The part of the clips to classify.
        fps: Frames per second, instead of the clips' rate.
        settings: Values for the mappings' parameters.
        config: The models' configuration, as a dict or a JSON file.

    Raises:
        TfptError: A mapping or clip cannot be read, a clip does not fit its network, or two clips differ in length.
    """
    feeds = []
    for stream in streams:
        mapping = load_mapping(os.fspath(stream.mapping), settings, config)
        check_input(mapping)
        path = clip if stream.clip is None else stream.clip
        if path is None:
            raise TfptError(
                f"the stream {mapping.name} has no clip",
                expected="a common clip, or one for this stream",
                hint="tfpt predict CLIP --mapping MAPPING --weights WEIGHTS",
            )
        opened = open_clip(path, fps=fps, default_fps=mapping.input.fps)
        _check_rate(opened, mapping, fps)
        feeds.append(Feed(stream, mapping, opened, check_clip(opened, mapping)))
    feeds = _of_one_length(feeds)
    check_lengths(feeds, [feed.length(cut) for feed in feeds])
    return tuple(feeds)


def check_lengths(feeds: Sequence[Feed], lengths: Sequence[int | None]) -> None:
    """Check that all streams have the same number of frames, as far as known.

    Raises:
        SourceError: They differ.
    """
    known = [(feed, length) for feed, length in zip(feeds, lengths, strict=True) if length is not None]
    for feed, length in known[1:]:
        first, expected = known[0]
        if length != expected:
            raise SourceError(
                "the streams' clips differ in length, so their windows do not correspond",
                where=feed.clip.location,
                expected=f"{expected} frames, as {first.mapping.name} gets from {first.clip.location}",
                got=f"{length} frames for {feed.mapping.name}",
                hint="--end cuts both at the same time",
            )


def _of_one_length(feeds: Sequence[Feed]) -> list[Feed]:
    """n pictures give n - 1 flows, so a stream that takes the same pictures omits the last one."""
    flow_sources = {_real_path(feed) for feed in feeds if feed.computes_flow}
    return [
        replace(
            feed,
            but_last=feed.clip.kind == "pictures"
            and not feed.computes_flow
            and _real_path(feed) in flow_sources,
        )
        for feed in feeds
    ]


def _real_path(feed: Feed) -> str:
    return os.path.realpath(feed.clip.location)


def _check_rate(clip: Clip, mapping: rows.Mapping, fps: float | None) -> None:
    if fps is not None and clip.kind != "pictures" and mapping.input.fps not in (None, fps):
        raise SourceError(
            "prepared frames cannot be resampled to another rate",
            where=clip.location,
            expected=f"{mapping.input.fps:g} frames per second",
            got=f"--fps {fps:g}",
            hint="omit --fps, or pass the original video",
        )
