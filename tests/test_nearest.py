"""The closest names first; the expectations are worked out by hand."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.growth import assert_linear, cpu_budget
from tfpt.nearest import Names, distance, nearest


@pytest.mark.parametrize(
    ("first", "second", "edits"),
    [
        ("a/b/c", "a/b/c", 0),
        ("a/b/c", "a/c", 1),
        ("a/c", "a/b/c", 1),
        ("a/b", "x/y", 2),
        ("a.b", "a/b", 0),  # the separators of both sides count the same
        ("abcd", "abce", 0.25),  # three of four characters in common
        ("x/abcd", "x/abce/y", 1.25),
        ("", "", 0),
    ],
)
def test_the_distance_counts_components(first: str, second: str, edits: float) -> None:
    assert distance(first, second) == pytest.approx(edits)
    assert distance(second, first) == pytest.approx(edits)


def test_the_closest_candidate_comes_first_and_the_far_ones_not_at_all() -> None:
    candidates = ["net/conv_2/w", "net/conv_1/w", "other/thing", "net/conv_1/b", "w"]
    assert nearest("net/conv_1/v", candidates, count=2) == ["net/conv_1/b", "net/conv_1/w"]
    assert nearest("net/conv_1/w", ["other/thing/entirely"]) == []
    assert nearest("x", []) == []


def test_of_equals_the_first_by_name_is_taken() -> None:
    assert nearest("a/x", ["a/z", "a/y"], count=1) == ["a/y"]


def test_the_closest_of_many_is_still_found() -> None:
    candidates = [f"net/layer_{i}/other_{i}/kernel" for i in range(2000)] + ["net/layer_7/dense/kernel"]
    assert nearest("net/layer_7/dense/kernl", candidates, count=1) == ["net/layer_7/dense/kernel"]


# What a person would pick, among names as checkpoints have them.
NAMES = [
    *(
        f"bert/encoder/layer_{i}/attention/self/{part}/kernel"
        for i in range(12)
        for part in ("query", "key", "value")
    ),
    *(f"bert/encoder/layer_{i}/output/dense/{leaf}" for i in range(12) for leaf in ("kernel", "bias")),
    *(
        f"InceptionV1/Mixed_{a}{b}/Branch_{n}/Conv3d_0a_1x1/weights"
        for a in "345"
        for b in "bcd"
        for n in range(4)
    ),
    "bert/pooler/dense/kernel",
    "global_step",
    "Logits/Conv3d_0c_1x1/biases",
]


@pytest.mark.parametrize(
    ("asked", "picked"),
    [
        (
            "bert/encoder/layer_7/attention/self/querry/kernel",
            "bert/encoder/layer_7/attention/self/query/kernel",
        ),
        ("bert/encoder/layer7/attention/self/key/kernel", "bert/encoder/layer_7/attention/self/key/kernel"),
        ("encoder/layer_3/output/dense/bias", "bert/encoder/layer_3/output/dense/bias"),
        ("bert/encoder/layer_3/outputs/dense/biases", "bert/encoder/layer_3/output/dense/bias"),
        (
            "InceptionV1/Mixed_4c/Branch_2/Conv3d_0a_1x1/weight",
            "InceptionV1/Mixed_4c/Branch_2/Conv3d_0a_1x1/weights",
        ),
        ("bert.pooler.dense.kernel", "bert/pooler/dense/kernel"),
        ("globalstep", "global_step"),
        ("Logits/Conv3d_0c_1x1/bias", "Logits/Conv3d_0c_1x1/biases"),
    ],
)
def test_the_name_that_a_person_would_pick_comes_first(asked: str, picked: str) -> None:
    assert nearest(asked, NAMES, count=1) == [picked]
    assert nearest(asked, reversed(NAMES), count=1) == [picked]


def test_what_has_nothing_in_common_is_not_proposed() -> None:
    assert nearest("xyzzy/qqq", NAMES) == []


@given(st.text("ab/.", max_size=8), st.text("ab/.", max_size=8))
def test_components_differ_by_what_difflib_says_or_less(first: str, second: str) -> None:
    """difflib finds some common subsequence of two words, and rapidfuzz the longest; both count it the same way."""
    one, other = first.replace("/", "").replace(".", ""), second.replace("/", "").replace(".", "")
    ratio = difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
    assert distance(one, other) <= 1 - ratio + 1e-9
    assert distance(first, second) == pytest.approx(distance(second, first))
    assert (distance(first, second) == 0) == (first.replace(".", "/") == second.replace(".", "/"))


def test_the_cost_of_a_look_up_grows_with_the_number_of_names_alone() -> None:
    def names(count: int, length: int) -> list[str]:
        return [f"net/layer_{i}/{'block_' * length}{i % 7}/kernel" for i in range(count)]

    few, many = names(2_500, 1), names(10_000, 1)
    assert_linear(
        lambda: nearest("net/layers_5/block/kernel", few), lambda: nearest("net/layers_5/block/kernel", many)
    )
    short, long = names(500, 100), names(500, 400)
    asked = f"net/layers_5/{'block_' * 400}/kernel"
    assert_linear(lambda: nearest(asked, short), lambda: nearest(asked, long))


@pytest.mark.parametrize(
    "name",
    ["a" * 1_000_000, "a/" * 500_000, "\ud800" * 1000, ""],
    ids=["letters", "components", "surrogates", "empty"],
)
def test_long_and_odd_names_are_looked_up_like_others(name: str) -> None:
    with cpu_budget(5):
        assert nearest(name, [*NAMES, *(name[1:] + str(i) for i in range(100))]) is not None


def test_prepared_names_answer_many_times() -> None:
    prepared = Names(NAMES)
    assert [prepared.nearest(name, 1) for name in NAMES] == [[name] for name in NAMES]
