"""Numbers that a person would write, near those that were solved for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

# A number is written as a person would if that changes it by no more than this.
_ROUNDING = 2e-4
_MAX_DIVISOR = 128
# Widths whose roots scale attentions and embeddings.
_MAX_ROOT = 4096


def written(value: float) -> Iterator[float]:
    """Numbers near `value` that a person would write: small fractions, roots of integers, short decimals.

    Example:
        >>> next(written(0.499998)), next(written(0.3535533)), next(written(0.0010009999))
        (0.5, 0.35355339059327373, 0.001001)
    """
    if not value or not math.isfinite(value):
        return
    found: list[float] = []
    fraction = Fraction(abs(value)).limit_denominator(16)
    found.append(float(fraction))
    if 1 / _MAX_DIVISOR < abs(value) < 1:
        found.append(1 / round(1 / abs(value)))
    square = abs(value) ** 2
    if 1 <= square <= _MAX_ROOT:
        found.append(math.sqrt(round(square)))
    elif 1 / _MAX_ROOT <= square < 1:
        found.append(1 / math.sqrt(round(1 / square)))
    found += [float(f"{abs(value):.{digits}e}") for digits in range(4)]
    sign = math.copysign(1.0, value)
    for one in found:
        if one and abs(one - abs(value)) <= _ROUNDING * abs(value):
            yield sign * one


def written_epsilons(value: float) -> Iterator[float]:
    """Epsilons near `value`: of one digit, of two, of four.

    Example:
        >>> list(written_epsilons(1.0004e-4)), list(written_epsilons(1.00101e-5))
        ([0.0001], [1e-05, 1.001e-05])
    """
    found: list[float] = []
    for digits, allowed in ((0, 0.02), (1, 0.002), (3, 0.0002)):
        one = float(f"{value:.{digits}e}")
        if abs(one - value) <= allowed * value and one not in found:
            found.append(one)
    yield from found
