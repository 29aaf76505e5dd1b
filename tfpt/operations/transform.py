"""What a row does to values: join, slice, layout, reorder, apply, scale, add, pad, zero, split, cast, in that order.

A `Transform` composes the operations of a row. Bound to the shapes of its variables (`BoundTransform`) it knows the
shapes that it will write; only its `apply` reads values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tfpt.operations.add import Add
from tfpt.operations.bound_transform import BoundTransform, in_stages
from tfpt.operations.combine import Combine
from tfpt.operations.concat import Concat, Split
from tfpt.operations.fold import Fold
from tfpt.operations.function import Apply
from tfpt.operations.groups import grouped_axes
from tfpt.operations.layout import BoundLayout, Layout, LayoutError
from tfpt.operations.operation import ELLIPSIS, Axes, Operation, Shape, numbered, shape_of
from tfpt.operations.pad import Pad
from tfpt.operations.product import Product
from tfpt.operations.reorder import Reorder
from tfpt.operations.scale import Scale
from tfpt.operations.slice import Slice
from tfpt.operations.stack import Stack, Unstack
from tfpt.operations.zero import Zero
from tfpt.tensors import format_shape


@dataclass(frozen=True)
class Transform:
    """Everything that a row does to the values of its variables, apart from the cast, whose dtype the plan chooses.

    Attributes:
        layouts: The layout of each variable before they are joined or folded; empty if `layout` alone says it.
        layout: That of the joined variables.

    Example:
        >>> fused = Transform(join=Stack(), layout=Layout.parse("qkv i o -> (qkv o) i"))
        >>> fused.bind([(2, 3), (2, 3), (2, 3)]).shapes
        ((9, 2),)
    """

    layouts: tuple[Layout, ...] = ()
    join: Stack | Concat | Combine | Product | None = None
    slices: tuple[Slice, ...] = ()
    layout: Layout | None = None
    reorder: Reorder | None = None
    functions: Apply | None = None
    scale: Scale | None = None
    add: Add | None = None
    pad: Pad | None = None
    zero: Zero | None = None
    fold: Fold | None = None
    split: Split | Unstack | None = None

    @property
    def computes(self) -> bool:
        """Whether it computes new numbers, rather than moving those of the variables."""
        return (
            self.needs_real_numbers
            or self.scale is not None
            or self.add is not None
            or isinstance(self.join, Combine | Product)
        )

    @property
    def needs_real_numbers(self) -> bool:
        """Whether it computes something that it cannot compute of complex numbers."""
        return self.functions is not None or self.fold is not None

    @property
    def elementwise(self) -> tuple[Operation, ...]:
        """The operations between the layout and the split, which work on single axes of the layout."""
        named = (self.reorder, self.functions, self.scale, self.add, self.pad, self.zero)
        return tuple(operation for operation in named if operation is not None)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations on the joined variables, in order."""
        found = (self.join, *self.slices, self.layout, *self.elementwise, self.split)
        return tuple(operation for operation in found if operation is not None)

    @property
    def stated_layouts(self) -> tuple[Layout, ...]:
        """The layouts as the row states them, each once."""
        if self.layouts and not isinstance(self.join, Product):
            return tuple(dict.fromkeys(self.layouts))
        return () if self.layout is None else (self.layout,)

    def check(self) -> None:
        """Check every operation against the layout.

        Raises:
            MappingError: An operation does not fit it; reports the first.
        """
        for operation in self.operations:
            operation.check(self.layout)
        if self.fold is not None:
            self.fold.check(self.layouts[self.fold.kernel] if self.layouts else None)

    def for_outputs(self, shapes: Sequence[Shape]) -> Transform:
        """The transform that writes parameters of these shapes: `sizes: model` of a split is filled in.

        Example:
            >>> joint = Transform(layout=Layout.parse("x g -> g x"), split=Split(axis="x", sizes="model"))
            >>> joint.for_outputs([(8, 3), (8, 2)]).bind([(5, 8)], 2).shapes
            ((8, 3), (8, 2))
        """
        if not isinstance(self.split, Split) or self.split.sizes != "model" or self.layout is None:
            return self
        groups = list(self.layout.right)
        if (self.split.axis,) not in groups:
            return self
        place = groups.index((self.split.axis,))
        if (ELLIPSIS,) in groups[:place]:  # a run of axes before it: count from the end
            place -= len(groups)
        return replace(self, split=self.split.of_pieces(place, shapes))

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
        before = self.stated_layouts if self.layouts and not isinstance(self.join, Product) else ()
        # With layouts of their own, that of the joined variables moves nothing.
        found = [operation for operation in self.operations if not before or operation is not self.layout]
        last = () if self.fold is None else (self.fold,)
        return ", ".join(operation.describe() for operation in (*before, *found, *last)) or "copy"

    def _bind(self, shapes: Sequence[Shape], pieces: int) -> BoundTransform:
        laid = self._laid(shapes)
        if laid:
            shapes = [layout.shape for layout in laid]
        variables: tuple[Axes, ...] = ()
        joined = shapes[0]
        if self.fold is not None or isinstance(self.join, Product):
            variables = tuple(grouped_axes(layout.groups, dict(layout.right)) for layout in laid)
        elif self.join is not None:
            names = numbered if self.layout is None else self.layout.variable_axes
            variables = tuple(map(names, shapes))
        if self.join is not None:
            joined = shape_of(self.join.shape(variables)[0])
        if self.layout is None:
            return BoundTransform(self, laid, variables, joined, (), None, pieces)
        axes = self.layout.variable_axes(joined)
        cuts = [cut for cut in self.slices if cut.composed]
        if any(cut.axis not in dict(axes) for cut in cuts):
            self.layout.bind(joined)  # it has too few axes, which the error says
        composed, axes = in_stages(cuts, axes)
        return BoundTransform(
            self, laid, variables, joined, composed, self.layout.bind(shape_of(axes)), pieces
        )

    def _laid(self, shapes: Sequence[Shape]) -> tuple[BoundLayout, ...]:
        if self.layouts and len(self.layouts) != len(shapes):
            raise LayoutError(
                "the row needs one layout for each variable",
                expected=f"{len(self.layouts)} variables",
                got=str(len(shapes)),
            )
        return tuple(layout.bind(shape) for layout, shape in zip(self.layouts, shapes, strict=False))
