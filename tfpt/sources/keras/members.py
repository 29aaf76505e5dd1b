"""One member of a zip archive as bytes: a piece of the archive where it is stored as it is, unpacked where not."""

from __future__ import annotations

import io
import mmap
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.sources.keras.opening import FETCH_AGAIN
from tfpt.sources.keras.values import FLOOR, MOST_DENSE
from tfpt.sources.storage import Bytes, Storage

# The fixed part of a member's own header, and where in it the lengths of the name and of what follows stand:
# PKWARE's APPNOTE.TXT, 4.3.7.
_LOCAL_HEADER = 30
_STORED = 0
_BLOCK = 1 << 20


class Section:
    """A part of a file as a `Storage` of its own.

    Args:
        whole: The file.
        start: The byte where the part begins.
        size: Its length.
        location: Where it is, for errors.
    """

    def __init__(self, whole: Storage, start: int, size: int, location: str) -> None:
        self.location = location
        self._whole, self._start, self._size = whole, start, size

    @property
    def data(self) -> Bytes:
        """The part's bytes; slices of it are slices of the file."""
        return _Slices(self._whole.data, self._start, self._size)

    def release(self, offset: int, size: int) -> None:
        """Let go of the pages of these bytes."""
        self._whole.release(self._start + offset, size)

    def open(self) -> BinaryIO:
        """The part as a file object."""
        return io.BufferedReader(_File(self.data))


class _Slices:
    def __init__(self, whole: Bytes, start: int, size: int) -> None:
        self._whole, self._start, self._size = whole, start, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice, /) -> npt.NDArray[np.uint8]:
        start, stop, _ = key.indices(self._size)
        return self._whole[self._start + start : self._start + max(start, stop)]


class Unpacked:
    """A compressed member, unpacked into a temporary file without a name that is mapped.

    Raises:
        SourceError: The member is damaged, or holds more than it declares.
    """

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, location: str) -> None:
        self.location = location
        with tempfile.TemporaryFile() as file:
            with damaged_member(location), archive.open(member) as packed:
                # zipfile reads no more than the declared size, and compares the checksum at the end.
                while block := packed.read(_BLOCK):
                    file.write(block)
            size = file.tell()
            file.flush()
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
        self.data: npt.NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)

    def release(self, offset: int, size: int) -> None:
        """Nothing: the system may write these pages to the temporary file by itself."""

    def open(self) -> BinaryIO:
        """The content as a file object."""
        return io.BufferedReader(_File(self.data))


class _File(io.RawIOBase):
    """A file object over bytes."""

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

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        content = self._data[self._at : self._at + len(view)]
        view[: len(content)] = content.tobytes()
        self._at += len(content)
        return len(content)


@contextmanager
def damaged_member(location: str) -> Iterator[None]:
    """Turns what zipfile raises inside it into a SourceError."""
    try:
        yield
    except SourceError:
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        what = f"the archive cannot be read: {error}"
        raise SourceError(what, where=location, hint=FETCH_AGAIN) from None


def open_member(storage: Storage, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Storage:
    """A member's bytes, in place where the archive stores them as they are (as Keras does).

    Raises:
        SourceError: It declares a size that its bytes cannot fill, or is damaged.
    """
    location = f"{storage.location}, {member.filename}"
    refuse_bomb(member, location)
    if member.compress_type != _STORED or member.flag_bits & 1:
        return Unpacked(archive, member, location)
    header = storage.data[member.header_offset : member.header_offset + _LOCAL_HEADER].tobytes()
    start = member.header_offset + _LOCAL_HEADER
    start += int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    if header[:4] != b"PK\3\4" or start + member.file_size > len(storage.data):
        raise SourceError(
            "the archive's member is not where its directory says",
            where=location,
            expected=f"{member.file_size:,} bytes behind a header at byte {member.header_offset:,}",
            got=f"an archive of {len(storage.data):,} bytes",
            hint=FETCH_AGAIN,
        )
    return Section(storage, start, member.file_size, location)


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, location: str) -> bytes:
    """A small member's bytes, whole.

    Raises:
        SourceError: It declares a size that its bytes cannot fill, or is damaged.
    """
    where = f"{location}, {member.filename}"
    refuse_bomb(member, where)
    with damaged_member(where):
        return archive.read(member)


def refuse_bomb(member: zipfile.ZipInfo, where: str) -> None:
    """Refuse a member that claims more than 64 MiB and 1,100 times its packed bytes, or is stored and differs at all.

    Raises:
        SourceError: It does.
    """
    stored = member.compress_type == _STORED
    limit = member.compress_size if stored else max(FLOOR, MOST_DENSE * member.compress_size)
    if member.file_size > limit:
        raise SourceError(
            "an archive's member claims a size that its bytes cannot fill",
            where=where,
            expected=f"{limit:,} bytes at most, of {member.compress_size:,} packed",
            got=f"{member.file_size:,} bytes",
            hint="the archive is damaged or forged: do not trust it",
        )
