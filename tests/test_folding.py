"""Folded names stand for exactly the names that were folded."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from tfpt.folding import fold


def expand(text: str) -> list[str]:
    """The names that a folded one stands for, as a shell would."""
    choices = []
    for literal, listed in re.findall(r"([^{]+)|\{([^}]*)\}", text):
        if literal:
            choices.append([literal])
            continue
        words: list[str] = []
        for word in listed.split(","):
            first, dots, last = word.partition("..")
            words += map(str, range(int(first), int(last) + 1)) if dots else [word]
        choices.append(words)
    return ["".join(each) for each in itertools.product(*choices)]


def test_a_block_is_one_name():
    names = [f"layers.{i}.{part}.{leaf}" for i in (*range(10), 40) for part in "qkv" for leaf in ("w", "b")]
    assert fold(names) == ["layers.{0..9,40}.{q,k,v}.{w,b}"]


def test_what_is_not_a_whole_product_stays_apart():
    assert sorted(fold(["a.0.w", "a.1.w", "a.0.b"])) == ["a.0.b", "a.{0,1}.w"]


def test_leading_zeros_and_long_numbers_are_kept():
    assert fold(["l_01/w", "l_02/w", "l_03/w"]) == ["l_{01,02,03}/w"]
    assert fold(["l/" + "9" * 30, "l/" + "8" * 30]) == ["l/{" + "8" * 30 + "," + "9" * 30 + "}"]


def test_names_with_braces_commas_or_dots_in_a_row_stay_as_they_are():
    names = ["a{0}", "a{1}", "b,0", "b,1", "c..0", "c..1"]
    assert fold(names) == names


_pieces = st.sampled_from(["a", "bc", "0", "1", "2", "3", "07", "12", "/", ".", "_", "é", "٣"])


@given(st.lists(st.lists(_pieces, min_size=1, max_size=6).map("".join), max_size=30))
def test_no_name_is_lost_or_made_up(names: list[str]):
    plain = [name for name in dict.fromkeys(names) if ".." not in name]
    expanded = [name for line in fold(plain) for name in expand(line)]
    assert sorted(expanded) == sorted(plain)
