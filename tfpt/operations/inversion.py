"""Infers the shapes of a row's variables from those of its parameters, for sample checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.operations.concat import Concat, Split
from tfpt.operations.layout import Layout, LayoutError
from tfpt.operations.operation import Axes, Shape, numbered, shape_of
from tfpt.operations.slice import Slice
from tfpt.operations.stack import Stack, Unstack
from tfpt.operations.transform import Transform
from tfpt.tensors import format_shape


def source_shapes(transform: Transform, shapes: Sequence[Shape], count: int | None) -> list[Shape]:
    """Shapes of variables that a transform would write as parameters of `shapes`.

    If several fit, those that slices and pads change least are chosen.

    Args:
        transform: What the row does.
        shapes: The shapes of the parameters.
        count: How many variables it reads; None where it stacks as many as there are.

    Raises:
        LayoutError: A size does not follow from the row, such as those of axes that it merges; or no variable fits.

    Example:
        >>> row = Transform(layout=Layout.parse("v d -> d v"), slices=(Slice(axis="v", start=1, stop=-1),))
        >>> source_shapes(row, [(3, 5)], 1)
        [(7, 3)]
    """
    whole = _unsplit(transform, shapes)
    joined = whole if transform.layout is None else _before(transform, transform.layout, whole, count)
    if transform.join is None:
        return [joined]
    return list(map(shape_of, _unjoined(transform, joined, count)))


def _unsplit(transform: Transform, shapes: Sequence[Shape]) -> Shape:
    split = transform.split
    if split is None:
        return shapes[0]
    names = numbered if transform.layout is None else transform.layout.parameter_axes
    pieces = list(map(names, shapes))
    return shape_of(split.inverse(()).shape(pieces)[0])


def _unjoined(transform: Transform, joined: Shape, count: int | None) -> list[Axes]:
    if isinstance(transform.join, Stack):
        if not joined or (count is not None and joined[0] != count):
            raise LayoutError(
                "the number of stacked variables does not match the parameter",
                expected=f"{joined[0] if joined else 0}",
                got=f"{count}",
            )
        return Unstack().shape([numbered(joined)])
    assert isinstance(transform.join, Concat)
    assert transform.layout is not None
    assert count is not None
    axes, axis = transform.layout.variable_axes(joined), transform.join.axis
    size = dict(axes)[axis]
    if size < count:
        raise LayoutError(f"{count} variables cannot be joined into {format_shape(joined)}", got=str(size))
    # About equal: a mapping does not say how long the pieces of a real checkpoint are.
    least, longer = divmod(size, count)
    sizes = tuple(least + (index < longer) for index in range(count))
    return Split(axis=axis, sizes=sizes).shape([axes])


def _before(transform: Transform, layout: Layout, whole: Shape, count: int | None) -> Shape:
    """The shape of the joined variables before they are sliced."""
    known = dict(layout.sizes)
    if isinstance(transform.join, Stack) and count is not None and layout.left and len(layout.left[0]) == 1:
        known[layout.left[0][0]] = count
    after = layout.right_sizes(whole, {axis: _after(transform, axis, size) for axis, size in known.items()})
    return layout.left_shape(
        {axis: known.get(axis) or _size(transform, axis, size) for axis, size in after.items()}
    )


def _after(transform: Transform, axis: str, size: int) -> int:
    for cut in _slices(transform, axis):
        size = cut.length(size)
    return transform.pad.length(size) if transform.pad and transform.pad.axis == axis else size


def _size(transform: Transform, axis: str, after: int) -> int:
    """The size of an axis before slicing and padding: the smallest one that needs the least padding."""
    unpadded: Sequence[int] = (after,)
    if transform.pad and transform.pad.axis == axis:
        pad, groups = transform.pad, _groups(transform, axis)
        unpadded = [size for size in range(after, 0, -1) if pad.length(size) == after and size % groups == 0]
    for cut in _slices(transform, axis):
        # A slice of this length never needs a longer axis.
        longest = after * abs(cut.step or 1) + abs(cut.start or 0) + abs(cut.stop or 0) + abs(cut.step or 1)
        smallest: dict[int, int] = {}
        for size in range(longest + 1):
            smallest.setdefault(cut.length(size), size)
        unpadded = [smallest[size] for size in unpadded if size in smallest]
    if not unpadded:
        raise LayoutError(f"no size of axis {axis} yields the parameter's size", expected=str(after))
    return unpadded[0]


def _slices(transform: Transform, axis: str) -> list[Slice]:
    return [cut for cut in transform.slices if cut.axis == axis]


def _groups(transform: Transform, axis: str) -> int:
    """The number of equal groups into which the axis must divide."""
    reorder, add = transform.reorder, transform.add
    return max(
        1,
        len(reorder.order) if reorder and reorder.axis == axis else 1,
        len(add.numbers) if add and add.axis == axis else 1,
    )
