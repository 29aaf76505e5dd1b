"""What a row does to values: join, slice, layout, reorder, scale, add, pad, zero, split, cast, in that order.

A `Transform` is what the row says; bound to the shapes of its variables it knows the shapes it will write
(`BoundTransform`), and only `apply` touches values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tfpt.errors import TfptError
from tfpt.operations.casting import Loss, carrier, cast, computing, constant, loss
from tfpt.operations.layout import BoundLayout, Layout, LayoutError, grouped_shape
from tfpt.operations.strided import contiguous
from tfpt.operations.values import Add, Pad, Reorder, Scale, Slice, Split, Zero, number_text
from tfpt.tensors import format_shape

Shape = tuple[int, ...]


class CastError(TfptError):
    """Values that the dtype written cannot hold.

    Attributes:
        piece: Which of the parameters written, by its place.
        loss: How many values, and the largest of them.
    """

    def __init__(self, piece: int, found: Loss) -> None:
        self.piece = piece
        self.loss = found
        super().__init__(
            "values that the dtype written cannot hold", got=f"{found.count}, up to {found.largest}"
        )


@dataclass(frozen=True)
class Transform:
    """Everything a row does to the values of its variables.

    Attributes:
        join: How several variables become one tensor: ``stack`` on a new first axis, or ``concat``.
        concat: The axis of the left side along which ``concat`` joins.

    Example:
        >>> fused = Transform(layout=Layout.parse("qkv i o -> (qkv o) i"), join="stack")
        >>> fused.bind([(2, 3), (2, 3), (2, 3)]).shapes
        ((9, 2),)
    """

    layout: Layout | None = None
    join: str | None = None
    concat: str | None = None
    slices: tuple[Slice, ...] = ()
    reorder: Reorder | None = None
    scale: Scale | None = None
    add: Add | None = None
    pad: Pad | None = None
    zero: Zero | None = None
    split: Split | None = None

    @property
    def computes(self) -> bool:
        """Whether it makes new numbers, rather than moving those of the variables."""
        return self.scale is not None or self.add is not None

    def bind(self, shapes: Sequence[Shape], pieces: int = 1) -> BoundTransform:
        """The transform for variables of these shapes, written as `pieces` parameters.

        Raises:
            LayoutError: The shapes do not fit.
        """
        bound = self._bind(shapes, pieces)
        bound.shapes  # noqa: B018  every size is checked here, before a value is read
        return bound

    def count_pieces(self, shapes: Sequence[Shape]) -> int:
        """How many parameters come of variables of these shapes, where the first axis is taken apart.

        Raises:
            LayoutError: The shapes do not fit, or there is no first axis.
        """
        whole = self._bind(shapes, 0).whole
        if not whole:
            raise LayoutError("a scalar cannot be taken apart", got=format_shape(whole))
        return whole[0]

    def _bind(self, shapes: Sequence[Shape], pieces: int) -> BoundTransform:
        joined = self._joined(shapes)
        return BoundTransform(self, joined, None if self.layout is None else self.layout.bind(joined), pieces)

    def _joined(self, shapes: Sequence[Shape]) -> Shape:
        if self.join is None:
            return shapes[0]
        if self.join == "stack":
            if len(set(shapes)) > 1:
                raise LayoutError(
                    "variables to be stacked have different shapes",
                    expected="equal shapes, or concat: AXIS",
                    got=" and ".join(dict.fromkeys(map(format_shape, shapes))),
                )
            return (len(shapes), *shapes[0])
        axis = self.concat_axis(len(shapes[0]))
        rests = {shape[:axis] + shape[axis + 1 :] if len(shape) > axis else shape for shape in shapes}
        if len(rests) > 1 or len({len(shape) for shape in shapes}) > 1 or len(shapes[0]) <= axis:
            raise LayoutError(
                f"variables to be joined along {self.concat} differ in another axis",
                expected=f"equal sizes in every axis but {self.concat}, as in {self.layout}",
                got=" and ".join(dict.fromkeys(map(format_shape, shapes))),
            )
        return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])

    def concat_axis(self, rank: int) -> int:
        """Which axis of the variables `concat` names."""
        assert self.layout is not None
        assert self.concat is not None
        index = self.layout.left.index((self.concat,))
        after = len(self.layout.left) - index
        return index if ("...",) not in self.layout.left[:index] else rank - after

    def describe(self) -> str:
        """The work in a few words, in the order in which it is done.

        Example:
            >>> Transform(layout=Layout.parse("i o -> o i"), scale=Scale(1, 7)).describe()
            'layout i o -> o i, scale 1/7'
        """
        words = [
            (self.join == "stack", "stack"),
            (self.join == "concat", f"concat {self.concat}"),
            (self.slices, f"slice {', '.join(map(str, self.slices))}"),
            (self.layout, f"layout {self.layout}"),
            (self.reorder, f"reorder {self.reorder and self.reorder.axis}"),
            (self.scale, f"scale {self.scale}"),
            (self.add, f"add {self.add and ', '.join(map(number_text, self.add.values))}"),
            (self.pad, f"pad {self.pad and self.pad.axis}"),
            (self.zero, f"zero {self.zero and f'{self.zero.axis} at {self.zero.at}'}"),
            (self.split, f"split {(self.split and self.split.axis) or 'the first axis'}"),
        ]
        return ", ".join(text for said, text in words if said) or "copy"


@dataclass(frozen=True)
class BoundTransform:
    """A transform whose shapes are all known.

    Attributes:
        transform: What is done.
        joined: The shape after joining.
        layout: The layout for that shape.
        pieces: How many parameters are written.
    """

    transform: Transform
    joined: Shape
    layout: BoundLayout | None
    pieces: int

    @cached_property
    def whole(self) -> Shape:
        """The shape of the result before it is split."""
        return self.joined if self.layout is None else grouped_shape(self.layout.groups, self.sizes)

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the parameters written."""
        whole, split = self.whole, self.transform.split
        if split is None:
            return (whole,)
        if split.axis is None:
            if not whole or whole[0] != self.pieces:
                raise LayoutError(
                    "the first axis is not as long as there are parameters to write",
                    expected=f"{self.pieces} parameters",
                    got=format_shape(whole),
                )
            return (whole[1:],) * self.pieces
        axis = self._split_axis
        sizes = split.sizes or (whole[axis] // self.pieces,) * self.pieces
        if sum(sizes) != whole[axis]:
            raise LayoutError(
                f"the pieces of axis {split.axis} do not add up to its size",
                expected=f"{' + '.join(map(str, sizes))} = {sum(sizes)}",
                got=f"{whole[axis]} in {format_shape(whole)}",
            )
        return tuple((*whole[:axis], size, *whole[axis + 1 :]) for size in sizes)

    @cached_property
    def _split_axis(self) -> int:
        assert self.layout is not None
        assert self.transform.split is not None
        return self.layout.groups.index((str(self.transform.split.axis),))

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The size of each elementary axis once everything is done."""
        assert self.layout is not None
        sizes = dict(self.layout.right)
        do = self.transform
        for cut in do.slices:
            sizes[cut.axis] = cut.of(sizes[cut.axis])
            if sizes[cut.axis] == 0:
                raise LayoutError(
                    f"the slice of axis {cut.axis} takes nothing", got=format_shape(self.joined)
                )
        for axis, groups in (
            (do.reorder and do.reorder.axis, len(do.reorder.order) if do.reorder else 1),
            (do.add and do.add.axis, len(do.add.values) if do.add else 1),
        ):
            if axis and sizes[axis] % groups:
                raise LayoutError(
                    f"axis {axis} does not divide into {groups} groups", got=f"size {sizes[axis]}"
                )
        if do.pad:
            size, padded = sizes[do.pad.axis], do.pad.of(sizes[do.pad.axis])
            if padded < size:
                raise LayoutError(
                    f"axis {do.pad.axis} is longer than it is to be padded to",
                    expected=str(padded),
                    got=str(size),
                )
            sizes[do.pad.axis] = padded
        if do.zero and not -sizes[do.zero.axis] <= do.zero.at < sizes[do.zero.axis]:
            raise LayoutError(
                f"axis {do.zero.axis} has no index {do.zero.at} to set to zero",
                got=f"size {sizes[do.zero.axis]}",
            )
        return sizes

    def carrier(self, dtypes: Sequence[np.dtype]) -> np.dtype | None:
        """The dtype in which the values of such variables go through the work; None where there is none.

        What is scaled or added to is computed in float64, or complex128. All else is moved in a dtype that holds every
        value of the variables and of `pad`.
        """
        do = self.transform
        if do.computes:
            return computing(dtypes)
        return carrier(dtypes, () if do.pad is None else (do.pad.value,))

    def apply(self, arrays: Sequence[np.ndarray], dtypes: Sequence[np.dtype]) -> list[np.ndarray]:
        """The values of the parameters: C-contiguous, each of its dtype; a view of the input where nothing is done.

        Every value is rounded once, when it is cast to the dtype that is written.

        Raises:
            CastError: A dtype cannot hold a value.
        """
        work = self.carrier([array.dtype for array in arrays])
        assert work is not None  # the planner refuses such variables
        array = self._join([cast(array, work) for array in arrays])
        if self.layout is not None:
            array = self.layout.split(array)
            if self.transform.slices:
                array = array[self._index()]
            array = self.layout.permute(array)
        own = array.flags.writeable and not any(np.may_share_memory(array, given) for given in arrays)
        array = self._compute(array, own)
        if len(set(dtypes)) == 1:
            written = cast(array, dtypes[0])
            if loss(array, written) is None:
                return self._take_apart(self._grouped(written))
        pieces = self._take_apart(self._grouped(array))
        return [
            _checked(piece, held, index)
            for index, (piece, held) in enumerate(zip(pieces, dtypes, strict=True))
        ]

    def _grouped(self, array: np.ndarray) -> np.ndarray:
        array = contiguous(array)
        return array if self.layout is None else array.reshape(grouped_shape(self.layout.groups, self.sizes))

    def _join(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        if self.transform.join is None:
            return arrays[0]
        if self.transform.join == "stack":
            return np.stack(arrays)
        return np.concatenate(arrays, axis=self.transform.concat_axis(arrays[0].ndim))

    def _index(self) -> tuple[slice, ...]:
        assert self.layout is not None
        cuts = {cut.axis: slice(cut.start, cut.stop, cut.step) for cut in self.transform.slices}
        return tuple(cuts.get(name, slice(None)) for name, _ in self.layout.left)

    def _axis(self, name: str) -> int:
        assert self.layout is not None
        return next(index for index, (axis, _) in enumerate(self.layout.right) if axis == name)

    def _compute(self, array: np.ndarray, own: bool) -> np.ndarray:
        do = self.transform
        if do.reorder:
            axis = self._axis(do.reorder.axis)
            groups = np.split(array, len(do.reorder.order), axis)
            array = np.concatenate([groups[index] for index in do.reorder.order], axis)
        if do.computes:
            array = self._scale_and_add(array if own else array.copy(order="K"))
        if do.pad:
            axis = self._axis(do.pad.axis)
            widths = [(0, 0)] * array.ndim
            widths[axis] = (0, do.pad.of(array.shape[axis]) - array.shape[axis])
            array = np.pad(array, widths, constant_values=constant(do.pad.value, array.dtype))
        if do.zero:
            array = array.copy(order="K")
            array[(slice(None),) * self._axis(do.zero.axis) + (do.zero.at,)] = 0
        return array

    def _scale_and_add(self, values: np.ndarray) -> np.ndarray:
        scale, add = self.transform.scale, self.transform.add
        if scale is not None:
            scale.multiply(values.real)
            if values.dtype.kind == "c":
                scale.multiply(values.imag)
        if add and add.axis is None:
            values += add.values[0]
        elif add:
            axis = self._axis(str(add.axis))
            for group, value in zip(np.split(values, len(add.values), axis), add.values, strict=True):
                group += value
        return values

    def _take_apart(self, array: np.ndarray) -> list[np.ndarray]:
        split = self.transform.split
        if split is None:
            return [array]
        if split.axis is None:
            return [array[index, ...] for index in range(len(array))]
        sizes = [shape[self._split_axis] for shape in self.shapes]
        pieces = np.split(array, np.cumsum(sizes)[:-1].tolist(), self._split_axis)
        return [np.ascontiguousarray(piece) for piece in pieces]


def _checked(piece: np.ndarray, held: np.dtype, index: int) -> np.ndarray:
    written = cast(piece, held)
    lost = loss(piece, written)
    if lost is not None:
        raise CastError(index, lost)
    return np.ascontiguousarray(written).reshape(piece.shape)
