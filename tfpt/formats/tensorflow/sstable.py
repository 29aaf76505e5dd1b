"""Reading LevelDB's table format: sorted keys and values in checksummed blocks, the index of a checkpoint.

The format: leveldb/doc/table_format.md and leveldb/table/format.cc, which tensorflow/core/lib/io/table.cc follows::

    data block ... data block   metaindex block   index block   footer (48 bytes)
    block  = entries, restart offsets (uint32 each), their number (uint32); then outside it: type (byte), crc (uint32)
    entry  = shared key length, own key length, value length (varints), own part of the key, value
    footer = metaindex handle, index handle (offset and size as varints), zeros, magic (uint64)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from tfpt.errors import SourceError
from tfpt.formats.tensorflow.checksum import crc32c, masked
from tfpt.formats.tensorflow.snappy import decompress
from tfpt.io.damage import DOWNLOAD_AGAIN, refuse_pointer
from tfpt.io.storage import Bytes

FOOTER_SIZE = 48
MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
TRAILER_SIZE = 5

UNCOMPRESSED, SNAPPY = 0, 1

# TensorFlow's writer stores every sixteenth key in full, so no table of its has keys of more than 16 times its
# bytes. The bound keeps a small hostile file, each key sharing almost all of the one before, from filling memory.
_LARGEST_KEY_GROWTH = 64

# Blocks of indexes have some 4 KB; larger ones hold one large value.
_COPIED = 1 << 16


def has_footer(tail: bytes) -> bool:
    """Whether `tail`, the last bytes of a file, ends a table.

    Example:
        >>> has_footer(bytes(40) + bytes.fromhex("57fb808b247547db")), has_footer(b"")
        (True, False)
    """
    return len(tail) >= FOOTER_SIZE and tail.endswith(MAGIC)


class Table:
    """A table, read in the order of its keys, or by key.

    Iterating gives ``(key, value)`` pairs of bytes; keys increase strictly. Every block's checksum is verified when
    the block is reached, and no length in the file is believed before it is compared with what is there.

    Args:
        data: The whole file.
        location: Where it is, for errors.

    Attributes:
        size: Its bytes.

    Raises:
        SourceError: The file is no table, or is damaged; also while iterating.
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
                "not a table of TensorFlow's: the file does not end with the mark of one",
                where=location,
                expected=f"a footer of {FOOTER_SIZE} bytes that ends in {MAGIC.hex()}",
                got=f"{self.size} bytes that end in {tail[-8:].hex() or 'nothing'}",
                hint="if this is the index of a checkpoint, it is cut off: fetch it again",
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
        """The value under `key`, or ``None``: reads one data block, and the index where nothing has before.

        A value of a large block is a view of the file, where it is not compressed.

        Raises:
            SourceError: The index or that block is damaged.
        """
        block = self.block_of(key)
        for found, value in self._entries(*block) if block else ():
            if found >= key:
                return value if found == key else None
        return None

    def block_of(self, key: bytes) -> tuple[int, int] | None:
        """Offset and size of the data block that holds `key` if any does.

        Raises:
            SourceError: The index is damaged.
        """
        blocks = self._blocks()
        # The index has for each block a key that is none before its last one, and before the next block's first.
        at = bisect_left(blocks, key, key=lambda block: block[0])
        return None if at == len(blocks) else blocks[at][1:]

    def checksums(self) -> bytes:
        """The stored checksums of all data blocks, one after the other, with the types of the blocks."""
        return b"".join(self._bytes(offset + size, TRAILER_SIZE) for _, offset, size in self._blocks())

    def _blocks(self) -> Sequence[tuple[bytes, int, int]]:
        if self._found is None:
            self._found = list(self._handles())
        return self._found

    def _handles(self) -> Iterator[tuple[bytes, int, int]]:
        """The index's key, offset and size of each data block; they follow one another: none is read twice."""
        footer_at = self.size - FOOTER_SIZE
        footer = self._bytes(footer_at, FOOTER_SIZE)
        meta_at, meta_size, at = self._handle(footer, 0, footer_at)
        # Empty in TensorFlow's tables, but a damaged byte is a damaged file.
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
            raise self._damaged("a block handle of the table is cut off", where) from None
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
        """The content of a block: bytes, which are faster to go through, or of a large one a view."""
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
            "a block of the table is compressed in a way tfpt does not know",
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
            raise self._damaged("a block of the table has no room for its restart points", offset)
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
            raise self._damaged("an entry of the table reaches out of its block", offset) from None

    def _damaged(
        self, what: str, offset: int, expected: str | None = None, got: str | None = None
    ) -> SourceError:
        where = f"{self.location}, byte {offset}"
        return SourceError(what, where=where, expected=expected, got=got, hint=DOWNLOAD_AGAIN)


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The variable-length integer at `at`, and where the next thing starts.

    Raises:
        ValueError: The data end before it does, or it has more than 64 bits.

    Example:
        >>> read_varint(bytes([0xAC, 0x02]), 0)
        (300, 2)
    """
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
    raise ValueError("a variable-length integer is cut off or has more than 64 bits")


def write_varint(value: int) -> bytes:
    """A non-negative integer of at most 64 bits, 7 bits a byte, lowest first.

    Example:
        >>> write_varint(300).hex()
        'ac02'
    """
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
