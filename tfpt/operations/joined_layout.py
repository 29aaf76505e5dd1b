"""The layout of several variables that have layouts of their own and are joined afterwards."""

from __future__ import annotations

from functools import lru_cache

from tfpt.errors import MappingError
from tfpt.operations.groups import unused
from tfpt.operations.layout import Layout
from tfpt.operations.operation import ELLIPSIS, MERGED


@lru_cache(maxsize=1024)
def joined_layout(layouts: tuple[Layout, ...], *, stacked: bool) -> Layout:
    """The layout of the joined result: it names the axes and moves nothing.

    An axis is called by the first letter that a right side has there. Axes without a letter, such as ``(i m)`` or
    ``1`` in all of them, cannot be named in the mapping.

    Args:
        layouts: The layout of each variable.
        stacked: Whether the results are stacked along a new first axis.

    Raises:
        MappingError: They have different numbers of axes, or a letter at two places.

    Example:
        >>> layouts = (Layout.parse("o -> o 1 1 1"), Layout.parse("h w i o -> o i h w"))
        >>> joined_layout(layouts, stacked=False).pattern
        'o i h w -> o i h w'
    """
    for layout in layouts:
        if (ELLIPSIS,) in layout.right:
            raise MappingError(
                "in a list of layouts, the right sides cannot have ... outside parentheses",
                got=layout.pattern,
            )
    if len({len(layout.right) for layout in layouts}) > 1:
        raise MappingError(
            "the layouts of joined variables must have as many axes on their right sides",
            got=" and ".join(dict.fromkeys(layout.pattern for layout in layouts)),
        )
    places: dict[str, int] = {}
    for layout in layouts:
        for place, group in enumerate(layout.right):
            if len(group) == 1 and group[0] != MERGED and places.setdefault(group[0], place) != place:
                raise MappingError(
                    f"the axis {group[0]!r} is at different places of the right sides",
                    expected="the same letter at the same place in every layout of the list",
                    got=layout.pattern,
                )
    letters: dict[int, str] = {}
    for name, place in places.items():
        letters.setdefault(place, name)
    other = unused("axis", {name for layout in layouts for group in layout.right for name in group})
    names = [letters.get(place, f"{other}{place}") for place in range(len(layouts[0].right))]
    side = " ".join([*([f"{other}s"] if stacked else []), *names])
    return Layout.parse(f"{side} -> {side}")
