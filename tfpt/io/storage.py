"""The bytes of a local or remote file, read only as far as they are used."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Protocol, cast

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.io.locations import is_remote


class Bytes(Protocol):
    """Bytes that are read when sliced."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice, /) -> npt.NDArray[np.uint8]: ...


class Storage(Protocol):
    """One file.

    Attributes:
        location: Its path or URL.
        data: Its bytes: ``len(data)``, and slices of step 1 as arrays of uint8 that are not writable.
    """

    location: str

    @property
    def data(self) -> Bytes: ...

    def release(self, offset: int, size: int) -> None:
        """Hint that these bytes are not needed again soon; later reads fetch them again."""
        ...

    def open(self) -> BinaryIO:
        """The file as a seekable binary file object, for libraries that want one; the caller closes it."""
        ...

    def close(self) -> None:
        """Close the file. Arrays that were read stay valid."""
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
        from tfpt.io.remote import RemoteFile

        return RemoteFile(location)
    return LocalFile(location)


def samples(storage: Storage, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes of many small spans (begin, end), in order.

    Of remote files, adjacent spans are fetched together.

    Example:
        >>> import tempfile
        >>> path = f"{tempfile.mkdtemp()}/a.bin"
        >>> with open(path, "wb") as file:
        ...     _ = file.write(b"0123456789")
        >>> samples(open_storage(path), [(7, 9), (0, 2)])
        [b'78', b'01']
    """
    together: Callable[[Sequence[tuple[int, int]]], list[bytes]] | None = getattr(storage, "samples", None)
    if together is not None:
        return together(spans)
    return [storage.data[start:stop].tobytes() for start, stop in spans]


class LocalFile:
    """A local file, read when sliced.

    Slices are copies, not views of a memory map: a memory map ends the process (SIGBUS) if the file is truncated while
    it is read. The file is open until `close` or the end of this object; arrays that were read stay valid.

    Args:
        location: Its path.
        descriptor: The descriptor of an unnamed open file; it is closed with this object.

    Raises:
        SourceError: The file cannot be read, with the system's reason; also from slices.
    """

    def __init__(self, location: str | os.PathLike[str], descriptor: int | None = None) -> None:
        self.location = os.fspath(location)
        self._is_named = descriptor is None
        self._handle: _Handle | None = None
        try:
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
            self._handle = _Handle(os.open(self.location, flags) if descriptor is None else descriptor)
            self._size = os.fstat(self._handle.descriptor).st_size
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceError(f"cannot read the file: {reason}", where=self.location) from None

    @property
    def data(self) -> FileBytes:
        """The file's bytes, read when sliced."""
        return FileBytes(self)

    @property
    def size(self) -> int:
        """The file's size in bytes, as it was when it was opened."""
        return self._size

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """The bytes from `start` to `stop`, which are in the file; not writable."""
        # An active reader keeps the file open while another thread closes it: a closed descriptor may be reused for
        # another file.
        handle = self._handle
        if handle is None:
            raise SourceError("the file was closed", where=self.location)
        content = np.empty(max(0, stop - start), np.uint8)
        reached = 0
        while reached < len(content):
            try:
                count = handle.read_into(content[reached:].data, start + reached)
            except OSError as error:
                raise SourceError(
                    f"cannot read the file: {error.strerror or error}",
                    where=f"{self.location}, byte {start + reached:,}",
                ) from None
            if not count:
                raise SourceError(
                    "the file was truncated while it was being read",
                    where=self.location,
                    expected=f"{self._size:,} bytes, as when it was opened",
                    got=f"{start + reached:,} bytes",
                    hint="wait until no process writes to it, and run the same command again",
                )
            reached += count
        content.flags.writeable = False
        return content

    def release(self, offset: int, size: int) -> None:
        """Does nothing: slices are copies."""

    def open(self) -> BinaryIO:
        """The file as a file object."""
        return open(self.location, "rb") if self._is_named else file_over(self.data)

    def close(self) -> None:
        """Close the file as soon as no other thread reads from it."""
        self._handle = None


class Sized(Protocol):
    """An object with a size in bytes that reads spans of them."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, stop: int, /) -> npt.NDArray[np.uint8]: ...


class FileBytes:
    """A file's bytes: ``len(data)``, and slices of step 1, as arrays of uint8 that are not writable."""

    def __init__(self, file: Sized) -> None:
        self._file = file

    def __len__(self) -> int:
        return self._file.size

    def __getitem__(self, key: slice, /) -> npt.NDArray[np.uint8]:
        start, stop, step = key.indices(self._file.size)
        if step != 1:
            raise ValueError("only slices of step 1 are read")
        return self._file.read(start, stop)


class _Handle:
    """An open file, closed with the last reference to it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._lock = threading.Lock()

    def __del__(self) -> None:
        os.close(self.descriptor)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self.descriptor, [buffer], offset)
        with self._lock:  # Windows reads at the file position, which all threads share
            os.lseek(self.descriptor, offset, os.SEEK_SET)
            content = os.read(self.descriptor, min(len(buffer), 1 << 24))
            buffer[: len(content)] = content
            return len(content)


def file_over(data: Bytes, buffer: int = io.DEFAULT_BUFFER_SIZE) -> BinaryIO:
    """A file object that reads and seeks over bytes, at least `buffer` of them at once."""
    return cast(BinaryIO, io.BufferedReader(_Reader(data), buffer))


class _Reader(io.RawIOBase):
    def __init__(self, data: Bytes) -> None:
        self._data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        if base + offset < 0:
            raise OSError("seek before the start of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        content = self._data[self._at : self._at + len(view)]
        view[: len(content)] = content.data
        self._at += len(content)
        return len(content)
