"""Decompression of one snappy block, for the tables that TensorFlow wrote compressed.

The format: https://github.com/google/snappy/blob/main/format_description.txt. Such blocks are indexes of a few
kilobytes, so plain Python is fast enough and spares a dependency.
"""

from __future__ import annotations

# The densest element is a copy of 64 bytes told in 3; nothing snappy can say grows more than this.
_LARGEST_GROWTH = 22


def decompress(data: bytes) -> bytes:
    """The bytes that `data` stands for.

    Raises:
        ValueError: `data` is not a whole snappy block; never allocates more than 22 times its length.

    Example:
        >>> decompress(bytes([9, 2 << 2]) + b"abc" + bytes([2 << 2 | 1, 3]))
        b'abcabcabc'
    """
    try:
        return _decompress(data)
    except IndexError:
        raise ValueError("the snappy block ends in the middle of an element") from None


def _decompress(data: bytes) -> bytes:
    length, at = _declared_length(data)
    if length > _LARGEST_GROWTH * len(data):
        raise ValueError(f"a snappy block of {len(data)} bytes cannot hold the {length} it declares")
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
                raise ValueError("a snappy literal reaches past the end of its block")
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
            # A copy may reach into what it writes: then its first `offset` bytes repeat.
            piece = bytes(out[begin : begin + size])
            out += (piece * (size // len(piece) + 1))[:size]
        if len(out) > length:
            break
    if len(out) != length:
        raise ValueError(f"a snappy block declares {length} bytes and holds {len(out)}")
    return bytes(out)


def _declared_length(data: bytes) -> tuple[int, int]:
    length = 0
    for at in range(5):
        length |= (data[at] & 0x7F) << 7 * at
        if data[at] < 0x80:
            return length, at + 1
    raise ValueError("the length of a snappy block has more than 32 bits")
