"""`add`: a number added to everything, or one to each of several equal groups along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, GetJsonSchemaHandler, model_validator

from tfpt.operations.layout import Layout, check_groups
from tfpt.operations.numbers import Number, number_text
from tfpt.operations.operation import Axes, Box, Operation, position, require_axis


class Add(Operation):
    """A number, or `{axis: o, groups: [i, f, j, o], values: {f: 1}}`: a number for each equal group of an axis."""

    in_place: ClassVar[bool] = True

    axis: str | None = Field(None, description="The axis of the groups, a letter of the layout.")
    groups: Annotated[tuple[str | int, ...] | None, Field(min_length=1)] = Field(
        None, description="The names of equal groups along the axis, in order."
    )
    values: dict[str, Number] = Field(description="The number added to each group; 0 for those left out.")

    @model_validator(mode="before")
    @classmethod
    def _bare_number(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"values": {"": value}}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler.resolve_ref_schema(handler(core)), {"type": ["number", "string"]}]}

    @model_validator(mode="after")
    def _groups_are_known(self) -> Add:
        if (self.axis is None) != (self.groups is None) or (self.axis is None and set(self.values) != {""}):
            raise ValueError("axis: and groups: go together, and values: with both")
        unknown = [name for name in self.values if self.groups and name not in map(str, self.groups)]
        if unknown:
            raise ValueError(f"values: names {unknown[0]!r}, which is not among the groups")
        return self

    def __hash__(self) -> int:
        return hash((self.axis, self.groups, self.numbers))

    @property
    def numbers(self) -> tuple[float, ...]:
        """The number added to each group; without groups, the one number."""
        return tuple(self.values.get(str(name), 0.0) for name in self.groups or ("",))

    def check(self, layout: Layout | None) -> None:
        if self.axis is not None:
            require_axis(layout, self.axis, "add")

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        if self.axis is not None:
            check_groups(inputs[0], self.axis, len(self.numbers))
        return list(inputs)

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        return [wanted]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        (array,) = arrays
        if self.axis is None:
            array += self.numbers[0]
            return [array]
        groups = np.split(array, len(self.numbers), position(inputs[0], self.axis))
        for group, number in zip(groups, self.numbers, strict=True):
            group += number
        return [array]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation:
        return self.model_copy(update={"values": {name: -value for name, value in self.values.items()}})

    def describe(self) -> str:
        return f"add {', '.join(map(number_text, self.numbers))}"
