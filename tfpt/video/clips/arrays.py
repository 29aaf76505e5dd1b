"""Clips in ``.npy`` files: prepared values in DeepMind's layout, or pictures; and writing prepared clips."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np

from tfpt.errors import SourceError
from tfpt.io.output_file import AtomicFile, Discarding
from tfpt.video.clips.clip import Clip, evenly

_EXPECTED = (
    "(1, frames, height, width, channels) or (frames, height, width, channels), of float32 values in the "
    "network's range or of uint8 RGB pictures"
)


def open_array(path: Path, fps: Fraction | None, default: Fraction) -> Clip:
    """A clip in a ``.npy`` file: floats are prepared values, uint8 are RGB pictures.

    The file is mapped into memory and scanned once for values that are not finite.

    Args:
        path: The file.
        fps: Frames per second, for pictures.
        default: The frame rate if `fps` is not known.

    Raises:
        SourceError: The file cannot be read, has the wrong rank or dtype, or contains several clips, NaN or infinity.
    """
    array = _mapped(path)
    if array.ndim == 5 and array.shape[0] == 1:
        array = array[0]
    got = f"{array.dtype.name} of {array.shape}"
    if array.ndim == 5:
        raise SourceError(
            f"the file contains {array.shape[0]} clips, but only one can be classified at a time",
            where=str(path),
            expected=_EXPECTED,
            got=got,
            hint="save each clip in a separate file: numpy.save('first.npy', clips[:1])",
        )
    if array.ndim != 4 or 0 in array.shape:
        raise SourceError("the array is not a clip", where=str(path), expected=_EXPECTED, got=got)
    frames, height, width, channels = array.shape
    if array.dtype == np.uint8:
        if channels != 3:
            raise SourceError(
                "pictures must have three channels", where=str(path), expected="uint8 of (…, 3), RGB", got=got
            )
    elif array.dtype.kind != "f":
        raise SourceError(
            "the array has a dtype that a clip cannot have", where=str(path), expected=_EXPECTED, got=got
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
    """The minimum and maximum of a clip of values.

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
    except Exception as error:  # numpy evaluates the header and raises whatever goes wrong there
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
                "the clip contains values that are not finite",
                where=f"{path}, frame {index}, row {row}, column {column}, channel {channel}",
                expected="finite values",
                got=f"{frame[row, column, channel]} and {int((~finite).sum()) - 1:,} more in this frame",
            )


_MAGIC = b"\x93NUMPY\x01\x00"
# The format requires the values at a multiple of 64 bytes; the header of any real shape fits in two of them.
_HEADER = 128


class ClipWriter(Discarding):
    """Writes a ``.npy`` file of (1, frames, height, width, channels), little-endian float32, frame by frame.

    The file appears under its name when the result of `finish` is committed; otherwise nothing is left behind.

    Raises:
        SinkError: See `AtomicFile`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "clip.npy"
        >>> with ClipWriter(path) as writer:
        ...     for _ in range(5):
        ...         writer.append(np.ones((2, 3, 3), np.float32))
        ...     writer.finish().commit()
        >>> np.load(path).shape
        (1, 5, 2, 3, 3)
    """

    def __init__(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        self.path = Path(path)
        self._file = AtomicFile(path, overwrite)
        self._frames = 0
        self._shape: tuple[int, ...] = ()

    def append(self, frame: np.ndarray) -> None:
        """Append a frame, (height, width, channels)."""
        values = np.ascontiguousarray(frame, "<f4")
        self._shape = values.shape
        self._file.write_at(_HEADER + self._frames * values.nbytes, values)
        self._frames += 1

    def finish(self) -> AtomicFile:
        """Write the header, now that the number of frames is known; the caller publishes the file."""
        shape = (1, self._frames, *self._shape)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape!r}, }}"
        rest = _HEADER - len(_MAGIC) - 2
        header = _MAGIC + struct.pack("<H", rest) + text.ljust(rest - 1).encode() + b"\n"
        self._file.write_at(0, np.frombuffer(header, np.uint8))
        return self._file

    def discard(self) -> None:
        """Delete the unpublished file, if any."""
        self._file.discard()
