"""`reorder`: equal groups along an axis in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, model_validator

from tfpt.operations.layout import check_groups
from tfpt.operations.operation import Axes, AxisOperation, Box, Operation, position, with_span


class Reorder(AxisOperation):
    """`{axis: o, groups: [i, j, f, o], as: [i, f, j, o]}`; without `groups` they are numbered from 0."""

    key: ClassVar[str] = "reorder"

    order: Annotated[tuple[str | int, ...], Field(alias="as", min_length=1)] = Field(
        description="The groups in the order of the parameter."
    )
    groups: tuple[str | int, ...] | None = Field(
        None, description="The names of the groups in the order of the variable."
    )

    @model_validator(mode="after")
    def _is_permutation(self) -> Reorder:
        names, order = self._names, list(map(str, self.order))
        if sorted(names) != sorted(order) or len(set(names)) < len(names):
            raise ValueError(f"as: must list each of {', '.join(names)} once")
        return self

    @property
    def indices(self) -> tuple[int, ...]:
        """For each group of the result, which group of the input it is."""
        return tuple(self._names.index(str(name)) for name in self.order)

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        (axes,) = inputs
        check_groups(axes, self.axis, len(self.order))
        return [axes]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        axis = position(inputs[0], self.axis)
        size = inputs[0][axis][1] // len(self.order)
        start, stop = wanted[axis].start, wanted[axis].stop
        starts, stops = [], []
        for group in range(start // size, (stop - 1) // size + 1):
            shift = (self.indices[group] - group) * size
            starts.append(max(start, group * size) + shift)
            stops.append(min(stop, (group + 1) * size) + shift)
        return [with_span(wanted, axis, min(starts), max(stops))]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        (array,) = arrays
        axis = position(inputs[0], self.axis)
        groups = np.split(array, len(self.order), axis)
        return [np.concatenate([groups[index] for index in self.indices], axis)]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation:
        return Reorder.model_validate({"axis": self.axis, "groups": self.order, "as": self._names})

    def describe(self) -> str:
        return f"reorder {self.axis}"

    @property
    def _names(self) -> list[str]:
        return list(map(str, range(len(self.order)) if self.groups is None else self.groups))
