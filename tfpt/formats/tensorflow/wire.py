"""Walking a protobuf message field by field where it lies, without parsing or copying what is inside the fields.

Messages of TensorFlow's may hold gigabytes of weights among a few kilobytes of names, and a hostile one may be nested
as deep as it likes: a walk goes down only as far as its caller asks. The format:
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tfpt.io.cached_blocks import View

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

_FIXED = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: The field's number.
        kind: How it is stored: `VARINT`, `FIXED64`, `LENGTH` or `FIXED32`.
        value: The number, for `VARINT`; 0 for the others.
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
        ValueError: The bytes are no message, or end in the middle of a field; raised when the walk gets there.

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
            tag, at = _varint(data, at - 1, end)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise ValueError("a field of a message has no number")
        start = at
        if kind == LENGTH:
            size, start = _varint(data, at, end)
            at = start + size
            yielded = Field(number, kind, 0, start, at)
        elif kind == VARINT:
            value, at = _varint(data, at, end)
            yielded = Field(number, kind, value, start, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
            yielded = Field(number, kind, 0, start, at)
        else:
            raise ValueError(f"a field of a message is stored in a way that is not known: {kind}")
        if at > end:
            raise ValueError(f"a field of a message ends {at - end} bytes after the message")
        yield yielded


def spans(data: View, begin: int, end: int, number: int) -> list[tuple[int, int]]:
    """Where the contents of all fields of that number lie, of those that have a length.

    Raises:
        ValueError: The bytes are no message.
    """
    return [
        (field.begin, field.end)
        for field in walk(data, begin, end)
        if field.number == number and field.kind == LENGTH
    ]


def _varint(data: View, at: int, end: int) -> tuple[int, int]:
    # Not that of `sstable`: there the data end where the message does.
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("a variable-length integer is cut off or has more than 64 bits")
