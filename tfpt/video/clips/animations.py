"""Animated pictures: GIF, and what else Pillow knows with several frames; of RGB, or of flow that was drawn."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.packages import package
from tfpt.video.clips.clip import Clip, Frame
from tfpt.video.clips.folders import DEEP, too_deep

# Browsers show frames of up to 10 ms for 100: there are GIFs that say 0 and mean "some default".
_LEAST_MILLISECONDS, _DEFAULT_MILLISECONDS = 11, 100

# The third channel of drawn flow: (0 + 0.5) × 255, rounded down or up.
_NO_THIRD = (127, 128)


def open_animation(path: Path) -> Clip:
    """A clip in a GIF (or an animated PNG or WebP), each frame as long as the file says.

    Flow drawn in red and green around 0.5 is recognized: its third channel is 127 throughout. Its values are
    pixel / 255 - 0.5; they were cut to ±0.5 and rounded to steps of 1/255 when it was drawn.

    Raises:
        SourceError: It has one frame, or is damaged.
    """
    image = _opened(path)
    try:
        number = int(getattr(image, "n_frames", 1))
    except Exception as error:  # whatever a decoder's arithmetic comes to on damaged bytes
        raise _damaged(path, error) from error
    if number < 2:
        raise SourceError(
            "a picture is no clip",
            where=str(path),
            expected="several frames",
            got=f"one frame, {image.format}, {image.width} by {image.height}",
            hint="put the frames of a clip into a folder of their own, and name the folder",
        )
    size = (image.height, image.width)
    durations: list[Fraction] = []
    drawn = True
    for pixels, duration in _frames(path):
        durations.append(duration)
        drawn = drawn and pixels[0, 0, 2] in _NO_THIRD and bool((pixels[..., 2] == pixels[0, 0, 2]).all())

    def read(start: Fraction) -> Iterator[Frame]:
        time = Fraction(0)
        for pixels, duration in _frames(path):
            values = _as_flow(pixels) if drawn else pixels
            # Decoded at once: Pillow reaches an earlier frame only by beginning anew.
            yield Frame(time, time + duration, lambda values=values: values)  # type: ignore[misc]
            time += duration

    note = "a drawn flow: values beyond ±0.5 were cut, the others rounded to 1/255, when it was drawn"
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
        raise _damaged(path, error) from error


def _frames(path: Path) -> Iterator[tuple[np.ndarray, Fraction]]:
    """The frames as RGB with the time each is shown, in seconds."""
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
            raise _damaged(path, error, index) from error


def _as_flow(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(pixels[..., :2] / np.float32(255) - np.float32(0.5))


def _damaged(path: Path, error: Exception, index: int | None = None) -> SourceError:
    place = "" if index is None else f", frame {index}"
    return SourceError("the picture cannot be read", where=f"{path}{place}", got=str(error))
