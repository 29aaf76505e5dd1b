"""`combine`: a sum of several tensors, each multiplied by a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from tfpt.operations.layout import LayoutError
from tfpt.operations.numbers import Number, number_text, read_number
from tfpt.operations.operation import Axes, Box, Irreversible, Operation, shape_of
from tfpt.tensors import format_shape


class Combine(Operation):
    """`[1, -1]`: the sum of tensors of one shape, each multiplied by its number."""

    numbers: Annotated[tuple[Number, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _no_zero(self) -> Combine:
        if 0 in self.numbers:
            raise ValueError("expected numbers other than 0; leave the variable out instead")
        return self

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        shapes = list(map(shape_of, inputs))
        if len(shapes) != len(self.numbers):
            raise LayoutError(
                "combine: needs one number for each variable",
                expected=f"{len(self.numbers)} variables",
                got=str(len(shapes)),
            )
        if len(set(shapes)) > 1:
            raise LayoutError(
                "variables to be combined have different shapes",
                expected="equal shapes",
                got=" and ".join(dict.fromkeys(map(format_shape, shapes))),
            )
        return [inputs[0]]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        return [wanted] * len(inputs)

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        total = np.zeros_like(arrays[0])
        for index, (array, number) in enumerate(zip(arrays, self.numbers, strict=True)):
            _add_product(total.real, array.real, number, first=index == 0)
            if total.dtype.kind == "c":
                _add_product(total.imag, array.imag, number, first=index == 0)
        return [total]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Irreversible:
        return Irreversible(f"the sum does not determine its {len(self.numbers)} terms")

    def describe(self) -> str:
        return f"combine {', '.join(map(number_text, self.numbers))}"


def _listed(value: Any) -> Any:
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError("expected a list of numbers, one for each variable, such as [1, -1]")
    return {"numbers": tuple(map(read_number, value))}


# `combine:` of a row.
CombineNumbers = Annotated[
    Combine,
    BeforeValidator(_listed),
    WithJsonSchema({"type": "array", "items": {"type": ["number", "string"]}, "minItems": 2}),
]


def _add_product(total: np.ndarray, values: np.ndarray, number: float, *, first: bool) -> None:
    """Add real values, multiplied by a number; the first term is written, so that -0 stays -0."""
    if first:
        np.multiply(values, number, out=total)
    else:
        total += values * number
