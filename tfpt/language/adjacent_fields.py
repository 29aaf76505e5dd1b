"""Fields with nothing between them: whether a text can be split among them in more than one way."""

from __future__ import annotations

import string
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product

from tfpt.errors import MappingError
from tfpt.language.fields import Field

# Beyond these a run is refused: pairs of states to compare, characters of all words, fields.
_MOST_PAIRS = 100_000
_MOST_CHARACTERS = 100_000
_MOST_FIELDS = 8
# Characters of a text shown in a message.
_SHOWN = 60

# What one field matches, as an automaton: for each state the next states by character, and whether it may end there.
_Automaton = tuple[list[dict[str, list[int]]], list[bool]]
# A state of the whole: the field, and the state in it.
_State = tuple[int, int]
# The states of two readings of one text, and whether they differ so far.
_Pair = tuple[_State, _State, bool]


def check_adjacent(parts: Sequence[str | Field], text: str) -> None:
    """Check that each run of adjacent fields in a template can be read in one way only.

    Raises:
        MappingError: It cannot.

    Example:
        >>> check_adjacent([Field("i", "number"), Field("b", "words", words=(("a", "a"), ("b", "b")))], "{i}{b:a|b}")
    """
    run: list[Field] = []
    for part in (*parts, ""):
        if isinstance(part, Field):
            run.append(part)
            continue
        if len(run) > 1:
            _check_run(run, text)
        run = []


def _check_run(run: Sequence[Field], text: str) -> None:
    example: str | None = ""
    short = sum(len(word) for field in run for word in field.spelled) <= _MOST_CHARACTERS
    if short and len(run) <= _MOST_FIELDS and not any(field.is_open for field in run):
        example = _read_in_two_ways(tuple((field.spelled, _spelling(field)) for field in run))
    if example is not None:
        raise MappingError(
            "two fields with nothing between them cannot be told apart",
            expected="text between them, or fields that leave one reading, such as a number and words without digits",
            got=f"{text}, which reads {example[:_SHOWN]!r} in two ways" if example else text,
        )


def _spelling(field: Field) -> str:
    """How the field writes numbers: ``counter``, ``digits``, a number of digits; empty if not at all."""
    if not field.is_number or not field.digits:
        return ""
    return "counter" if field.counter else str(field.width or "digits")


@lru_cache(maxsize=4096)
def _read_in_two_ways(run: tuple[tuple[tuple[str, ...], str], ...]) -> str | None:
    """A text with two readings; empty if the search was given up; ``None`` if there is none.

    Two readings of a text are followed side by side. They differ if a character belongs to different fields.
    """
    fields = [_automaton(words, spelling) for words, spelling in run]
    begin: _Pair = (0, 0), (0, 0), False
    # Each pair reached, with the one before it and the character between; the first has none.
    reached: dict[_Pair, tuple[_Pair, str] | None] = {begin: None}
    waiting = deque([begin])
    while waiting:
        if len(reached) > _MOST_PAIRS:
            return ""
        one, other, differ = pair = waiting.popleft()
        if differ and _at_end(fields, one) and _at_end(fields, other):
            return _text_to(pair, reached)
        for first, second in product(_entered(fields, one), _entered(fields, other)):
            steps, others = fields[first[0]][0][first[1]], fields[second[0]][0][second[1]]
            apart = differ or first[0] != second[0]
            for character in sorted(steps.keys() & others.keys()):
                for after, after_other in product(steps[character], others[character]):
                    following = (first[0], after), (second[0], after_other), apart
                    if following not in reached:
                        reached[following] = pair, character
                        waiting.append(following)
    return None


def _text_to(pair: _Pair, reached: Mapping[_Pair, tuple[_Pair, str] | None]) -> str:
    characters = []
    before = reached[pair]
    while before is not None:
        characters.append(before[1])
        before = reached[before[0]]
    return "".join(reversed(characters))


def _entered(fields: Sequence[_Automaton], state: _State) -> list[_State]:
    """This state and the beginnings of the fields that may follow without a character."""
    field, place = state
    found = [state]
    while fields[field][1][place] and field + 1 < len(fields):
        field, place = field + 1, 0
        found.append((field, place))
    return found


def _at_end(fields: Sequence[_Automaton], state: _State) -> bool:
    field, place = _entered(fields, state)[-1]
    return field == len(fields) - 1 and fields[field][1][place]


def _automaton(words: Sequence[str], spelling: str) -> _Automaton:
    steps: list[dict[str, list[int]]] = [{}]
    ends = [False]

    def new(*, end: bool = False) -> int:
        steps.append({})
        ends.append(end)
        return len(steps) - 1

    for word in words:
        at = 0
        for character in word:
            if character not in steps[at]:
                steps[at][character] = [new()]
            at = steps[at][character][0]
        ends[at] = True

    def step(at: int, characters: str, to: int) -> None:
        for character in characters:
            steps[at].setdefault(character, []).append(to)

    if spelling == "counter":
        ends[0] = True
        start, digits = new(), new(end=True)
        step(0, "_", start)
        step(start, "123456789", digits)
        step(digits, string.digits, digits)
    elif spelling == "digits":
        digits = new(end=True)
        step(0, string.digits, digits)
        step(digits, string.digits, digits)
    elif spelling:
        at = 0
        for _ in range(int(spelling)):
            following = new()
            step(at, string.digits, following)
            at = following
        ends[at] = True
    return steps, ends
