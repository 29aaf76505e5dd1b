"""The operations of a row as plain values: what is done to which axis. `transform` carries them out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slice:
    """Part of one axis, as Python slices."""

    axis: str
    start: int | None
    stop: int | None
    step: int | None

    def of(self, size: int) -> int:
        """How much of an axis of `size` it takes."""
        return len(range(*slice(self.start, self.stop, self.step).indices(size)))

    def __str__(self) -> str:
        start, stop, step = (
            "" if value is None else str(value) for value in (self.start, self.stop, self.step)
        )
        return f"{self.axis} {start}:{stop}" + (f":{step}" if step else "")


@dataclass(frozen=True)
class Reorder:
    """The axis cut into as many equal groups as `order` has entries, and the groups put into that order."""

    axis: str
    order: tuple[int, ...]


@dataclass(frozen=True)
class Scale:
    """A number that values are multiplied by, or a fraction, as it was written.

    Example:
        >>> str(Scale(0.5)), str(Scale(1, 7))
        ('0.5', '1/7')
    """

    numerator: float
    denominator: float = 1

    def multiply(self, values: np.ndarray) -> None:
        """Multiply float64 values where they are; the result is rounded once."""
        if self.denominator == 1:
            values *= self.numerator
        elif self.numerator == 1:
            values /= self.denominator
        else:
            values[...] = _times_fraction(values, self.numerator, self.denominator)

    def __str__(self) -> str:
        text = number_text(self.numerator)
        return text if self.denominator == 1 else f"{text}/{number_text(self.denominator)}"


@dataclass(frozen=True)
class Add:
    """Numbers added: one to everything, or one to each equal group along an axis."""

    axis: str | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class Pad:
    """Values appended to an axis up to a size, or up to a multiple of one."""

    axis: str
    to: int | None
    multiple: int | None
    value: float

    def of(self, size: int) -> int:
        """The size of the axis once it is padded."""
        if self.to is not None:
            return self.to
        multiple = self.multiple or 1
        return -(-size // multiple) * multiple


@dataclass(frozen=True)
class Zero:
    """One index of an axis set to zero."""

    axis: str
    at: int


@dataclass(frozen=True)
class Split:
    """One tensor taken apart: along its first axis, which goes away, or along `axis` into pieces that keep it."""

    axis: str | None = None
    sizes: tuple[int, ...] = ()


def number_text(value: float) -> str:
    """A number with all its digits, and none that say nothing.

    Example:
        >>> number_text(1.0), number_text(0.7071067811865476), number_text(1e24)
        ('1', '0.7071067811865476', '1e+24')
    """
    return repr(float(value)).removesuffix(".0")


def _times_fraction(values: _Float64, numerator: float, denominator: float) -> _Float64:
    """``values * numerator / denominator``, rounded once rather than twice: what either step rounds off is added again.

    T. J. Dekker, A floating-point technique for extending the available precision, Numer. Math. 18 (1971).
    """
    with np.errstate(all="ignore"):
        product, rest = _product(values, numerator)
        quotient = product / denominator
        back, more = _product(quotient, denominator)
        correction = (((product - back) - more) + rest) / denominator
        # Near the ends of the range the halves overflow; there the quotient stays as it is.
        return np.where(np.isfinite(correction), quotient + correction, quotient)


def _product(values: _Float64, factor: float) -> tuple[_Float64, _Float64]:
    """The product as it is rounded, and what was rounded off."""
    product = values * factor
    high, low = _halves(values)
    factor_high, factor_low = _halves(np.array(factor, np.float64))
    rest = ((high * factor_high - product) + high * factor_low + low * factor_high) + low * factor_low
    return product, rest


def _halves(values: _Float64) -> tuple[_Float64, _Float64]:
    large = values * 134217729.0  # 2**27 + 1
    high: _Float64 = large - (large - values)
    return high, values - high
