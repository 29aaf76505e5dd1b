"""Tables and snappy blocks put together by hand."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpt.errors import SourceError
from tfpt.execution.sinks.sstable import write_table
from tfpt.formats.tensorflow.sstable import FOOTER_SIZE, MAGIC, Table, crc32c, decompress, masked
from tfpt.formats.tensorflow.wire import read_varint, write_varint

PATH = Path("made.index")


def table_of(blocks: list[tuple[bytes, int]], handles: list[bytes] | None = None) -> bytes:
    """A file of these blocks and kinds; the index block points to each, or says what `handles` says."""
    out = bytearray()
    places = []
    for content, kind in blocks:
        places.append(write_varint(len(out)) + write_varint(len(content)))
        out += stored(content, kind)
    rows = [(bytes([65 + at]), handle) for at, handle in enumerate(places if handles is None else handles)]
    index, empty = plain_block(rows), plain_block([])
    meta = write_varint(len(out)) + write_varint(len(empty))
    out += stored(empty, 0)
    at = len(out)
    out += stored(index, 0)
    footer = meta + write_varint(at) + write_varint(len(index))
    return bytes(out) + footer.ljust(FOOTER_SIZE - 8, b"\x00") + MAGIC


def plain_block(rows: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(b"\x00" + write_varint(len(k)) + write_varint(len(v)) + k + v for k, v in rows)
    return body + bytes(4) + (1).to_bytes(4, "little")


def stored(content: bytes, kind: int) -> bytes:
    return content + bytes([kind]) + masked(crc32c(content + bytes([kind]))).to_bytes(4, "little")


def read(data: bytes) -> list[tuple[bytes, bytes]]:
    return list(Table(np.frombuffer(data, np.uint8), PATH))


def literal(data: bytes) -> bytes:
    return write_varint(len(data)) + bytes([61 << 2]) + (len(data) - 1).to_bytes(2, "little") + data


@given(st.dictionaries(st.binary(max_size=40), st.binary(max_size=40), max_size=60))
def test_what_is_written_is_read(rows: dict[bytes, bytes]) -> None:
    file = io.BytesIO()
    write_table(file, sorted(rows.items()))
    assert read(file.getvalue()) == sorted(rows.items())


def test_tables_of_many_blocks_are_read_in_order() -> None:
    rows = [(f"name/{at:07d}".encode(), bytes(200)) for at in range(5003)]
    file = io.BytesIO()
    write_table(file, rows)
    assert read(file.getvalue()) == rows


def test_keys_out_of_order_are_not_written() -> None:
    with pytest.raises(ValueError, match="comes after"):
        write_table(io.BytesIO(), [(b"b", b""), (b"a", b"")])


def test_a_snappy_block_of_literals_and_copies_is_read() -> None:
    rows = [(b"aaaa", b"1" * 90), (b"bbbb", b"2")]
    plain = plain_block(rows)
    ones = plain.index(b"1")
    packed = (
        write_varint(len(plain))
        + bytes([ones << 2])
        + plain[: ones + 1]
        + bytes([(64 - 1) << 2 | 2, 1, 0])  # 64 ones, two-byte offset
        + bytes([(21 - 1) << 2 | 3, 1, 0, 0, 0])  # 21 more, four-byte offset
        + bytes([(4 - 4) << 2 | 1, 1])  # and 4, one-byte offset
        + bytes([60 << 2, len(plain) - ones - 91])
        + plain[ones + 90 :]
    )
    assert read(table_of([(packed, 1)])) == rows


HOSTILE = {
    "a block beyond the file": table_of([], [write_varint(1 << 60) + write_varint(5)]),
    "a block larger than the file": table_of([], [write_varint(0) + write_varint((1 << 64) - 1)]),
    "one block many times": table_of(
        [(plain_block([(b"a", b"")]), 0)], [write_varint(0) + write_varint(12)] * 2
    ),
    "a handle cut off": table_of([], [b"\x80"]),
    "a handle of more than 64 bits": table_of([], [b"\xff" * 10 + b"\x01"]),
    "keys out of order": table_of([(plain_block([(b"b", b""), (b"a", b"")]), 0)]),
    "a key twice": table_of([(plain_block([(b"a", b""), (b"a", b"")]), 0)]),
    "more restart points than bytes": table_of([(b"\xff\xff\xff\xff", 0)]),
    "a block of two bytes": table_of([(b"ab", 0)]),
    "a key shared with nothing": table_of([(b"\x05\x01\x00a" + bytes(4) + b"\x01\0\0\0", 0)]),
    "a value longer than its block": table_of([(b"\x00\x01\x7fa" + bytes(4) + b"\x01\0\0\0", 0)]),
    "an unknown compression": table_of([(plain_block([(b"a", b"")]), 7)]),
    "a snappy block that declares gigabytes": table_of([(write_varint((1 << 32) - 1) + b"\x00a", 1)]),
    "keys that grow without bound": table_of(
        [
            (
                b"\x00\x80\x80\x01\x00"
                + bytes(16384)
                + b"".join(write_varint(16384 + at) + b"\x01\x00z" for at in range(4000))
                + bytes(4)
                + b"\x01\0\0\0",
                0,
            )
        ]
    ),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_table_is_refused(data: bytes) -> None:
    with pytest.raises(SourceError) as caught:
        read(data)
    assert "made.index" in str(caught.value.where)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\xff\xff\xff\xff\xff\x01",
        b"\x03",
        b"\x03\x08ab",
        b"\x04\x00a\x01\x02",
        b"\x04\x00a\x01\x00",
        b"\x04\x00a\x01",
        b"\x04\x00a\x02\x01",
        b"\x02\x08abc",
        b"\x05\xfc\xff\xff\xff\xffa",
    ],
)
def test_a_broken_snappy_block_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="snappy"):
        decompress(data)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decompressor_fail_otherwise(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(decompress(data)) <= 22 * len(data)


@given(st.binary(min_size=1, max_size=3000))
def test_a_literal_is_its_bytes(data: bytes) -> None:
    assert decompress(literal(data)) == data


@given(st.integers(0, (1 << 64) - 1))
def test_a_varint_is_read_as_it_was_written(value: int) -> None:
    assert read_varint(write_varint(value) + b"rest", 0) == (value, len(write_varint(value)))
