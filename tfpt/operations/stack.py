"""`stack` and its inverse: several tensors of one shape as one tensor with a new first axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfpt.errors import MappingError
from tfpt.operations.layout import Layout, LayoutError
from tfpt.operations.operation import Axes, Box, Operation, shape_of
from tfpt.tensors import format_shape


class Stack(Operation):
    """Tensors of one shape stacked along a new first axis; a row does this with several variables."""

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        shapes = list(map(shape_of, inputs))
        if len(set(shapes)) > 1:
            raise LayoutError(
                "variables to be stacked have different shapes",
                expected="equal shapes, or concat: AXIS",
                got=" and ".join(dict.fromkeys(map(format_shape, shapes))),
            )
        return [(("stack", len(inputs)), *inputs[0])]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        first, *rest = wanted
        return [tuple(rest) if first.start <= index < first.stop else None for index in range(len(inputs))]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        return [np.stack(arrays)]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation:
        return Unstack()

    def describe(self) -> str:
        return "stack"


class Unstack(Operation):
    """A tensor divided along its first axis, which goes away; a row does this with one variable for many parameters."""

    def check(self, layout: Layout | None) -> None:
        if layout is not None and (not layout.right or len(layout.right[0]) != 1):
            raise MappingError(
                "the right side of the layout must begin with the axis to split on", got=layout.pattern
            )

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        (axes,) = inputs
        return [axes[1:]] * axes[0][1]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        return [(slice(output, output + 1), *wanted)]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        (array,) = arrays
        return [array[index, ...] for index in range(len(array))]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation:
        return Stack()

    def describe(self) -> str:
        return "split the first axis"
