"""Axes of a tensor that shapes cannot distinguish: exchanging them leaves the shapes on both sides unchanged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

from tfpt.operations.bound_transform import BoundTransform
from tfpt.operations.groups import Groups
from tfpt.operations.operation import ELLIPSIS

# Axes of equal size: their letters in the layout, or their numbers where a row has no layout.
Alike = tuple[str, ...]


@lru_cache(maxsize=4096)  # thousands of tensors have a few shapes
def exchangeable(bound: BoundTransform) -> tuple[Alike, ...]:
    """The sets of axes that could have been exchanged without changing a shape.

    Axes of equal size, and axes that are composed of several, such as ``(h d)``, with an equal product. Axes of size 1
    do not count, nor those along which values are repeated.

    Example:
        >>> from tfpt.operations.layout import Layout
        >>> from tfpt.operations.transform import Transform
        >>> exchangeable(Transform(layout=Layout.parse("h w i o -> o i h w")).bind([(3, 3, 5, 7)]))
        (('h', 'w'),)
        >>> exchangeable(Transform(layout=Layout.parse("h d o -> (h d) o")).bind([(3, 2, 6)]))
        (('(h d)', 'o'),)
        >>> exchangeable(Transform().bind([(7, 7)]))
        (('0', '1'),)
    """
    found: list[Alike] = []
    if bound.laid:  # each variable has a layout of its own
        for layout in bound.laid:
            right = dict(layout.right)
            found += _of_layout(dict(layout.left), layout.left_groups, right, layout.groups)
    elif bound.layout is None:
        found = _classes({str(axis): size for axis, size in enumerate(bound.joined)})
    else:
        layout = bound.layout
        found = _of_layout(dict(layout.left), layout.left_groups, bound.sizes, layout.groups)
    distinct: dict[frozenset[str], Alike] = {}
    for names in found:
        distinct.setdefault(frozenset(names), names)
    return tuple(names for key, names in distinct.items() if not any(key < other for other in distinct))


def _of_layout(
    before: Mapping[str, int], left: Groups, after: Mapping[str, int], right: Groups
) -> list[Alike]:
    """Axes of equal size before and after a layout, and composed axes of either side."""
    kept = [name for name in before if name in after]
    return [
        *_classes({_spelled(name): before[name] for name in kept}),
        *_classes({_spelled(name): after[name] for name in kept}),
        *_classes(_composed(left, before, kept)),
        *_classes(_composed(right, after, kept)),
    ]


def _classes(sizes: Mapping[str, int]) -> list[Alike]:
    by_size: dict[int, list[str]] = {}
    for name, size in sizes.items():
        if size > 1:
            by_size.setdefault(size, []).append(name)
    return [tuple(names) for names in by_size.values() if len(names) > 1]


def _composed(groups: Groups, sizes: Mapping[str, int], kept: Iterable[str]) -> dict[str, int]:
    """Each axis of one side with its size, without axes that have no values of the variable."""
    found = {}
    for group in groups:
        names = [name for name in group if sizes[name] > 1]
        if set(names) & set(kept):
            text = " ".join(map(_spelled, names))
            found[text if len(names) == 1 else f"({text})"] = math.prod(sizes[name] for name in names)
    return found


def _spelled(name: str) -> str:
    return f"{ELLIPSIS}[{name.removeprefix(ELLIPSIS)}]" if name.startswith(ELLIPSIS) else name
