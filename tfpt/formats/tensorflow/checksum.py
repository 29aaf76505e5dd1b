"""The checksum that TensorFlow stores beside its bytes: CRC-32C, masked."""

from __future__ import annotations

import google_crc32c
import numpy as np
import numpy.typing as npt

# Added to the rotated checksum, so that a checksum stored among the bytes that another one covers does not
# weaken it (leveldb/util/crc32c.h, tensorflow/core/lib/hash/crc32c.h).
_MASK_DELTA = 0xA282EAD8
_UINT32 = 0xFFFFFFFF

# One call holds Python's lock: other threads get their turn after so many bytes (about 0.1 ms).
_CHUNK = 1 << 20


def crc32c(data: bytes | npt.NDArray[np.uint8], start: int = 0) -> int:
    """The CRC-32C of `data`, going on from that of the bytes before it.

    Args:
        data: Bytes, or a one-dimensional contiguous array of them, which is not copied.
        start: The checksum of what came before.

    Example:
        >>> hex(crc32c(b"123456789")), hex(crc32c(b"6789", crc32c(b"12345")))
        ('0xe3069283', '0xe3069283')
    """
    if len(data) <= _CHUNK:
        return int(google_crc32c.extend(start, data))
    for begin in range(0, len(data), _CHUNK):
        start = int(google_crc32c.extend(start, data[begin : begin + _CHUNK]))
    return start


def masked(crc: int) -> int:
    """The checksum as it is stored.

    Example:
        >>> masked(crc32c(b"")) == 0xA282EAD8
        True
    """
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & _UINT32


def unmasked(stored: int) -> int:
    """The checksum, from how it is stored: the inverse of `masked`.

    Example:
        >>> unmasked(masked(0xE3069283)) == 0xE3069283
        True
    """
    rotated = (stored - _MASK_DELTA) & _UINT32
    return (rotated >> 17 | rotated << 15) & _UINT32
