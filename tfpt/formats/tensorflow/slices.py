"""Partitioned variables: the keys of their pieces, and whether the pieces cover the whole variable.

Keys are written by EncodeTensorNameSlice (tensorflow/core/util/saved_tensor_slice_util.cc) in the ordered code of
tensorflow/core/lib/strings/ordered_code.cc: bytes that sort as the values do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# No TensorFlow name starts with a zero byte; every encoded key does, with the ordered code of the number 0.
KEY_PREFIX = b"\x00"

_FULL = -1

_MOST_CELLS = 1 << 24


@dataclass(frozen=True)
class Piece:
    """A box within a tensor: start and length along each axis, with length -1 for the whole axis.

    Example:
        >>> piece = Piece((0, 3), (-1, 2))
        >>> piece.within((7, 5))
        (slice(0, 7, None), slice(3, 5, None))
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether it covers all axes: TensorFlow then stores the values under the tensor's own name."""
        return all(length == _FULL for length in self.lengths)

    def within(self, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """The index of this piece in a tensor of `shape`.

        Raises:
            ValueError: It has another rank, or extends beyond the tensor.
        """
        if len(shape) != len(self.starts):
            raise ValueError(f"a piece of {len(self.starts)} axes in a tensor of {len(shape)}")
        index = []
        for start, length, size in zip(self.starts, self.lengths, shape, strict=True):
            box = slice(0, size) if length == _FULL else slice(start, start + length)
            if not 0 <= box.start <= box.stop <= size:
                raise ValueError(f"a piece covers {box.start} to {box.stop} of an axis of {size}")
            index.append(box)
        return tuple(index)


def piece_key(name: str, piece: Piece) -> bytes:
    """The key under which a piece of a variable is stored.

    Example:
        >>> piece_key("w", Piece((0, 0), (3, -1)))
        b'\\x00w\\x00\\x01\\x01\\x02\\x80\\x83\\x80\\x7f'
    """
    key = bytearray(KEY_PREFIX)
    key += _ordered_string(name.encode())
    key += _ordered_number(len(piece.starts))
    for start, length in zip(piece.starts, piece.lengths, strict=True):
        key += _ordered_signed(start) + _ordered_signed(length)
    return bytes(key)


def covers_once(boxes: Sequence[tuple[slice, ...]], shape: tuple[int, ...]) -> bool:
    """Whether the boxes cover each element of a tensor of `shape` exactly once.

    Example:
        >>> covers_once([(slice(0, 3),), (slice(3, 7),)], (7,)), covers_once([(slice(0, 3),)], (7,))
        (True, False)
    """
    edges = [
        sorted({0, size, *(e for box in boxes for e in (box[axis].start, box[axis].stop))})
        for axis, size in enumerate(shape)
    ]
    # Cells between edges instead of elements: a handful instead of millions. Pieces of a tensor have about as many
    # cells as there are pieces; hostile ones may have that number to the power of the rank.
    if math.prod([len(e) for e in edges]) > _MOST_CELLS:
        return False
    taken = np.zeros([max(len(e) - 1, 0) for e in edges], np.bool_)
    places = [{edge: at for at, edge in enumerate(e)} for e in edges]
    for box in boxes:
        cells = tuple([slice(p[b.start], p[b.stop]) for p, b in zip(places, box, strict=True)])
        # Stops at the first overlap: no cell is visited more than twice, however many boxes overlap.
        if taken[cells].any():
            return False
        taken[cells] = True
    return bool(taken.all())


def _ordered_string(data: bytes) -> bytes:
    # One pass over the bytes: two passes would escape the escapes of the first.
    escapes = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}
    return b"".join(escapes.get(byte, bytes((byte,))) for byte in data) + b"\x00\x01"


def _ordered_number(value: int) -> bytes:
    size = (value.bit_length() + 7) // 8
    return bytes((size,)) + value.to_bytes(size, "big")


def _ordered_signed(value: int) -> bytes:
    """In n bytes, two's complement in 7n bits; the top n bits are ones for a value >= 0 and zeros for one below."""
    size = (value if value >= 0 else ~value).bit_length() // 7 + 1
    header = ((1 << size) - 1) << (7 * size)
    return ((value & ((1 << 8 * size) - 1)) ^ header).to_bytes(size, "big")
