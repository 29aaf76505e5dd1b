"""`zero`: one index of an axis set to zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from tfpt.operations.layout import LayoutError
from tfpt.operations.operation import Axes, AxisOperation, Box, Irreversible, position, with_span


class Zero(AxisOperation):
    """`{axis: v, at: 0}`."""

    key: ClassVar[str] = "zero"
    in_place: ClassVar[bool] = True

    at: int = Field(description="The index that is set to zero; negative numbers count from the end.")

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        size = dict(inputs[0])[self.axis]
        if not -size <= self.at < size:
            raise LayoutError(
                f"axis {self.axis} has no index {self.at} to set to zero",
                got=f"size {size}",
            )
        return list(inputs)

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        axis = position(inputs[0], self.axis)
        at = self.at % inputs[0][axis][1]
        start, stop = wanted[axis].start, wanted[axis].stop
        # At the edge of the box, the index that is set to zero need not be read.
        return [with_span(wanted, axis, start + (start == at), stop - (stop - 1 == at))]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        (array,) = arrays
        index: tuple[slice | int, ...] = (*[slice(None)] * position(inputs[0], self.axis), self.at)
        array[index] = 0
        return [array]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Irreversible:
        return Irreversible(f"the values at index {self.at} of axis {self.axis} are lost")

    def describe(self) -> str:
        return f"zero {self.axis} at {self.at}"
