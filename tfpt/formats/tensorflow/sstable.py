"""LevelDB's table format, in which checkpoints store their index: sorted keys and values in checksummed blocks.

The format: leveldb/doc/table_format.md and leveldb/table/format.cc, which tensorflow/core/lib/io/table.cc follows::

    data block ... data block   metaindex block   index block   footer (48 bytes)
    block  = entries, restart offsets (uint32 each), their number (uint32); then outside it: type (byte), crc (uint32)
    entry  = shared key length, own key length, value length (varints), own part of the key, value
    footer = metaindex handle, index handle (offset and size as varints), zeros, magic (uint64)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import google_crc32c
import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.formats.tensorflow.wire import read_varint
from tfpt.io.damage import DOWNLOAD_AGAIN, refuse_pointer
from tfpt.io.storage import Bytes

FOOTER_SIZE = 48
MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
TRAILER_SIZE = 5

UNCOMPRESSED, SNAPPY = 0, 1

# TensorFlow's writer stores every sixteenth key in full, so the keys of a table are at most 16 times its size. The
# bound keeps a small hostile file, where each key shares almost all of the previous one, from filling memory.
_LARGEST_KEY_GROWTH = 64

# Blocks of an index have about 4 KB; larger ones contain one large value.
_COPIED = 1 << 16


def has_footer(tail: bytes) -> bool:
    """Whether `tail`, the last bytes of a file, ends with the footer of a table.

    Example:
        >>> has_footer(bytes(40) + bytes.fromhex("57fb808b247547db")), has_footer(b"")
        (True, False)
    """
    return len(tail) >= FOOTER_SIZE and tail.endswith(MAGIC)


class Table:
    """A table, read in the order of its keys, or by key.

    Iterating yields ``(key, value)`` pairs of bytes; keys increase strictly. Every block's checksum is verified when
    the block is reached, and every length is validated before use.

    Args:
        data: The whole file.
        location: Its path or URL, for errors.

    Attributes:
        size: Its size in bytes.

    Raises:
        SourceError: The file is not a table, or is damaged; also while iterating.
    """

    def __init__(self, data: Bytes, location: str) -> None:
        self.location = location
        self._data = data
        self.size = len(data)
        self._found: Sequence[tuple[bytes, int, int]] | None = None
        tail = self._bytes(max(0, self.size - FOOTER_SIZE), FOOTER_SIZE)
        if not has_footer(tail):
            refuse_pointer(data, location)
            raise SourceError(
                "not a TensorFlow table: the file does not end with its footer",
                where=location,
                expected=f"a footer of {FOOTER_SIZE} bytes that ends in {MAGIC.hex()}",
                got=f"{self.size} bytes that end in {tail[-8:].hex() or 'nothing'}",
                hint=DOWNLOAD_AGAIN,
            )

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        before: bytes | None = None
        for _, offset, size in self._blocks():
            for key, value in self._entries(offset, size):
                if before is not None and key <= before:
                    raise self._damaged("the keys of the table are not in order", offset)
                before = key
                yield key, bytes(value)

    def find(self, key: bytes) -> bytes | memoryview | None:
        """The value under `key`, or ``None``: reads one data block, and the index the first time.

        A value in a large block is a view of the file, unless it is compressed.

        Raises:
            SourceError: The index or that block is damaged.
        """
        block = self.block_of(key)
        for found, value in self._entries(*block) if block else ():
            if found >= key:
                return value if found == key else None
        return None

    def block_of(self, key: bytes) -> tuple[int, int] | None:
        """Offset and size of the data block that contains `key`, if any does.

        Raises:
            SourceError: The index is damaged.
        """
        blocks = self._blocks()
        # The index has a key for each block that is at least its last key, and less than the next block's first.
        at = bisect_left(blocks, key, key=lambda block: block[0])
        return None if at == len(blocks) else blocks[at][1:]

    def checksums(self) -> bytes:
        """The stored checksums and types of all data blocks, concatenated."""
        return b"".join(self._bytes(offset + size, TRAILER_SIZE) for _, offset, size in self._blocks())

    def _blocks(self) -> Sequence[tuple[bytes, int, int]]:
        if self._found is None:
            self._found = list(self._handles())
        return self._found

    def _handles(self) -> Iterator[tuple[bytes, int, int]]:
        """The index's key, offset and size of each data block; blocks must not overlap, so none is read twice."""
        footer_at = self.size - FOOTER_SIZE
        footer = self._bytes(footer_at, FOOTER_SIZE)
        meta_at, meta_size, at = self._handle(footer, 0, footer_at)
        # Empty in TensorFlow's tables, but its checksum detects damage.
        self._block(meta_at, meta_size)
        index_at, index_size, _ = self._handle(footer, at, footer_at)
        end = 0
        before = b""
        for key, handle in self._entries(index_at, index_size):
            offset, size, _ = self._handle(handle, 0, index_at)
            if offset < end:
                raise self._damaged("the blocks of the table overlap", index_at)
            if key < before:
                raise self._damaged("the keys of the table's index are not in order", index_at)
            before = key
            end = offset + size + TRAILER_SIZE
            yield key, offset, size

    def _handle(self, data: bytes | memoryview, at: int, where: int) -> tuple[int, int, int]:
        try:
            offset, at = read_varint(data, at)
            size, at = read_varint(data, at)
        except ValueError:
            raise self._damaged("a block handle of the table is truncated", where) from None
        if offset + size + TRAILER_SIZE > self.size - FOOTER_SIZE:
            raise self._damaged(
                "the table points to a block outside itself",
                where,
                expected=f"at most {self.size - FOOTER_SIZE} bytes",
                got=f"{size} bytes from byte {offset}",
            )
        return offset, size, at

    def _bytes(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size].tobytes()

    def _block(self, offset: int, size: int) -> bytes | memoryview:
        """The content of a block: bytes, which are faster to process, or a view of a large one."""
        raw = self._data[offset : offset + size + TRAILER_SIZE]
        content, kind = raw[:size], int(raw[size])
        stored = int.from_bytes(raw[size + 1 :].tobytes(), "little")
        computed = masked(crc32c(raw[: size + 1]))
        if stored != computed:
            raise self._damaged(
                "a block of the table fails its checksum",
                offset,
                expected=f"crc32c {stored:08x} (masked)",
                got=f"{computed:08x}",
            )
        if kind == UNCOMPRESSED:
            return content.tobytes() if size <= _COPIED else memoryview(content.data)
        if kind == SNAPPY:
            try:
                return decompress(content.tobytes())
            except ValueError as error:
                raise self._damaged(str(error), offset) from None
        raise self._damaged(
            "a block of the table has an unknown compression",
            offset,
            expected="0 (none) or 1 (snappy)",
            got=str(kind),
        )

    def _entries(self, offset: int, size: int) -> Iterator[tuple[bytes, bytes | memoryview]]:
        block = self._block(offset, size)
        end = len(block) - 4
        restarts = int.from_bytes(bytes(block[max(end, 0) :]), "little")
        end -= 4 * restarts
        if end < 0:
            raise self._damaged("a block of the table is too small for its restart points", offset)
        key = b""
        at = 0
        budget = _LARGEST_KEY_GROWTH * len(block)
        try:
            while at < end:
                shared, own, length = block[at], block[at + 1], block[at + 2]
                if shared | own | length < 0x80:
                    at += 3
                else:
                    shared, at = read_varint(block, at)
                    own, at = read_varint(block, at)
                    length, at = read_varint(block, at)
                value_at = at + own
                following = value_at + length
                budget -= shared + own
                if shared > len(key) or following > end or budget < 0:
                    raise ValueError
                key = key[:shared] + bytes(block[at:value_at])
                yield key, block[value_at:following]
                at = following
        except (ValueError, IndexError):
            raise self._damaged("an entry of the table extends beyond its block", offset) from None

    def _damaged(
        self, what: str, offset: int, expected: str | None = None, got: str | None = None
    ) -> SourceError:
        where = f"{self.location}, byte {offset}"
        return SourceError(what, where=where, expected=expected, got=got, hint=DOWNLOAD_AGAIN)


# Added to the rotated checksum, since a plain checksum among the bytes that another one covers would weaken that one
# (leveldb/util/crc32c.h, tensorflow/core/lib/hash/crc32c.h).
_MASK_DELTA = 0xA282EAD8
_UINT32 = 0xFFFFFFFF

# A call holds Python's lock: other threads get their turn after this many bytes (about 0.1 ms).
_CHUNK = 1 << 20


def crc32c(data: bytes | npt.NDArray[np.uint8], start: int = 0) -> int:
    """The CRC-32C of `data`, continuing that of the bytes before it.

    Args:
        data: Bytes, or a one-dimensional contiguous array of them, which is not copied.
        start: The checksum of the preceding bytes.

    Example:
        >>> hex(crc32c(b"123456789")), hex(crc32c(b"6789", crc32c(b"12345")))
        ('0xe3069283', '0xe3069283')
    """
    if len(data) <= _CHUNK:
        return int(google_crc32c.extend(start, data))
    for begin in range(0, len(data), _CHUNK):
        start = int(google_crc32c.extend(start, data[begin : begin + _CHUNK]))
    return start


def masked(crc: int) -> int:
    """The checksum in its stored form.

    Example:
        >>> masked(crc32c(b"")) == 0xA282EAD8
        True
    """
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _UINT32


# The densest element is a copy of 64 bytes encoded in 3, so nothing grows more than this.
_LARGEST_GROWTH = 22
_LONGEST_LENGTH = 5


def decompress(data: bytes) -> bytes:
    """Decompress one snappy block; allocates at most 22 times its length.

    The format: https://github.com/google/snappy/blob/main/format_description.txt. The blocks of an index have a few
    kilobytes, so plain Python is fast enough and saves a dependency.

    Raises:
        ValueError: `data` is not a complete snappy block.

    Example:
        >>> decompress(bytes([9, 2 << 2]) + b"abc" + bytes([2 << 2 | 1, 3]))
        b'abcabcabc'
    """
    try:
        return _decompress(data)
    except IndexError:
        raise ValueError("the snappy block ends in the middle of an element") from None


def _decompress(data: bytes) -> bytes:
    try:
        length, at = read_varint(data, 0, min(len(data), _LONGEST_LENGTH))
    except ValueError:
        raise ValueError("the length of a snappy block is cut off or has more than 32 bits") from None
    if length > _LARGEST_GROWTH * len(data):
        raise ValueError(f"a snappy block of {len(data)} bytes cannot expand to the {length} it declares")
    out = bytearray()
    end = len(data)
    while at < end:
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                width = size - 59
                size = int.from_bytes(data[at : at + width], "little")
                at += width
            size += 1
            if size > end - at:
                raise ValueError("a snappy literal extends past the end of its block")
            out += data[at : at + size]
            at += size
        else:
            if tag & 3 == 1:
                size, offset, width = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at], 1
            else:
                width = 2 if tag & 3 == 2 else 4
                size, offset = (tag >> 2) + 1, int.from_bytes(data[at : at + width], "little")
            at += width
            if at > end or not 0 < offset <= len(out):
                raise ValueError("a snappy copy points before the start of its block")
            begin = len(out) - offset
            # A copy may overlap its own output: then its first `offset` bytes repeat.
            piece = bytes(out[begin : begin + size])
            out += (piece * (size // len(piece) + 1))[:size]
        if len(out) > length:
            break
    if len(out) != length:
        raise ValueError(f"a snappy block declares {length} bytes and expands to {len(out)}")
    return bytes(out)
