"""Writing LevelDB's table format, byte for byte as TensorFlow's own writer does for a checkpoint.

The format is described in `tfpt.formats.tensorflow.sstable`. This follows tensorflow/core/lib/io/table_builder.cc.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from tfpt.formats.tensorflow.sstable import FOOTER_SIZE, MAGIC, UNCOMPRESSED, crc32c, masked
from tfpt.formats.tensorflow.wire import write_varint

# Both from tensorflow/core/lib/io/table_options.h.
_BLOCK_SIZE = 262144
_RESTART_INTERVAL = 16


def write_table(file: BinaryIO, rows: Iterable[tuple[bytes, bytes]]) -> None:
    """Write a complete table.

    Args:
        file: The output, positioned at its start.
        rows: Keys and values, with strictly increasing keys.

    Raises:
        ValueError: The keys are not in order.
    """
    index = _Block(restart_interval=1)
    block = _Block(_RESTART_INTERVAL)
    last: bytes | None = None
    waiting: bytes | None = None
    at = 0
    for key, value in rows:
        if last is not None and key <= last:
            raise ValueError(f"key {key!r} comes after {last!r}")
        if waiting is not None and last is not None:
            # Only now is it known how short a key can separate this block from the next.
            index.add(_between(last, key), waiting)
            waiting = None
        block.add(key, value)
        last = key
        if block.size >= _BLOCK_SIZE:
            waiting, at = _write_block(file, block, at)
            block = _Block(_RESTART_INTERVAL)
    if not block.is_empty:
        waiting, at = _write_block(file, block, at)
    metaindex_handle, at = _write_block(file, _Block(_RESTART_INTERVAL), at)
    if waiting is not None and last is not None:
        index.add(_after(last), waiting)
    index_handle, at = _write_block(file, index, at)
    handles = metaindex_handle + index_handle
    file.write(handles.ljust(FOOTER_SIZE - len(MAGIC), b"\x00") + MAGIC)


class _Block:
    """Entries whose keys omit the prefix shared with the previous key."""

    def __init__(self, restart_interval: int) -> None:
        self._interval = restart_interval
        self._data = bytearray()
        self._restarts = [0]
        self._count = 0
        self._last = b""

    @property
    def is_empty(self) -> bool:
        return not self._data

    @property
    def size(self) -> int:
        return len(self._data) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._count < self._interval:
            shared = _shared_length(self._last, key)
        else:
            self._restarts.append(len(self._data))
            self._count = 0
        self._data += write_varint(shared) + write_varint(len(key) - shared) + write_varint(len(value))
        self._data += key[shared:] + value
        self._last = key
        self._count += 1

    def finish(self) -> bytes:
        numbers = [*self._restarts, len(self._restarts)]
        return bytes(self._data) + b"".join(number.to_bytes(4, "little") for number in numbers)


def _write_block(file: BinaryIO, block: _Block, at: int) -> tuple[bytes, int]:
    """Write a block; returns its handle and the offset of the next one."""
    data = block.finish()
    kind = bytes([UNCOMPRESSED])
    stored = data + kind + masked(crc32c(kind, crc32c(data))).to_bytes(4, "little")
    file.write(stored)
    return write_varint(at) + write_varint(len(data)), at + len(stored)


def _shared_length(a: bytes, b: bytes) -> int:
    most = min(len(a), len(b))
    return next((at for at in range(most) if a[at] != b[at]), most)


def _between(low: bytes, high: bytes) -> bytes:
    """A short key k with low <= k < high (FindShortestSeparator)."""
    at = _shared_length(low, high)
    if at < min(len(low), len(high)) and low[at] + 1 < high[at]:
        return low[:at] + bytes([low[at] + 1])
    return low


def _after(key: bytes) -> bytes:
    """A short key that is not less than `key` (FindShortSuccessor)."""
    at = next((at for at, byte in enumerate(key) if byte != 0xFF), None)
    return key if at is None else key[:at] + bytes([key[at] + 1])
