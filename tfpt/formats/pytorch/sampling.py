"""A fingerprint of many gigabytes from a few bytes of each tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import numpy as np

from tfpt.tensors import TensorSpec

# A float32 cache line; training moves every weight, so any place of a tensor tells its versions apart.
_SAMPLE = 64


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
