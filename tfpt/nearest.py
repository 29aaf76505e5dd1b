"""The names closest to one that was not found: edit distance over path components."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache

_COMPONENTS = re.compile(r"[/.]")

# How many candidates are compared closely, after a cheap count of shared components has ranked them all.
_CLOSE_LOOK = 24


def nearest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` candidates, closest first; candidates with next to nothing in common are left out.

    Example:
        >>> nearest("Conv3d_1a/conv_3d/w", ["Conv3d_1b/conv_3d/w", "Logits/conv_3d/b", "global_step"], count=1)
        ['Conv3d_1b/conv_3d/w']
    """
    components = _split(name)
    wanted = frozenset(components)

    def shared(candidate: str) -> tuple[int, int]:
        other = _split(candidate)
        return len(wanted.intersection(other)), -abs(len(other) - len(components))

    names = list(candidates)
    close = sorted(names, key=shared, reverse=True)[:_CLOSE_LOOK] if len(names) > _CLOSE_LOOK else names
    ranked = sorted((distance(name, candidate), candidate) for candidate in close)
    limit = max(len(components), 1) * 0.6
    return [candidate for apart, candidate in ranked if apart <= limit][:count]


def distance(first: str, second: str) -> float:
    """Edits that turn one path into the other: 1 for a component added or removed, up to 1 for one that differs.

    Example:
        >>> distance("a/b/c", "a/c"), distance("a/b", "a/b")
        (1.0, 0.0)
    """
    left, right = _split(first), _split(second)
    row = [float(index) for index in range(len(right) + 1)]
    for index, component in enumerate(left, 1):
        previous, row = row, [float(index)]
        for column, other in enumerate(right, 1):
            row.append(
                min(
                    previous[column] + 1,
                    row[column - 1] + 1,
                    previous[column - 1] + _difference(component, other),
                )
            )
    return row[-1]


@lru_cache(maxsize=1 << 16)
def _difference(first: str, second: str) -> float:
    return (
        0.0 if first == second else 1.0 - difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()
    )


@lru_cache(maxsize=1 << 16)
def _split(name: str) -> tuple[str, ...]:
    return tuple(_COMPONENTS.split(name))
