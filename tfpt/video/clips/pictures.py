"""Clips of still pictures: folders with one file per frame, and animated GIF, PNG and WebP files."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.nearest import natural_key
from tfpt.packages import package
from tfpt.video.clips.clip import Clip, Frame, evenly

ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

# More than 8 bits per channel: Pillow would clip such values at 255 instead of scaling them.
DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def open_folder(path: Path, fps: Fraction | None, default: Fraction) -> Clip:
    """A folder of pictures in natural order: ``frame2.png`` before ``frame10.png``. Other files are ignored.

    Args:
        path: The folder.
        fps: Frames per second.
        default: The frame rate if `fps` is not known.

    Raises:
        SourceError: The folder contains no picture, or pictures of different sizes, or one cannot be read.
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
            "the folder contains no pictures",
            where=str(path),
            expected=f"one file per frame: {', '.join(ENDINGS)}",
            got="no files" if not any(path.iterdir()) else "other files",
        )
    height, width = _size(files[0])
    for file in files[1:]:
        if (found := _size(file)) != (height, width):
            raise SourceError(
                "the pictures in the folder differ in size",
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
    """Height and width of a picture as displayed, from its header."""
    pillow = package("PIL.Image", "video")
    try:
        with pillow.open(file) as image:
            width, height = image.size
            # Exif orientations from 5 on are rotated by 90 degrees.
            turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
            return (width, height) if turned else (height, width)
    except Exception as error:  # decoders raise all kinds of errors on damaged files
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
        "the picture has more than 8 bits per channel",
        where=where,
        expected="8 bits per channel",
        got=f"Pillow's mode {mode}",
    )


def _unreadable(path: Path, error: Exception, index: int | None = None) -> SourceError:
    frame = "" if index is None else f", frame {index}"
    return SourceError("the picture cannot be read", where=f"{path}{frame}", got=str(error))


# Browsers show frames of up to 10 ms for 100 ms: some GIFs have durations of 0, meaning a default.
_LEAST_MILLISECONDS, _DEFAULT_MILLISECONDS = 11, 100

# The third channel of flow drawn as RGB: (0 + 0.5) × 255, rounded down or up.
_THIRD_CHANNEL = (127, 128)


def open_animation(path: Path) -> Clip:
    """A clip in a GIF (or an animated PNG or WebP) file, with the frame durations of the file.

    Optical flow drawn in red and green around 0.5 is recognized: its third channel is constant, 127 or 128. Its values
    are pixel / 255 - 0.5; they were clipped to ±0.5 and rounded to steps of 1/255 when it was drawn.

    Raises:
        SourceError: The file has only one frame, or is damaged.
    """
    image = _opened(path)
    try:
        number = int(getattr(image, "n_frames", 1))
    except Exception as error:  # as above
        raise _unreadable(path, error) from error
    if number < 2:
        raise SourceError(
            "a single picture is not a clip",
            where=str(path),
            expected="several frames",
            got=f"one frame, {image.format}, {image.width} by {image.height}",
            hint="put the frames of a clip into a folder, and pass the folder",
        )
    size = (image.height, image.width)
    durations: list[Fraction] = []
    drawn = True
    for pixels, duration in _frames(path):
        durations.append(duration)
        drawn = (
            drawn and pixels[0, 0, 2] in _THIRD_CHANNEL and bool((pixels[..., 2] == pixels[0, 0, 2]).all())
        )

    def read(start: Fraction) -> Iterator[Frame]:
        time = Fraction(0)
        for pixels, duration in _frames(path):
            values = _as_flow(pixels) if drawn else pixels
            # Decoded now: to go back to an earlier frame, Pillow has to start from the first.
            yield Frame(time, time + duration, lambda values=values: values)  # type: ignore[misc]
            time += duration

    note = "flow drawn as RGB: values were clipped to ±0.5 and rounded to 1/255 when it was drawn"
    return Clip(
        str(path),
        "flow" if drawn else "pictures",
        size,
        len(durations) / sum(durations, Fraction(0)),
        read,
        len(durations),
        note=note if drawn else None,
        channels=2 if drawn else 3,
    )


def _opened(path: Path) -> Any:
    pillow = package("PIL.Image", "video")
    try:
        return pillow.open(path)
    except Exception as error:  # as above
        raise _unreadable(path, error) from error


def _frames(path: Path) -> Iterator[tuple[np.ndarray, Fraction]]:
    """The frames in RGB, each with its duration in seconds."""
    index = 0
    with _opened(path) as image:
        try:
            for index in range(image.n_frames):
                image.seek(index)
                if image.mode in DEEP:
                    raise too_deep(image.mode, f"{path}, frame {index}")
                pixels = np.asarray(image.convert("RGB"))
                milliseconds = round(image.info.get("duration") or 0)
                if milliseconds < _LEAST_MILLISECONDS:
                    milliseconds = _DEFAULT_MILLISECONDS
                yield pixels, Fraction(milliseconds, 1000)
        except SourceError:
            raise
        except Exception as error:  # as above
            raise _unreadable(path, error, index) from error


def _as_flow(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(pixels[..., :2] / np.float32(255) - np.float32(0.5))
