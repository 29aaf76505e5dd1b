"""`slice`: part of one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, WithJsonSchema, model_validator

from tfpt.errors import MappingError
from tfpt.operations.groups import axis_name, group_name
from tfpt.operations.layout import Layout, LayoutError
from tfpt.operations.operation import (
    Axes,
    AxisOperation,
    Box,
    Irreversible,
    Operation,
    position,
    resized,
    shape_of,
    with_span,
)
from tfpt.tensors import format_shape


class Slice(AxisOperation):
    """Part of one axis, as Python slices.

    The axis may be composed, as in ``(g i)``: then it is cut before the layout takes it apart.
    """

    key: ClassVar[str] = "slice"
    side: ClassVar[Literal["left", "right"]] = "left"

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        """Read `(axis, text)`, as `slice: {axis: text}` gives it."""
        if not isinstance(value, tuple):
            return value
        axis, text = value
        try:
            numbers = [int(part) if part.strip() else None for part in text.split(":")]
            if not 2 <= len(numbers) <= 3 or (len(numbers) == 3 and numbers[2] == 0):
                raise ValueError
        except (AttributeError, ValueError):
            raise ValueError('expected a slice such as "1:" or "0:10"') from None
        return {"axis": axis_name(axis), **dict(zip(("start", "stop", "step"), numbers, strict=False))}

    @property
    def composed(self) -> bool:
        """Whether it cuts a composed axis."""
        return self.axis.startswith("(")

    def check(self, layout: Layout | None) -> None:
        if layout is None or not self.composed:
            super().check(layout)
            return
        names = [group_name(group) for group in layout.left if len(group) > 1]
        if self.axis not in names:
            raise MappingError(
                f"slice: names the axis {self.axis!r}, which the left side of the layout does not have",
                expected=f"one of {', '.join(names)}" if names else "a letter of the left side",
                got=layout.pattern,
            )

    def length(self, size: int) -> int:
        """How much of an axis of this size it takes."""
        return len(self._taken(size))

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        (axes,) = inputs
        length = self.length(dict(axes)[self.axis])
        if length == 0:
            raise LayoutError(f"the slice of axis {self.axis} is empty", got=format_shape(shape_of(axes)))
        return [resized(axes, self.axis, length)]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        axis = position(inputs[0], self.axis)
        needed = self._taken(inputs[0][axis][1])[wanted[axis]]
        return [with_span(wanted, axis, min(needed[0], needed[-1]), max(needed[0], needed[-1]) + 1)]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        (array,) = arrays
        whole = [slice(None)] * position(inputs[0], self.axis)
        index = (*whole, slice(self.start, self.stop, self.step))
        return [array[index]]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation | Irreversible:
        size = dict(inputs[0])[self.axis]
        length = self.length(size)
        if length == size:  # all of it, in its order or reversed
            return self
        return Irreversible(f"the slice leaves out {size - length} of {size} along axis {self.axis}")

    def describe(self) -> str:
        start, stop, step = (
            "" if value is None else str(value) for value in (self.start, self.stop, self.step)
        )
        return f"slice {self.axis} {start}:{stop}" + (f":{step}" if step else "")

    def _taken(self, size: int) -> range:
        return range(size)[self.start : self.stop : self.step]


def _by_axis(value: Any) -> Any:
    return {axis: (axis, text) for axis, text in value.items()} if isinstance(value, dict) else value


# `slice:` of a row, a slice for each axis: {i: "1:", h: ":2"}.
Slices = Annotated[
    dict[str, Slice],
    BeforeValidator(_by_axis),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
