"""Statistics of the values of tensors, and which of them are odd for a trained network."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np

from tfpt.formats.source import Role
from tfpt.tensors import TensorSpec

# What is odd in the values of a tensor.
Oddity = Literal["NaN", "infinity", "negative variance", "all zeros", "constant", "denormals"]
# Tensors of these roles are not values of the network.
_ASIDE = ("counter", "metric", "constant", "record")
_VARIANCE = re.compile(
    r"(?:^|[/._])(?:moving_|running_|batch_|pop_)?var(?:iance)?(?:$|:0$|/\.ATTRIBUTES)", re.I
)
# Denormals are odd if they are more than this part of the values.
_MANY_DENORMALS = 0.01
# Values processed at a time: keeps float64 temporaries under about 25 MB.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Statistics:
    """Statistics of one tensor; NaN and infinite values are counted, and excluded from the rest.

    Denormal values are those below the smallest normal number of the dtype, other than 0.

    If no value is left, the rest is NaN, and null in JSON.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    nans: int
    infinities: int
    denormals: int = 0

    def to_json(self) -> dict[str, float | int | None]:
        return {
            "min": or_none(self.minimum),
            "max": or_none(self.maximum),
            "mean": or_none(self.mean),
            "std": or_none(self.std),
            "nan": self.nans,
            "inf": self.infinities,
            "denormal": self.denormals,
        }


def or_none(value: float) -> float | None:
    """JSON has neither NaN nor infinity."""
    return value if math.isfinite(value) else None


def oddities_in(
    specs: Mapping[str, TensorSpec], statistics: Mapping[str, Statistics], roles: Mapping[str, Role]
) -> dict[Oddity, list[str]]:
    """The tensors with NaN, infinite values, variances below 0, one value throughout, or many denormals.

    Tensors of one value are not constant in this sense, nor are counters and the like.

    Example:
        >>> specs = {name: TensorSpec(name, (2,), "float32") for name in ("bn/moving_variance", "bn/beta")}
        >>> values = {"bn/moving_variance": np.float32([-1, 2]), "bn/beta": np.float32([0, 0])}
        >>> oddities_in(specs, {name: statistics_of(value) for name, value in values.items()}, {})
        {'negative variance': ['bn/moving_variance'], 'all zeros': ['bn/beta']}
    """
    found: dict[Oddity, list[str]] = {}
    for name, each in statistics.items():
        size = math.prod(specs[name].shape)
        whole = size - each.nans - each.infinities
        one = size > 1 and whole == size and each.minimum == each.maximum
        aside = roles.get(name) in _ASIDE
        kinds: dict[Oddity, bool] = {
            "NaN": each.nans > 0,
            "infinity": each.infinities > 0,
            "negative variance": whole > 0 and each.minimum < 0 and _VARIANCE.search(name) is not None,
            "all zeros": one and each.minimum == 0 and not aside,
            "constant": one and each.minimum != 0 and not aside,
            "denormals": each.denormals > _MANY_DENORMALS * whole,
        }
        for kind, odd in kinds.items():
            if odd:
                found.setdefault(kind, []).append(name)
    return found


def statistics_of(array: np.ndarray) -> Statistics:
    """Minimum, maximum, mean, standard deviation, and how many values are NaN, infinite or denormal.

    Example:
        >>> statistics_of(np.float32([1, 3, np.nan, np.inf]))
        Statistics(minimum=1.0, maximum=3.0, mean=2.0, std=1.0, nans=1, infinities=1, denormals=0)
    """
    flat = array.reshape(-1)
    low, high = np.inf, -np.inf
    count = nans = infinities = denormals = 0
    smallest = smallest_normal(array.dtype)
    for values in _chunks(flat):
        finite = values[np.isfinite(values)]
        nans += int(np.isnan(values).sum())
        infinities += int(np.isinf(values).sum())
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            count += finite.size
            denormals += int(((finite != 0) & (np.abs(finite) < smallest)).sum())
    if not count:
        return Statistics(math.nan, math.nan, math.nan, math.nan, nans, infinities)
    # Values are scaled by a power of two of their own magnitude, so that neither sums nor squares overflow; and shifted
    # by the minimum, so that squares lose no digits if all values are far from zero.
    unit = 2.0 ** min(math.frexp(max(-low, high))[1], 1023)
    spread = (high / unit - low / unit) or 1.0
    total = squares = 0.0
    for values in _chunks(flat):
        apart = (values[np.isfinite(values)] / unit - low / unit) / spread
        total += float(apart.sum())
        squares += float(np.dot(apart, apart))
    mean = total / count
    variance = max(squares / count - mean**2, 0.0)
    return Statistics(
        low,
        high,
        (low / unit + mean * spread) * unit,
        math.sqrt(variance) * spread * unit,
        nans,
        infinities,
        denormals,
    )


def smallest_normal(dtype: np.dtype[Any]) -> float:
    """The smallest normal number of a dtype, 0 for integers.

    Example:
        >>> smallest_normal(np.dtype("float32")) == 2**-126, smallest_normal(np.dtype("int8"))
        (True, 0.0)
    """
    if dtype.kind == "f":
        return float(np.finfo(dtype).smallest_normal)
    if dtype.isbuiltin == 2:
        with suppress(ValueError, TypeError):  # integers of 4 bits
            return float(ml_dtypes.finfo(dtype).smallest_normal)  # type: ignore[no-untyped-call]
    return 0.0


def _chunks(flat: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK].astype(np.float64)
