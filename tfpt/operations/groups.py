"""Elementary axes and the groups that a pattern makes of them: parsing, sizes, names and boxes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from einops import EinopsError
from einops.parsing import ParsedExpression

from tfpt.errors import MappingError
from tfpt.operations.operation import ELLIPSIS, MERGED, Axes, Box, Shape, numbered

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


def named_axes(groups: Groups, shape: Sequence[int]) -> Axes:
    """The axes of a tensor, named as its groups as far as its rank fits; the others are numbered."""
    run = groups.index((ELLIPSIS,)) if (ELLIPSIS,) in groups else len(groups)
    axes = list(numbered(shape))
    for index, group in enumerate(groups):
        axis = index if index < run else len(shape) - len(groups) + index
        if index != run and 0 <= axis < len(shape):
            axes[axis] = (group_name(group), shape[axis])
    return tuple(axes)


def pattern_side(groups: Groups) -> str:
    """The groups as a pattern writes them."""
    return " ".join(map(group_name, groups))


def unused(name: str, names: Iterable[str]) -> str:
    """A beginning that none of the names has."""
    while any(other.startswith(name) for other in names):
        name += "x"
    return name


def renamed(groups: Groups, run: str) -> Groups:
    """The groups, with names for the axes of ``...`` that a pattern can spell."""
    return tuple(tuple(name.replace(ELLIPSIS, run) for name in group) for group in groups)


def parse_side(side: str, pattern: str, *, merges: bool = False) -> Groups:
    """The groups of one side of a pattern.

    Args:
        side: The side.
        pattern: The whole pattern, for errors.
        merges: Whether ``...`` may be in parentheses.

    Raises:
        MappingError: It is invalid.
    """
    try:
        parsed = ParsedExpression(side.strip())
    except EinopsError as error:
        raise MappingError(f"cannot parse the layout: {error}", got=pattern) from error
    if parsed.has_non_unitary_anonymous_axes:
        raise MappingError(
            "a size in a layout needs a name", expected="a letter, with its size in axes:", got=pattern
        )
    if parsed.has_ellipsis_parenthesized and not merges:
        raise MappingError(
            "... is not allowed in parentheses on the left side", expected="letters there", got=pattern
        )
    # einops returns the ellipsis as a bare "…" if it is not in parentheses, groups as lists.
    return tuple(
        (ELLIPSIS,) if isinstance(group, str) else tuple(MERGED if name == "…" else name for name in group)
        for group in parsed.composition
    )


def elementary(groups: Groups) -> list[str]:
    """The names in the groups, one after the other."""
    return [name for group in groups for name in group]
