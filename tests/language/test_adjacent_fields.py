"""Adjacent fields: a run is refused exactly if some text can be split among its fields in two ways."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.growth import cpu_budget
from tfpt.errors import MappingError
from tfpt.language.adjacent_fields import check_adjacent
from tfpt.language.fields import Field

# Expressions for what a field matches, and texts of up to three characters that it may match.
ALPHABET = "ab1_"
TEXTS = ["".join(letters) for length in range(4) for letters in product(ALPHABET, repeat=length)]
KINDS = {
    "[0-9]+": Field("i", "number"),
    "[0-9]": Field("i", "number", width=1),
    "[0-9][0-9]": Field("i", "remainder", width=2, divisor=7),
    "(_[1-9][0-9]*)?": Field("i", "number", counter=True),
    "a|[0-9]+": Field("i", "number", words=(("a", "0"),)),
    "|[0-9]+": Field("i", "number", words=(("", "0"),)),
}
WORDS = st.lists(
    st.sampled_from(["", "a", "b", "ab", "ba", "1", "_1", "1_", "b1"]), min_size=1, max_size=4, unique=True
)


def words_field(words: list[str]) -> tuple[str, Field]:
    return "|".join(words), Field("b", "words", words=tuple((word, word) for word in words))


FIELDS = st.one_of(st.sampled_from(sorted(KINDS.items())), WORDS.map(words_field))


def is_refused(fields: list[Field]) -> str | None:
    try:
        check_adjacent(fields, "TEXT")
    except MappingError as error:
        return str(error.got)
    return None


@settings(max_examples=200, deadline=None)
@given(st.lists(FIELDS, min_size=2, max_size=3))
@example([words_field(["a", "ab"]), words_field(["b1a", "b"]), words_field(["a", ""])])
@example([words_field(["a", "ab"]), words_field(["b1_", "1"]), words_field(["b", "_b"])])
def test_a_run_is_refused_if_and_only_if_a_text_has_two_readings(run: list[tuple[str, Field]]) -> None:
    pieces = [[text for text in TEXTS if re.fullmatch(expression, text)] for expression, _ in run]
    readings = Counter("".join(cut) for cut in product(*pieces))
    refused = is_refused([field for _, field in run])
    if max(readings.values(), default=0) > 1:
        assert refused is not None
    if refused is not None:
        text = re.fullmatch(r"TEXT, which reads '(.*)' in two ways", refused)
        assert text is not None
        everything = "".join(f"({expression})" for expression, _ in run)
        assert re.fullmatch(everything, text[1])
        assert ways(text[1], [expression for expression, _ in run]) > 1


def ways(text: str, expressions: list[str]) -> int:
    if not expressions:
        return not text
    return sum(
        ways(text[end:], expressions[1:])
        for end in range(len(text) + 1)
        if re.fullmatch(expressions[0], text[:end])
    )


@pytest.mark.parametrize(
    "fields",
    [
        [Field("x", "component"), Field("i", "number", width=2)],
        [Field("i", "number"), Field("", "skip")],
        [Field("p", "path"), words_field(["a"])[1]],
        [words_field(["", "a"])[1]] * 9,
    ],
)
def test_a_field_of_any_text_and_a_run_that_is_too_long_are_refused(fields: list[Field]) -> None:
    assert is_refused(fields) == "TEXT"


def test_literal_text_ends_a_run() -> None:
    check_adjacent([Field("x", "component"), "_", Field("i", "number"), "_", Field("y", "component")], "")


def test_long_lists_of_words_are_compared_within_a_budget() -> None:
    words = [f"{index:b}".replace("0", "a").replace("1", "ab") for index in range(4000)]
    with cpu_budget(30):
        assert is_refused([words_field(words)[1]] * 8) is not None
    with cpu_budget(30):
        assert is_refused([words_field(["a" * 40_000])[1]] * 2) is None
        assert is_refused([words_field(["a" * 60_000])[1]] * 2) is not None  # not compared
    letters = [f"{'a' * index}b" for index in range(200)]
    with cpu_budget(30):
        assert is_refused([words_field(letters)[1], words_field(letters)[1]]) is None
