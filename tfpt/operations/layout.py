"""Layouts: an einops pattern from TensorFlow's axes to PyTorch's, bound to a shape without touching values.

A pattern is parsed once (`Layout`), then bound to the shape of one tensor (`BoundLayout`), which knows the size of
every axis and gives the result as a strided view: no value moves until somebody copies that view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from einops import EinopsError
from einops.parsing import ParsedExpression

from tfpt.errors import MappingError, TfptError
from tfpt.tensors import format_shape

ELLIPSIS = "..."

Groups = tuple[tuple[str, ...], ...]


class LayoutError(TfptError):
    """A tensor whose shape does not fit its layout."""


@dataclass(frozen=True)
class Layout:
    """A parsed pattern.

    Attributes:
        pattern: The text, for reports.
        sizes: The sizes given by `axes:`, as pairs.
        left, right: The axes of either side, each a group of elementary axes; a size-1 axis is an empty group.

    Example:
        >>> layout = Layout.parse("t h w i o -> o i t h w")
        >>> layout.bind((7, 5, 3, 2, 11)).shape
        (11, 2, 7, 5, 3)
    """

    pattern: str
    sizes: tuple[tuple[str, int], ...]
    left: Groups
    right: Groups

    @classmethod
    def parse(cls, pattern: str, axes: Mapping[str, int] | None = None) -> Layout:
        """Read a pattern; `axes` gives sizes that it cannot infer.

        Raises:
            MappingError: It is not a pattern, or an axis stands on one side only and has no size.
        """
        sides = pattern.split("->")
        if len(sides) != 2:
            raise MappingError("a layout has two sides", expected="i o -> o i", got=pattern)
        left, right = (_parse_side(side, pattern) for side in sides)
        layout = cls(pattern, tuple(sorted((axes or {}).items())), left, right)
        layout._check(dict(axes or {}))
        return layout

    def _check(self, axes: Mapping[str, int]) -> None:
        left, right = _names(self.left), _names(self.right)
        unknown = [name for name in right if name not in left and name not in axes]
        if ELLIPSIS in unknown:
            raise MappingError("the right side has ... and the left side has not", got=self.pattern)
        if unknown:
            raise MappingError(
                f"the axis {unknown[0]!r} stands only on the right and has no size",
                expected=f"one of {', '.join(left)}, or axes: {{{unknown[0]}: …}}",
                got=self.pattern,
            )
        lost = [name for name in left if name not in right and name != ELLIPSIS]
        if lost:
            raise MappingError(
                f"the axis {lost[0]!r} stands only on the left, so its values would be lost",
                expected="every axis of the left side on the right (write 1 for an axis of size one)",
                got=self.pattern,
            )
        strange = [name for name in axes if name not in left and name not in right]
        if strange:
            raise MappingError(
                f"axes: names {strange[0]!r}, which the layout does not have",
                expected=f"one of {', '.join(dict.fromkeys((*left, *right)))}",
                got=self.pattern,
            )

    def bind(self, shape: Sequence[int]) -> BoundLayout:
        """The layout for a tensor of this shape.

        Raises:
            LayoutError: The shape does not fit.
        """
        return _bind(self, tuple(shape))

    def source_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a TensorFlow variable that this layout turns into `shape`; a dropped ``...`` is taken as empty.

        Raises:
            LayoutError: The shape does not fit the right side, or leaves a size open.

        Example:
            >>> Layout.parse("h w i o -> o i t h w", {"t": 7}).source_shape((64, 3, 7, 5, 3))
            (5, 3, 3, 64)
        """
        return self.left_shape(self.right_sizes(shape, dict(self.sizes)))

    def right_sizes(self, shape: Sequence[int], known: Mapping[str, int]) -> dict[str, int]:
        """The size of every elementary axis of a result of this shape, some of them being `known`.

        Raises:
            LayoutError: The shape does not fit the right side, or leaves a size open.
        """
        return _solve(self.right, tuple(shape), known, self.pattern, "right")

    def left_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of a variable whose elementary axes have these sizes; a dropped ``...`` is taken as empty."""
        return grouped_shape(_spell(self.left, sizes), sizes)

    def __str__(self) -> str:
        return self.pattern


@dataclass(frozen=True)
class BoundLayout:
    """A layout with the size of every elementary axis known.

    Attributes:
        layout: What was bound.
        left: Name and size of each elementary axis, in the order of the left side.
        right: The same, in the order of the right side.
        groups: The right side's groups, with ``...`` spelled out.
        left_groups: The left side's.
    """

    layout: Layout
    left: tuple[tuple[str, int], ...]
    right: tuple[tuple[str, int], ...]
    groups: Groups
    left_groups: Groups

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return grouped_shape(self.groups, dict(self.right))

    def split(self, array: np.ndarray) -> np.ndarray:
        """The array with one dimension for each elementary axis of the left side."""
        return array.reshape([size for _, size in self.left])

    def permute(self, array: np.ndarray) -> np.ndarray:
        """From the elementary axes of the left side to those of the right: a strided view.

        The sizes may differ from `left`, since a slice may have been taken in between.
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


def grouped_shape(groups: Groups, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The shape in which each group of elementary axes is one axis."""
    return tuple(math.prod(sizes[axis] for axis in group) for group in groups)


def _parse_side(side: str, pattern: str) -> Groups:
    try:
        parsed = ParsedExpression(side.strip())
    except EinopsError as error:
        raise MappingError(f"the layout cannot be read: {error}", got=pattern) from error
    if parsed.has_non_unitary_anonymous_axes:
        raise MappingError(
            "a size in a layout needs a name", expected="a letter, with its size in axes:", got=pattern
        )
    if parsed.has_ellipsis_parenthesized:
        raise MappingError("... may not stand in parentheses", got=pattern)
    # einops gives the ellipsis as a bare "…", groups as lists.
    return tuple((ELLIPSIS,) if isinstance(group, str) else tuple(group) for group in parsed.composition)


def _names(groups: Groups) -> list[str]:
    return [name for group in groups for name in group]


@lru_cache(maxsize=4096)
def _bind(layout: Layout, shape: tuple[int, ...]) -> BoundLayout:
    known = dict(layout.sizes)
    sizes = _solve(layout.left, shape, known, layout.pattern, "left")
    keeps_run = (ELLIPSIS,) in layout.right
    if not keeps_run and any(size != 1 for name, size in sizes.items() if name.startswith(ELLIPSIS)):
        raise LayoutError(
            "the axes that ... drops must all have size 1", expected=layout.pattern, got=format_shape(shape)
        )
    left, right = _spell(layout.left, sizes), _spell(layout.right, sizes)
    sizes.update({name: known[name] for name in _names(right) if name not in sizes})
    return BoundLayout(
        layout,
        tuple((name, sizes[name]) for name in _names(left)),
        tuple((name, sizes[name]) for name in _names(right)),
        right,
        left,
    )


def _spell(groups: Groups, sizes: Mapping[str, int]) -> Groups:
    """The groups with ``...`` replaced by the axes of that run that `sizes` has."""
    run = [(name,) for name in sizes if name.startswith(ELLIPSIS)]
    return tuple(spelled for group in groups for spelled in (run if group == (ELLIPSIS,) else [group]))


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
        open_axes = [axis for axis in group if axis not in known]
        product = math.prod(known[axis] for axis in group if axis in known)
        if len(open_axes) > 1:
            raise LayoutError(
                f"the sizes of {' and '.join(open_axes)} cannot be told from their product {size}",
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
