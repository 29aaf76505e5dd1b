"""Elementary axes and the groups that a pattern makes of them: sizes, names and boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tfpt.operations.operation import ELLIPSIS, MERGED, Axes, Box, Shape

# The axes of one side of a layout, each a group of elementary axes. ``...`` outside parentheses is a group of its own.
Groups = tuple[tuple[str, ...], ...]


def grouped_shape(groups: Groups, sizes: Mapping[str, int]) -> Shape:
    """The shape in which each group of elementary axes is one axis."""
    return tuple(math.prod(sizes[axis] for axis in group) for group in groups)


def grouped_axes(groups: Groups, sizes: Mapping[str, int]) -> Axes:
    """The same, with the name of each group as its axis."""
    return tuple(zip(map(group_name, groups), grouped_shape(groups, sizes), strict=True))


def grouped_box(groups: Groups, sizes: Mapping[str, int], spans: Mapping[str, slice]) -> Box:
    """The smallest box of grouped axes that contains a box of elementary axes.

    Example:
        >>> grouped_box((("n", "o"),), {"n": 3, "o": 5}, {"n": slice(1, 3), "o": slice(2, 4)})
        (slice(7, 14, None),)
    """
    found = []
    for group in groups:
        start = last = 0
        for name in group:
            start = start * sizes[name] + spans[name].start
            last = last * sizes[name] + spans[name].stop - 1
        found.append(slice(start, last + 1))
    return tuple(found)


def ungrouped_box(groups: Groups, sizes: Mapping[str, int], box: Box) -> dict[str, slice]:
    """The smallest box of elementary axes that contains a box of grouped axes.

    Example:
        >>> ungrouped_box((("n", "o"),), {"n": 3, "o": 5}, (slice(7, 9),))
        {'n': slice(1, 2, None), 'o': slice(2, 4, None)}
    """
    spans = {}
    for group, span in zip(groups, box, strict=True):
        inner = math.prod(sizes[name] for name in group)
        start, last = span.start, span.stop - 1
        for name in group:
            inner //= sizes[name]
            first, start = divmod(start, inner)
            final, last = divmod(last, inner)
            spans[name] = slice(first, final + 1)
            if first < final:  # it crosses a boundary, so it covers all inner axes
                start, last = 0, inner - 1
    return spans


def group_name(group: Sequence[str]) -> str:
    """A group as a pattern writes it.

    Example:
        >>> group_name(("n", "o")), group_name(("i",)), group_name(())
        ('(n o)', 'i', '1')
    """
    names = [ELLIPSIS if name == MERGED else name for name in group]
    return names[0] if len(group) == 1 and MERGED not in group else f"({' '.join(names)})" if group else "1"


def spelled(groups: Groups, sizes: Mapping[str, int]) -> Groups:
    """The groups with ``...`` replaced by those of its axes that `sizes` has.

    Example:
        >>> spelled((("...",), ("o",)), {"...0": 3, "...1": 5, "o": 7})
        (('...0',), ('...1',), ('o',))
    """
    run = tuple(name for name in sizes if name.startswith(ELLIPSIS))
    found: list[tuple[str, ...]] = []
    for group in groups:
        if group == (ELLIPSIS,):
            found += [(name,) for name in run]
        else:
            found.append(tuple(one for name in group for one in (run if name == MERGED else (name,))))
    return tuple(found)


def axis_name(text: str) -> str:
    """The name of an axis as `group_name` spells it, however many spaces it was written with.

    Example:
        >>> axis_name("( g  i)"), axis_name("o")
        ('(g i)', 'o')
    """
    text = text.strip()
    if not (text.startswith("(") and text.endswith(")")):
        return text
    return f"({' '.join(text[1:-1].split())})"
