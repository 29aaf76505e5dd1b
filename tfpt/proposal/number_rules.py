"""Rules that connect the numbers in names of the two sides: linear functions, stages and places in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from tfpt.proposal.names import Name, Word

FIELDS = ("i", "j", "k", "l", "m")
_MOST_WORDS = 12
# Rules other than adding a number need at least this many examples.
_LEAST_POINTS = 3


def skeleton(name: Name) -> tuple[str, ...]:
    """The text of a name between its numbers."""
    pieces, start = [], 0
    for word in numbers_in(name):
        pieces.append(name.text[start : word.start])
        start = word.end
    return (*pieces, name.text[start:])


def numbers_in(name: Name) -> list[Word]:
    return [word for part in name.parts for word in part if word.number is not None]


def is_letter(name: Name, word: Word) -> bool:
    return name.text[word.start : word.end].isalpha()


@dataclass(frozen=True)
class Column:
    """A number of a name that differs between the items.

    Attributes:
        values: One for each item.
        texts: As they are written.
    """

    values: tuple[int, ...]
    texts: tuple[str, ...]

    def spelled(self, expression: str, *, plain: bool, listed: bool) -> str | None:
        """The field, for an expression of the number."""
        if self.texts[0].isalpha():
            words = sorted(set(zip(self.texts, self.values, strict=True)), key=lambda pair: pair[1])
            return f"{{{expression}:{'|'.join(f'{text}={value}' for text, value in words)}}}"
        widths = {len(text) for text in self.texts}
        padded = any(len(text) > 1 and text.startswith("0") for text in self.texts)
        if padded and len(widths) > 1:
            return None
        if padded:
            return f"{{{expression}:{widths.pop():02}}}"
        if listed:
            if len(set(self.texts)) > _MOST_WORDS:
                return None
            return f"{{{expression}:{'|'.join(sorted(set(self.texts), key=int))}}}"
        return f"{{{expression}:int}}" if plain else f"{{{expression}}}"


def columns_of(texts: Sequence[tuple[str, ...]], separator: str) -> list[list[Column]]:
    """The numbers of each name of the items: [names][numbers]."""
    columns: list[list[Column]] = []
    for place in range(len(texts[0])):
        names = [Name(item[place], separator) for item in texts]
        words = [numbers_in(name) for name in names]
        columns.append(
            [
                Column(
                    tuple(row[index].number or 0 for row in words),
                    tuple(
                        name.text[row[index].start : row[index].end]
                        for name, row in zip(names, words, strict=True)
                    ),
                )
                for index in range(len(words[0]))
            ]
        )
    return columns


def changing(columns: Sequence[Sequence[Column]]) -> list[Column]:
    distinct: dict[tuple[int, ...], Column] = {}
    for column in (column for name in columns for column in name):
        if len(set(column.values)) > 1:
            distinct.setdefault((column.values), column)
    return list(distinct.values())


def stage_sizes(sides: Iterable[tuple[Sequence[tuple[str, ...]], str]]) -> list[tuple[int, ...]]:
    """Sizes of stages that pairs of numbers in names count through, those with most places first.

    Args:
        sides: The names of one side of a group of items, and their separator.

    Example:
        >>> stage_sizes([([("s0/b0",), ("s0/b1",), ("s1/b0",)], "/")])
        [(2, 1)]
    """
    found: Counter[tuple[int, ...]] = Counter()
    for texts, separator in sides:
        for columns in columns_of(texts, separator):
            for first, second in pairwise(column for column in columns if len(set(column.values)) > 1):
                pairs = sorted(set(zip(first.values, second.values, strict=True)))
                sizes = tuple(len(list(group)) for _, group in groupby(pairs, key=lambda pair: pair[0]))
                found[sizes] += 1
    return [sizes for sizes, _ in sorted(found.items(), key=lambda entry: (-sum(entry[0]), -entry[1]))]


Rule = dict[tuple[str, tuple[int, ...]], str]
"""How each changing number is written, by the separator of its side and its values."""


def rule_between(
    ours: list[Column], theirs: list[Column], stages: Sequence[tuple[int, ...]], *, listed: bool
) -> Rule | None:
    """How to write the numbers of both sides; None if no rule connects them.

    Both sides have as many numbers, each a linear function of one of the other side; or a pair of numbers on one side
    counts through a single one of the other.
    """
    rule: Rule = {}
    left, right = list(ours), list(theirs)
    names = iter(FIELDS)
    for column in ours:
        partner = next((other for other in right if _linear(column, other) is not None), None)
        if partner is None:
            continue
        name = next(names, None)
        if name is None or not _write_linear(rule, name, column, partner, listed=listed):
            return None
        left.remove(column)
        right.remove(partner)
    if not left and not right:
        return rule
    for single, double, sides in ((left, right, "/."), (right, left, "./")):
        if len(single) == 1 and len(double) == 2:
            name = next(names, None)
            if name is not None and _write_stages(
                rule, name, sides, single[0], double[0], double[1], stages, listed=listed and sides == "/."
            ):
                return rule
    return None


def _linear(one: Column, other: Column) -> tuple[int, int] | None:
    """`(k, c)` if other = k * one + c throughout, with k of at least 1."""
    points = sorted(set(zip(one.values, other.values, strict=True)))
    if len(points) < 2 or len({x for x, _ in points}) != len(points):
        return None
    (x0, y0), (x1, y1) = points[0], points[1]
    slope, rest = divmod(y1 - y0, x1 - x0)
    if len(points) < _LEAST_POINTS and y1 - y0 != x1 - x0:
        return None  # a line through two points is no rule
    if rest or slope < 1 or any(y - y0 != slope * (x - x0) for x, y in points):
        # The other way round: one = k * other + c.
        inverse, rest = divmod(x1 - x0, max(y1 - y0, 1))
        if y1 <= y0 or rest or inverse < 1 or any(x - x0 != inverse * (y - y0) for x, y in points):
            return None
        return -inverse, x0 - inverse * y0
    return slope, y0 - slope * x0


def _write_linear(rule: Rule, name: str, ours: Column, theirs: Column, *, listed: bool) -> bool:
    found = _linear(ours, theirs)
    assert found is not None
    slope, offset = found
    mine: str | None
    yours: str | None
    if slope == 1 and offset == 0:
        if ours.texts == theirs.texts and ours.texts[0].isalpha():
            words = "|".join(sorted(set(ours.texts)))
            mine, yours = f"{{{name}:{words}}}", f"{{{name}}}"
        else:
            mine, yours = (
                ours.spelled(name, plain=True, listed=listed),
                theirs.spelled(name, plain=False, listed=False),
            )
    elif slope < 0 or (slope == 1 and offset < 0):
        step, shift = (-slope, offset) if slope < 0 else (1, -offset)
        mine = ours.spelled(_expression(step, name, shift), plain=False, listed=False)
        yours = theirs.spelled(name, plain=True, listed=listed)
    else:
        mine = ours.spelled(name, plain=True, listed=listed)
        yours = theirs.spelled(_expression(slope, name, offset), plain=False, listed=False)
    if mine is None or yours is None:
        return False
    rule["/", ours.values], rule[".", theirs.values] = mine, yours
    return True


def _expression(step: int, name: str, shift: int) -> str:
    product = name if step == 1 else f"{step}*{name}"
    return f"{product}{shift:+d}" if shift else product


def _write_stages(
    rule: Rule,
    name: str,
    sides: str,
    single: Column,
    stage: Column,
    inside: Column,
    stages: Sequence[tuple[int, ...]],
    *,
    listed: bool,
) -> bool:
    """A number that counts through all stages, and the stage and the place in it."""
    points = list(zip(single.values, stage.values, inside.values, strict=True))
    first_stage, first_inside = min(stage.values), min(inside.values)
    for sizes in stages:
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        for shift in range(first_stage, first_stage - len(sizes), -1):
            if not all(
                0 <= s - shift < len(sizes) and p - first_inside < sizes[s - shift] for _, s, p in points
            ):
                continue
            counts = {n - (starts[s - shift] + p - first_inside) for n, s, p in points}
            if len(counts) != 1:
                continue
            offset = counts.pop()
            if offset < 0:
                continue
            by = str(sizes[0]) if len(set(sizes)) == 1 else f"[{','.join(map(str, sizes))}]"
            spelled = (
                single.spelled(_expression(1, name, offset), plain=offset == 0, listed=listed),
                stage.spelled(
                    f"{name}//{by}{shift:+d}" if shift else f"{name}//{by}", plain=False, listed=False
                ),
                inside.spelled(
                    f"{name}%{by}{first_inside:+d}" if first_inside else f"{name}%{by}",
                    plain=False,
                    listed=False,
                ),
            )
            if None in spelled:
                return False
            for side, column, text in zip(
                (sides[0], sides[1], sides[1]), (single, stage, inside), spelled, strict=True
            ):
                rule[side, column.values] = str(text)
            return True
    return False


def with_fields(name: Name, columns: Sequence[Column], rule: Rule) -> str:
    """The name with fields for the numbers that change."""
    pieces, start = [], 0
    for word, column in zip(numbers_in(name), columns, strict=True):
        if len(set(column.values)) > 1:
            pieces += [name.text[start : word.start], rule[name.separator, column.values]]
            start = word.end
    return "".join((*pieces, name.text[start:]))
