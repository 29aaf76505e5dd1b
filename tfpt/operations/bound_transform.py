"""A transform whose shapes are all known: what it writes, what it needs for a part of it, and the values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tfpt.operations.cast import Cast, CastError
from tfpt.operations.casting import carrier, cast, computing
from tfpt.operations.concat import Split
from tfpt.operations.groups import grouped_axes, grouped_box, grouped_shape, ungrouped_box
from tfpt.operations.layout import BoundLayout, LayoutError
from tfpt.operations.operation import Axes, Box, Operation, Shape, numbered, shape_of
from tfpt.operations.stack import Unstack
from tfpt.operations.strided import contiguous
from tfpt.tensors import BY_NUMPY, format_shape

if TYPE_CHECKING:
    from tfpt.operations.transform import Transform

# Operations, each with the axes that it works on.
Stages = tuple[tuple[Operation, Axes], ...]


@dataclass(frozen=True)
class BoundTransform:
    """A transform whose shapes are all known.

    Attributes:
        transform: The operations.
        laid: The layouts of the single variables for their shapes, if they have layouts of their own.
        variables: The axes of the variables after these, if several are joined or folded.
        joined: The shape after joining.
        composed: The slices of composed axes of that shape.
        layout: The layout for the shape after these slices.
        pieces: How many parameters are written.
    """

    transform: Transform
    laid: tuple[BoundLayout, ...]
    variables: tuple[Axes, ...]
    joined: Shape
    composed: Stages
    layout: BoundLayout | None
    pieces: int

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the parameters written."""
        if self.transform.fold is not None:
            return tuple(map(shape_of, self.transform.fold.shape(self.variables)))
        if self._split is None:
            return (shape_of(self.whole),)
        if isinstance(self._split, Unstack) and (not self.whole or self.whole[0][1] != self.pieces):
            raise LayoutError(
                "the size of the first axis is not the number of parameters to write",
                expected=f"{self.pieces} parameters",
                got=format_shape(shape_of(self.whole)),
            )
        return tuple(map(shape_of, self._split.shape([self.whole])))

    @cached_property
    def whole(self) -> Axes:
        """The axes of the result before it is split."""
        axes = self._work[1]
        return axes if self.layout is None else grouped_axes(self.layout.groups, dict(axes))

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each elementary axis of the result before it is split."""
        return dict(self._work[1])

    @cached_property
    def _slices(self) -> tuple[Stages, Axes]:
        """The slices of elementary axes, and these axes of the left side after them."""
        assert self.layout is not None
        return in_stages([cut for cut in self.transform.slices if not cut.composed], self.layout.left)

    @cached_property
    def _work(self) -> tuple[Stages, Axes]:
        """The operations between layout and split, and the elementary axes of the right side after them."""
        axes = numbered(self.joined) if self.layout is None else self.layout.permuted_axes(self._slices[1])
        return in_stages(self.transform.elementwise, axes)

    @cached_property
    def _split(self) -> Split | Unstack | None:
        split = self.transform.split
        return split.into(self.pieces, self.whole) if isinstance(split, Split) else split

    def carrier(self, dtypes: Sequence[np.dtype]) -> np.dtype | None:
        """The dtype in which the values of such variables are processed; None if no dtype can represent them all.

        New numbers are computed in float64, or complex128. Otherwise they are moved in a dtype that can represent
        every value of the variables and of `pad`.
        """
        do = self.transform
        if do.computes:
            return computing(dtypes)
        return carrier(dtypes, () if do.pad is None else (do.pad.value,))

    def box(self, wanted: Box, piece: int = 0) -> list[Box | None]:
        """The part of each variable needed to compute part of a parameter, as in `Operation.box`.

        If axes are merged, it may be larger than the smallest such box.

        Args:
            wanted: The part of the parameter.
            piece: Which of the parameters written.
        """
        if self.transform.fold is not None:
            return self._before_layouts(self.transform.fold.box(wanted, self.variables, piece))
        box: Box | None = wanted
        if self._split is not None:
            (box,) = self._split.box(wanted, [self.whole], piece)
        if self.layout is None:
            box = _box_before(self._work[0], box)
        elif box is not None:
            spans = ungrouped_box(self.layout.groups, self.sizes, box)
            box = _box_before(self._work[0], tuple(spans.values()))
            if box is not None:
                names = (name for name, _ in self.layout.right)
                spans = self.layout.permuted_back(dict(zip(names, box, strict=True)))
                box = _box_before(self._slices[0], tuple(spans.values()))
            if box is not None:
                sizes = dict(self.layout.left)
                box = grouped_box(self.layout.left_groups, sizes, dict(zip(sizes, box, strict=True)))
                box = _box_before(self.composed, box)
        if self.transform.join is None:
            return self._before_layouts([box])
        boxes = [None] * len(self.variables) if box is None else self.transform.join.box(box, self.variables)
        return self._before_layouts(boxes)

    def apply(self, arrays: Sequence[np.ndarray], dtypes: Sequence[np.dtype]) -> list[np.ndarray]:
        """The values of the parameters: C-contiguous, each in its dtype; views of the input if nothing is done.

        Every value is rounded once, when it is cast to the dtype that is written.

        Raises:
            CastError: A dtype cannot represent a value.
            DomainError: A function is not defined for a value.
        """
        work = self.carrier([array.dtype for array in arrays])
        assert work is not None  # the planner refuses such variables
        casts = [Cast(dtype=BY_NUMPY[dtype].name) for dtype in dtypes]
        values = [cast(array, work) for array in arrays]
        if self.laid:
            values = [
                layout.layout.apply([array])[0] for layout, array in zip(self.laid, values, strict=True)
            ]
        if self.transform.fold is not None:
            return _written(self.transform.fold.apply(values, self.variables), casts)
        array = self._join(values)
        if self.layout is not None:
            array = _applied(self.composed, array, arrays)
            array = self.layout.split(array)
            array = _applied(self._slices[0], array, arrays)
            array = self.layout.permute(array)
        array = _applied(self._work[0], array, arrays)
        if len(set(dtypes)) == 1:
            try:
                return self._pieces(casts[0].apply([array])[0])
            except CastError:
                pass  # cast one by one, to find out which parameter it is
        return _written(self._pieces(array), casts)

    def _before_layouts(self, boxes: Sequence[Box | None]) -> list[Box | None]:
        """Convert boxes of the variables after their own layouts to boxes of the variables."""
        if not self.laid:
            return list(boxes)
        found: list[Box | None] = []
        for layout, box in zip(self.laid, boxes, strict=True):
            axes = [numbered(grouped_shape(layout.left_groups, dict(layout.left)))]
            found += [None] if box is None else layout.layout.box(box, axes)
        return found

    def _join(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return (
            arrays[0] if self.transform.join is None else self.transform.join.apply(arrays, self.variables)[0]
        )

    def _pieces(self, array: np.ndarray) -> list[np.ndarray]:
        whole = contiguous(array).reshape(shape_of(self.whole))
        return [whole] if self._split is None else self._split.apply([whole], [self.whole])


def in_stages(operations: Iterable[Operation], axes: Axes) -> tuple[Stages, Axes]:
    """The operations, each with the axes that it works on, and the axes after the last."""
    stages = []
    for operation in operations:
        stages.append((operation, axes))
        (axes,) = operation.shape([axes])
    return tuple(stages), axes


def _written(pieces: Sequence[np.ndarray], casts: Sequence[Cast]) -> list[np.ndarray]:
    """The parameters, each in its dtype."""
    written = []
    for index, (piece, last) in enumerate(zip(pieces, casts, strict=True)):
        try:
            (result,) = last.apply([piece])
        except CastError as error:
            raise CastError(index, error.loss) from None
        written.append(np.ascontiguousarray(result).reshape(piece.shape))
    return written


def _applied(stages: Stages, array: np.ndarray, given: Sequence[np.ndarray]) -> np.ndarray:
    """The result of operations on a single tensor; the arrays `given` are not modified."""
    for operation, axes in stages:
        if operation.in_place:
            own = array.flags.writeable and not any(np.may_share_memory(array, other) for other in given)
            array = array if own else array.copy(order="K")
        (array,) = operation.apply([array], [axes])
    return array


def _box_before(stages: Stages, box: Box | None) -> Box | None:
    for operation, axes in reversed(stages):
        if box is not None:
            (box,) = operation.box(box, [axes])
    return box
