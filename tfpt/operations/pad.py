"""`pad`: values appended to an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from tfpt.operations.casting import constant
from tfpt.operations.layout import LayoutError
from tfpt.operations.numbers import Constant
from tfpt.operations.operation import Axes, AxisOperation, Box, Operation, position, resized, with_span
from tfpt.operations.slice import Slice


class Pad(AxisOperation):
    """`{axis: v, to: 30528}` or `{axis: v, multiple: 64}`."""

    key: ClassVar[str] = "pad"

    to: Annotated[int | None, Field(gt=0)] = Field(None, description="The size after padding.")
    multiple: Annotated[int | None, Field(gt=0)] = Field(
        None, description="Pads to the next multiple of this number."
    )
    value: Constant = Field(0, description="The value that is appended.")

    @model_validator(mode="after")
    def _to_or_multiple(self) -> Pad:
        if (self.to is None) == (self.multiple is None):
            raise ValueError("expected either to: or multiple:")
        return self

    def length(self, size: int) -> int:
        """The padded size of an axis of this size."""
        if self.to is not None:
            return self.to
        multiple = self.multiple or 1
        return -(-size // multiple) * multiple

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        size = dict(inputs[0])[self.axis]
        padded = self.length(size)
        if padded < size:
            raise LayoutError(
                f"axis {self.axis} is longer than the size it is padded to",
                expected=f"at most {padded}",
                got=str(size),
            )
        return [resized(inputs[0], self.axis, padded)]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        axis = position(inputs[0], self.axis)
        return [with_span(wanted, axis, wanted[axis].start, min(wanted[axis].stop, inputs[0][axis][1]))]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        (array,) = arrays
        axis = position(inputs[0], self.axis)
        widths = [(0, 0)] * array.ndim
        widths[axis] = (0, self.length(array.shape[axis]) - array.shape[axis])
        return [np.pad(array, widths, constant_values=constant(self.value, array.dtype))]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation:
        return Slice(axis=self.axis, start=0, stop=dict(inputs[0])[self.axis])

    def describe(self) -> str:
        return f"pad {self.axis}"
