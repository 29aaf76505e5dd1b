"""Clips as folders of pictures, a file a frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from tfpt.errors import SourceError
from tfpt.nearest import natural_key
from tfpt.packages import package
from tfpt.video.clips.clip import Clip, evenly

ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

# More than 8 bits to a channel: Pillow would cut such values off at 255 rather than scale them.
DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def open_folder(path: Path, fps: Fraction | None, default: Fraction) -> Clip:
    """A folder of pictures in natural order: ``frame2.png`` before ``frame10.png``. Other files are left alone.

    Args:
        path: The folder.
        fps: Frames a second.
        default: The rate where that is not known.

    Raises:
        SourceError: There is no picture in it, or they differ in size, or one cannot be read.
    """
    try:
        files = sorted(
            (
                entry
                for entry in path.iterdir()
                if entry.suffix.lower() in ENDINGS and not entry.name.startswith(".")
            ),
            key=lambda entry: natural_key(entry.name),
        )
    except OSError as error:
        raise SourceError("the folder cannot be read", where=str(path), got=error.strerror) from error
    if not files:
        raise SourceError(
            "there is no picture in the folder",
            where=str(path),
            expected=f"a file a frame: {', '.join(ENDINGS)}",
            got="no file" if not any(path.iterdir()) else "other files",
        )
    height, width = _size(files[0])
    for file in files[1:]:
        if (found := _size(file)) != (height, width):
            raise SourceError(
                "the folder's pictures differ in size",
                where=str(path),
                expected=f"{height} by {width}, as {files[0].name}",
                got=f"{found[0]} by {found[1]}, {file.name}",
            )
    return Clip(
        str(path),
        "pictures",
        (height, width),
        fps,
        lambda start: evenly(len(files), fps or default, lambda index: _read(files[index])),
        len(files),
    )


def _size(file: Path) -> tuple[int, int]:
    """Height and width, as the picture is to be shown, from its header alone."""
    pillow = package("PIL.Image", "video")
    try:
        with pillow.open(file) as image:
            width, height = image.size
            # Exif's orientations from 5 on are turned by a quarter.
            turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
            return (width, height) if turned else (height, width)
    except Exception as error:  # whatever a decoder's arithmetic comes to on damaged bytes
        raise _unreadable(file, error) from error


def _read(file: Path) -> np.ndarray:
    pillow = package("PIL.Image", "video")
    from PIL import ImageOps

    try:
        with pillow.open(file) as image:
            if image.mode in DEEP:
                raise too_deep(image.mode, str(file))
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except SourceError:
        raise
    except Exception as error:  # as above
        raise _unreadable(file, error) from error


def too_deep(mode: str, where: str) -> SourceError:
    """The error for a picture of a mode in `DEEP`."""
    return SourceError(
        "the picture has more than 8 bits to a channel",
        where=where,
        expected="pictures of 8 bits",
        got=f"Pillow's mode {mode}",
    )


def _unreadable(file: Path, error: Exception) -> SourceError:
    return SourceError("the picture cannot be read", where=str(file), got=str(error))
