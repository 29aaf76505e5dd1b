"""The bytes of one file, wherever it is, without reading more of them than are looked at."""

from __future__ import annotations

import mmap
import os
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.sources.places import is_remote


class Bytes(Protocol):
    """Bytes that are brought in when a slice of them is taken."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice, /) -> npt.NDArray[np.uint8]: ...


class Storage(Protocol):
    """One file.

    Attributes:
        location: Where it is.
        data: Its bytes: ``len(data)``, and slices of step 1 as arrays of uint8 that are not writable.
    """

    location: str

    @property
    def data(self) -> Bytes: ...

    def release(self, offset: int, size: int) -> None:
        """Say that these bytes are not needed again soon; whoever still looks at them has them brought in again."""
        ...

    def open(self) -> BinaryIO:
        """The file as a seekable binary file object, for libraries that want one; the caller closes it."""
        ...


def open_storage(location: str) -> Storage:
    """The file at `location`.

    Raises:
        SourceError: It cannot be read, with the system's or the store's reason.

    Example:
        >>> import tempfile
        >>> path = f"{tempfile.mkdtemp()}/a.bin"
        >>> with open(path, "wb") as file:
        ...     _ = file.write(b"0123456789")
        >>> open_storage(path).data[2:5].tobytes()
        b'234'
    """
    if is_remote(location):
        # Imported here, and fsspec by it: files on this machine need neither.
        from tfpt.sources.remote import RemoteFile

        return RemoteFile(location)
    return MappedFile(location)


class MappedFile:
    """A read-only mapping of a whole file on this machine.

    It lasts as long as this object or any array made from it; there is nothing to close.

    Raises:
        SourceError: The file cannot be read, with the system's reason.
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.location = os.fspath(location)
        self._map: mmap.mmap | None = None
        try:
            with open(self.location, "rb") as file:
                # Nothing of no bytes can be mapped.
                if file.seek(0, os.SEEK_END):
                    self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceError(f"cannot read the file: {reason}", where=self.location) from None
        self.data: npt.NDArray[np.uint8] = np.frombuffer(b"" if self._map is None else self._map, np.uint8)

    def release(self, offset: int, size: int) -> None:
        """Let go of the pages of these bytes."""
        if self._map is None or not hasattr(self._map, "madvise"):
            return
        # Both ends rounded down: the page shared with what comes before goes too, that with what follows stays.
        start = offset // mmap.PAGESIZE * mmap.PAGESIZE
        length = min(offset + size, len(self.data)) // mmap.PAGESIZE * mmap.PAGESIZE - start
        if length > 0:
            self._map.madvise(mmap.MADV_DONTNEED, start, length)

    def open(self) -> BinaryIO:
        """The file as a file object."""
        return open(self.location, "rb")
