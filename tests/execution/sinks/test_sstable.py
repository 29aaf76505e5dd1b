"""Keys of index blocks: short, between the blocks, as LevelDB's comparator (util/comparator.cc) chooses them."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tfpt.execution.sinks.sstable import _after, _between

KEYS = st.binary(max_size=6) | st.text("ab\x00\xff", max_size=6).map(lambda text: text.encode("latin-1"))


def shortest_separator(start: bytes, limit: bytes) -> bytes:
    """BytewiseComparatorImpl::FindShortestSeparator, line by line."""
    min_length = min(len(start), len(limit))
    diff_index = 0
    while diff_index < min_length and start[diff_index] == limit[diff_index]:
        diff_index += 1
    if diff_index < min_length:
        diff_byte = start[diff_index]
        if diff_byte < 0xFF and diff_byte + 1 < limit[diff_index]:
            return start[:diff_index] + bytes([diff_byte + 1])
    return start


@given(KEYS, KEYS)
@example(b"ab", b"ad")
@example(b"ab", b"ac")
@example(b"ab", b"abc")
@example(b"a\xfe", b"b")
def test_the_key_between_two_blocks_is_leveldb_s(low: bytes, high: bytes) -> None:
    low, high = sorted((low, high))
    key = _between(low, high)
    assert key == shortest_separator(low, high)
    assert low <= key
    assert low == high or key < high


@given(KEYS)
@example(b"\xff\xffa")
@example(b"\xff")
def test_the_key_after_the_last_block_is_leveldb_s(key: bytes) -> None:
    after = _after(key)
    assert key <= after
    assert len(after) <= len(key)
    first = next((at for at, byte in enumerate(key) if byte != 0xFF), None)
    assert after == (key if first is None else key[:first] + bytes([key[first] + 1]))
