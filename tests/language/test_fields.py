"""Fields: decoding is the inverse of encoding, and texts are those that other means of counting give."""

from __future__ import annotations

from itertools import count, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfpt.language.fields import Field, divide, undivide
from tfpt.language.name_matching import Cutter
from tfpt.language.templates import pair

SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=6).map(tuple)


@given(SIZES)
def test_stages_are_counted_as_loops_count_them(sizes: tuple[int, ...]) -> None:
    places = [(stage, unit) for stage, size in enumerate(sizes) for unit in range(size)]
    assert [divide(number, sizes) for number in range(len(places))] == places
    assert divide(len(places), sizes) is None
    assert [undivide(*place, sizes) for place in places] == list(range(len(places)))
    beyond = [(stage, size) for stage, size in enumerate(sizes)] + [(len(sizes), 0)]
    assert [undivide(*place, sizes) for place in beyond] == [None] * len(beyond)


@given(st.integers(1, 9), st.integers(0, 10**6))
def test_a_divisor_divides_as_numpy_does(divisor: int, number: int) -> None:
    assert divide(number, divisor) == tuple(map(int, np.divmod(number, divisor)))
    assert undivide(*divmod(number, divisor), divisor) == number


# (kind on the tf side, the texts of 0, 1, 2, …): written by hand, without the code under test.
COUNTED = {
    "{i:int}": map(str, count()),
    "{i:counter}": (f"_{i}" if i else "" for i in count()),
    "{i:03}": (f"{i:03d}" for i in count()),
    "{2*i+1}": (str(2 * i + 1) for i in count()),
    "{i-0:counter}": (f"_{i}" if i else "" for i in count()),
    "{i+1:counter}": (f"_{i + 1}" for i in count()),
    "{i:stem=0|int}": ("stem" if i == 0 else str(i) for i in count()),
    "{i:=0|int}": ("" if i == 0 else str(i) for i in count()),
    "{i:zero=0|two=2|int}": ({0: "zero", 2: "two"}.get(i, str(i)) for i in count()),
    "{i:a=0|b=1|c=2}": iter("abc"),
    "{i:c=2|b=1|a=0}": iter("abc"),
    "{i//2}_{i%2}": (f"{i // 2}_{i % 2}" for i in count()),
    "{i//[2,1,3]}_{i%[2,1,3]}": iter(["0_0", "0_1", "1_0", "2_0", "2_1", "2_2"]),
    "{i//[2,1,3]+1}_{3*(i%[2,1,3])-0:02}": iter(["1_00", "1_03", "2_00", "3_00", "3_03", "3_06"]),
    "{i//2+2}{i%2:a=0|b=1}": (f"{i // 2 + 2}{'ab'[i % 2]}" for i in count()),
    "{i//2:counter}{i%2:a=0|b=1}": (f"{f'_{i // 2}' if i > 1 else ''}{'ab'[i % 2]}" for i in count()),
}
TEXTS = {kind: list(islice(texts, 120)) for kind, texts in COUNTED.items()}


@pytest.mark.parametrize("kind", COUNTED)
@pytest.mark.parametrize("other", ["{i:int}", "{i+5}"])
def test_every_kind_of_number_counts_and_is_read_back(kind: str, other: str) -> None:
    tf, pt = pair(f"n{kind}/w", f"n.{other}.w")
    offset = 5 if other == "{i+5}" else 0
    for value, text in enumerate(TEXTS[kind]):
        assert tf.match(f"n{text}/w") == {"i": value}
        assert tf.render({"i": value}) == f"n{text}/w"
        assert pt.render({"i": value}) == f"n.{value + offset}.w"
        assert pt.match(f"n.{value + offset}.w") == {"i": value}


@pytest.mark.parametrize("kind", COUNTED)
@given(st.data())
def test_a_text_that_is_read_is_written_back_up_to_leading_zeros(kind: str, data: st.DataObject) -> None:
    tf, pt = pair(f"n{kind}/w", "n.{i}.w" if kind != "{i:int}" else "n.{i:int}.w")
    near = data.draw(st.sampled_from(TEXTS[kind]))
    at = data.draw(st.integers(0, len(near)))
    name = f"n{near[:at]}{data.draw(st.text('_ab012stem', max_size=3))}{near[at + data.draw(st.integers(0, 2)) :]}/w"
    values = tf.match(name)
    if values is None:
        return
    written = tf.render(values)
    assert written is not None
    assert tf.match(written) == values
    assert unpadded(written) == unpadded(name)
    parameter = pt.render(values)
    assert parameter is not None
    assert pt.match(parameter) == values


def unpadded(name: str) -> list[str]:
    digits = "".join(letter if letter.isdigit() else f" {letter} " for letter in name)
    return [part.lstrip("0") if part.isdigit() else part for part in digits.split()]


# -- words ------------------------------------------------------------------------------------------------

WORDS = st.lists(
    st.tuples(st.text("ab_", max_size=3), st.text("xy.1", max_size=3)),
    min_size=2,
    max_size=5,
    unique_by=(lambda word: word[0], lambda word: word[1]),
)


@given(WORDS, st.booleans())
def test_words_are_translated_and_back_empty_ones_too(
    words: list[tuple[str, str]], listed_here: bool
) -> None:
    if listed_here:
        tf, pt = pair("w{b:" + "|".join(f"{here}={there}" for here, there in words) + "}", "w{b}")
    else:
        tf, pt = pair("w{b}", "w{b:" + "|".join(f"{there}={here}" for here, there in words) + "}")
    for here, there in words:
        values = tf.match(f"w{here}")
        assert values is not None
        assert values == pt.match(f"w{there}")
        assert pt.render(values) == f"w{there}"
        assert tf.render(values) == f"w{here}"
    assert tf.match("wz") is None


# -- paths and components -----------------------------------------------------------------------------------


@given(st.text("ab./", max_size=8))
def test_a_path_is_what_splitting_at_both_separators_gives(path: str) -> None:
    tf, pt = pair("{p...}", "{p...}")
    values = tf.match(path)
    if not all(path.split("/")):
        assert values is None
        return
    components = tuple(path.replace("/", ".").split("."))
    assert values == {"p": components}
    whole = all(components)
    assert pt.render({"p": components}) == (".".join(components) if whole else None)
    assert tf.render({"p": components}) == ("/".join(components) if whole else None)
    if whole:
        assert pt.match(".".join(components)) == tf.match("/".join(components)) == values


def test_a_field_fits_exactly_what_it_decodes() -> None:
    counter = Field("i", "number", counter=True)
    cutter = Cutter(["l", counter], "/")
    assert cutter.cut("l") == [""]
    assert cutter.cut("l_12") == ["_12"]
    assert cutter.cut("l_0") is None
    assert [counter.decode(text, "/") for text in ("", "_12")] == [0, 12]
