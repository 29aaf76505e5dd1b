"""`product`: tensors multiplied, and summed over axes that the result does not have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from tfpt.errors import MappingError
from tfpt.operations.groups import Groups
from tfpt.operations.layout import Layout, LayoutError
from tfpt.operations.operation import ELLIPSIS, MERGED, Axes, Box, Irreversible, Operation


class Product(Operation):
    """A product of two or more tensors, whose axes have names: as einsum, over elementary axes.

    Attributes:
        factors: The names of the axes of each tensor.
        result: The names of the axes of the result. What only the factors have is summed over.
    """

    factors: tuple[tuple[str, ...], ...]
    result: tuple[str, ...]

    @staticmethod
    def parse(pattern: str, axes: Mapping[str, int] | None = None) -> ParsedProduct:
        """The product that `product: "h w i o, 1 o -> (i h w)"` means.

        Returns:
            The layouts of the variables, the product, and the layout of the result.

        Raises:
            MappingError: The pattern is invalid, or an axis of one variable is missing on the right side.

        Example:
            >>> layouts, product, layout = Product.parse("h w i o, 1 o -> (i h w)")
            >>> [layout.pattern for layout in layouts], product.result, layout.pattern
            (['h w i o -> h w i o', '1 o -> o'], ('i', 'h', 'w'), 'i h w -> (i h w)')
        """
        return _parse(pattern, tuple(sorted((axes or {}).items())))

    def shape(self, inputs: Sequence[Axes]) -> list[Axes]:
        if [tuple(name for name, _ in axes) for axes in inputs] != list(self.factors):
            raise LayoutError(
                "the variables do not have the axes of the product",
                expected=", ".join(map(" ".join, self.factors)),
            )
        sizes: dict[str, int] = {}
        for name, size in (pair for axes in inputs for pair in axes):
            if sizes.setdefault(name, size) != size:
                raise LayoutError(
                    f"the axis {name} does not have the same size in {'both' if len(inputs) == 2 else 'all'} variables",
                    expected=str(sizes[name]),
                    got=str(size),
                )
        return [tuple((name, sizes[name]) for name in self.result)]

    def box(self, wanted: Box, inputs: Sequence[Axes], output: int = 0) -> list[Box | None]:
        spans = dict(zip(self.result, wanted, strict=True))
        return [tuple(spans.get(name, slice(0, size)) for name, size in axes) for axes in inputs]

    def apply(self, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
        numbers = {name: index for index, name in enumerate(dict.fromkeys(sum(self.factors, ())))}
        subscripts = [[numbers[name] for name in names] for names in self.factors]
        operands = [part for pair in zip(arrays, subscripts, strict=True) for part in pair]
        return [np.einsum(*operands, [numbers[name] for name in self.result], optimize=True)]

    def inverse(self, inputs: Sequence[Axes], dtype: str | None = None) -> Irreversible:
        return Irreversible("the product does not determine its factors")

    def describe(self) -> str:
        return f"product {', '.join(map(' '.join, self.factors))} -> {' '.join(self.result)}"


ParsedProduct = tuple[tuple[Layout, ...], Product, Layout]


@lru_cache(maxsize=1024)
def _parse(pattern: str, axes: Axes) -> ParsedProduct:
    sides = [side.strip() for side in pattern.split("->")]
    factors = [factor.strip() for factor in sides[0].split(",")]
    if len(sides) != 2 or len(factors) < 2:
        raise MappingError(
            "a product has two or more variables and a result",
            expected="h w i o, 1 o -> (i h w)",
            got=pattern,
        )
    sizes = dict(axes)
    layouts = tuple(_flattened(factor, sizes) for factor in factors)
    names = tuple(tuple(_names(layout.right)) for layout in layouts)
    count = Counter(name for factor in names for name in set(factor))
    # Only the names are of interest here, so that every axis gets a size.
    right = _names(Layout.parse(f"-> {sides[1]}", _any_sizes(sides[1])).right)
    known = {*count, *right}
    if unknown := [axis for axis in sizes if axis not in known]:
        raise MappingError(f"axes: names {unknown[0]!r}, which the product does not have", got=pattern)
    alone = [name for factor in names for name in factor if count[name] == 1 and name not in right]
    if alone:
        raise MappingError(
            f"the axis {alone[0]!r} is in one of the variables only, so the product must have it",
            expected=f"{alone[0]} on the right side, or in several variables",
            got=pattern,
        )
    result = tuple(name for name in right if name in count)
    repeated = {name: size for name, size in sizes.items() if name in right and name not in result}
    layout = Layout.parse(f"{' '.join(result)} -> {sides[1]}", repeated)
    return layouts, Product(factors=names, result=result), layout


def _flattened(side: str, sizes: Mapping[str, int]) -> Layout:
    """The layout from a variable to its elementary axes."""
    names = [name for name in _names(Layout.parse(f"{side} -> {side}").right) if name != ELLIPSIS]
    known = {name: size for name, size in sizes.items() if name in names}
    return Layout.parse(f"{side} -> {' '.join(names)}", known)


def _any_sizes(side: str) -> dict[str, int]:
    names = side.replace("(", " ").replace(")", " ").split()
    return {name: 1 for name in names if name not in ("1", ELLIPSIS)}


def _names(groups: Groups) -> list[str]:
    return [name for group in groups for name in group if name != MERGED]
