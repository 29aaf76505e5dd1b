"""What a row does to values: join, slice, layout, reorder, scale, add, pad, zero, split, cast, in that order.

A `Transform` composes the operations of a row. Bound to the shapes of its variables (`BoundTransform`) it knows the
shapes that it will write; only `apply` reads values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tfpt.operations.add import Add
from tfpt.operations.cast import Cast, CastError
from tfpt.operations.casting import carrier, cast, computing
from tfpt.operations.concat import Concat, Split
from tfpt.operations.groups import grouped_axes, grouped_box, ungrouped_box
from tfpt.operations.layout import BoundLayout, Layout, LayoutError
from tfpt.operations.operation import Axes, Box, Operation, Shape, numbered, shape_of
from tfpt.operations.pad import Pad
from tfpt.operations.reorder import Reorder
from tfpt.operations.scale import Scale
from tfpt.operations.slice import Slice
from tfpt.operations.stack import Stack, Unstack
from tfpt.operations.strided import contiguous
from tfpt.operations.zero import Zero
from tfpt.tensors import BY_NUMPY, format_shape

# Operations, each with the axes that it works on.
Stages = tuple[tuple[Operation, Axes], ...]


@dataclass(frozen=True)
class Transform:
    """Everything that a row does to the values of its variables, apart from the cast, whose dtype the plan chooses.

    Example:
        >>> fused = Transform(join=Stack(), layout=Layout.parse("qkv i o -> (qkv o) i"))
        >>> fused.bind([(2, 3), (2, 3), (2, 3)]).shapes
        ((9, 2),)
    """

    join: Stack | Concat | None = None
    slices: tuple[Slice, ...] = ()
    layout: Layout | None = None
    reorder: Reorder | None = None
    scale: Scale | None = None
    add: Add | None = None
    pad: Pad | None = None
    zero: Zero | None = None
    split: Split | Unstack | None = None

    @property
    def computes(self) -> bool:
        """Whether it computes new numbers, rather than moving those of the variables."""
        return self.scale is not None or self.add is not None

    @property
    def elementwise(self) -> tuple[Operation, ...]:
        """The operations between the layout and the split, which work on single axes of the layout."""
        named = (self.reorder, self.scale, self.add, self.pad, self.zero)
        return tuple(operation for operation in named if operation is not None)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations in order."""
        found = (self.join, *self.slices, self.layout, *self.elementwise, self.split)
        return tuple(operation for operation in found if operation is not None)

    def check(self) -> None:
        """Check every operation against the layout.

        Raises:
            MappingError: An operation does not fit it; reports the first.
        """
        for operation in self.operations:
            operation.check(self.layout)

    def bind(self, shapes: Sequence[Shape], pieces: int = 1) -> BoundTransform:
        """The transform for variables of these shapes, written as `pieces` parameters.

        Raises:
            LayoutError: The shapes do not fit.
        """
        bound = self._bind(shapes, pieces)
        bound.shapes  # noqa: B018  checks every size before a value is read
        return bound

    def count_pieces(self, shapes: Sequence[Shape]) -> int:
        """The number of parameters into which the result is split along its first axis, for variables of these shapes.

        Raises:
            LayoutError: The shapes do not fit, or there is no first axis.
        """
        whole = self._bind(shapes, 0).whole
        if not whole:
            raise LayoutError("a scalar cannot be split", got=format_shape(()))
        return whole[0][1]

    def describe(self) -> str:
        """The operations in a few words, in order.

        Example:
            >>> Transform(layout=Layout.parse("i o -> o i"), scale=Scale(numerator=1, denominator=7)).describe()
            'layout i o -> o i, scale 1/7'
        """
        return ", ".join(operation.describe() for operation in self.operations) or "copy"

    def _bind(self, shapes: Sequence[Shape], pieces: int) -> BoundTransform:
        variables: tuple[Axes, ...] = ()
        joined = shapes[0]
        if self.join is not None:
            names = numbered if self.layout is None else self.layout.variable_axes
            variables = tuple(map(names, shapes))
            joined = shape_of(self.join.shape(variables)[0])
        layout = None if self.layout is None else self.layout.bind(joined)
        return BoundTransform(self, variables, joined, layout, pieces)


@dataclass(frozen=True)
class BoundTransform:
    """A transform whose shapes are all known.

    Attributes:
        transform: The operations.
        variables: The axes of the variables, if several are joined.
        joined: The shape after joining.
        layout: The layout for that shape.
        pieces: How many parameters are written.
    """

    transform: Transform
    variables: tuple[Axes, ...]
    joined: Shape
    layout: BoundLayout | None
    pieces: int

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the parameters written."""
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
        """The slices, and the elementary axes of the left side after them."""
        assert self.layout is not None
        return _stages(self.transform.slices, self.layout.left)

    @cached_property
    def _work(self) -> tuple[Stages, Axes]:
        """The operations between layout and split, and the elementary axes of the right side after them."""
        axes = numbered(self.joined) if self.layout is None else self.layout.permuted_axes(self._slices[1])
        return _stages(self.transform.elementwise, axes)

    @cached_property
    def _split(self) -> Split | Unstack | None:
        split = self.transform.split
        return split.into(self.pieces, self.whole) if isinstance(split, Split) else split

    def carrier(self, dtypes: Sequence[np.dtype]) -> np.dtype | None:
        """The dtype in which the values of such variables are processed; None if no dtype can represent them all.

        Values are scaled and added to in float64, or complex128. Otherwise they are moved in a dtype that can represent
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
        if self.transform.join is None:
            return [box]
        return [None] * len(self.variables) if box is None else self.transform.join.box(box, self.variables)

    def apply(self, arrays: Sequence[np.ndarray], dtypes: Sequence[np.dtype]) -> list[np.ndarray]:
        """The values of the parameters: C-contiguous, each in its dtype; views of the input if nothing is done.

        Every value is rounded once, when it is cast to the dtype that is written.

        Raises:
            CastError: A dtype cannot represent a value.
        """
        work = self.carrier([array.dtype for array in arrays])
        assert work is not None  # the planner refuses such variables
        array = self._join([cast(array, work) for array in arrays])
        if self.layout is not None:
            array = self.layout.split(array)
            array = _applied(self._slices[0], array, arrays)
            array = self.layout.permute(array)
        array = _applied(self._work[0], array, arrays)
        casts = [Cast(dtype=BY_NUMPY[dtype].name) for dtype in dtypes]
        if len(set(dtypes)) == 1:
            try:
                return self._pieces(casts[0].apply([array])[0])
            except CastError:
                pass  # the loop below finds out which parameter it is
        written = []
        for index, (piece, last) in enumerate(zip(self._pieces(array), casts, strict=True)):
            try:
                (result,) = last.apply([piece])
            except CastError as error:
                raise CastError(index, error.loss) from None
            written.append(np.ascontiguousarray(result).reshape(piece.shape))
        return written

    def _join(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return (
            arrays[0] if self.transform.join is None else self.transform.join.apply(arrays, self.variables)[0]
        )

    def _pieces(self, array: np.ndarray) -> list[np.ndarray]:
        whole = contiguous(array).reshape(shape_of(self.whole))
        return [whole] if self._split is None else self._split.apply([whole], [self.whole])


def _stages(operations: Iterable[Operation], axes: Axes) -> tuple[Stages, Axes]:
    """The operations, each with the axes that it works on, and the axes after the last."""
    stages = []
    for operation in operations:
        stages.append((operation, axes))
        (axes,) = operation.shape([axes])
    return tuple(stages), axes


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
