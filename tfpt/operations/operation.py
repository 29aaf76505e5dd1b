"""The interface of an operation: one thing that a row does to tensors, written in YAML and carried out by one class.

An operation takes tensors and gives tensors: `stack` and `concat` take several, `split` gives several, all others take
one and give one. Tensors are described by their axes, each with a name and a size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator

from tfpt.errors import MappingError

if TYPE_CHECKING:
    from tfpt.operations.layout import Layout

Shape = tuple[int, ...]
# Name and size of each axis of a tensor. Where a row has no layout, axes are named by their numbers.
Axes = tuple[tuple[str, int], ...]
# Part of a tensor, never empty: for each axis the slice that covers it, from 0 up and without a step.
Box = tuple[slice, ...]

ELLIPSIS = "..."
# The same inside parentheses, as part of a group.
MERGED = "(...)"


@dataclass(frozen=True)
class Irreversible:
    """Why an operation has no inverse."""

    reason: str


class Operation(BaseModel):
    """One operation of a row. All of them are immutable and hashable."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    # Whether `apply` overwrites the arrays that it is given.
    in_place: ClassVar[bool] = False

    def check(self, layout: Layout | None) -> None:
        """Check the operation against the layout of its row.

        Raises:
            MappingError: It names an axis that the layout does not have, or one that it cannot work on.
        """

    @abstractmethod
    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        """The axes of the results.

        Raises:
            LayoutError: The inputs do not fit.
        """

    @abstractmethod
    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        """The part of each input that is needed to compute part of a result.

        It is the smallest box that contains every value that the part depends on: computed from inputs whose other
        values are anything at all, the part is the same. With it a result can be computed slab by slab, without having
        its inputs in memory as a whole.

        Args:
            wanted: The part of the result.
            inputs: The axes of the inputs.
            output: Which result, for operations that give several.

        Returns:
            A box for each input; None where nothing of it is needed, as for a slab that is all padding.
        """

    @abstractmethod
    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        """The results: views of the arrays where no value has to move.

        The arithmetic is that of the arrays' dtype. Operations that work `in_place` overwrite the arrays.

        Args:
            arrays: The values.
            inputs: Their axes.
        """

    @abstractmethod
    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation | Irreversible:
        """The operation that gives the inputs again, or the reason why there is none.

        Args:
            inputs: The axes of the inputs.
            dtype: The dtype of the inputs, which only the inverse of a cast depends on.
        """

    @abstractmethod
    def describe(self) -> str:
        """The operation in a few words, as reports show it."""


class AxisOperation(Operation):
    """An operation along one axis of the layout: `{axis: v}`, or the letter alone where nothing else is needed."""

    key: ClassVar[str]
    side: ClassVar[Literal["left", "right"]] = "right"
    # Whether the axis must not be part of a group in parentheses.
    alone: ClassVar[bool] = False

    axis: str = Field(description="The axis, a letter of the layout.")

    @model_validator(mode="before")
    @classmethod
    def _bare_letter(cls, value: Any) -> Any:
        return {"axis": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core))
        return schema if schema["required"] != ["axis"] else {"anyOf": [schema, {"type": "string"}]}

    def check(self, layout: Layout | None) -> None:
        require_axis(layout, self.axis, self.key, self.side, alone=self.alone)


def require_axis(
    layout: Layout | None,
    axis: str,
    key: str,
    side: Literal["left", "right"] = "right",
    *,
    alone: bool = False,
) -> None:
    """Check that the layout has an axis on this side.

    Raises:
        MappingError: There is no layout or no such axis; or, with `alone`, the axis is part of a group.
    """
    if layout is None:
        raise MappingError(f"{key}: names the axis {axis!r}, so the row needs a layout that names its axes")
    groups = layout.right if side == "right" else layout.left
    names = [name for group in groups for name in group if name not in (ELLIPSIS, MERGED)]
    if axis not in names:
        raise MappingError(
            f"{key}: names the axis {axis!r}, which the {side} side of the layout does not have",
            expected=f"one of {', '.join(names)}",
            got=layout.pattern,
        )
    if alone and (axis,) not in groups:
        raise MappingError(
            f"{key}: needs an axis that is not in parentheses", got=f"{axis} in {layout.pattern}"
        )


def numbered(shape: Sequence[int]) -> Axes:
    """The axes of a tensor whose axes have no names.

    Example:
        >>> numbered((5, 3))
        (('0', 5), ('1', 3))
    """
    return tuple((str(axis), size) for axis, size in enumerate(shape))


def shape_of(axes: Axes) -> Shape:
    """The sizes alone."""
    return tuple(size for _, size in axes)


def position(axes: Axes, name: str) -> int:
    """Which axis has this name."""
    return next(index for index, (axis, _) in enumerate(axes) if axis == name)


def resized(axes: Axes, name: str, size: int) -> Axes:
    """The axes, one of them with another size."""
    return tuple((axis, size if axis == name else old) for axis, old in axes)


def with_span(box: Box, axis: int, start: int, stop: int) -> Box | None:
    """The box with another extent along one axis; None where that is empty."""
    return (*box[:axis], slice(start, stop), *box[axis + 1 :]) if start < stop else None
