"""From the shapes of parameters back to those of variables that a row would read, for checkpoints that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from tfpt.operations.layout import ELLIPSIS, Layout, LayoutError
from tfpt.operations.transform import Shape, Transform
from tfpt.operations.values import Slice
from tfpt.tensors import format_shape


def source_shapes(transform: Transform, shapes: Sequence[Shape], count: int | None) -> list[Shape]:
    """Shapes of variables that a transform would write as parameters of `shapes`.

    Many may fit: of what a slice leaves out there is as little as can be, and nothing to be padded where that can be.

    Args:
        transform: What the row does.
        shapes: The parameters'.
        count: How many variables it reads; None where it stacks as many as there are.

    Raises:
        LayoutError: The row does not say enough, as the sizes of axes that it merges; or no variable would fit.

    Example:
        >>> row = Transform(layout=Layout.parse("v d -> d v"), slices=(Slice("v", 1, -1, None),))
        >>> source_shapes(row, [(3, 5)], 1)
        [(7, 3)]
    """
    whole = _unsplit(transform, shapes)
    joined = whole if transform.layout is None else _before(transform, transform.layout, whole, count)
    if transform.join is None:
        return [joined]
    if transform.join == "stack":
        if not joined or (count is not None and joined[0] != count):
            raise LayoutError(
                "the row does not stack as many variables as the parameter has room for",
                expected=f"{joined[0] if joined else 0}",
                got=f"{count}",
            )
        return [joined[1:]] * joined[0]
    assert count is not None
    return _shared_out(joined, transform.concat_axis(len(joined)), count)


def _unsplit(transform: Transform, shapes: Sequence[Shape]) -> Shape:
    first, split = shapes[0], transform.split
    if split is None:
        return first
    if split.axis is None:
        return (len(shapes), *first)
    assert transform.layout is not None
    right = transform.layout.right
    axis = right.index((split.axis,))
    if (ELLIPSIS,) in right[:axis]:
        axis = len(first) - (len(right) - axis)
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def _before(transform: Transform, layout: Layout, whole: Shape, count: int | None) -> Shape:
    """The shape of what the layout is of: the variables once they are joined, not sliced yet."""
    known = dict(layout.sizes)
    if transform.join == "stack" and count is not None and layout.left and len(layout.left[0]) == 1:
        known[layout.left[0][0]] = count
    after = layout.right_sizes(whole, {axis: _after(transform, axis, size) for axis, size in known.items()})
    return layout.left_shape(
        {axis: known.get(axis) or _size(transform, axis, size) for axis, size in after.items()}
    )


def _after(transform: Transform, axis: str, size: int) -> int:
    for cut in _slices(transform, axis):
        size = cut.of(size)
    return transform.pad.of(size) if transform.pad and transform.pad.axis == axis else size


def _size(transform: Transform, axis: str, after: int) -> int:
    """The size of an axis before it is sliced and padded; the smallest of those that need the least padding."""
    unpadded: Sequence[int] = (after,)
    if transform.pad and transform.pad.axis == axis:
        pad, groups = transform.pad, _groups(transform, axis)
        unpadded = [size for size in range(after, 0, -1) if pad.of(size) == after and size % groups == 0]
    for cut in _slices(transform, axis):
        # No slice that takes so much needs a longer axis.
        longest = after * abs(cut.step or 1) + abs(cut.start or 0) + abs(cut.stop or 0) + abs(cut.step or 1)
        of: dict[int, int] = {}
        for size in range(longest + 1):
            of.setdefault(cut.of(size), size)
        unpadded = [of[size] for size in unpadded if size in of]
    if not unpadded:
        raise LayoutError(f"no size of axis {axis} becomes the parameter's", expected=str(after))
    return unpadded[0]


def _slices(transform: Transform, axis: str) -> list[Slice]:
    return [cut for cut in transform.slices if cut.axis == axis]


def _groups(transform: Transform, axis: str) -> int:
    """Into how many equal groups the axis is cut."""
    reorder, add = transform.reorder, transform.add
    return max(
        chain(
            [1],
            [len(reorder.order)] if reorder and reorder.axis == axis else [],
            [len(add.values)] if add and add.axis == axis else [],
        )
    )


def _shared_out(joined: Shape, axis: int, count: int) -> list[Shape]:
    """Pieces of about one size: how long those of a real checkpoint are is not in a mapping."""
    if joined[axis] < count:
        raise LayoutError(
            f"{count} variables cannot be joined to {format_shape(joined)}", got=str(joined[axis])
        )
    least, longer = divmod(joined[axis], count)
    sizes = [least + (place < longer) for place in range(count)]
    return [(*joined[:axis], size, *joined[axis + 1 :]) for size in sizes]
