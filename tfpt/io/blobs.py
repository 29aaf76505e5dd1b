"""The bytes of an array: stored in a file, deflated in it, or in memory."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.fingerprints import middle_of
from tfpt.io.storage import Storage

_CHUNK = 1 << 20
# Bytes that are read at once to compute a checksum.
_PIECE = 16 << 20


class Blob(Protocol):
    """Bytes that are read when they are requested.

    Attributes:
        size: The number of bytes.
    """

    @property
    def size(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice, /) -> npt.NDArray[np.uint8]: ...

    def head(self, size: int) -> bytes:
        """The first `size` bytes, or all if there are fewer; not compared with a checksum."""
        ...

    def load(self) -> npt.NDArray[np.uint8]:
        """All bytes, compared with their checksum the first time.

        Raises:
            SourceError: They are damaged.
        """
        ...

    def part(self, begin: int, size: int) -> npt.NDArray[np.uint8]:
        """Some of the bytes; the first time, all are compared with their checksum, piece by piece.

        Raises:
            SourceError: They are damaged.
        """
        ...

    def digest(self) -> bytes:
        """A short digest that changes with the bytes, computed from few of them."""
        ...

    def release(self) -> None:
        """Hint that they are not needed again soon."""
        ...


@dataclass
class Stored:
    """Bytes stored uncompressed in the file.

    Attributes:
        checksum: Their CRC-32, if the file has one.
    """

    storage: Storage
    begin: int
    size: int
    checksum: int | None = None
    _checked: bool = field(default=False, repr=False)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: slice) -> npt.NDArray[np.uint8]:
        start, stop, _ = key.indices(self.size)
        return self.storage.data[self.begin + start : self.begin + max(start, stop)]

    def head(self, size: int) -> bytes:
        return self[:size].tobytes()

    def load(self) -> npt.NDArray[np.uint8]:
        raw = self[:]
        if self.checksum is not None and not self._checked:
            _compare(self.storage, self.begin, zlib.crc32(raw.data), self.checksum)
            self._checked = True
        return raw

    def part(self, begin: int, size: int) -> npt.NDArray[np.uint8]:
        if size == self.size:
            return self.load()
        if self.checksum is not None and not self._checked:
            computed = 0
            for start in range(0, self.size, _PIECE):
                computed = zlib.crc32(self[start : start + _PIECE].data, computed)
            _compare(self.storage, self.begin, computed, self.checksum)
            self._checked = True
        return self[begin : begin + size]

    def digest(self) -> bytes:
        if self.checksum is not None:
            return self.checksum.to_bytes(4, "little")
        begin, size = middle_of(self.size)
        return self[begin : begin + size].tobytes()

    def release(self) -> None:
        self.storage.release(self.begin, self.size)


@dataclass
class Deflated:
    """A deflated part of the file (RFC 1951)."""

    storage: Storage
    begin: int
    packed: int
    size: int
    checksum: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: slice) -> npt.NDArray[np.uint8]:
        return self.load()[key]

    def head(self, size: int) -> bytes:
        return self._inflate(min(size, self.size)).tobytes()

    def load(self) -> npt.NDArray[np.uint8]:
        raw = self._inflate(self.size)
        _compare(self.storage, self.begin, zlib.crc32(raw.data), self.checksum)
        return raw

    def _inflate(self, size: int) -> npt.NDArray[np.uint8]:
        """The first `size` bytes; takes memory for these and two chunks."""
        raw = np.empty(size, np.uint8)
        unpacker, reached, at = zlib.decompressobj(-zlib.MAX_WBITS), 0, self.begin
        end, rest = self.begin + self.packed, b""
        try:
            while reached < size and not unpacker.eof:
                if not rest and at < end:
                    rest = self.storage.data[at : min(at + _CHUNK, end)].tobytes()
                    at += len(rest)
                part = unpacker.decompress(rest, min(_CHUNK, size - reached))
                rest = unpacker.unconsumed_tail
                # All input may be consumed before all output is produced.
                if not part and not rest and at >= end:
                    break
                raw[reached : reached + len(part)] = np.frombuffer(part, np.uint8)
                reached += len(part)
        except zlib.error as error:
            raise _damaged(self.storage, self.begin, "deflated data", str(error)) from None
        if reached != size:
            raise _damaged(self.storage, self.begin, f"{size:,} bytes", f"{reached:,} bytes")
        return raw

    def part(self, begin: int, size: int) -> npt.NDArray[np.uint8]:
        return self.load()[begin : begin + size]

    def digest(self) -> bytes:
        return self.checksum.to_bytes(4, "little")

    def release(self) -> None:
        self.storage.release(self.begin, self.packed)


class InMemory:
    """Bytes in memory."""

    def __init__(self, raw: bytes | npt.NDArray[np.uint8]) -> None:
        self._raw = np.frombuffer(raw, np.uint8) if isinstance(raw, bytes) else raw
        self.size = len(self._raw)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: slice) -> npt.NDArray[np.uint8]:
        return self._raw[key]

    def head(self, size: int) -> bytes:
        return self._raw[:size].tobytes()

    def load(self) -> npt.NDArray[np.uint8]:
        return self._raw

    def part(self, begin: int, size: int) -> npt.NDArray[np.uint8]:
        return self._raw[begin : begin + size]

    def digest(self) -> bytes:
        return hashlib.sha256(self._raw.data).digest()

    def release(self) -> None:
        """Does nothing: the bytes are not in a file."""


class Joined:
    """The bytes of several pieces, joined when they are read."""

    def __init__(self, parts: list[Blob]) -> None:
        self._parts = parts
        self.size = sum(part.size for part in parts)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: slice) -> npt.NDArray[np.uint8]:
        return self.load()[key]

    def head(self, size: int) -> bytes:
        return self[:size].tobytes()

    def load(self) -> npt.NDArray[np.uint8]:
        raw, at = np.empty(self.size, np.uint8), 0
        for part in self._parts:
            raw[at : at + part.size] = part.load()
            at += part.size
        return raw

    def part(self, begin: int, size: int) -> npt.NDArray[np.uint8]:
        return self.load()[begin : begin + size]

    def digest(self) -> bytes:
        return b"".join(part.digest() for part in self._parts)

    def release(self) -> None:
        for part in self._parts:
            part.release()


def part_of(blob: Blob, begin: int, size: int) -> Blob:
    """Some of the bytes of `blob`."""
    if isinstance(blob, Stored):
        return Stored(blob.storage, blob.begin + begin, size)
    return InMemory(blob[begin : begin + size])


def _compare(storage: Storage, begin: int, computed: int, checksum: int) -> None:
    if computed != checksum:
        raise _damaged(storage, begin, f"CRC-32 {checksum:08x}", f"{computed:08x}")


def _damaged(storage: Storage, begin: int, expected: str, got: str) -> SourceError:
    return SourceError(
        "the data is damaged",
        where=f"{storage.location}, byte {begin}",
        expected=expected,
        got=got,
        hint=DOWNLOAD_AGAIN,
    )
