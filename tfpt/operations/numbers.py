"""Numbers as a mapping states them: types of pydantic fields, and the text of a number."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema


def read_number(value: Any) -> float:
    """A finite number, or a fraction such as 1/7, as a float.

    Raises:
        ValueError: It is neither.

    Example:
        >>> read_number("1/8")
        0.125
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected a number or a fraction such as 1/7")
    try:
        number = float(Fraction(value) if isinstance(value, str) and "/" in value else value)
    except (ValueError, ZeroDivisionError):
        raise ValueError("expected a number or a fraction such as 1/7") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("expected a number or a fraction, finite and within float64")
    return number


def number_text(value: float) -> str:
    """The shortest text that gives exactly this number.

    Example:
        >>> number_text(1.0), number_text(0.7071067811865476), number_text(1e24)
        ('1', '0.7071067811865476', '1e+24')
    """
    return repr(float(value)).removesuffix(".0")


def _constant(value: Any) -> Any:
    if isinstance(value, str):
        try:
            number = float(value)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            raise ValueError("expected a number, true or false") from None
        if math.isinf(number) and any(letter.isdigit() for letter in value):
            raise ValueError("expected a number within float64")
        return number
    if value is not None and not isinstance(value, bool | int | float):
        raise ValueError("expected a number, true or false")
    return value


Number = Annotated[float, BeforeValidator(read_number), WithJsonSchema({"type": ["number", "string"]})]
Constant = Annotated[
    Any, BeforeValidator(_constant), WithJsonSchema({"type": ["number", "boolean", "string"]})
]
