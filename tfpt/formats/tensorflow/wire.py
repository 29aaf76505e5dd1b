"""Protobuf's wire format: variable-length integers, and the fields of a message, found without parsing or copying them.

TensorFlow's messages may contain gigabytes of weights among a few kilobytes of names, and a hostile one may be nested
to any depth: a walk descends only as far as its caller requests. LevelDB's tables and snappy have the same integers.
The format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfpt.io.cached_blocks import View

_LONGEST = 10
_CHUNK = 1 << 18


def read_varint(data: View | bytes, at: int, end: int | None = None) -> tuple[int, int]:
    """The variable-length integer at `at`, and where it ends; bits beyond 64 are dropped, as protobuf does.

    Raises:
        ValueError: The data, or the message that ends at `end`, ends within the integer; or it is too long.

    Example:
        >>> read_varint(bytes([0xAC, 0x02]), 0)
        (300, 2)
    """
    end = len(data) if end is None else end
    value = 0
    for shift in range(0, 7 * _LONGEST, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("a variable-length integer is truncated or has more than 64 bits")


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


def unpack_varints(
    raw: npt.NDArray[np.uint8], held: npt.DTypeLike, wide: npt.DTypeLike, name: str
) -> npt.NDArray[np.generic]:
    """The integers in `raw`, as an array; takes little more memory than the result.

    Args:
        raw: Their bytes.
        held: The dtype of the result; excess bits are dropped, as protobuf does.
        wide: The 64-bit dtype through which they are cast: int64, or uint64 if they are unsigned.
        name: The tensor's name, for errors.

    Raises:
        ValueError: The last one is truncated, or one has more than 64 bits.

    Example:
        >>> unpack_varints(np.array([0xAC, 0x02, 0x07], np.uint8), np.int32, np.int64, "w").tolist()
        [300, 7]
    """
    if raw.size and raw[-1] >= 0x80:
        raise ValueError(f"tensor {name!r} ends in the middle of a value")
    result = np.empty(int(np.count_nonzero(raw < 0x80)), held)
    at = begin = 0
    while begin < raw.size:
        chunk = raw[begin : begin + _CHUNK]
        ends = np.flatnonzero(chunk < 0x80)
        if not ends.size:
            raise ValueError(f"tensor {name!r} has a value of more than 64 bits")
        starts = np.concatenate([[0], ends[:-1] + 1])
        lengths = ends - starts + 1
        longest = int(lengths.max())
        if longest > _LONGEST:
            raise ValueError(f"tensor {name!r} has a value of more than 64 bits")
        values = np.zeros(ends.size, np.uint64)
        for place in range(longest):
            there = lengths > place
            digits = (chunk[starts[there] + place] & 0x7F).astype(np.uint64)
            values[there] |= digits << np.uint64(7 * place)
        with np.errstate(invalid="ignore"):
            result[at : at + ends.size] = values.view(wide).astype(held)
        at += ends.size
        begin += int(ends[-1]) + 1
    return result


VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

_FIXED = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: The field's number.
        kind: Its encoding: `VARINT`, `FIXED64`, `LENGTH` or `FIXED32`.
        value: The number, for `VARINT`; else 0.
        begin: Where the content starts.
        end: Where the next field starts.
    """

    number: int
    kind: int
    value: int
    begin: int
    end: int


def walk(data: View, begin: int, end: int) -> Iterator[Field]:
    """The fields of the message in ``data[begin:end]``, in their order.

    Raises:
        ValueError: The bytes are not a message, or end within a field; raised when the walk gets there.

    Example:
        >>> message = memoryview(bytes.fromhex("08ac02 1203616263"))
        >>> for field in walk(message, 0, len(message)):
        ...     print(field.number, field.value, bytes(message[field.begin : field.end]))
        1 300 b'\\xac\\x02'
        2 0 b'abc'
    """
    at = begin
    while at < end:
        tag = data[at]
        at += 1
        if tag >= 0x80:
            tag, at = read_varint(data, at - 1, end)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise ValueError("a field of a message has no number")
        start = at
        if kind == LENGTH:
            size, start = read_varint(data, at, end)
            at = start + size
            yielded = Field(number, kind, 0, start, at)
        elif kind == VARINT:
            value, at = read_varint(data, at, end)
            yielded = Field(number, kind, value, start, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
            yielded = Field(number, kind, 0, start, at)
        else:
            raise ValueError(f"a field of a message has an unknown encoding: {kind}")
        if at > end:
            raise ValueError(f"a field of a message ends {at - end} bytes after the message")
        yield yielded


def spans(data: View, begin: int, end: int, number: int) -> list[tuple[int, int]]:
    """Where the contents of all length-delimited fields of that number are.

    Raises:
        ValueError: The bytes are not a message.
    """
    return [
        (field.begin, field.end)
        for field in walk(data, begin, end)
        if field.number == number and field.kind == LENGTH
    ]
