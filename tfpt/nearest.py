"""Comparing names: those closest to one that was not found, by edit distance over path components; natural order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_COMPONENTS = re.compile(r"[/.]")
_DIGITS = re.compile(r"([0-9]+)")

# The number of candidates compared by components, after all have been ranked by comparing whole names.
_CLOSE_LOOK = 24
# Names come from files: in longer ones, or ones with more components, only the start and the end are compared.
_LENGTH = 256
_DEPTH = 32
# Only this many names are considered, which takes about a tenth of a second.
_CANDIDATES = 200_000


class Names:
    """Names to search for similar ones, prepared once for many searches.

    Example:
        >>> Names(["layer_1/kernel", "layer_1/bias", "global_step"]).nearest("layer1/kernel", count=1)
        ['layer_1/kernel']
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)[:_CANDIDATES]
        self._texts = [_shortened(name).replace(".", "/") for name in self.names]

    def nearest(self, name: str, count: int = 3) -> list[str]:
        """Up to `count` names, closest first, without those that have little in common."""
        limit = max(len(_split(name)), 1) * 0.6
        ranked = sorted((distance(name, other), other) for other in self._close(name))
        return [other for apart, other in ranked if apart <= limit][:count]

    def _close(self, name: str) -> list[str]:
        if len(self.names) <= _CLOSE_LOOK:
            return self.names
        # Imported here: most runs never search.
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        text = _shortened(name).replace(".", "/")
        found = process.extract(
            text, self._texts, scorer=Indel.normalized_similarity, limit=_CLOSE_LOOK, processor=None
        )
        return [self.names[index] for _, _, index in found]


def nearest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` candidates, closest first, without those that have little in common.

    Example:
        >>> nearest("Conv3d_1a/conv_3d/w", ["Conv3d_1b/conv_3d/w", "Logits/conv_3d/b", "global_step"], count=1)
        ['Conv3d_1b/conv_3d/w']
    """
    return Names(candidates).nearest(name, count)


def distance(first: str, second: str) -> float:
    """The edit distance of two paths: 1 for each component added or removed, up to 1 for each that differs.

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


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A sort key that compares the numbers in names by value: ``layer_9`` before ``layer_10``.

    Numbers of any length are compared without being parsed. Names that differ only in leading zeros keep a fixed order.

    Example:
        >>> sorted(["vars", "10", "9", "layer_10", "layer_9", "f02", "f2"], key=natural_key)
        ['9', '10', 'f02', 'f2', 'layer_9', 'layer_10', 'vars']
    """
    pieces = [piece for piece in _DIGITS.split(name) if piece]
    numbers = [piece.lstrip("0") if piece[0] in "0123456789" else None for piece in pieces]
    return [
        *(
            (1, 0, piece) if number is None else (0, len(number), number)
            for piece, number in zip(pieces, numbers, strict=True)
        ),
        (-1, 0, name),
    ]


@lru_cache(maxsize=1 << 16)
def _difference(first: str, second: str) -> float:
    if first == second:
        return 0.0
    from rapidfuzz.distance import Indel

    return float(Indel.normalized_distance(first, second))


def _split(name: str) -> list[str]:
    components = _COMPONENTS.split(_shortened(name))
    return components if len(components) <= _DEPTH else components[: _DEPTH // 2] + components[-_DEPTH // 2 :]


def _shortened(name: str) -> str:
    return name if len(name) <= _LENGTH else name[: _LENGTH // 2] + name[-_LENGTH // 2 :]
