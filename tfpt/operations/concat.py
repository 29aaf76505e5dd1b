"""`concat` and its inverse `split`: several tensors as one, end to end along an axis that it already has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from tfpt.operations.layout import LayoutError
from tfpt.operations.operation import (
    Axes,
    AxisOperation,
    Box,
    Operation,
    position,
    resized,
    shape_of,
    with_span,
)
from tfpt.tensors import format_shape


class Concat(AxisOperation):
    """`v` or `{axis: v}`: variables joined end to end along an axis of the left side."""

    key: ClassVar[str] = "concat"
    side: ClassVar[Literal["left", "right"]] = "left"
    alone: ClassVar[bool] = True

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        shapes = list(map(shape_of, inputs))
        axis = [name for name, _ in inputs[0]].index(self.axis) if self.axis in dict(inputs[0]) else None
        others = {axes if axis is None else (*axes[:axis], *axes[axis + 1 :]) for axes in shapes}
        if axis is None or len(others) > 1 or len(set(map(len, shapes))) > 1:
            raise LayoutError(
                f"variables to be joined along {self.axis} differ in another axis",
                expected=f"equal sizes in every axis but {self.axis}",
                got=" and ".join(dict.fromkeys(map(format_shape, shapes))),
            )
        return [resized(inputs[0], self.axis, sum(shape[axis] for shape in shapes))]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        axis = position(inputs[0], self.axis)
        boxes, offset = [], 0
        for axes in inputs:
            size = axes[axis][1]
            start, stop = max(0, wanted[axis].start - offset), min(size, wanted[axis].stop - offset)
            boxes.append(with_span(wanted, axis, start, stop))
            offset += size
        return boxes

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        return [np.concatenate(arrays, axis=position(inputs[0], self.axis))]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation:
        return Split(axis=self.axis, sizes=tuple(dict(axes)[self.axis] for axes in inputs))

    def describe(self) -> str:
        return f"concat {self.axis}"


class Split(AxisOperation):
    """`{axis: o, sizes: [3, 5]}`; without `sizes` equal pieces, with `sizes: model` those of the model's parameters."""

    key: ClassVar[str] = "split"
    alone: ClassVar[bool] = True

    sizes: (
        Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] | Literal["model"] | None
    ) = Field(None, description="The sizes of the pieces, or model for those of the model's parameters.")

    def into(self, pieces: int, axes: Axes) -> Split:
        """The same with the sizes of the pieces, equal where the row does not state them."""
        if self.sizes == "model":
            raise LayoutError(
                f"the sizes of the pieces along {self.axis} are those of the model's parameters, which are not known",
                expected="a manifest or a model, or sizes: [...]",
                got="sizes: model",
            )
        if self.sizes is not None:
            return self
        return self.model_copy(update={"sizes": (dict(axes)[self.axis] // pieces,) * pieces})

    def of_pieces(self, place: int, shapes: Sequence[tuple[int, ...]]) -> Split:
        """The same with the sizes that pieces of these shapes have along their axis at `place`."""
        if self.sizes != "model" or any(
            not -len(shape) <= place < len(shape) or not shape[place] for shape in shapes
        ):
            return self
        return self.model_copy(update={"sizes": tuple(shape[place] for shape in shapes)})

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        (axes,) = inputs
        sizes, size = self._known_sizes, dict(axes)[self.axis]
        if sum(sizes) != size:
            raise LayoutError(
                f"the pieces of axis {self.axis} do not add up to its size",
                expected=f"{' + '.join(map(str, sizes))} = {sum(sizes)}",
                got=f"{size} in {format_shape(shape_of(axes))}",
            )
        return [resized(axes, self.axis, piece) for piece in sizes]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        axis, offset = position(inputs[0], self.axis), sum(self._known_sizes[:output])
        return [with_span(wanted, axis, wanted[axis].start + offset, wanted[axis].stop + offset)]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        (array,) = arrays
        ends = np.cumsum(self._known_sizes)[:-1].tolist()
        pieces = np.split(array, ends, position(inputs[0], self.axis))
        return [np.ascontiguousarray(piece) for piece in pieces]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation:
        return Concat(axis=self.axis)

    def describe(self) -> str:
        return f"split {self.axis}"

    @property
    def _known_sizes(self) -> tuple[int, ...]:
        assert isinstance(self.sizes, tuple), "split: into() fills in the sizes"
        return self.sizes
