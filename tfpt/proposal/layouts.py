"""Which layouts take a variable of one shape to a parameter of another, the usual ones first."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

from tfpt.operations.layout import Layout, LayoutError
from tfpt.proposal.sides import Part, Shape

# Layouts of kernels, in the order in which they are preferred, with how usual they are.
_OF_KERNELS = (
    ("i o -> o i", 1.0),
    ("w i o -> o i w", 1.0),
    ("h w i o -> o i h w", 1.0),
    ("t h w i o -> o i t h w", 1.0),
    ("w i m -> (i m) 1 w", 0.95),
    ("h w i m -> (i m) 1 h w", 0.95),
    ("t h w i m -> (i m) 1 t h w", 0.95),
    ("i h d -> (h d) i", 0.9),
    ("h d o -> o (h d)", 0.9),
    ("... i o -> o i", 0.9),
    ("n d -> n d", 0.8),
    ("... i o -> i o", 0.8),
    ("w i o -> o i w 1", 0.8),
    ("w i o -> o i 1 w", 0.8),
    ("o h w i -> o i h w", 0.7),
    ("1 h w c -> c 1 h w", 0.7),
    ("i o -> o i 1", 0.7),
    ("i o -> o i 1 1", 0.7),
    ("i h d -> i (h d)", 0.6),
    ("h d o -> (h d) o", 0.6),
    ("i o -> i o", 0.5),
)
# Layouts of everything else: unchanged is the rule.
_OF_OTHERS = (
    ("c -> c", 1.0),
    ("n d -> n d", 1.0),
    ("a b c -> a b c", 1.0),
    ("a b c d -> a b c d", 1.0),
    ("... c -> c", 0.9),
    ("... n d -> n d", 0.8),
    ("h d -> (h d)", 0.8),
    ("i h d -> (h d) i", 0.7),
    ("h d o -> o (h d)", 0.7),
    ("i o -> o i", 0.6),
    ("w i o -> o i w", 0.6),
    ("h w i o -> o i h w", 0.6),
)
_UNUSUAL = 0.3
_LETTERS = "abcdefgh"
_MOST_AXES = 5
# A vector has one layout worth naming; which axis of the variable has size 1 matters little.
_VECTORS = ("shift", "scale", "bias", "mean", "variance")


@dataclass(frozen=True)
class Candidate:
    """A layout that fits the shapes.

    Attributes:
        pattern: As written in a mapping.
        usual: How usual it is for such a tensor, from 0 to 1.
    """

    pattern: str
    usual: float


@lru_cache(maxsize=100_000)
def candidates(variable: Shape, parameter: Shape, part: Part) -> tuple[Candidate, ...]:
    """The layouts from one shape to the other, the most usual first; empty if there is none.

    Args:
        variable: The shape of the variable.
        parameter: The shape of the parameter.
        part: What the variable is in its layer.

    Example:
        >>> [layout.pattern for layout in candidates((5, 7), (7, 5), "kernel")]
        ['i o -> o i']
        >>> [layout.pattern for layout in candidates((5, 5), (5, 5), "kernel")]
        ['i o -> o i', 'n d -> n d']
        >>> [layout.pattern for layout in candidates((3, 3, 7, 1), (7, 1, 3, 3), "kernel")]
        ['h w i m -> (i m) 1 h w']
        >>> candidates((5, 7), (7, 6), "kernel")
        ()
    """
    if math.prod(variable) != math.prod(parameter):
        return ()
    if not variable or not parameter:
        return (Candidate("", 1.0),) if variable == parameter else ()
    table: tuple[tuple[str, float], ...] = (
        _OF_KERNELS if part in ("kernel", "other") and len(variable) > 1 else _OF_OTHERS
    )
    if part == "other":
        table = tuple(sorted({*_OF_OTHERS, *_OF_KERNELS}, key=lambda entry: -_unchanged_first(entry)))
    found: dict[tuple[int, ...], Candidate] = {}
    for pattern, usual in table:
        moved = _moves(pattern, variable, parameter)
        if moved is not None and moved not in found:
            found[moved] = Candidate(pattern, usual)
    if not found:
        found = _others(variable, parameter)
    if part in _VECTORS:
        return tuple(found.values())[:1]
    return tuple(found.values())


def _unchanged_first(entry: tuple[str, float]) -> float:
    pattern, usual = entry
    left, _, right = pattern.partition(" -> ")
    return usual + (1 if left == right else 0)


@lru_cache(maxsize=10_000)
def _parsed(pattern: str) -> Layout:
    return Layout.parse(pattern)


def _moves(pattern: str, variable: Shape, parameter: Shape) -> tuple[int, ...] | None:
    """Which order of the variable's axes the pattern writes; None if it does not fit."""
    left, _, right = pattern.partition(" -> ")
    axes, ellipsis = left.split(), "..." in left
    if len(axes) - ellipsis > len(variable) or (not ellipsis and len(axes) != len(variable)):
        return None
    try:
        if _parsed(pattern).bind(variable).shape != parameter:
            return None
    except LayoutError:
        return None
    letters = [axis for axis in axes if axis != "..."]
    offset = len(variable) - len(letters)
    written = right.replace("(", " ").replace(")", " ").split()
    order = [offset + letters.index(axis) for axis in written if axis in letters]
    # Axes of size 1 can be anywhere.
    return tuple(axis for axis in order if variable[axis] > 1)


def _others(variable: Shape, parameter: Shape) -> dict[tuple[int, ...], Candidate]:
    """All orders of the axes whose neighbors can be merged to the parameter's axes; unchanged order first."""
    axes = [axis for axis, size in enumerate(variable) if size > 1]
    if len(axes) > _MOST_AXES or len(variable) > len(_LETTERS):
        return {}
    names = {axis: _LETTERS[axis] for axis in axes}
    left = " ".join(names.get(axis, "1") for axis in range(len(variable)))
    found: dict[tuple[int, ...], Candidate] = {}
    for order in itertools.permutations(axes):
        groups = _grouped(order, variable, parameter)
        if groups is not None:
            right = " ".join(
                "1"
                if not group
                else names[group[0]]
                if len(group) == 1
                else f"({' '.join(names[axis] for axis in group)})"
                for group in groups
            )
            found[order] = Candidate(f"{left} -> {right}", _UNUSUAL)
    return found


def _grouped(order: tuple[int, ...], variable: Shape, parameter: Shape) -> list[list[int]] | None:
    """The axes in this order, as many to each axis of the parameter as give its size."""
    groups: list[list[int]] = []
    rest = list(order)
    for size in parameter:
        group: list[int] = []
        product = 1
        while product < size and rest:
            group.append(rest.pop(0))
            product *= variable[group[-1]]
        if product != size:
            return None
        groups.append(group)
    return groups if not rest else None
