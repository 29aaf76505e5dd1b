"""Templates: one row for all names that differ in numbers or in a word, if a rule connects the two sides.

A rule is only accepted if it gives exactly the names it was made from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from tfpt.proposal.names import Name, Word, parsed

_FIELDS = ("i", "j", "k", "l", "m")
_SEPARATORS = re.compile(r"([/.])")
_MOST_WORDS = 12
# How often items are divided by one of their numbers in search of a rule, and into how many parts.
_MOST_CUTS = 3
_MOST_PARTS = 9
# Rules other than adding a number need at least this many examples.
_LEAST_POINTS = 3


@dataclass(frozen=True)
class Item:
    """A scope or a row, with its names on both sides; `content` says what happens there, and is equal for equal rows.

    Attributes:
        tf: The names of TensorFlow's side.
        pt: Those of PyTorch's.
        content: The layer, or layout and other keys.
        place: Where it is in the network.
        unsure: Reasons for doubt.
    """

    tf: tuple[str, ...]
    pt: tuple[str, ...]
    content: str
    place: int
    unsure: frozenset[str] = field(default_factory=frozenset)


def generalized(
    items: Sequence[Item], variables: Iterable[str], parameters: Iterable[str] = ()
) -> list[Item]:
    """The fewest items found that stand for the same names.

    Args:
        items: Single scopes and rows.
        variables: The names of all variables and the scopes they are in, none of which a template may match by
            accident.
        parameters: The names of all parameters, likewise for rows without a variable.

    Example:
        >>> items = [Item((f"layer_{i}/a",), (f"layers.{i}.a",), "use: keras/dense", i) for i in range(3)]
        >>> [(item.tf, item.pt) for item in generalized(items, ["layer_0/a", "layer_1/a", "layer_2/a"])]
        [(('layer_{i:int}/a',), ('layers.{i}.a',))]
    """
    every = _by_skeleton(variables, "/")
    targets = _by_skeleton(parameters, ".")
    groups: dict[tuple[object, ...], list[Item]] = {}
    for item in items:
        key = (item.content, _patterns(item.tf, "/"), _patterns(item.pt, "."))
        groups.setdefault(key, []).append(item)
    stages = _stages(groups.values())
    found: list[Item] = []
    for members in groups.values():
        if members[0].tf:
            found += _fewest(members, every, stages, _MOST_CUTS)
        else:
            whole = _constants(members, targets) if len(members) > 1 else None
            found += [whole] if whole is not None else members
    merged = _with_words(sorted(found, key=lambda item: item.place))
    return sorted(merged, key=lambda item: item.place)


_Known = dict[tuple[str, ...], set[tuple[int, ...]]]
"""The numbers of names, by the text between them."""


def _by_skeleton(texts: Iterable[str], separator: str) -> _Known:
    found: _Known = {}
    for text in texts:
        name = parsed(text, separator)
        found.setdefault(_skeleton(name), set()).add(name.numbers)
    return found


def _constants(members: Sequence[Item], targets: _Known) -> Item | None:
    """One row for all parameters that are the same constant and differ in numbers alone."""
    if any(len(item.pt) != 1 for item in members):
        return None
    columns = _columns([item.pt for item in members], ".")[0]
    names = [Name(item.pt[0], ".") for item in members]
    changing = [column for column in columns if len(set(column.values)) > 1]
    if {name.numbers for name in names} != targets.get(_skeleton(names[0])) or len(changing) > len(_FIELDS):
        return None
    rule: _Rule = {}
    for field_name, column in zip(_FIELDS, changing, strict=False):
        text = column.spelled(field_name, plain=True, listed=False)
        if text is None:
            return None
        rule[".", column.values] = text
    unsure = frozenset().union(*(item.unsure for item in members))
    return Item((), (_written(names[0], columns, rule),), members[0].content, members[0].place, unsure)


def _skeleton(name: Name) -> tuple[str, ...]:
    """The text of a name between its numbers."""
    pieces, start = [], 0
    for word in _numbers(name):
        pieces.append(name.text[start : word.start])
        start = word.end
    return (*pieces, name.text[start:])


def _patterns(texts: tuple[str, ...], separator: str) -> tuple[object, ...]:
    names = [Name(text, separator) for text in texts]
    return tuple(
        (_skeleton(name), tuple(_is_letter(name, word) for word in _numbers(name))) for name in names
    )


def _numbers(name: Name) -> list[Word]:
    return [word for part in name.parts for word in part if word.number is not None]


def _is_letter(name: Name, word: Word) -> bool:
    return name.text[word.start : word.end].isalpha()


@dataclass(frozen=True)
class _Column:
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


def _columns(texts: Sequence[tuple[str, ...]], separator: str) -> list[list[_Column]]:
    """The numbers of each name of the items: [names][numbers]."""
    columns: list[list[_Column]] = []
    for place in range(len(texts[0])):
        names = [Name(item[place], separator) for item in texts]
        words = [_numbers(name) for name in names]
        columns.append(
            [
                _Column(
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


def _stages(groups: Iterable[Sequence[Item]]) -> list[tuple[int, ...]]:
    """Sizes of stages, where a pair of numbers on one side counts through a single number of the other."""
    found: Counter[tuple[int, ...]] = Counter()
    for members in groups:
        for texts, separator in (([item.tf for item in members], "/"), ([item.pt for item in members], ".")):
            for columns in _columns(texts, separator):
                changing = [column for column in columns if len(set(column.values)) > 1]
                for first, second in pairwise(changing):
                    pairs = sorted(set(zip(first.values, second.values, strict=True)))
                    sizes = tuple(len(list(group)) for _, group in groupby(pairs, key=lambda pair: pair[0]))
                    found[sizes] += 1
    return [sizes for sizes, _ in sorted(found.items(), key=lambda entry: (-sum(entry[0]), -entry[1]))]


def _fewest(
    members: Sequence[Item], every: _Known, stages: Sequence[tuple[int, ...]], cuts: int
) -> list[Item]:
    """One item for all; or, if no rule connects their numbers, the fewest that cuts by one of the numbers give."""
    if len(members) == 1:
        return list(members)
    whole = _series(members, every, stages)
    if whole is not None:
        return [whole]
    best = list(members)
    if not cuts:
        return best
    numbers = [(*_numbers_of(item.tf, "/"), *_numbers_of(item.pt, ".")) for item in members]
    tried = set()
    for column in zip(*numbers, strict=True):
        values = sorted(set(column))
        # Columns that divide the members alike need one try.
        division = tuple(values.index(value) for value in column)
        if not 1 < len(values) <= _MOST_PARTS or division in tried:
            continue
        tried.add(division)
        parts: dict[int, list[Item]] = {}
        for value, item in zip(column, members, strict=True):
            parts.setdefault(value, []).append(item)
        found = [item for part in parts.values() for item in _fewest(part, every, stages, cuts - 1)]
        if len(found) < len(best):
            best = found
    return best


def _numbers_of(texts: tuple[str, ...], separator: str) -> tuple[int, ...]:
    return tuple(number for text in texts for number in parsed(text, separator).numbers)


def _series(
    members: Sequence[Item],
    every: _Known,
    stages: Sequence[tuple[int, ...]],
) -> Item | None:
    """One item for all, if a rule connects their numbers."""
    ours = _columns([item.tf for item in members], "/")
    theirs = _columns([item.pt for item in members], ".")
    for listed in (False, True):
        rule = _rule(_changing(ours), _changing(theirs), stages, listed=listed)
        if rule is None:
            return None
        tf = tuple(
            _written(parsed(text, "/"), columns, rule)
            for text, columns in zip(members[0].tf, ours, strict=True)
        )
        pt = tuple(
            _written(parsed(text, "."), columns, rule)
            for text, columns in zip(members[0].pt, theirs, strict=True)
        )
        if listed or not _matches_others(members, ours, every):
            unsure = frozenset().union(*(item.unsure for item in members))
            return Item(tf, pt, members[0].content, min(item.place for item in members), unsure)
    return None


def _changing(columns: Sequence[Sequence[_Column]]) -> list[_Column]:
    distinct: dict[tuple[int, ...], _Column] = {}
    for column in (column for name in columns for column in name):
        if len(set(column.values)) > 1:
            distinct.setdefault((column.values), column)
    return list(distinct.values())


def _matches_others(
    members: Sequence[Item],
    columns: Sequence[Sequence[_Column]],
    every: _Known,
) -> bool:
    """Whether other names have the same words, with other numbers in the places that change."""
    for place, name_columns in enumerate(columns):
        names = [Name(item.tf[place], "/") for item in members]
        ours = {name.numbers for name in names}
        fixed = [index for index, column in enumerate(name_columns) if len(set(column.values)) == 1]
        example = names[0].numbers
        for other in every.get(_skeleton(names[0]), ()):
            if other not in ours and all(other[index] == example[index] for index in fixed):
                return True
    return False


_Rule = dict[tuple[str, tuple[int, ...]], str]
"""How each changing number is written, by the separator of its side and its values."""


def _rule(
    ours: list[_Column], theirs: list[_Column], stages: Sequence[tuple[int, ...]], *, listed: bool
) -> _Rule | None:
    """How to write the numbers of both sides; None if no rule connects them.

    Both sides have as many numbers, each a linear function of one of the other side; or a pair of numbers on one side
    counts through a single one of the other.
    """
    rule: _Rule = {}
    left, right = list(ours), list(theirs)
    names = iter(_FIELDS)
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


def _linear(one: _Column, other: _Column) -> tuple[int, int] | None:
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


def _write_linear(rule: _Rule, name: str, ours: _Column, theirs: _Column, *, listed: bool) -> bool:
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
    rule: _Rule,
    name: str,
    sides: str,
    single: _Column,
    stage: _Column,
    inside: _Column,
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


def _written(name: Name, columns: Sequence[_Column], rule: _Rule) -> str:
    """The name with fields for the numbers that change."""
    pieces, start = [], 0
    for word, column in zip(_numbers(name), columns, strict=True):
        if len(set(column.values)) > 1:
            pieces += [name.text[start : word.start], rule[name.separator, column.values]]
            start = word.end
    return "".join((*pieces, name.text[start:]))


_Hidden = tuple[str, tuple[str, ...], tuple[str, ...]]
"""What items have in common that differ in one word on each side: content and both names, with the word hidden."""
_NOTHING: list[tuple[tuple[str, ...], str]] = [((), "")]


def _with_words(items: list[Item]) -> list[Item]:
    """Items that differ in one word on each side become one, with a list of the words."""
    while True:
        groups: dict[_Hidden, list[tuple[Item, str, str]]] = {}
        for item in items:
            if len(item.tf) > 1 or len(item.pt) != 1:
                continue
            for hidden_tf, word_tf in _hidden(item.tf[0]) if item.tf else _NOTHING:
                for hidden_pt, word_pt in _hidden(item.pt[0]):
                    if hidden_tf and hidden_tf[0] == hidden_pt[0] == "\0" and word_tf != word_pt:
                        continue  # whole models that have little in common
                    groups.setdefault((item.content, hidden_tf, hidden_pt), []).append(
                        (item, word_tf, word_pt)
                    )
        best = max(groups.items(), key=lambda entry: len(entry[1]), default=None)
        if best is None or len(best[1]) < 2:
            return items
        (content, hidden_tf, hidden_pt), members = best
        words_tf, words_pt = [word for _, word, _ in members], [word for _, _, word in members]
        if (hidden_tf and len(set(words_tf)) != len(members)) or len(set(words_pt)) != len(members):
            kept: dict[str, tuple[Item, str, str]] = {}
            for member in members:
                kept.setdefault(member[1] if hidden_tf else member[2], member)
            members = list(kept.values())
            if len(members) < 2 or len({word for _, _, word in members}) != len(members):
                return items
            words_tf, words_pt = [word for _, word, _ in members], [word for _, _, word in members]
        name = next(letter for letter in "pqrst" if f"{{{letter}" not in f"{hidden_tf}{hidden_pt}")
        if not hidden_tf:
            words_tf = words_pt
        listed = "|".join(
            one if one == other else f"{one}={other}" for one, other in zip(words_tf, words_pt, strict=True)
        )
        taken = {id(item) for item, _, _ in members}
        first = min((item for item, _, _ in members), key=lambda item: item.place)
        whole = Item(
            ("".join(hidden_tf).replace("\0", f"{{{name}:{listed}}}"),) if hidden_tf else (),
            ("".join(hidden_pt).replace("\0", f"{{{name}}}" if hidden_tf else f"{{{name}:{listed}}}"),),
            content,
            first.place,
            frozenset().union(*(item.unsure for item, _, _ in members)),
        )
        items = sorted(
            [*(item for item in items if id(item) not in taken), whole], key=lambda item: item.place
        )


def _hidden(text: str) -> list[tuple[tuple[str, ...], str]]:
    """The text with each of its components hidden in turn, and what is hidden; those with fields stay."""
    pieces = tuple(_split(text))
    return [
        ((*pieces[:place], "\0", *pieces[place + 1 :]), piece)
        for place, piece in enumerate(pieces)
        if piece not in "/." and "{" not in piece and "=" not in piece and "|" not in piece
    ]


def _split(text: str) -> list[str]:
    """Components and separators; braces are kept whole."""
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if letter in "/." and depth == 0:
            pieces += [letter, ""]
        else:
            pieces[-1] += letter
    return [piece for piece in pieces if piece]
