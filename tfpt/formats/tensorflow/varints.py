"""Packed variable-length integers as arrays, in memory for the result and a little more.

The format: https://protobuf.dev/programming-guides/encoding/#varints.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LONGEST = 10
_CHUNK = 1 << 18


def unpacked(
    raw: npt.NDArray[np.uint8], held: npt.DTypeLike, wide: npt.DTypeLike, name: str
) -> npt.NDArray[np.generic]:
    """The integers that `raw` holds one after another.

    Args:
        raw: Their bytes.
        held: The dtype of the result; what does not fit into it is cut off, as protobuf does.
        wide: The dtype of 64 bits by way of which they are cast: int64, or uint64 where they are not signed.
        name: The tensor's, for errors.

    Raises:
        ValueError: The last one is cut off, or one has more than 64 bits.

    Example:
        >>> unpacked(np.array([0xAC, 0x02, 0x07], np.uint8), np.int32, np.int64, "w").tolist()
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
