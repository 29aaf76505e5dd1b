"""Templates: one row for all names that differ in numbers or in a word, if a rule connects the two sides.

A rule is only accepted if it gives exactly the names it was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tfpt.proposal.names import parsed
from tfpt.proposal.number_rules import (
    FIELDS,
    Column,
    Rule,
    changing,
    columns_of,
    is_letter,
    numbers_in,
    rule_between,
    skeleton,
    stage_sizes,
    with_fields,
)

# How often items are divided by one of their numbers in search of a rule, and into how many parts.
_MOST_CUTS = 3
_MOST_PARTS = 9


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
    stages = stage_sizes(
        side
        for members in groups.values()
        for side in (([item.tf for item in members], "/"), ([item.pt for item in members], "."))
    )
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
        found.setdefault(skeleton(name), set()).add(name.numbers)
    return found


def _constants(members: Sequence[Item], targets: _Known) -> Item | None:
    """One row for all parameters that are the same constant and differ in numbers alone."""
    if any(len(item.pt) != 1 for item in members):
        return None
    columns = columns_of([item.pt for item in members], ".")[0]
    names = [parsed(item.pt[0], ".") for item in members]
    changing = [column for column in columns if len(set(column.values)) > 1]
    if {name.numbers for name in names} != targets.get(skeleton(names[0])) or len(changing) > len(FIELDS):
        return None
    rule: Rule = {}
    for field_name, column in zip(FIELDS, changing, strict=False):
        text = column.spelled(field_name, plain=True, listed=False)
        if text is None:
            return None
        rule[".", column.values] = text
    unsure = frozenset().union(*(item.unsure for item in members))
    return Item((), (with_fields(names[0], columns, rule),), members[0].content, members[0].place, unsure)


def _patterns(texts: tuple[str, ...], separator: str) -> tuple[object, ...]:
    names = [parsed(text, separator) for text in texts]
    return tuple(
        (skeleton(name), tuple(is_letter(name, word) for word in numbers_in(name))) for name in names
    )


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
    ours = columns_of([item.tf for item in members], "/")
    theirs = columns_of([item.pt for item in members], ".")
    for listed in (False, True):
        rule = rule_between(changing(ours), changing(theirs), stages, listed=listed)
        if rule is None:
            return None
        tf = tuple(
            with_fields(parsed(text, "/"), columns, rule)
            for text, columns in zip(members[0].tf, ours, strict=True)
        )
        pt = tuple(
            with_fields(parsed(text, "."), columns, rule)
            for text, columns in zip(members[0].pt, theirs, strict=True)
        )
        if listed or not _matches_others(members, ours, every):
            unsure = frozenset().union(*(item.unsure for item in members))
            return Item(tf, pt, members[0].content, min(item.place for item in members), unsure)
    return None


def _matches_others(
    members: Sequence[Item],
    columns: Sequence[Sequence[Column]],
    every: _Known,
) -> bool:
    """Whether other names have the same words, with other numbers in the places that change."""
    for place, name_columns in enumerate(columns):
        names = [parsed(item.tf[place], "/") for item in members]
        ours = {name.numbers for name in names}
        fixed = [index for index, column in enumerate(name_columns) if len(set(column.values)) == 1]
        example = names[0].numbers
        for other in every.get(skeleton(names[0]), ()):
            if other not in ours and all(other[index] == example[index] for index in fixed):
                return True
    return False


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
