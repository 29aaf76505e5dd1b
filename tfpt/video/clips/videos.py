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

# FFmpeg opens texts and single pictures as if they were videos.
_NO_VIDEO = re.compile(r"(^|,)(tty|image2\w*|\w+_pipe)(,|$)")

# What MP4 and MOV begin with.
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")

# Of a video that says none.
_RATE = 25

# How far before the start to try again where a seek came out behind it: key frames are seldom further apart.
_STEP_BACK = 12


def open_video(path: Path) -> Clip:
    """The video in a file of any container and codec that FFmpeg knows; sound and cover pictures are left alone.

    Frames have the times that the file gives them, counted from the first, so a varying rate does no harm. They are
    turned as the file says they are to be shown. Of a transport stream, which has no header, the end that is missing
    is noticed only where the cut goes through a frame.

    Raises:
        SourceError: There is no video in it. While it is read: it is damaged, or ends before its header says.
    """
    with _container(path) as container:
        stream = _stream(container, path)
        (size, origin), fps = (
            _first(container, stream, path),
            stream.average_rate or stream.guessed_rate or _RATE,
        )
        tick = Fraction(stream.time_base)
        if tick * fps > Fraction(1, 2):
            tick = Fraction(0)  # AVI and YUV4MPEG count frames, so nothing is rounded
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
        raise _no_video(path, "a text" if container.format.name == "tty" else "a picture")
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
    """Height and width of the first frame, turned as it is to be shown, and its time.

    That time is not always the stream's: an AVI with B-frames begins with one that is shown later.
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
    """The frames from a key frame not behind `start` on.

    A seek says nothing of where it came out: in a stream without an index (MPEG-TS, FLV) often behind the start, and
    in some (raw H.264) nowhere. What the first frame is tells; at worst the video is decoded from its beginning.

    Raises:
        SourceError: The video is damaged, or ends before its header says.
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
    """The frames from `begin` on; none, if a seek there does not come out at a key frame not behind `start`."""
    av = package("av")
    with _container(path) as container:
        stream = _stream(container, path)
        unit = Fraction(stream.time_base)
        if begin > 0:
            place = None if origin is None else int((origin + begin) / unit)
            # An MPEG program stream gives times to some packets only; FFmpeg guesses the others by where it began.
            if place is None or place.bit_length() > 62 or container.format.name == "mpeg":
                return
            try:
                container.seek(place, stream=stream)
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
                    # Old AVIs give no times: their frames follow each other at a steady rate.
                    stamp = (
                        time + interval if frame.pts is None and time is not None else (frame.pts or 0) * unit
                    )
                    origin = stamp if origin is None else origin
                    time = stamp
                    if frame.is_corrupt and stamp - origin >= start:
                        raise _damaged(path, stamp - origin, "a frame that cannot be decoded whole")
                    yield _frame(frame, stamp - origin, unit)
        except av.FFmpegError as error:
            raise _damaged(path, reached, error.strerror) from error
        _check_end(path, stream, reached, origin or Fraction(0))


def _is_entry(frame: Any, unit: Fraction, origin: Fraction | None, start: Fraction) -> bool:
    """Whether decoding can begin at a frame for what is shown from `start` on."""
    whole = frame.key_frame and not frame.is_corrupt and frame.pts is not None
    return bool(whole) and frame.pts * unit - (origin or 0) <= start


def _frame(frame: Any, time: Fraction, unit: Fraction) -> Frame:
    duration = getattr(frame, "duration", None)
    end = time + duration * unit if duration else None
    return Frame(time, end, lambda: _turned(frame.to_ndarray(format="rgb24"), _matrix(frame)))


def _check_end(path: Path, stream: Any, reached: Fraction, origin: Fraction) -> None:
    """Raise where the file ends before its header says that it does."""
    if stream.duration is not None:
        declared = stream.duration * Fraction(stream.time_base)
    elif found := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = found.groups()  # as FFmpeg writes them into Matroska
        declared = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    else:
        return
    frame = 1 / Fraction(stream.average_rate or _RATE)  # more than headers round by
    # Some containers count their duration from 0 and others from the first frame: the larger is the more lenient.
    if reached + max(origin, Fraction(0)) + frame < declared:
        raise _cut_off(path, reached, declared)


def _matrix(frame: Any) -> np.ndarray | None:
    """The four numbers of the display matrix that turn and mirror: [[a, b], [c, d]] takes (x, y) to (ax+cy, bx+dy)."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    return np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]


def _turned(pixels: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """A picture turned by quarters and mirrored, as its display matrix says."""
    if matrix is None:
        return pixels
    (a, b), (c, d) = matrix.tolist()
    if abs(b) > abs(a):  # columns become rows
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _no_video(path: Path, got: str) -> SourceError:
    return SourceError(
        "there is no video in the file",
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
        "the video cannot be opened, though it begins as one",
        where=str(path),
        expected="an index, which MP4 and MOV have at their end unless they were made for streaming",
        got=f"{path.stat().st_size:,} bytes: {got}",
        hint=DOWNLOAD_AGAIN,
    )


def _damaged(path: Path, time: Fraction | None, got: str) -> SourceError:
    place = "" if time is None else f", at {float(time):.2f} s"
    return SourceError(
        "the video is damaged",
        where=f"{path}{place}",
        got=got,
        hint="--start or --end leaves the damaged part out",
    )


def _cut_off(path: Path, reached: Fraction, declared: Fraction | None) -> SourceError:
    return SourceError(
        "the video is cut off",
        where=str(path),
        expected="a whole last frame" if declared is None else f"{float(declared):.2f} s, as its header says",
        got=f"an end after {float(reached):.2f} s",
        hint=f"fetch the file again, or --end {max(0.0, float(reached) - 0.5):.1f} takes what is whole",
    )
