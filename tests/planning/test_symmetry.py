"""Which axes no shape tells apart: those that another layout could exchange without any shape changing."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from einops import rearrange

from tfpt.operations.layout import Layout
from tfpt.operations.slice import Slice
from tfpt.operations.stack import Stack
from tfpt.operations.transform import Transform
from tfpt.planning import Plan
from tfpt.planning.symmetry import exchangeable

Planned = Callable[..., Plan]


@pytest.mark.parametrize(
    ("pattern", "shape", "alike"),
    [
        ("i o -> o i", (5, 5), [("i", "o")]),
        ("i o -> o i", (5, 7), []),
        ("i o -> o i", (1, 1), []),  # exchanging axes of size 1 changes nothing
        ("i o -> i o", (5, 5), [("i", "o")]),  # it could have needed the transpose
        ("h w i o -> o i h w", (3, 3, 5, 7), [("h", "w")]),
        ("h w i o -> o i h w", (3, 3, 5, 5), [("h", "w"), ("i", "o")]),
        ("h w i o -> o i h w", (3, 7, 2, 3), [("h", "o")]),
        ("t h w i o -> o i t h w", (3, 3, 3, 2, 5), [("t", "h", "w")]),
        ("a b c -> c a b", (2, 3, 2), [("a", "c")]),
        ("... c -> c", (1, 1, 3), []),
        ("... c -> c", (1, 1, 1), []),
        ("1 c d -> d c", (1, 3, 3), [("c", "d")]),
        ("a ... -> ... a", (3, 3, 5), [("a", "...[0]")]),
        ("i ... -> (...) i", (7, 3, 3), [("...[0]", "...[1]")]),
        ("i ... -> (...) i", (6, 3, 2), [("(...[0] ...[1])", "i")]),
        ("i ... -> (...) i", (7, 21), []),
        ("h d o -> (h d) o", (3, 2, 6), [("(h d)", "o")]),
        ("h d o -> (h d) o", (3, 2, 7), []),
        ("h d o -> h d 1 o", (3, 2, 6), []),
        ("i h d -> (h d) i", (7, 3, 3), [("h", "d")]),
        ("h w i m -> (i m) 1 h w", (5, 7, 3, 1), []),
    ],
)
def test_equal_axes_are_named(pattern: str, shape: tuple[int, ...], alike: list[tuple[str, ...]]) -> None:
    assert list(exchangeable(Transform(layout=Layout.parse(pattern)).bind([shape]))) == alike


def test_composed_axes_of_the_variable_count_too() -> None:
    layout = Layout.parse("(h d) o -> h d o", {"h": 3})
    assert exchangeable(Transform(layout=layout).bind([(6, 6)])) == (("(h d)", "o"),)
    flattened = Layout.parse("(h w c) o -> o (c h w)", {"h": 2, "w": 3})
    assert exchangeable(Transform(layout=flattened).bind([(30, 7)])) == ()
    found = exchangeable(Transform(layout=flattened).bind([(30, 30)]))
    assert [set(names) for names in found] == [{"(h w c)", "o"}, {"(c h w)", "o"}]


def test_an_axis_along_which_values_are_repeated_does_not_count() -> None:
    layout = Layout.parse("h w i o -> o i t h w", {"t": 3})
    assert exchangeable(Transform(layout=layout).bind([(3, 7, 2, 5)])) == ()


def test_the_sizes_after_a_slice_count_too() -> None:
    bound = Transform(layout=Layout.parse("n d -> n d"), slices=(Slice(axis="n", start=2),))
    assert exchangeable(bound.bind([(9, 7)])) == (("n", "d"),)
    assert exchangeable(bound.bind([(9, 5)])) == ()


def test_a_stack_has_an_axis_of_its_own() -> None:
    stack = Transform(layout=Layout.parse("n i o -> n o i"), join=Stack())
    assert exchangeable(stack.bind([(3, 5)] * 3)) == (("n", "i"),)
    assert exchangeable(Transform(join=Stack()).bind([(3, 5)] * 3)) == (("0", "1"),)
    assert exchangeable(Transform(join=Stack()).bind([(3, 5)] * 2)) == ()


@pytest.mark.parametrize(
    ("shape", "alike"), [((5, 5), (("0", "1"),)), ((5, 7), ()), ((5,), ()), ((1, 1), ()), ((), ())]
)
def test_a_row_without_a_layout_may_have_needed_one(shape: tuple[int, ...], alike: Any) -> None:
    assert exchangeable(Transform().bind([shape])) == alike


PATTERNS = [
    "i o -> o i",
    "i o -> i o",
    "h w i o -> o i h w",
    "h d o -> (h d) o",
    "a b c -> c (a b)",
    "a b c d -> (c a) b d",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_whatever_can_be_exchanged_is_named_and_nothing_else_is(pattern: str) -> None:
    """By trying: every order of the axes of the right side that gives the same shape, and other values."""
    left, right = pattern.split(" -> ")
    groups = re.findall(r"\([^)]*\)|\S+", right)
    names = left.split()
    for shape in itertools.product((2, 3, 6), repeat=len(names)):
        array = np.arange(np.prod(shape)).reshape(shape)
        expected = rearrange(array, pattern)
        axes = [rearrange(array, f"{left} -> {' '.join(order)}") for order in itertools.permutations(groups)]
        letters = [
            rearrange(array, f"{left} -> {right.translate(str.maketrans(a + b, b + a))}")
            for a, b in itertools.combinations(names, 2)
            if shape[names.index(a)] == shape[names.index(b)]
        ]
        others = [o for o in axes + letters if o.shape == expected.shape and not np.array_equal(o, expected)]
        found = exchangeable(Transform(layout=Layout.parse(pattern)).bind([shape]))
        assert bool(found) == bool(others), (pattern, shape, found)


def test_each_row_has_one_note_whatever_its_tensors(plan: Planned) -> None:
    text = 'weights:\n  - {tf: "c{n}/w", pt: "c{n}.w", layout: "h w i o -> o i h w"}\n  - {tf: "d{n}", pt: "d{n}"}'
    tf = {"c1/w": (3, 3, 2, 5), "c2/w": (3, 3, 5, 5), "c3/w": (1, 1, 5, 7), "d1": (7, 7), "d2": (7,)}
    pt = {"c1.w": (5, 2, 3, 3), "c2.w": (5, 5, 3, 3), "c3.w": (7, 5, 1, 1), "d1": (7, 7), "d2": (7,)}
    found = plan(text, tf, pt)
    assert found.ok
    assert [(note.kind, note.where, note.what) for note in found.notes] == [
        (
            "unconfirmed-layout",
            "m.yaml:3",
            "2 tensors, c1/w first, have equal axes h and w; i and o (in 1): the shapes cannot confirm the layout",
        ),
        (
            "unconfirmed-layout",
            "m.yaml:4",
            "1 tensor, d1 first, has equal axes 0 and 1: the shapes cannot confirm that no axes need exchanging",
        ),
    ]
