"""Members of zip archives: the archive's directory, validated before use, and the bytes of each member."""

from __future__ import annotations

import os
import struct
import tempfile
import threading
import zipfile
import zlib
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.io import limits
from tfpt.io.blobs import Blob, Deflated, Stored
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.locations import is_remote
from tfpt.io.storage import FileBytes, LocalFile, Storage, file_over

# PKWARE's APPNOTE.TXT, 4.3.7, 4.3.14 to 4.3.16.
_LOCAL, _LOCAL_SIZE = b"PK\x03\x04", 30
_END, _END_SIZE = b"PK\x05\x06", 22
_LOCATOR, _LOCATOR_SIZE = b"PK\x06\x07", 20
_END64 = b"PK\x06\x06"
_COMMENT = 1 << 16
# Bytes that are unpacked at once, and that are compared with a checksum at once.
_BLOCK, _PIECE = 1 << 20, 16 << 20


class UnreadableError(Exception):
    """A valid member that tfpt cannot read; the message is the reason."""


def listing(storage: Storage) -> list[zipfile.ZipInfo]:
    """The entries of the archive's directory, in order, not validated: enough to recognize the format.

    Raises:
        SourceError: It is not an archive, or its directory is damaged or too large.
    """
    where = storage.location
    _check_size(storage)
    try:
        with storage.open() as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except SourceError:
        raise
    except Exception as error:  # zipfile raises whatever the parts of a damaged directory raise
        reason = str(error).partition("\n")[0][:100] or type(error).__name__
        raise damaged(where, f"its directory cannot be read: {reason}") from None
    if len(infos) > limits.ZIP_MEMBERS:
        raise damaged(where, "it has too many members", f"at most {limits.ZIP_MEMBERS:,}", f"{len(infos):,}")
    return infos


def directory(storage: Storage) -> list[zipfile.ZipInfo]:
    """The entries of the archive's directory, in order, validated.

    Raises:
        SourceError: It is not an archive, it is damaged or too large, two members share bytes or a name, or a member's
            name leads out of the archive.

    Example:
        >>> import tempfile, numpy as np
        >>> from tfpt.io.storage import open_storage
        >>> path = tempfile.mkdtemp() + "/w.npz"
        >>> np.savez(path, w=np.ones(3))
        >>> [info.filename for info in directory(open_storage(path))]
        ['w.npy']
    """
    where, infos = storage.location, listing(storage)
    names: set[str] = set()
    for info in infos:
        _check_name(where, info)
        if info.filename in names:
            raise damaged(where, f"two members are called {info.filename!r}")
        names.add(info.filename)
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise damaged(where, f"member {info.filename!r} shares its bytes with another")
        # The minimum size of a member: the length of its own header is not known yet.
        end = info.header_offset + _LOCAL_SIZE + len(info.orig_filename) + info.compress_size
        if info.header_offset < 0 or end > len(storage.data):
            expected = f"{end:,} bytes at least"
            raise damaged(
                where, f"member {info.filename!r} is cut off", expected, f"{len(storage.data):,} bytes"
            )
    return infos


def blob(storage: Storage, info: zipfile.ZipInfo) -> Blob:
    """The bytes of a member.

    Raises:
        UnreadableError: It is encrypted, or packed by another method than deflate.
        SourceError: It is damaged, or its compression ratio is too high.
    """
    where, size, packed = storage.location, info.file_size, info.compress_size
    if info.flag_bits & 0x1:
        raise UnreadableError("is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnreadableError(f"is compressed by method {info.compress_type}, neither stored nor deflated")
    begin = _data_of(storage, info)
    if info.compress_type == zipfile.ZIP_STORED:
        if size != packed:
            raise damaged(
                where, f"member {info.filename!r} has conflicting sizes", f"{size:,}", f"{packed:,}"
            )
        return Stored(storage, begin, size, info.CRC)
    tightest = limits.TIGHTEST if size <= limits.LARGE_MEMBER else limits.TIGHTEST_OF_LARGE
    most = packed * tightest + 64
    if size > most:
        raise damaged(
            where,
            f"member {info.filename!r} has too high a compression ratio",
            f"at most {most:,} bytes",
            f"{size:,} bytes",
        )
    return Deflated(storage, begin, packed, size, info.CRC)


class Member:
    """A stored member as a `Storage` of its own.

    Args:
        whole: The archive.
        start: The byte where the member begins.
        size: Its length.
        checksum: The CRC-32 of its bytes.
        location: The member's location, for errors.
    """

    def __init__(self, whole: Storage, start: int, size: int, checksum: int, location: str) -> None:
        self.location = location
        self._whole, self._start, self._size = whole, start, size
        self._checksum = checksum
        self._lock = threading.Lock()
        self._checked = False

    @property
    def data(self) -> FileBytes:
        """The member's bytes; slices of it are slices of the archive."""
        return FileBytes(self)

    @property
    def size(self) -> int:
        """The member's size in bytes."""
        return self._size

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """The bytes from `start` to `stop`."""
        return self._whole.data[self._start + start : self._start + max(start, stop)]

    def verify(self) -> None:
        """Compare all bytes with their checksum, once. Of a remote archive they are fetched to a temporary file.

        Raises:
            SourceError: The checksum differs.
        """
        with self._lock:
            if self._checked:
                return
            keep = tempfile.TemporaryFile() if is_remote(self._whole.location) else None  # noqa: SIM115
            try:
                computed = 0
                for begin in range(0, self._size, _PIECE):
                    piece = self.data[begin : begin + _PIECE]
                    computed = zlib.crc32(piece.data, computed)
                    if keep is not None:
                        keep.write(piece.data)
                if computed != self._checksum:
                    raise SourceError(
                        "an archive's member fails its checksum",
                        where=self.location,
                        expected=f"CRC-32 {self._checksum:08x}",
                        got=f"{computed:08x}",
                        hint=DOWNLOAD_AGAIN,
                    )
                if keep is not None:
                    keep.flush()
                    self._whole.close()
                    self._whole, self._start = LocalFile(self.location, os.dup(keep.fileno())), 0
            finally:
                if keep is not None:
                    keep.close()
            self._checked = True

    def release(self, offset: int, size: int) -> None:
        """Hint that these bytes are not needed again soon."""
        self._whole.release(self._start + offset, size)

    def open(self) -> BinaryIO:
        """The member as a file object."""
        return file_over(self.data)

    def close(self) -> None:
        """Close the archive."""
        self._whole.close()


def open_member(storage: Storage, info: zipfile.ZipInfo) -> Storage:
    """A member's bytes, in place if the archive stores them uncompressed (as Keras does).

    Raises:
        SourceError: It claims a size that its bytes cannot fill, or is damaged or encrypted.
    """
    found = _readable(storage, info)
    location = f"{storage.location}, {info.filename}"
    if isinstance(found, Stored):
        return Member(storage, found.begin, found.size, info.CRC, location)
    unpacked = _unpacked(storage, info, location)
    storage.close()
    return unpacked


def read_member(storage: Storage, info: zipfile.ZipInfo, largest: int) -> bytes:
    """A small member's bytes, whole.

    Raises:
        SourceError: It has more than `largest` bytes, claims a size that its bytes cannot fill, or is damaged or
            encrypted.
    """
    found = _readable(storage, info)
    if info.file_size > largest:
        raise damaged(
            storage.location,
            f"member {info.filename!r} is too large",
            f"{largest:,} bytes at most",
            f"{info.file_size:,} bytes",
        )
    return found.load().tobytes()


def _readable(storage: Storage, info: zipfile.ZipInfo) -> Blob:
    try:
        return blob(storage, info)
    except UnreadableError as error:
        raise damaged(storage.location, f"member {info.filename!r} {error}") from None


def _unpacked(storage: Storage, info: zipfile.ZipInfo, location: str) -> Storage:
    """A compressed member in an unnamed temporary file; zipfile compares its checksum."""
    with tempfile.TemporaryFile() as kept:
        try:
            with storage.open() as file, zipfile.ZipFile(file) as archive, archive.open(info) as packed:
                # zipfile reads no more than the declared size.
                while block := packed.read(_BLOCK):
                    kept.write(block)
        except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            what = f"the archive's member cannot be read: {error or type(error).__name__}"
            raise SourceError(what, where=location, hint=DOWNLOAD_AGAIN) from None
        kept.flush()
        return LocalFile(location, os.dup(kept.fileno()))


def damaged(where: str, what: str, expected: str | None = None, got: str | None = None) -> SourceError:
    """The error for an invalid archive."""
    return SourceError(f"not a valid zip archive: {what}", where=where, expected=expected, got=got)


def _check_name(where: str, info: zipfile.ZipInfo) -> None:
    name = info.filename
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in info.orig_filename:
        raise damaged(where, f"a member's name leads out of the archive: {name!r}")


def _check_size(storage: Storage) -> None:
    """Refuse a directory that is too large before zipfile reads it into memory."""
    tail = storage.data[max(0, len(storage.data) - _END_SIZE - _COMMENT) :].tobytes()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + _END_SIZE:
        raise damaged(storage.location, "it has no directory at its end", got="it may be cut off")
    size = int(struct.unpack_from("<I", tail, at + 12)[0])
    if tail[max(0, at - _LOCATOR_SIZE) : at].startswith(_LOCATOR):
        place = struct.unpack_from("<Q", tail, at - _LOCATOR_SIZE + 8)[0]
        record = storage.data[min(place, len(storage.data)) : place + 56].tobytes()
        if len(record) == 56 and record.startswith(_END64):
            size = max(int(struct.unpack_from("<Q", record, 40)[0]), 0 if size == 0xFFFFFFFF else size)
    if size > limits.ZIP_DIRECTORY and size != 0xFFFFFFFF:
        raise damaged(
            storage.location,
            "its directory is too large",
            f"at most {limits.ZIP_DIRECTORY:,} bytes",
            f"{size:,} bytes",
        )


def _data_of(storage: Storage, info: zipfile.ZipInfo) -> int:
    """Where a member's data begins, according to its own header."""
    where = storage.location
    head = storage.data[info.header_offset : info.header_offset + _LOCAL_SIZE].tobytes()
    if len(head) < _LOCAL_SIZE or not head.startswith(_LOCAL):
        raise damaged(where, f"member {info.filename!r} has no header", got=f"byte {info.header_offset}")
    begin = info.header_offset + _LOCAL_SIZE + sum(struct.unpack("<HH", head[26:30]))
    if begin + info.compress_size > len(storage.data):
        expected = f"{begin + info.compress_size:,} bytes at least"
        raise damaged(where, f"member {info.filename!r} is cut off", expected, f"{len(storage.data):,} bytes")
    return int(begin)
