"""Layouts: an einops pattern from TensorFlow's axes to PyTorch's, bound to a shape before any value is read.

A pattern is parsed once (`Layout`), then bound to the shape of one tensor (`BoundLayout`), which knows the size of
every axis and returns the result as a strided view: values move only when that view is copied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from tfpt.errors import MappingError, TfptError
from tfpt.operations.groups import (
    Groups,
    elementary,
    grouped_axes,
    grouped_box,
    grouped_shape,
    named_axes,
    parse_side,
    pattern_side,
    renamed,
    spelled,
    ungrouped_box,
    unused,
)
from tfpt.operations.operation import (
    ELLIPSIS,
    MERGED,
    Axes,
    Box,
    Irreversible,
    Operation,
    resized,
    shape_of,
)
from tfpt.operations.strided import contiguous
from tfpt.tensors import format_shape


class LayoutError(TfptError):
    """A tensor whose shape does not fit its layout."""


class Layout(Operation):
    """A parsed pattern.

    Attributes:
        pattern: The text, for reports.
        sizes: The sizes given by `axes:`, as pairs.
        left, right: The axes of each side, each a group of elementary axes; an axis of size 1 is an empty group.

    Example:
        >>> layout = Layout.parse("t h w i o -> o i t h w")
        >>> layout.bind((7, 5, 3, 2, 11)).shape
        (11, 2, 7, 5, 3)
    """

    pattern: str
    sizes: Axes
    left: Groups
    right: Groups

    @classmethod
    def parse(cls, pattern: str, axes: Mapping[str, int] | None = None) -> Layout:
        """Parse a pattern; `axes` gives sizes that cannot be inferred.

        Raises:
            MappingError: The pattern is invalid, or an axis is on one side only and has no size.
        """
        sides = pattern.split("->")
        if len(sides) != 2:
            raise MappingError("a layout has two sides", expected="i o -> o i", got=pattern)
        left = parse_side(sides[0], pattern)
        right = parse_side(sides[1], pattern, merges=True)
        layout = cls(pattern=pattern, sizes=tuple(sorted((axes or {}).items())), left=left, right=right)
        layout.check(layout)
        return layout

    @property
    def merges(self) -> bool:
        """Whether the right side has ``...`` in parentheses."""
        return MERGED in elementary(self.right)

    def check(self, layout: Layout | None) -> None:
        left, axes = elementary(self.left), dict(self.sizes)
        right = [ELLIPSIS if name == MERGED else name for name in elementary(self.right)]
        unknown = [name for name in right if name not in left and name not in axes]
        if ELLIPSIS in unknown:
            raise MappingError("the right side has ... but the left side does not", got=self.pattern)
        if unknown:
            raise MappingError(
                f"the axis {unknown[0]!r} is only on the right and has no size",
                expected=f"one of {', '.join(left)}, or axes: {{{unknown[0]}: …}}",
                got=self.pattern,
            )
        lost = [name for name in left if name not in right and name != ELLIPSIS]
        if lost:
            raise MappingError(
                f"the axis {lost[0]!r} is only on the left, so its values would be lost",
                expected="every axis of the left side on the right (write 1 for an axis of size 1)",
                got=self.pattern,
            )
        strange = [name for name in axes if name not in left and name not in right]
        if strange:
            raise MappingError(
                f"axes: names {strange[0]!r}, which the layout does not have",
                expected=f"one of {', '.join(dict.fromkeys((*left, *right)))}",
                got=self.pattern,
            )

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        (axes,) = inputs
        bound = self.bind(shape_of(axes))
        return [grouped_axes(bound.groups, dict(bound.right))]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        bound = self.bind(shape_of(inputs[0]))
        spans = bound.permuted_back(ungrouped_box(bound.groups, dict(bound.right), wanted))
        return [grouped_box(bound.left_groups, dict(bound.left), spans)]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes] = ()) -> list[np.ndarray]:
        (array,) = arrays
        bound = self.bind(array.shape)
        return [contiguous(bound.permute(bound.split(array))).reshape(bound.shape)]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Operation | Irreversible:
        bound = self.bind(shape_of(inputs[0]))
        sizes, kept = dict(bound.right), dict(bound.left)
        repeated = [name for name in sizes if name not in kept and sizes[name] > 1]
        if repeated:
            return Irreversible(f"the layout repeats the values along {' and '.join(repeated)}")
        groups = (self.right, self.left)
        if self.merges:  # the run is in parentheses, where a left side may not have it
            run = unused("run", dict.fromkeys((*sizes, *kept)))
            groups = (renamed(bound.groups, run), renamed(bound.left_groups, run))
            sizes, kept = (
                {name.replace(ELLIPSIS, run): size for name, size in each.items()} for each in (sizes, kept)
            )
        left, right = (
            tuple(tuple(name for name in group if name in kept or name == ELLIPSIS) for group in side)
            for side in groups
        )
        if (ELLIPSIS,) not in left:  # a dropped run of axes of size 1
            run_length = sum(name.startswith(ELLIPSIS) for name in kept)
            right = tuple(
                new for group in right for new in ([()] * run_length if group == (ELLIPSIS,) else [group])
            )
        grouped = {name: sizes[name] for group in left if len(group) > 1 for name in group}
        return Layout.parse(f"{pattern_side(left)} -> {pattern_side(right)}", grouped)

    def describe(self) -> str:
        return f"layout {self.pattern}"

    def variable_axes(self, shape: Sequence[int]) -> Axes:
        """The axes of a variable, named as on the left side as far as its rank fits; the others are numbered.

        Example:
            >>> Layout.parse("... (h w) o -> o ... h w", {"h": 2}).variable_axes((7, 5, 6, 3))
            (('0', 7), ('1', 5), ('(h w)', 6), ('o', 3))
        """
        return named_axes(self.left, shape)

    def parameter_axes(self, shape: Sequence[int]) -> Axes:
        """The same for the right side."""
        return named_axes(self.right, shape)

    def bind(self, shape: Sequence[int]) -> BoundLayout:
        """The layout for a tensor of this shape.

        Raises:
            LayoutError: The shape does not fit.
        """
        return _bind(self, tuple(shape))

    def source_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a TensorFlow variable that this layout turns into `shape`; a dropped ``...`` counts as empty.

        Raises:
            LayoutError: The shape does not fit the right side, or a size cannot be inferred.

        Example:
            >>> Layout.parse("h w i o -> o i t h w", {"t": 7}).source_shape((64, 3, 7, 5, 3))
            (5, 3, 3, 64)
        """
        return self.left_shape(self.right_sizes(shape, dict(self.sizes)))

    def right_sizes(self, shape: Sequence[int], known: Mapping[str, int]) -> dict[str, int]:
        """The size of every elementary axis of a result of this shape, given the `known` ones.

        Raises:
            LayoutError: The shape does not fit the right side, or a size cannot be inferred.
        """
        return _solve(self.right, tuple(shape), known, self.pattern, "right")

    def left_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of a variable whose elementary axes have these sizes; a dropped ``...`` counts as empty."""
        return grouped_shape(spelled(self.left, sizes), sizes)

    def __str__(self) -> str:
        return self.pattern


@dataclass(frozen=True)
class BoundLayout:
    """A layout with the size of every elementary axis.

    Attributes:
        layout: The layout that was bound.
        left: Name and size of each elementary axis, in the order of the left side.
        right: The same, in the order of the right side.
        groups: The right side's groups, with ``...`` expanded.
        left_groups: The left side's.
    """

    layout: Layout
    left: Axes
    right: Axes
    groups: Groups
    left_groups: Groups

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return grouped_shape(self.groups, dict(self.right))

    def split(self, array: np.ndarray) -> np.ndarray:
        """The array with one axis for each elementary axis of the left side."""
        return array.reshape(shape_of(self.left))

    def permute(self, array: np.ndarray) -> np.ndarray:
        """From the elementary axes of the left side to those of the right: a strided view.

        The sizes may differ from `left`, since slices may come in between.
        """
        names = [name for name, _ in self.left]
        kept = {name for name, _ in self.right}
        dropped = tuple(index for index, name in enumerate(names) if name not in kept)
        array = array.squeeze(dropped)
        names = [name for name in names if name in kept]
        order = [names.index(name) for name, _ in self.right if name in names]
        view = array.transpose(order)
        sizes = dict(self.right)
        for index, (name, _) in enumerate(self.right):
            if name in names:
                sizes[name] = view.shape[index]
            else:
                view = np.expand_dims(view, index)
        return np.broadcast_to(view, [sizes[name] for name, _ in self.right])

    def permuted_axes(self, axes: Axes) -> Axes:
        """The elementary axes of the right side if those of the left side have these sizes."""
        right = self.right
        for name, size in axes:
            right = resized(right, name, size)
        return right

    def permuted_back(self, spans: Mapping[str, slice]) -> dict[str, slice]:
        """Convert a box of the right side's elementary axes to one of the left side's."""
        return {name: spans.get(name, slice(0, 1)) for name, _ in self.left}


def check_groups(axes: Axes, axis: str, groups: int) -> None:
    """Check that an axis divides into equal groups.

    Raises:
        LayoutError: It does not divide evenly.
    """
    size = dict(axes)[axis]
    if size % groups:
        raise LayoutError(f"axis {axis} does not divide into {groups} groups", got=f"size {size}")


@lru_cache(maxsize=4096)
def _bind(layout: Layout, shape: tuple[int, ...]) -> BoundLayout:
    known = dict(layout.sizes)
    sizes = _solve(layout.left, shape, known, layout.pattern, "left")
    keeps_run = not {ELLIPSIS, MERGED}.isdisjoint(elementary(layout.right))
    if not keeps_run and any(size != 1 for name, size in sizes.items() if name.startswith(ELLIPSIS)):
        raise LayoutError(
            "the axes that ... drops must all have size 1", expected=layout.pattern, got=format_shape(shape)
        )
    left, right = spelled(layout.left, sizes), spelled(layout.right, sizes)
    sizes.update({name: known[name] for name in elementary(right) if name not in sizes})
    return BoundLayout(
        layout,
        tuple((name, sizes[name]) for name in elementary(left)),
        tuple((name, sizes[name]) for name in elementary(right)),
        right,
        left,
    )


def _solve(
    groups: Groups, shape: tuple[int, ...], known: Mapping[str, int], pattern: str, side: str
) -> dict[str, int]:
    """The size of every elementary axis of one side; the axes of ``...`` are called ``...0``, ``...1`` and so on."""
    fixed = sum(group != (ELLIPSIS,) for group in groups)
    run = len(shape) - fixed
    if run < 0 or (run > 0 and (ELLIPSIS,) not in groups):
        least = "at least " if (ELLIPSIS,) in groups else ""
        raise LayoutError(
            f"the {side} side of the layout does not have as many axes as the tensor",
            expected=f"{least}{fixed} axes, as in {pattern}",
            got=f"{len(shape)} axes: {format_shape(shape)}",
        )
    sizes: dict[str, int] = {}
    left = list(shape)
    for group in groups:
        if group == (ELLIPSIS,):
            sizes.update({f"{ELLIPSIS}{index}": left.pop(0) for index in range(run)})
            continue
        size = left.pop(0)
        # How many axes a run in parentheses had cannot be seen: it counts as one.
        group = tuple(f"{ELLIPSIS}0" if name == MERGED else name for name in group)
        open_axes = [axis for axis in group if axis not in known]
        product = math.prod(known[axis] for axis in group if axis in known)
        if len(open_axes) > 1:
            raise LayoutError(
                f"the sizes of {' and '.join(open_axes)} do not follow from their product {size}",
                expected=f"axes: {{{open_axes[0]}: …}}",
                got=pattern,
            )
        if (not open_axes and product != size) or (open_axes and (product == 0 or size % product)):
            name = " ".join(group) or "1"
            raise LayoutError(
                f"the axis ({name}) does not have the size that the layout gives it",
                expected=f"{'a multiple of ' if open_axes else ''}{product}, as in {pattern}",
                got=f"{size} in {format_shape(shape)}",
            )
        sizes.update({axis: known[axis] for axis in group if axis in known})
        if open_axes:
            sizes[open_axes[0]] = size // product
    return sizes
