"""One member of a zip archive as bytes: a piece of the archive where it is stored as it is, unpacked where not."""

from __future__ import annotations

import os
import tempfile
import threading
import zipfile
import zlib
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.io.blobs import Blob, Stored
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.locations import is_remote
from tfpt.io.storage import Bytes, LocalFile, Storage, file_over
from tfpt.io.zips import UnreadableError, blob, damaged

_BLOCK = 1 << 20
_PIECE = 16 << 20


class Member:
    """A stored member as a `Storage` of its own.

    Args:
        whole: The archive.
        start: The byte where the member begins.
        size: Its length.
        checksum: The CRC-32 of its bytes.
        location: Where it is, for errors.
    """

    def __init__(self, whole: Storage, start: int, size: int, checksum: int, location: str) -> None:
        self.location = location
        self._whole, self._start, self._size = whole, start, size
        self._checksum = checksum
        self._lock = threading.Lock()
        self._checked = False

    @property
    def data(self) -> Bytes:
        """The member's bytes; slices of it are slices of the archive."""
        return _Slices(self._whole.data, self._start, self._size)

    def verify(self) -> None:
        """Compare all bytes with their checksum, once. Of an archive elsewhere they are fetched to a temporary file.

        Raises:
            SourceError: They are others.
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
        """Say that these bytes are not needed again soon."""
        self._whole.release(self._start + offset, size)

    def open(self) -> BinaryIO:
        """The member as a file object."""
        return file_over(self.data)

    def close(self) -> None:
        """Let go of the archive."""
        self._whole.close()


class _Slices:
    def __init__(self, whole: Bytes, start: int, size: int) -> None:
        self._whole, self._start, self._size = whole, start, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice, /) -> npt.NDArray[np.uint8]:
        start, stop, _ = key.indices(self._size)
        return self._whole[self._start + start : self._start + max(start, stop)]


def open_member(storage: Storage, info: zipfile.ZipInfo) -> Storage:
    """A member's bytes, in place where the archive stores them as they are (as Keras does).

    Raises:
        SourceError: It claims a size that its bytes cannot fill, or is damaged or encrypted.
    """
    found = _blob(storage, info)
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
    found = _blob(storage, info)
    if info.file_size > largest:
        raise damaged(
            storage.location,
            f"member {info.filename!r} is too large",
            f"{largest:,} bytes at most",
            f"{info.file_size:,} bytes",
        )
    return found.load().tobytes()


def _blob(storage: Storage, info: zipfile.ZipInfo) -> Blob:
    try:
        return blob(storage, info)
    except UnreadableError as error:
        raise damaged(storage.location, f"member {info.filename!r} {error}") from None


def _unpacked(storage: Storage, info: zipfile.ZipInfo, location: str) -> Storage:
    """A compressed member in a temporary file without a name; zipfile compares its checksum."""
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
