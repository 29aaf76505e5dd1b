"""Fingerprints of files without checksums: their structure in full, and of large values both ends.

The same for a file on this machine and behind a URL, where the middle of a large tensor would have to be fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tfpt.io.cached_blocks import BLOCK, View

# Values of up to one block are hashed in full: their block is fetched anyway, for what lies around them.
_WHOLE = BLOCK
_END = 16 << 10


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
