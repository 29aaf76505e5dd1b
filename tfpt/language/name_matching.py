"""Splits a name into the fields of a template, in time that depends only on the name's length.

A template is literal text and fields. Where a name can be split in several ways, each field, from the left, takes the
first piece with which the rest still matches: a component as few characters as possible, a path as few components, a
number as many digits, a choice the first of its words.

A regular expression makes the same choice, but backtracks: six fields against a name of a few hundred characters would
take minutes. Here no field tries the same position twice: what failed there once fails again.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from tfpt.language.fields import MAX_DIGITS, Field

_DIGITS = re.compile("[0-9]*")
_COUNTER = re.compile(f"_[1-9][0-9]{{0,{MAX_DIGITS - 1}}}")


class Cutter:
    """Splits names into the pieces that the fields of one template match.

    Args:
        parts: Literal text and fields.
        separator: What separates the components of a name.

    Example:
        >>> Cutter(["net/", Field("x", "component"), "_", Field("i", "number"), "/w"], "/").cut("net/a_b_12/w")
        ['a_b', '12']
    """

    def __init__(self, parts: Sequence[str | Field], separator: str) -> None:
        self.separator = separator
        self.prefix = parts[0] if parts and isinstance(parts[0], str) else ""
        self.suffix = parts[-1] if len(parts) > 1 and isinstance(parts[-1], str) else ""
        self.fields = [part for part in parts if isinstance(part, Field)]
        self.has_paths = any(field.kind in ("path", "skip-path") for field in self.fields)
        # The text after each field but the last.
        self.between: list[str] = []
        text = ""
        for part in parts[bool(self.prefix) :]:
            if isinstance(part, Field):
                self.between.append(text)
            text = part if isinstance(part, str) else ""
        del self.between[:1]

    def cut(self, name: str) -> list[str] | None:
        """The pieces of `name`, one for each field; ``None`` if the template does not match."""
        if not self.fields:
            return [] if name == self.prefix else None
        begin, end = len(self.prefix), len(name) - len(self.suffix)
        if begin > end or not name.startswith(self.prefix) or not name.endswith(self.suffix):
            return None
        if len(self.fields) == 1:
            piece = name[begin:end]
            return [piece] if self.fits(self.fields[0], piece) else None
        return _Search(self, name, begin, end).run()

    def fits(self, field: Field, piece: str) -> bool:
        """Whether the field matches this piece."""
        if field.kind in ("component", "skip"):
            return bool(piece) and self.separator not in piece
        if field.kind in ("path", "skip-path"):
            return all(piece.split(self.separator))
        if piece in field.spelled:
            return True
        if not field.is_number or not field.digits:
            return False
        if field.counter:
            return not piece or _COUNTER.fullmatch(piece) is not None
        known = len(piece) == field.width if field.width else len(piece) <= MAX_DIGITS
        return known and piece.isascii() and piece.isdecimal()


class _Search:
    """The search in one name; remembers for each field what has been tried."""

    def __init__(self, cutter: Cutter, name: str, begin: int, end: int) -> None:
        self.fields = cutter.fields
        self.between = cutter.between
        self.separator = cutter.separator
        self.name = name
        self.begin = begin
        self.end = end
        # For each number or choice, the ends already tried.
        self.tried: list[set[int]] = [set() for _ in self.fields]
        # The ends of the components.
        self.borders = _borders(name, cutter.separator, begin, end)
        self.reach = _reach(self.borders) if cutter.has_paths else []
        # For each field and each component, or run of components: the first start tried there.
        self.seen: list[dict[int, int]] = [{} for _ in self.fields]

    def run(self) -> list[str] | None:
        starts, searches = [self.begin], [self.ends(0, self.begin)]
        while searches:
            index = len(searches) - 1
            end = next(searches[-1], None)
            if end is None:
                searches.pop()
                starts.pop()
            elif index == len(self.fields) - 1:
                followers = [start - len(text) for start, text in zip(starts[1:], self.between, strict=True)]
                return [self.name[start:stop] for start, stop in zip(starts, [*followers, end], strict=True)]
            else:
                starts.append(end + len(self.between[index]))
                searches.append(self.ends(index + 1, starts[-1]))
        return None

    def ends(self, index: int, start: int) -> Iterator[int]:
        """Where the piece of a field that begins at `start` may end, best first."""
        kind = self.fields[index].kind
        if kind in ("component", "skip"):
            return self.component_ends(index, start)
        if kind in ("path", "skip-path"):
            return self.path_ends(index, start)
        return self.bounded_ends(index, start)

    def component_ends(self, index: int, start: int) -> Iterator[int]:
        border = self.borders[bisect_left(self.borders, start)]
        seen, high = border in self.seen[index], self.seen[index].get(border, border)
        if seen and start >= high:
            return  # every end after this start was tried from an earlier one
        self.seen[index][border] = start
        if index == len(self.fields) - 1:
            if start < border == self.end:
                yield border
            return
        text = self.between[index]
        stop = min(high + len(text), self.end)
        at = self.name.find(text, start + 1, stop)
        while at >= 0:
            yield at
            at = self.name.find(text, at + 1, stop)

    def path_ends(self, index: int, start: int) -> Iterator[int]:
        borders, first = self.borders, bisect_left(self.borders, start)
        if borders[first] == start:
            return  # a component has at least one character
        run = self.reach[first]
        seen, high = run in self.seen[index], self.seen[index].get(run, self.end)
        if seen and start >= high:
            return
        self.seen[index][run] = start
        if index == len(self.fields) - 1:
            if borders[run] == self.end:
                yield self.end
            return
        text = self.between[index]
        components = range(first, (min(bisect_left(borders, high), run) if seen else run) + 1)
        for place in components:
            if borders[place] <= high and self.follows(text, borders[place]):
                yield borders[place]
        if text.startswith(self.separator):
            return  # a separator follows whole components only
        for place in reversed(components):
            low = start + 1 if place == first else borders[place - 1] + 2
            for end in range(min(borders[place] - 1, high), low - 1, -1):
                if self.follows(text, end):
                    yield end

    def bounded_ends(self, index: int, start: int) -> Iterator[int]:
        text = self.between[index] if index < len(self.between) else None
        tried = self.tried[index]
        for end in self.pieces(self.fields[index], start):
            if end not in tried:
                tried.add(end)
                if end == self.end if text is None else self.follows(text, end):
                    yield end

    def pieces(self, field: Field, start: int) -> Iterator[int]:
        """The ends of the words of a choice that start at `start`, then of the digits of a number."""
        for word in field.spelled:
            if self.name.startswith(word, start, self.end):
                yield start + len(word)
        if not field.is_number or not field.digits:
            return
        if field.counter:
            counter = _COUNTER.match(self.name, start, self.end)
            yield from range(counter.end(), start + 1, -1) if counter else ()
            yield start
            return
        most = start + (field.width or MAX_DIGITS)
        digits = _DIGITS.match(self.name, start, min(most, self.end))
        assert digits is not None
        least = most if field.width else start + 1
        yield from range(digits.end(), least - 1, -1)

    def follows(self, text: str, at: int) -> bool:
        return self.name.startswith(text, at, self.end)


def _borders(name: str, separator: str, begin: int, end: int) -> list[int]:
    """The ends of the components of `name` between `begin` and `end`."""
    borders = []
    at = name.find(separator, begin, end)
    while at >= 0:
        borders.append(at)
        at = name.find(separator, at + 1, end)
    return [*borders, end]


def _reach(borders: list[int]) -> list[int]:
    """For each component, the last one that a path through it can reach: an empty component ends all paths."""
    reach = list(range(len(borders)))
    for place in range(len(reach) - 2, -1, -1):
        if borders[place + 1] > borders[place] + 1:
            reach[place] = reach[place + 1]
    return reach
