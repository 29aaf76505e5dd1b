"""Fingerprints of files without checksums, computed from their structure and a part of large values.

The same for local and remote files, where all of a large tensor would have to be fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import numpy as np

from tfpt.io.cached_blocks import BLOCK, View
from tfpt.tensors import TensorSpec

# Values of up to one block are hashed in full: their block is fetched anyway.
_WHOLE = BLOCK
_END = 16 << 10
# A cache line; training changes every weight, so any part of a tensor distinguishes its versions.
_SAMPLE = 64


def fingerprint_of(data: View, values: Iterable[tuple[int, int]], *others: str) -> str:
    """32 hexadecimal digits that change with the size of a file, its structure, and most of its values.

    Args:
        data: The file.
        values: Begin and end of each value in the file; of those longer than 256 KB the first and last 16 KB are
        hashed. others: Further values to include.

    Example:
        >>> first = fingerprint_of(memoryview(b"abc"), [])
        >>> len(first), first == fingerprint_of(memoryview(b"abd"), [])
        (32, False)
    """
    hashed = hashlib.sha256(repr((len(data), *others)).encode())
    at = 0
    for begin, end in sorted(values):
        # Overlapping or empty values are hashed as structure.
        if begin < at or end - begin <= _WHOLE or end > len(data):
            continue
        _hash(hashed, data, at, begin + _END)
        at = end - _END
    _hash(hashed, data, at, len(data))
    return hashed.hexdigest()[:32]


def _hash(hashed: hashlib._Hash, data: View, begin: int, end: int) -> None:
    # Block by block, so that a remote block that was read for its structure is not fetched again.
    while begin < end:
        following = min(end, (begin // BLOCK + 1) * BLOCK)
        hashed.update(data[begin:following])
        begin = following


def sample_hash(specs: Iterable[TensorSpec], read: Callable[[str], np.ndarray]) -> str:
    """A hash of all names, shapes and dtypes, and of 64 bytes from the middle of every tensor.

    It distinguishes files that were trained differently, at the cost of one page per tensor. It does not detect edits
    of single values elsewhere.

    Args:
        specs: The tensors, in the file's order.
        read: Returns the values of one, C-contiguous, or only the bytes given by `middle_of`.

    Returns:
        32 hexadecimal digits.

    Example:
        >>> specs = [TensorSpec("a", (3,), "float32")]
        >>> ones, twos = (sample_hash(specs, lambda name, n=n: np.full(3, n, np.float32)) for n in (1, 2))
        >>> len(ones), ones == twos
        (32, False)
    """
    digest = hashlib.sha256()
    for spec in specs:
        digest.update(f"{spec.name!r} {spec.shape} {spec.dtype}\n".encode(errors="surrogatepass"))
        values = read(spec.name).reshape(-1).view(np.uint8)
        begin, size = middle_of(len(values))
        digest.update(values[begin : begin + size].tobytes())
    return digest.hexdigest()[:32]


def middle_of(size: int) -> tuple[int, int]:
    """Where the sample of a tensor of `size` bytes begins, and how many bytes it has.

    Example:
        >>> middle_of(1000), middle_of(12)
        ((468, 64), (0, 12))
    """
    begin = max(0, size // 2 - _SAMPLE // 2)
    return begin, min(_SAMPLE, size - begin)
