"""Clips in ``.npy`` files: prepared values in DeepMind's layout, or pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from tfpt.errors import SourceError
from tfpt.video.clips.clip import Clip, evenly

_EXPECTED = (
    "(1, frames, height, width, channels) or (frames, height, width, channels), of float32 values as the network "
    "takes them or of uint8 RGB pictures"
)


def open_array(path: Path, fps: Fraction | None, default: Fraction) -> Clip:
    """A clip in a ``.npy`` file: floats are prepared values, uint8 are RGB pictures.

    The file is mapped into memory and looked through once for values that are no numbers.

    Args:
        path: The file.
        fps: Frames a second of pictures.
        default: The rate where that is not known.

    Raises:
        SourceError: It cannot be read, is of another rank or dtype, holds several clips, NaN or infinity.
    """
    array = _mapped(path)
    if array.ndim == 5 and array.shape[0] == 1:
        array = array[0]
    got = f"{array.dtype.name} of {array.shape}"
    if array.ndim == 5:
        raise SourceError(
            f"the file holds {array.shape[0]} clips, where one is classified at a time",
            where=str(path),
            expected=_EXPECTED,
            got=got,
            hint="save each as a file of its own: numpy.save('first.npy', clips[:1])",
        )
    if array.ndim != 4 or 0 in array.shape:
        raise SourceError("the array is no clip", where=str(path), expected=_EXPECTED, got=got)
    frames, height, width, channels = array.shape
    if array.dtype == np.uint8:
        if channels != 3:
            raise SourceError(
                "pictures have three channels", where=str(path), expected="uint8 of (…, 3), RGB", got=got
            )
    elif array.dtype.kind != "f":
        raise SourceError(
            "the array is of another dtype than a clip", where=str(path), expected=_EXPECTED, got=got
        )
    else:
        _check_finite(array, path)
    is_values = array.dtype.kind == "f"

    def read(index: int) -> np.ndarray:
        return np.array(array[index], np.float32 if is_values else np.uint8, order="C")

    return Clip(
        str(path),
        "values" if is_values else "pictures",
        (height, width),
        fps,
        lambda start: evenly(frames, fps or default, read),
        frames,
        channels=channels,
    )


def value_range(clip: Clip) -> tuple[float, float]:
    """The least and the largest value of a clip of values.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "clip.npy"
        >>> np.save(path, np.linspace(-1, 0.5, 24, dtype=np.float32).reshape(1, 2, 2, 2, 3))
        >>> value_range(open_array(path, None, Fraction(25)))
        (-1.0, 0.5)
    """
    extremes = [
        (pixels.min(), pixels.max()) for frame in clip.frames(Fraction(0)) for pixels in [frame.read()]
    ]
    return float(min(low for low, _ in extremes)), float(max(high for _, high in extremes))


def _mapped(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy evaluates the header, and lets what goes wrong there through
        raise SourceError(
            "the .npy file cannot be read", where=str(path), expected=_EXPECTED, got=str(error)
        ) from error
    return np.asarray(array) if not isinstance(array, np.memmap) else array


def _check_finite(array: np.ndarray, path: Path) -> None:
    for index, frame in enumerate(array):
        finite = np.isfinite(frame)
        if not finite.all():
            row, column, channel = (int(axis[0]) for axis in np.nonzero(~finite))
            raise SourceError(
                "the clip holds values that are no finite numbers",
                where=f"{path}, frame {index}, row {row}, column {column}, channel {channel}",
                expected="finite values",
                got=f"{frame[row, column, channel]} and {int((~finite).sum()) - 1:,} more in this frame",
            )
