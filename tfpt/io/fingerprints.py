"""Fingerprints of files without checksums: their structure in full, and of large values both ends.

The same for a file on this machine and behind a URL, where the middle of a large tensor would have to be fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import numpy as np

from tfpt.io.cached_blocks import BLOCK, View
from tfpt.tensors import TensorSpec

# Values of up to one block are hashed in full: their block is fetched anyway, for what lies around them.
_WHOLE = BLOCK
_END = 16 << 10
# A float32 cache line; training moves every weight, so any place of a tensor tells its versions apart.
_SAMPLE = 64


def fingerprint_of(data: View, values: Iterable[tuple[int, int]], *others: str) -> str:
    """32 hexadecimal digits that change with the size of a file, its structure, and most of its values.

    Args:
        data: The file.
        values: Where in it values lie, begin and end; of those longer than 256 KB the first and the last 16 KB count.
        others: What else is to be told apart by it.

    Example:
        >>> first = fingerprint_of(memoryview(b"abc"), [])
        >>> len(first), first == fingerprint_of(memoryview(b"abd"), [])
        (32, False)
    """
    hashed = hashlib.sha256(repr((len(data), *others)).encode())
    at = 0
    for begin, end in sorted(values):
        # Values that overlap others, or are none, are a part of the structure.
        if begin < at or end - begin <= _WHOLE or end > len(data):
            continue
        _hash(hashed, data, at, begin + _END)
        at = end - _END
    _hash(hashed, data, at, len(data))
    return hashed.hexdigest()[:32]


def _hash(hashed: hashlib._Hash, data: View, begin: int, end: int) -> None:
    # Block by block, so that a remote one that was fetched for its structure is not fetched again.
    while begin < end:
        following = min(end, (begin // BLOCK + 1) * BLOCK)
        hashed.update(data[begin:following])
        begin = following


def sample_hash(specs: Iterable[TensorSpec], read: Callable[[str], np.ndarray]) -> str:
    """A hash of all names, shapes and dtypes, and of 64 bytes from the middle of every tensor.

    It tells apart files that were trained differently, whatever their dates, for one page of each tensor. It does
    not notice an edit of single values elsewhere.

    Args:
        specs: The tensors, in the file's order.
        read: Gives the values of one, C-contiguous, or only those bytes of them that `middle_of` says.

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
