"""`scale`: values multiplied by a number or a fraction."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, WithJsonSchema

from tfpt.operations.numbers import number_text, read_number
from tfpt.operations.operation import Axes, Box, Operation

_Float64 = npt.NDArray[np.float64]


class Scale(Operation):
    """A number that values are multiplied by, or a fraction, as it was written."""

    in_place: ClassVar[bool] = True

    numerator: float
    denominator: float = 1

    @classmethod
    def parse(cls, value: Any) -> Scale:
        """A number, or a fraction such as 1/7.

        Raises:
            ValueError: It is neither, or 0.

        Example:
            >>> Scale.parse(0.5).describe(), Scale.parse("1/7").describe()
            ('scale 0.5', 'scale 1/7')
        """
        number = read_number(value)
        if number == 0:
            raise ValueError("expected a number other than 0, in float64; fill: 0 writes zeros")
        if isinstance(value, str) and "/" in value:
            fraction = Fraction(value)
            # Otherwise float64 does not have both parts, and the nearest number to the fraction is as good.
            if max(abs(fraction.numerator), fraction.denominator) <= 1 << 53:
                return cls(numerator=fraction.numerator, denominator=fraction.denominator)
        return cls(numerator=number)

    @property
    def number(self) -> float:
        """The factor, rounded to float64."""
        return self.numerator / self.denominator

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        return list(inputs)

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        return [wanted]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        (array,) = arrays
        self._multiply(array.real)
        if array.dtype.kind == "c":
            self._multiply(array.imag)
        return [array]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation:
        return Scale(numerator=self.denominator, denominator=self.numerator)

    def describe(self) -> str:
        text = f"scale {number_text(self.numerator)}"
        return text if self.denominator == 1 else f"{text}/{number_text(self.denominator)}"

    def _multiply(self, values: np.ndarray) -> None:
        """Multiply float64 values in place; each result is rounded once."""
        if self.denominator == 1:
            values *= self.numerator
        elif self.numerator == 1:
            values /= self.denominator
        else:
            values[...] = _times_fraction(values, self.numerator, self.denominator)


# `scale:` of a row.
ScaleNumber = Annotated[Scale, BeforeValidator(Scale.parse), WithJsonSchema({"type": ["number", "string"]})]


def _times_fraction(values: _Float64, numerator: float, denominator: float) -> _Float64:
    """``values * numerator / denominator``, rounded once rather than twice, by adding back what each step rounds off.

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
    """The rounded product, and what was rounded off."""
    product = values * factor
    high, low = _halves(values)
    factor_high, factor_low = _halves(np.array(factor, np.float64))
    rest = ((high * factor_high - product) + high * factor_low + low * factor_high) + low * factor_low
    return product, rest


def _halves(values: _Float64) -> tuple[_Float64, _Float64]:
    large = values * 134217729.0  # 2**27 + 1
    high: _Float64 = large - (large - values)
    return high, values - high
