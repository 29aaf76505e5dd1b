"""Opens clips; the kind of file is detected from its first bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from tfpt.errors import SourceError
from tfpt.video.clips.arrays import open_array
from tfpt.video.clips.clip import Clip, Frame, rate
from tfpt.video.clips.pictures import open_animation, open_folder
from tfpt.video.clips.videos import open_video

# GIF, PNG, JPEG, BMP, TIFF in both byte orders; WebP's signature follows a length.
_PICTURES = (b"GIF8", b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")


def open_clip(
    path: str | os.PathLike[str], *, fps: float | None = None, default_fps: float | None = None
) -> Clip:
    """Open a clip: a ``.npy`` array, a GIF, a folder of pictures, or a video.

    The kind is detected from the content, not the name. No frame is read yet.

    Args:
        path: The file or folder.
        fps: Frames per second, instead of the file's rate.
        default_fps: The frame rate of an array or a folder, which have none.

    Raises:
        SourceError: The file does not exist or is not a clip.
        TfptError: The package that reads such clips is not installed.

    Example:
        >>> import tempfile, numpy as np
        >>> path = f"{tempfile.mkdtemp()}/clip.npy"
        >>> np.save(path, np.zeros((1, 16, 224, 224, 3), np.float32))
        >>> clip = open_clip(path)
        >>> clip.kind, clip.length, clip.size
        ('values', 16, (224, 224))
    """
    location = _expanded(path)
    given = None if fps is None else rate(fps)
    default = rate(default_fps or 1)
    if os.path.isdir(location):  # Path.is_dir raises if a name is too long
        return open_folder(location, given, default)
    first = _first_bytes(location)
    if first.startswith(b"\x93NUMPY"):
        return open_array(location, given, default)
    if first.startswith(_PICTURES) or (first[:4] == b"RIFF" and first[8:12] == b"WEBP"):
        clip = open_animation(location)
    else:
        clip = open_video(location)
    return clip if given is None else _retimed(clip, given)


def _expanded(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(os.path.expanduser(path))
    except RuntimeError as error:
        raise SourceError("there is no such clip", where=str(path), got=str(error)) from error


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            first = file.read(16)
    except FileNotFoundError:
        from tfpt.nearest import nearest

        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SourceError(
            "there is no such clip", where=str(path), nearest=nearest(path.name, there)
        ) from None
    except OSError as error:
        raise SourceError("the clip cannot be read", where=str(path), got=error.strerror) from error
    if not first:
        raise SourceError("the clip is an empty file", where=str(path), got="0 bytes")
    return first


def _retimed(clip: Clip, fps: Fraction) -> Clip:
    """The same frames at a constant rate."""

    def frames(start: Fraction) -> Iterator[Frame]:
        for index, frame in enumerate(clip.frames(Fraction(0))):
            yield Frame(index / fps, (index + 1) / fps, frame.read)

    return replace(clip, fps=fps, frames=frames, tick=Fraction(0))
