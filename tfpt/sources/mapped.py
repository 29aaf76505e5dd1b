"""A file as an array of bytes that the system brings in page by page, and may drop again."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np

from tfpt.errors import SourceError


class MappedFile:
    """A read-only mapping of a whole file.

    It lasts as long as this object or any array made from it; there is nothing to close.

    Attributes:
        path: The file.
        data: Its bytes; not writable.

    Raises:
        SourceError: The file cannot be read, with the system's reason.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map: mmap.mmap | None = None
        try:
            with open(path, "rb") as file:
                # Nothing of no bytes can be mapped.
                if file.seek(0, os.SEEK_END):
                    self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceError(f"cannot read the file: {reason}", where=str(path)) from None
        self.data = np.frombuffer(b"" if self._map is None else self._map, np.uint8)

    def release(self, offset: int, size: int) -> None:
        """Let go of the pages of these bytes; whoever still looks at them has them read from the file again."""
        if self._map is None or not hasattr(self._map, "madvise"):
            return
        # Both ends rounded down: the page shared with what comes before goes too, that with what follows stays.
        start = offset // mmap.PAGESIZE * mmap.PAGESIZE
        length = min(offset + size, len(self.data)) // mmap.PAGESIZE * mmap.PAGESIZE - start
        if length > 0:
            self._map.madvise(mmap.MADV_DONTNEED, start, length)
