"""Prepared clips written to ``.npy`` files frame by frame, in DeepMind's layout."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from tfpt.io.output_file import AtomicFile, Discarding

_MAGIC = b"\x93NUMPY\x01\x00"
# The format wants the values at a multiple of 64; the header of any shape that exists fits into two of them.
_HEADER = 128


class ClipWriter(Discarding):
    """A ``.npy`` file of (1, frames, height, width, channels), little-endian float32, which grows frame by frame.

    It takes its name on `commit`; without that nothing is left behind.

    Raises:
        SinkError: See `AtomicFile`.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "clip.npy"
        >>> with ClipWriter(path) as writer:
        ...     for _ in range(5):
        ...         writer.append(np.ones((2, 3, 3), np.float32))
        ...     writer.commit()
        >>> np.load(path).shape
        (1, 5, 2, 3, 3)
    """

    def __init__(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        self.path = Path(path)
        self._file = AtomicFile(path, overwrite)
        self._frames = 0
        self._shape: tuple[int, ...] = ()

    def append(self, frame: np.ndarray) -> None:
        """Write one more frame, (height, width, channels)."""
        values = np.ascontiguousarray(frame, "<f4")
        self._shape = values.shape
        self._file.write_at(_HEADER + self._frames * values.nbytes, values)
        self._frames += 1

    def finish(self) -> AtomicFile:
        """Write the header, now that the number of frames is known; `tfpt.io.publishing` gives files their names."""
        shape = (1, self._frames, *self._shape)
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape!r}, }}"
        rest = _HEADER - len(_MAGIC) - 2
        header = _MAGIC + struct.pack("<H", rest) + text.ljust(rest - 1).encode() + b"\n"
        self._file.write_at(0, np.frombuffer(header, np.uint8))
        return self._file

    def commit(self) -> None:
        """Write the header and give the file its name."""
        self.finish().commit()

    def discard(self) -> None:
        """Leave nothing behind; does nothing after `commit`."""
        self._file.discard()
