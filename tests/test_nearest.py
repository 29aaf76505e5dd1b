"""The closest names first; the expectations are worked out by hand."""

from __future__ import annotations

import time

import pytest

from tfpt.nearest import distance, nearest


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


def test_thousands_of_candidates_take_milliseconds() -> None:
    candidates = [f"net/layer_{i}/block_{i % 7}/kernel" for i in range(10_000)]
    begun = time.perf_counter()
    for i in range(20):
        nearest(f"net/layers_{i}/block/kernel", candidates)
    assert time.perf_counter() - begun < 4  # 0.2 s alone
