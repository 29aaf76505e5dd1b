"""Videos, decoded frame by frame with PyAV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.packages import package
from tfpt.video.clips.clip import Clip, Frame

# Formats under which FFmpeg opens text files and single pictures as videos.
_NO_VIDEO = re.compile(r"(^|,)(tty|image2\w*|\w+_pipe)(,|$)")

# The first box of MP4 and MOV files.
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")

# The frame rate of a video without one.
_RATE = 25

# How many seconds before the start to try again if a seek ended up after it: key frames are rarely further apart.
_STEP_BACK = 12


def open_video(path: Path) -> Clip:
    """Open a video in any container and codec that FFmpeg supports; audio and cover pictures are ignored.

    Frames have their times in the file, relative to the first, so a variable frame rate is fine. They are rotated as
    the file specifies. A truncated transport stream, which has no header, is only detected if it ends within a frame.

    Raises:
        SourceError: The file has no video. While reading: it is damaged, or shorter than its header says.
    """
    with _container(path) as container:
        stream = _stream(container, path)
        (size, origin), fps = (
            _first(container, stream, path),
            stream.average_rate or stream.guessed_rate or _RATE,
        )
        tick = Fraction(stream.time_base)
        if tick * fps > Fraction(1, 2):
            tick = Fraction(0)  # AVI and YUV4MPEG count frames, so times are not rounded
    return Clip(
        str(path), "pictures", size, Fraction(fps), lambda start: _frames(path, start, origin), tick=tick
    )


def _container(path: Path) -> Any:
    av = package("av")
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        raise _unopened(path, error.strerror) from error
    if _NO_VIDEO.search(container.format.name):
        container.close()
        raise _no_video(path, "a text file" if container.format.name == "tty" else "a picture")
    return container


def _stream(container: Any, path: Path) -> Any:
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        raise _no_video(path, f"{container.format.long_name} with {' and '.join(kinds) or 'nothing'} only")
    stream = streams[0]
    if stream.codec_context is None:
        raise _no_video(path, "a codec that FFmpeg does not know")
    stream.thread_type = "AUTO"
    return stream


def _is_cover(stream: Any) -> bool:
    disposition = stream.disposition
    return "attached_pic" in str(getattr(disposition, "name", disposition) or "")


def _first(container: Any, stream: Any, path: Path) -> tuple[tuple[int, int], Fraction | None]:
    """Height and width of the first frame as displayed, and its time.

    That is not always the start time of the stream: an AVI with B-frames starts with a frame that is shown later.
    """
    av = package("av")
    try:
        for frame in container.decode(stream):
            height, width = _turned(np.empty((frame.height, frame.width, 0)), _matrix(frame)).shape[:2]
            time = None if frame.pts is None else frame.pts * Fraction(stream.time_base)
            return (height, width), time
    except av.FFmpegError as error:
        raise _damaged(path, None, error.strerror) from error
    raise _no_video(path, "a video without a frame")


def _frames(path: Path, start: Fraction, origin: Fraction | None) -> Iterator[Frame]:
    """The frames from a key frame at or before `start`.

    A seek does not report where it ended up: in a stream without an index (MPEG-TS, FLV) often after the start, in
    some (raw H.264) it fails. The first decoded frame shows it; at worst, the video is decoded from the beginning.

    Raises:
        SourceError: The video is damaged, or shorter than its header says.
    """
    for begin in (start, start - _STEP_BACK):
        if begin <= 0:
            break
        reading = _decoded(path, begin, start, origin)
        try:
            first = next(reading, None)
        except SourceError:
            first = None
        if first is not None:
            yield first
            yield from reading
            return
    yield from _decoded(path, Fraction(0), start, origin)


def _decoded(path: Path, begin: Fraction, start: Fraction, origin: Fraction | None) -> Iterator[Frame]:
    """The frames from `begin` on; nothing if a seek to it does not reach a key frame at or before `start`."""
    av = package("av")
    with _container(path) as container:
        stream = _stream(container, path)
        unit = Fraction(stream.time_base)
        if begin > 0:
            target = None if origin is None else int((origin + begin) / unit)
            # In an MPEG program stream only some packets have times; FFmpeg guesses the others from where it started.
            if target is None or target.bit_length() > 62 or container.format.name == "mpeg":
                return
            try:
                container.seek(target, stream=stream)
            except av.FFmpegError:
                return
        interval = 1 / Fraction(stream.average_rate or stream.guessed_rate or _RATE)
        time, reached = None, Fraction(0)
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt and packet.size:
                    raise _cut_off(path, reached, None)
                if packet.pts is not None and origin is not None:
                    reached = max(reached, (packet.pts + (packet.duration or 0)) * unit - origin)
                for frame in packet.decode():
                    if begin > 0 and time is None and not _is_entry(frame, unit, origin, start):
                        return
                    # Old AVIs have no times: their frames follow each other at a constant rate.
                    stamp = (
                        time + interval if frame.pts is None and time is not None else (frame.pts or 0) * unit
                    )
                    origin = stamp if origin is None else origin
                    time = stamp
                    if frame.is_corrupt and stamp - origin >= start:
                        raise _damaged(path, stamp - origin, "a frame that cannot be decoded completely")
                    yield _frame(frame, stamp - origin, unit)
        except av.FFmpegError as error:
            raise _damaged(path, reached, error.strerror) from error
        _check_end(path, stream, reached, origin or Fraction(0))


def _is_entry(frame: Any, unit: Fraction, origin: Fraction | None, start: Fraction) -> bool:
    """Whether decoding for `start` can begin at a frame."""
    whole = frame.key_frame and not frame.is_corrupt and frame.pts is not None
    return bool(whole) and frame.pts * unit - (origin or 0) <= start


def _frame(frame: Any, time: Fraction, unit: Fraction) -> Frame:
    duration = getattr(frame, "duration", None)
    end = time + duration * unit if duration else None
    return Frame(time, end, lambda: _turned(frame.to_ndarray(format="rgb24"), _matrix(frame)))


def _check_end(path: Path, stream: Any, reached: Fraction, origin: Fraction) -> None:
    """Raise if the file is shorter than its header says."""
    if stream.duration is not None:
        declared = stream.duration * Fraction(stream.time_base)
    elif found := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = found.groups()  # as FFmpeg writes them into Matroska
        declared = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    else:
        return
    frame = 1 / Fraction(stream.average_rate or _RATE)  # a tolerance for rounding in headers
    # Some containers count their duration from 0, others from the first frame: the larger one is more lenient.
    if reached + max(origin, Fraction(0)) + frame < declared:
        raise _cut_off(path, reached, declared)


def _matrix(frame: Any) -> np.ndarray | None:
    """The rotation and reflection of the display matrix: [[a, b], [c, d]] maps (x, y) to (ax+cy, bx+dy)."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]


def _turned(pixels: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """A picture rotated by multiples of 90 degrees and mirrored, as its display matrix says."""
    if matrix is None:
        return pixels
    (a, b), (c, d) = matrix.tolist()
    if abs(b) > abs(a):  # columns become rows
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _no_video(path: Path, got: str) -> SourceError:
    return SourceError(
        "the file does not contain a video",
        where=str(path),
        expected="a video, a GIF, a .npy array, or a folder of pictures",
        got=got,
    )


def _unopened(path: Path, got: str) -> SourceError:
    with path.open("rb") as file:
        box = file.read(8)[4:]
    if box not in _BOXES:
        return _no_video(path, got)
    return SourceError(
        "the file starts like a video, but cannot be opened",
        where=str(path),
        expected="an index, which MP4 and MOV files have at the end unless made for streaming",
        got=f"{path.stat().st_size:,} bytes: {got}",
        hint=DOWNLOAD_AGAIN,
    )


def _damaged(path: Path, time: Fraction | None, got: str) -> SourceError:
    place = "" if time is None else f", at {float(time):.2f} s"
    return SourceError(
        "the video is damaged",
        where=f"{path}{place}",
        got=got,
        hint="use --start or --end to skip the damaged part",
    )


def _cut_off(path: Path, reached: Fraction, declared: Fraction | None) -> SourceError:
    return SourceError(
        "the video is truncated",
        where=str(path),
        expected="a complete last frame"
        if declared is None
        else f"{float(declared):.2f} s, as its header says",
        got=f"{float(reached):.2f} s",
        hint=f"download the file again, or use --end {max(0.0, float(reached) - 0.5):.1f}",
    )
