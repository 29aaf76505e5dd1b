"""Infers the shapes of a row's variables from those of its parameters, for sample checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from tfpt.operations.combine import Combine
from tfpt.operations.concat import Concat, Split
from tfpt.operations.fold import Fold
from tfpt.operations.layout import Layout, LayoutError
from tfpt.operations.operation import Shape, numbered, position, shape_of
from tfpt.operations.product import Product
from tfpt.operations.slice import Slice
from tfpt.operations.stack import Stack, Unstack
from tfpt.operations.transform import Transform
from tfpt.tensors import format_shape


def source_shapes(
    transform: Transform,
    shapes: Sequence[Shape],
    count: int | None,
    known: Sequence[Shape | None] | None = None,
) -> list[Shape]:
    """Shapes of variables that a transform would write as parameters of `shapes`.

    If several fit, those that slices and pads change least are chosen.

    Args:
        transform: What the row does.
        shapes: The shapes of the parameters.
        count: How many variables it reads; None where it stacks as many as there are.
        known: For a product: the shapes of those of its variables that other rows determine. An axis that it only sums
            over, and that none of them has, then gets the size 1. Without it, such an axis is an error.

    Raises:
        LayoutError: A size does not follow from the row, such as those of axes that it merges; or no variable fits.

    Example:
        >>> row = Transform(layout=Layout.parse("v d -> d v"), slices=(Slice(axis="v", start=1, stop=-1),))
        >>> source_shapes(row, [(3, 5)], 1)
        [(7, 3)]
    """
    if transform.fold is not None:
        return _unfolded(transform, transform.fold, shapes)
    if isinstance(transform.join, Product) and known is not None:
        return _free_factors(transform, transform.join, shapes, known)
    whole = _unsplit(transform, shapes)
    joined = whole if transform.layout is None else _before(transform, transform.layout, whole, count)
    if isinstance(transform.join, Product):
        return _factors(transform, transform.join, joined)
    variables = [joined] if transform.join is None else _unjoined(transform, transform.join, joined, count)
    if not transform.layouts:
        return variables
    return [layout.source_shape(shape) for layout, shape in zip(transform.layouts, variables, strict=True)]


def _unfolded(transform: Transform, fold: Fold, shapes: Sequence[Shape]) -> list[Shape]:
    kernel = transform.layouts[fold.kernel].parameter_axes(shapes[0])
    if fold.axis not in dict(kernel):
        raise LayoutError(f"the weight has no axis {fold.axis}", got=format_shape(shapes[0]))
    channels = (dict(kernel)[fold.axis],)
    return [
        layout.source_shape(shapes[0] if part == "kernel" else channels)
        for layout, part in zip(transform.layouts, fold.batch_norm, strict=True)
    ]


def _factors(transform: Transform, product: Product, result: Shape) -> list[Shape]:
    known = dict(zip(product.result, result, strict=True))
    found = []
    for layout, names in zip(transform.layouts, product.factors, strict=True):
        sizes = {**dict(layout.sizes), **known}
        missing = [name for name in names if name not in sizes]
        if missing:
            raise LayoutError(
                f"the product does not have the axis {missing[0]}", expected=f"axes: {{{missing[0]}: …}}"
            )
        found.append(layout.left_shape(sizes))
    return found


def _free_factors(
    transform: Transform, product: Product, shapes: Sequence[Shape], known: Sequence[Shape | None]
) -> list[Shape]:
    """The shapes of the factors, some of which are known."""
    sizes: dict[str, int] = {}
    for layout, names, shape in zip(transform.layouts, product.factors, known, strict=True):
        stated = dict(layout.sizes)
        sizes.update({name: stated[name] for name in names if name in stated})
        if shape is not None:
            sizes.update(zip(names, layout.bind(shape).shape, strict=True))
    if not set(product.result) <= sizes.keys():
        whole = _unsplit(transform, shapes)
        joined = whole if transform.layout is None else _before(transform, transform.layout, whole, None)
        sizes.update(zip(product.result, joined, strict=True))
    free = {name: 1 for names in product.factors for name in names}
    return [layout.left_shape({**free, **dict(layout.sizes), **sizes}) for layout in transform.layouts]


def _unsplit(transform: Transform, shapes: Sequence[Shape]) -> Shape:
    split = transform.split
    if split is None:
        return shapes[0]
    names = numbered if transform.layout is None else transform.layout.parameter_axes
    pieces = list(map(names, shapes))
    return shape_of(split.inverse(()).shape(pieces)[0])


def _unjoined(
    transform: Transform, join: Stack | Concat | Combine, joined: Shape, count: int | None
) -> list[Shape]:
    if isinstance(join, Combine):
        return [joined] * len(join.numbers)
    if isinstance(join, Stack):
        if not joined or (count is not None and joined[0] != count):
            raise LayoutError(
                "the number of stacked variables does not match the parameter",
                expected=f"{joined[0] if joined else 0}",
                got=f"{count}",
            )
        return list(map(shape_of, Unstack().shape([numbered(joined)])))
    assert transform.layout is not None
    assert count is not None
    axes, axis = transform.layout.variable_axes(joined), join.axis
    fixed = [_fixed_size(layout, position(axes, axis)) for layout in transform.layouts] or [None] * count
    rest, open_ones = dict(axes)[axis] - sum(size or 0 for size in fixed), fixed.count(None)
    if rest < open_ones or (rest and not open_ones):
        raise LayoutError(
            f"{count} variables cannot be joined into {format_shape(joined)}", got=str(dict(axes)[axis])
        )
    # About equal: a mapping does not say how long the pieces of a real checkpoint are.
    least, longer = divmod(rest, open_ones or 1)
    equal = iter(least + (index < longer) for index in range(open_ones))
    sizes = tuple(next(equal) if size is None else size for size in fixed)
    return list(map(shape_of, Split(axis=axis, sizes=sizes).shape([axes])))


def _fixed_size(layout: Layout, place: int) -> int | None:
    """The size of an axis of the right side, if the row states it."""
    sizes, group = dict(layout.sizes), layout.right[place]
    return math.prod(sizes[name] for name in group) if all(name in sizes for name in group) else None


def _before(transform: Transform, layout: Layout, whole: Shape, count: int | None) -> Shape:
    """The shape of the joined variables before they are sliced."""
    known = dict(layout.sizes)
    if isinstance(transform.join, Stack) and count is not None and layout.left and len(layout.left[0]) == 1:
        known[layout.left[0][0]] = count
    after = layout.right_sizes(whole, {axis: _after(transform, axis, size) for axis, size in known.items()})
    left = layout.left_shape(
        {axis: known.get(axis) or _size(transform, axis, size) for axis, size in after.items()}
    )
    return tuple(
        _size(transform, axis, size) if axis.startswith("(") else size
        for axis, size in layout.variable_axes(left)
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
    sizes = _uncut(transform, axis, unpadded)
    if not sizes:
        raise LayoutError(f"no size of axis {axis} yields the parameter's size", expected=str(after))
    return sizes[0]


def _uncut(transform: Transform, axis: str, after: Sequence[int]) -> list[int]:
    """The smallest sizes of an axis that its slices cut to these sizes, as far as there are any."""
    sizes = list(after)
    for cut in _slices(transform, axis):
        sizes = [size for size in (_smallest(cut, length) for length in sizes) if size is not None]
    return sizes


def _smallest(cut: Slice, length: int) -> int | None:
    """The smallest size of an axis of which a slice takes this length."""
    start, stop, step = cut.start or 0, cut.stop or 0, abs(cut.step or 1)
    if (cut.step or 1) == 1 and start >= 0 and length:
        candidates: Iterable[int] = (start + length - min(stop, 0),)
    else:  # a slice of this length never needs a longer axis
        candidates = range(length * step + abs(start) + abs(stop) + step + 1)
    return next((size for size in candidates if cut.length(size) == length), None)


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
