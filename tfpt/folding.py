"""Many names in few words, without loss: `layers.{0..9,40}.{weight,bias}`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tfpt.nearest import natural_key

# Numbers, words, and what separates them.
_PIECES = re.compile(r"[0-9]+|[^0-9/._]+|[/._]")
_SPECIAL = re.compile(r"[{},]|\.\.")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def fold(names: Iterable[str]) -> list[str]:
    """The names with equal parts written once, in the order of their first names.

    `{a,b}` stands for each of the alternatives, `{3..5}` for 3, 4 and 5; every combination is one of the names. Names
    that contain braces, commas or two dots stay as they are.

    Example:
        >>> fold([f"layers.{i}.{leaf}" for i in [*range(10), 40] for leaf in ("weight", "bias")])
        ['layers.{0..9,40}.{weight,bias}']
        >>> fold(["a.0.w", "a.1.w", "a.1.b"])
        ['a.{0,1}.w', 'a.1.b']
    """
    groups: dict[tuple[str, ...], dict[tuple[str, ...], None]] = {}
    for name in names:
        pieces = (name,) if _SPECIAL.search(name) else tuple(_PIECES.findall(name))
        skeleton = tuple(piece if piece in "/._" else "#" if piece.isdecimal() else "" for piece in pieces)
        groups.setdefault(skeleton if len(pieces) > 1 else (name,), {})[pieces] = None
    return [_written(row) for found in groups.values() for row in _folded(list(found))]


_Row = tuple[tuple[str, ...], ...]
"""The alternatives for each piece."""


def _folded(rows: Sequence[tuple[str, ...]]) -> list[_Row]:
    """Joins rows that differ in one piece alone, those that differ in numbers first."""
    found: list[_Row] = [tuple((piece,) for piece in row) for row in rows]
    places = range(len(rows[0]))
    changing = [place for place in places if len({row[place] for row in rows}) > 1]
    # Numbers first: layers usually have the same parts, more often than parts the same layers.
    for place in sorted(changing, key=lambda place: (not rows[0][place].isdecimal(), -place)):
        joined: dict[_Row, dict[str, None]] = {}
        for row in found:
            joined.setdefault((*row[:place], (), *row[place + 1 :]), {}).update(dict.fromkeys(row[place]))
        found = [(*key[:place], tuple(pieces), *key[place + 1 :]) for key, pieces in joined.items()]
    return found


def _written(row: _Row) -> str:
    return "".join(pieces[0] if len(pieces) == 1 else f"{{{_listed(pieces)}}}" for pieces in row)


def _listed(pieces: Sequence[str]) -> str:
    if not all(_NUMBER.fullmatch(piece) for piece in pieces):
        return ",".join(sorted(pieces, key=natural_key) if pieces[0].isdecimal() else pieces)
    numbers = sorted(map(int, pieces))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}..{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)
