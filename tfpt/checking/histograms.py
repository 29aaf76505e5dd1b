"""Histograms of two tensors over one range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BINS = 32
# Values counted at a time: keeps temporaries in float64 under about 25 MB.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Histogram:
    """How the values of two tensors are distributed.

    Attributes:
        low, high: The smallest and the largest finite value of both; the bins between them are equally wide.
        left, right: How many values of each side are in each bin. NaN and infinite values are in none.
    """

    low: float
    high: float
    left: tuple[int, ...]
    right: tuple[int, ...]


def histogram(left: np.ndarray, right: np.ndarray, bins: int = BINS) -> Histogram | None:
    """Count the values of two arrays in the same bins; the last one includes its upper edge.

    Args:
        left, right: Real numbers or booleans of any shape and dtype.
        bins: The number of bins.

    Returns:
        None for complex numbers and strings, and if no value is finite.

    Example:
        >>> histogram(np.float32([0, 1, 3]), np.float32([4, np.nan]), bins=4)
        Histogram(low=0.0, high=4.0, left=(1, 1, 0, 1), right=(0, 0, 0, 1))
    """
    if left.dtype.kind in "OcSU" or right.dtype.kind in "OcSU":
        return None
    ranges = [edges for edges in (_range(left), _range(right)) if edges is not None]
    if not ranges:
        return None
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return Histogram(low, high, _counts(left, low, high, bins), _counts(right, low, high, bins))


def _range(values: np.ndarray) -> tuple[float, float] | None:
    """The smallest and the largest finite value."""
    found = [(float(part.min()), float(part.max())) for part in _finite(values) if part.size]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _counts(values: np.ndarray, low: float, high: float, bins: int) -> tuple[int, ...]:
    counts = np.zeros(bins, np.int64)
    # Halved, so that the difference of two extreme numbers is finite.
    width = high / 2 - low / 2
    for part in _finite(values):
        position = (part / 2 - low / 2) / (width or 1.0) * bins
        counts += np.bincount(np.minimum(position.astype(np.int64), bins - 1), minlength=bins)
    return tuple(counts.tolist())


def _finite(values: np.ndarray) -> Iterator[np.ndarray]:
    flat = values.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK].astype(np.float64)
        finite = np.isfinite(part)
        yield part if finite.all() else part[finite]
