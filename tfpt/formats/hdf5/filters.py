"""Undoes what HDF5's filters did to a chunk: deflate, shuffle and the checksum, which h5py offers under these names."""

from __future__ import annotations

import zlib

import numpy as np

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
KNOWN = frozenset((DEFLATE, SHUFFLE, FLETCHER32))


def unpack(raw: bytes, filters: tuple[tuple[int, int], ...], mask: int, size: int, element: int) -> bytes:
    """The bytes of a chunk before it was packed.

    Args:
        raw: The bytes in the file.
        filters: Number and first parameter of each filter, in the order of packing; all `KNOWN`.
        mask: A bit for each filter that was left out.
        size: How many bytes the chunk has.
        element: How many bytes an element has.

    Raises:
        ValueError: They do not unpack to `size` bytes, or fail their checksum.
    """
    applied = [each for number, each in enumerate(filters) if not mask >> number & 1]
    # A checksum adds four bytes to what is packed after it.
    expected = size + 4 * sum(number == FLETCHER32 for number, _ in applied)
    for number, parameter in reversed(applied):
        if number == DEFLATE:
            unpacker = zlib.decompressobj()
            try:
                raw = unpacker.decompress(raw, expected + 1)
            except zlib.error as error:
                raise ValueError(str(error)) from None
        elif number == FLETCHER32:
            raw, checksum = raw[:-4], int.from_bytes(raw[-4:], "little")
            if checksum not in _checksums(raw):
                raise ValueError("its checksum is of other bytes")
            expected -= 4
        else:
            raw = _unshuffled(raw, parameter or element)
    if len(raw) != size:
        raise ValueError(f"{len(raw):,} bytes or more where {size:,} belong")
    return raw


def _unshuffled(raw: bytes, element: int) -> bytes:
    count = len(raw) // element
    if element <= 1 or count <= 1:
        return raw
    planes = np.frombuffer(raw, np.uint8, count * element).reshape(element, count)
    whole: bytes = planes.T.tobytes()
    return whole + raw[count * element :]


def _checksums(raw: bytes) -> tuple[int, int]:
    """Fletcher's checksum of 32 bits as HDF5 computes it (H5checksum.c), and as versions before 1.6.3 swapped it.

    The sums are taken modulo 65535, of words of two bytes.
    """
    words = np.frombuffer(raw + b"\0" * (len(raw) % 2), ">u2").astype(np.uint64)
    first = second = 0
    # Products stay below 2 ** 64 within a piece of this length.
    for start in range(0, len(words), 1 << 20):
        piece = words[start : start + (1 << 20)]
        count = len(piece)
        weights = np.arange(count, 0, -1, dtype=np.uint64)
        second = (second + count * first + int((weights * piece).sum())) % 65535
        first = (first + int(piece.sum())) % 65535
    # Its additions leave 65535 where a remainder is 0, unless everything was 0.
    if len(words) and words.any():
        first, second = first or 65535, second or 65535
    swapped = (first & 255) << 8 | first >> 8 | ((second & 255) << 8 | second >> 8) << 16
    return second << 16 | first, swapped
