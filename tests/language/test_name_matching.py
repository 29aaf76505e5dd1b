"""Names are split as a regular expression would split them, but never slowly."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.growth import assert_linear
from tfpt.language.fields import Field
from tfpt.language.name_matching import Cutter

KINDS = {
    "x": Field("x", "component"),
    "_": Field("", "skip"),
    "p": Field("p", "path"),
    "_p": Field("", "skip-path"),
    "i": Field("i", "number"),
    "i2": Field("i", "number", width=2),
    "b": Field("b", "words", words=(("a", "q"), ("ab", "k"), ("b", "v"))),
    "t": Field("t", "translated", words=(("q", "ab"), ("k", "a"), ("v", "1"))),
    "e": Field("e", "words", words=(("", "q"), ("_b", "k"))),
    "c": Field("c", "number", counter=True),
    "s": Field("s", "number", words=(("a", "0"), ("ab", "1"))),
    "n": Field("n", "number", words=(("a", "0"), ("b", "1")), digits=False),
    "_w": Field("", "words", words=(("b", "b"), ("a_", "a_"))),
}
# What a field matches as a regular expression: the fewest characters, components; the most digits; the first word.
EXPRESSIONS = {
    "x": "[^/]+?",
    "_": "[^/]+?",
    "p": "[^/]+(?:/[^/]+)*?",
    "_p": "[^/]+(?:/[^/]+)*?",
    "i": "[0-9]{1,18}",
    "i2": "[0-9]{2}",
    "b": "a|ab|b",
    "t": "ab|a|1",
    "e": "|_b",
    "c": "(?:_[1-9][0-9]{0,17})?",
    "s": "a|ab|[0-9]{1,18}",
    "n": "a|b",
    "_w": "b|a_",
}
# Fields that may have nothing between them.
BOUNDED = ["i2", "b", "t", "e", "c", "s", "n", "_w", "i"]
Parts = list[str]  # fields as the keys above in braces, literal text as it is


def cutter(parts: Parts) -> Cutter:
    return Cutter([KINDS[part[1:-1]] if part.startswith("{") else part for part in parts], "/")


def by_expression(parts: Parts, name: str) -> list[str] | None:
    pieces = [f"({EXPRESSIONS[part[1:-1]]})" if part.startswith("{") else re.escape(part) for part in parts]
    found = re.fullmatch("".join(pieces), name)
    return None if found is None else list(found.groups())


def all_cuts(parts: Parts, name: str) -> Iterator[list[str]]:
    """Every way to split a name, by trying every length of every piece."""
    if not parts:
        if not name:
            yield []
        return
    first, *rest = parts
    if not first.startswith("{"):
        if name.startswith(first):
            yield from all_cuts(rest, name[len(first) :])
        return
    for length in range(len(name) + 1):
        if fits(first[1:-1], name[:length]):
            yield from ([name[:length], *cut] for cut in all_cuts(rest, name[length:]))


def fits(kind: str, piece: str) -> bool:
    if kind in ("x", "_"):
        return piece != "" and "/" not in piece
    if kind in ("p", "_p"):
        return all(piece.split("/"))
    if kind == "c":
        return piece == "" or (piece[0] == "_" and piece[1:2] in list("123456789") and piece[1:].isdigit())
    if kind == "s":
        return piece in ("a", "ab") or fits("i", piece)
    if kind in ("i", "i2"):
        return piece.isascii() and piece.isdigit() and len(piece) in ((2,) if kind == "i2" else range(1, 19))
    return piece in KINDS[kind].spelled


@st.composite
def templates(draw: st.DrawFn) -> Parts:
    text = st.text("ab/1_", min_size=1, max_size=3)
    parts = [draw(text)] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            parts += [
                f"{{{kind}}}" for kind in draw(st.lists(st.sampled_from(BOUNDED), min_size=1, max_size=3))
            ]
        else:
            parts.append(f"{{{draw(st.sampled_from(sorted(KINDS)))}}}")
        parts.append(draw(text))
    if parts and draw(st.booleans()):
        parts.pop()
    return parts


@settings(max_examples=600)
@given(templates(), st.text("ab/1_", max_size=12))
@example(["{p}", "_1/w"], "a/b_1/w")
@example(["{p}", "/", "{p}"], "a/b/c")
@example(["{p}", "/a/", "{p}", "/w"], "b/a/a/a/w")
@example(["{p}", "1", "{x}", "/", "{p}", "1"], "a11/b1/1/1a1/b1")
@example(["{p}", "/", "{p}", "b"], "a//b/a/bb")
@example(["{i}", "1", "{i}"], "1111")
@example(["{b}", "b", "{x}"], "abbb")
@example(["{x}", "_", "{x}", "_", "{i}"], "a_b_1_b_1")
@example(["{c}"], "")
@example(["a", "{e}", "a"], "a")
@example(["{i}", "{i}", "1", "{i}"], "1111")
@example(["{x}", "_", "{c}", "{e}", "{c}"], "a__1_b_1")
@example(["{s}", "{c}", "{b}", "{e}"], "ab_11ab_b")
def test_a_name_is_cut_as_the_expression_cuts_it(parts: Parts, name: str) -> None:
    assert cutter(parts).cut(name) == by_expression(parts, name)


@settings(max_examples=400)
@given(templates(), st.text("ab/1_", max_size=9))
def test_a_name_is_cut_if_some_way_of_cutting_it_fits(parts: Parts, name: str) -> None:
    cut = cutter(parts).cut(name)
    every = list(all_cuts(parts, name))
    assert cut in every if every else cut is None


@pytest.mark.parametrize(
    ("parts", "cut"),
    [
        (["{x}", "_", "{x}"], ["a", "b_c"]),
        (["{p}", "/", "{p}"], None),
        (["{x}", "c"], ["a_b_"]),
    ],
)
def test_a_field_takes_as_little_as_it_can(parts: Parts, cut: list[str] | None) -> None:
    assert cutter(parts).cut("a_b_c") == cut


def six(field: str, text: str) -> Parts:
    """Six fields with text after each, then text that the names lack: every split is tried before failing."""
    return [field, text] * 6 + ["{x}", "?", "{x}"]


@pytest.mark.parametrize(
    ("parts", "unit"),
    [
        (six("{x}", "_"), "a_"),
        (six("{x}", "_"), "_"),
        (six("{x}", "a" * 50), "a"),
        (six("{p}", "/a/"), "a/"),
        (six("{p}", "a"), "a"),
        (six("{p}", "a"), "a/aa/"),
        (six("{b}", "a"), "aab"),
        (["{x}", "1", *six("{i}", "1")], "1"),
        (["{x}", "a", *six("{b}", "a")], "aab"),
        (["{p}", "/", "{x}", "a", "{p}", "/", *six("{i}", "/")], "a/1/"),
        (["{x}", "1", *["{i}"] * 6, "?", "{x}"], "1"),
        (["{x}", "a", *["{b}", "{s}", "{n}"] * 4, "?", "{x}"], "aab"),
        (["{x}", "_", *["{c}", "{e}"] * 6, "?", "{x}"], "_b_11"),
        (["{p}", "_", *["{e}", "{c}"] * 3, "{_w}", "{p}", "?", "{x}"], "_b_1/b"),
    ],
)
def test_no_template_is_slow_on_a_long_name(parts: Parts, unit: str) -> None:
    prepared = cutter(parts)

    def cut(length: int) -> None:
        assert prepared.cut(unit * (length // len(unit)) + "!") is None

    assert_linear(lambda: cut(2_000), lambda: cut(8_000))
