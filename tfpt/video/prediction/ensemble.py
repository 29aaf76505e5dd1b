"""Classifies a clip with one network, or with several whose logits are added."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tfpt.errors import MappingError, ModelError, SinkError, SourceError, TfptError
from tfpt.io.output_file import refuse_input
from tfpt.io.publishing import publish
from tfpt.networks.devices import device_of
from tfpt.networks.loading import load
from tfpt.video.clips.arrays import ClipWriter
from tfpt.video.prediction.classification import mean_logits
from tfpt.video.prediction.labels import labels_of
from tfpt.video.prediction.scores import Prediction, Scores, StreamScores, scores_of
from tfpt.video.prediction.streams import Count, Cut, Feed, Stream, check_lengths, open_feeds

DTYPES = ("float32", "float64", "bfloat16", "float16")


def predict(
    streams: Stream | Sequence[Stream],
    clip: str | os.PathLike[str] | None = None,
    *,
    top: int = 20,
    window: int | None = None,
    stride: int | None = None,
    loop: bool = False,
    batch: int = 1,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    optimize: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dequantize: bool = False,
    trust: bool = False,
    check: bool = True,
    save: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    fetching: Callable[[str, int, int | None], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Prediction:
    """See `tfpt.api.predict`."""
    wanted = (streams,) if isinstance(streams, Stream) else tuple(streams)
    _check_numbers(wanted, {"top": top, "window": window, "stride": stride, "batch": batch}, fps, start, end)
    _check_device(device, dtype)
    options: dict[str, Any] = {
        "settings": settings,
        "config": os.fspath(config) if isinstance(config, os.PathLike) else config,
    }
    cut = Cut(start, end, window, stride, loop)
    feeds = open_feeds(wanted, clip, cut, fps=fps, **options)
    placed = {
        "device": device,
        "optimize": optimize,
        "dequantize": dequantize,
        "trust": trust,
        "check": check,
    }
    models = [_model(feed, len(feeds) > 1, dtype, fetching, **placed, **options) for feed in feeds]
    with ExitStack() as stack:
        paths = [] if save is None else _files(feeds, Path(save))
        for path in paths:
            refuse_input(path, *(feed.clip.location for feed in feeds))
        writers = [stack.enter_context(ClipWriter(path, overwrite)) for path in paths]
        found = []
        for index, (feed, (model, source)) in enumerate(zip(feeds, models, strict=True)):
            writer = writers[index] if writers else None
            found.append(_scored(feed, model, source, cut, writer, top, batch, progress))
        check_lengths(feeds, [stream.frames for stream in found])
        joint = _joint(found, top) if len(found) > 1 else None
        publish([writer.finish() for writer in writers])
    return Prediction(tuple(found), joint, tuple(paths))


def _scored(
    feed: Feed,
    model: nn.Module,
    source: str,
    cut: Cut,
    writer: ClipWriter | None,
    top: int,
    batch: int,
    progress: Callable[[str, int, int], None] | None,
) -> StreamScores:
    mapping, count = feed.mapping, Count()
    try:
        logits, number = mean_logits(
            model,
            mapping,
            feed.windows(cut, count, writer),
            batch=batch,
            location=feed.clip.location,
            seen=None if progress is None else lambda done: progress(mapping.name, count.frames, done),
        )
    except ModelError as error:
        # Only the network knows its minimum number of frames: if it rejects a short clip, the error gets a hint.
        short = error.hint is None and count.window == count.frames < 64
        raise (error.with_hint(_LONGER) if short else error) from error
    if not number:
        raise SourceError(
            "flow cannot be computed from one picture",
            where=feed.clip.location,
            expected="at least two pictures",
            got="one",
        )
    labels, note = labels_of(mapping, len(logits))
    return StreamScores(
        mapping.name,
        source,
        feed.clip.location,
        str(mapping.input.kind),
        count.frames,
        number,
        count.window,
        feed.fps,
        feed.size,
        feed.stream.weight,
        scores_of(logits, labels, top),
        labels,
        (*feed.notes, *([note] if note else [])),
    )


_LONGER = "--loop repeats a short clip until it has 64 frames, or the number given by --window"


def _joint(found: Sequence[StreamScores], top: int) -> Scores:
    first = found[0]
    for other in found[1:]:
        classes, expected = len(other.scores.logits), len(first.scores.logits)
        if classes != expected:
            raise ModelError(
                "the streams have different classes, so their logits cannot be added",
                expected=f"{expected} classes, as {first.mapping}",
                got=f"{classes} classes, {other.mapping}",
            )
        if None not in (first.labels, other.labels) and first.labels != other.labels:
            raise MappingError(
                "the streams name their classes differently, so their logits cannot be added",
                expected=f"the labels of {first.mapping}",
                got=f"different labels in {other.mapping}",
            )
    logits = np.sum([stream.weight * stream.scores.logits for stream in found], axis=0)
    labels = next((stream.labels for stream in found if stream.labels is not None), None)
    return scores_of(logits, labels, top)


def _model(
    feed: Feed,
    several: bool,
    dtype: str,
    fetching: Callable[[str, int, int | None], None] | None,
    **options: Any,
) -> tuple[nn.Module, str]:
    """The network of a stream, in evaluation mode, and the source of its weights."""
    weights = feed.stream.weights
    if isinstance(weights, nn.Module):
        return weights.eval(), type(weights).__name__
    if weights is None:
        from tfpt.formats.published import published

        weights = published(feed.mapping.url, feed.mapping.named, progress=fetching).location
    try:
        model = load(feed.stream.mapping, weights, **options)
    except ModelError as error:
        if several and error.causes and type(error) is ModelError:
            raise error.with_hint("give each --mapping its own --weights, in the same order") from error
        raise
    return model.to(getattr(torch, dtype)), str(weights)


def _files(feeds: Sequence[Feed], folder: Path) -> list[Path]:
    """The file for each stream's prepared clip: the mapping's name, with a number if it is used again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(
            "cannot create the folder for the clips", where=str(folder), got=error.strerror
        ) from error
    names = [feed.mapping.name for feed in feeds]
    before = [names[:index].count(name) for index, name in enumerate(names)]
    return [
        folder / (f"{name}.npy" if again == 0 else f"{name}_{again + 1}.npy")
        for name, again in zip(names, before, strict=True)
    ]


def _check_numbers(
    streams: Sequence[Stream],
    counts: Mapping[str, int | None],
    fps: float | None,
    start: float | None,
    end: float | None,
) -> None:
    if not streams:
        raise TfptError("no stream is given", expected="at least one")
    for name, value in counts.items():
        if value is not None and value < 1:
            raise TfptError(f"{name} must be at least 1", got=str(value))
    if fps is not None and not 0 < fps < float("inf"):
        raise TfptError("fps must be a positive number of frames per second", got=str(fps))
    for name, time in (("start", start), ("end", end)):
        if time is not None and not isfinite(time):
            raise TfptError(f"{name} must be a finite number of seconds", got=str(time))
    for stream in streams:
        if not isfinite(stream.weight):
            raise TfptError(
                "a stream's weight must be finite",
                where=os.fspath(stream.mapping),
                expected="a number such as 0.5",
                got=str(stream.weight),
            )
    if start is not None and start < 0:
        raise TfptError("start must not be negative", expected="0 s or more", got=f"{start:g} s")
    if end is not None and end <= (start or 0):
        raise TfptError("end must be after start", expected=f"more than {start or 0:g} s", got=f"{end:g} s")


def _check_device(device: str, dtype: str) -> None:
    if dtype not in DTYPES:
        raise TfptError("networks cannot run in this dtype", expected=", ".join(DTYPES), got=dtype)
    device_of(device)
