"""Layouts give what einops gives; axes are prime, and permutations are not their own inverses."""

from __future__ import annotations

import numpy as np
import pytest
from einops import rearrange, repeat
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpt.errors import MappingError
from tfpt.operations.groups import grouped_shape
from tfpt.operations.layout import BoundLayout, Layout, LayoutError

# pattern, axes, shape: the table under "Layouts" in docs/language.md, and more.
TABLE = [
    ("i o -> o i", {}, (2, 3)),
    ("i o -> i o", {}, (2, 3)),
    ("w i o -> o i w", {}, (2, 3, 5)),
    ("h w i o -> o i h w", {}, (2, 3, 5, 7)),
    ("t h w i o -> o i t h w", {}, (2, 3, 5, 7, 11)),
    ("h w i m -> (i m) 1 h w", {}, (2, 3, 5, 7)),
    ("h w o i -> i o h w", {}, (2, 3, 5, 7)),
    ("(h w c) o -> o (c h w)", {"h": 3, "w": 5}, (3 * 5 * 2, 7)),
    ("(h w c) o -> o (c h w)", {"h": 3, "c": 2}, (3 * 5 * 2, 7)),
    ("i h d -> (h d) i", {}, (2, 3, 5)),
    ("i (qkv h d) -> qkv (h d) i", {"qkv": 3, "h": 5}, (2, 3 * 5 * 7)),
    ("qkv i o -> (qkv o) i", {}, (3, 2, 5)),
    ("... i o -> ... o i", {}, (2, 3, 5, 7)),
    ("... i o -> ... o i", {}, (2, 3)),
    ("i ... o -> o ... i", {}, (2, 3, 5, 7)),
    ("a b c -> c a b", {}, (2, 3, 5)),
    ("1 1 c -> c", {}, (1, 1, 7)),
    ("c -> c 1", {}, (7,)),
    ("1 a b -> b 1 a", {}, (1, 2, 3)),
    ("... -> ...", {}, (2, 3)),
    ("x_1 long_name -> long_name x_1", {}, (2, 3)),
    ("i ... -> (...) i", {}, (2, 3, 5)),
    ("i ... -> (...) i", {}, (2, 15)),
    ("i ... -> (...) i", {}, (2,)),
    ("i ... -> i (...)", {}, (2, 3, 5, 7)),
    ("... o -> o (...)", {}, (2, 3, 5, 7)),
    ("n ... o -> (o ... n) 1", {}, (2, 3, 5, 7)),
    ("(n h) ... o -> (h ...) (o n)", {"n": 2}, (6, 5, 7)),
]


def applied(bound: BoundLayout, array: np.ndarray) -> np.ndarray:
    view = bound.permute(bound.split(array))
    return view.reshape(grouped_shape(bound.groups, dict(bound.right)))


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape)


@pytest.mark.parametrize(("pattern", "axes", "shape"), TABLE)
def test_a_layout_gives_what_einops_gives(pattern: str, axes: dict[str, int], shape: tuple[int, ...]) -> None:
    array = numbered(shape)
    expected = rearrange(array, pattern, **axes)
    bound = Layout.parse(pattern, axes).bind(shape)
    assert bound.shape == expected.shape
    np.testing.assert_array_equal(applied(bound, array), expected)


@pytest.mark.parametrize(
    ("pattern", "axes", "shape"),
    [
        ("h w i o -> o i t h w", {"t": 7}, (2, 3, 5, 11)),
        ("a -> a n", {"n": 3}, (5,)),
        ("a b -> (n b) a", {"n": 3}, (2, 5)),
    ],
)
def test_an_axis_that_is_new_on_the_right_repeats_the_values(
    pattern: str, axes: dict[str, int], shape: tuple[int, ...]
) -> None:
    array = numbered(shape)
    bound = Layout.parse(pattern, axes).bind(shape)
    expected = repeat(array, pattern, **axes)
    assert bound.shape == expected.shape
    np.testing.assert_array_equal(applied(bound, array), expected)


@pytest.mark.parametrize("shape", [(7,), (1, 7), (1, 1, 1, 1, 7)])
def test_a_run_that_is_dropped_is_taken_off_whatever_its_length(shape: tuple[int, ...]) -> None:
    array = numbered(shape)
    bound = Layout.parse("... c -> c").bind(shape)
    assert bound.shape == (7,)
    np.testing.assert_array_equal(applied(bound, array), array.ravel())


def test_a_run_that_is_dropped_must_be_all_ones() -> None:
    with pytest.raises(LayoutError) as caught:
        Layout.parse("... c -> c").bind((1, 2, 7))
    assert caught.value.what == "the axes that ... drops must all have size 1"
    assert (caught.value.expected, caught.value.got) == ("... c -> c", "[1, 2, 7]")


def test_permuting_moves_no_value() -> None:
    array = numbered((2, 3, 5))
    bound = Layout.parse("a b c -> c a b").bind(array.shape)
    assert np.shares_memory(bound.permute(bound.split(array)), array)


@st.composite
def patterns(draw: st.DrawFn) -> tuple[str, dict[str, int], tuple[int, ...]]:
    """A pattern with random groups on both sides, sizes for all axes, and the shape of the left side."""
    names = [f"n{index}" for index in range(draw(st.integers(1, 5)))]
    sizes = {name: draw(st.sampled_from([1, 2, 3, 5])) for name in names}

    def side(order: list[str]) -> list[list[str]]:
        groups: list[list[str]] = []
        for name in order:
            if groups and draw(st.booleans()):
                groups[-1].append(name)
            else:
                groups.append([name])
        return groups

    def spelled(groups: list[list[str]]) -> str:
        return " ".join(g[0] if len(g) == 1 else f"({' '.join(g)})" for g in groups)

    left, right = side(names), side(draw(st.permutations(names)))
    shape = tuple(int(np.prod([sizes[name] for name in group])) for group in left)
    return f"{spelled(left)} -> {spelled(right)}", sizes, shape


@settings(max_examples=200)
@given(patterns())
def test_any_pattern_gives_what_einops_gives_and_leads_back_to_its_shape(
    case: tuple[str, dict[str, int], tuple[int, ...]],
) -> None:
    pattern, sizes, shape = case
    array = numbered(shape)
    layout = Layout.parse(pattern, sizes)
    expected = rearrange(array, pattern, **sizes)
    bound = layout.bind(shape)
    assert bound.shape == expected.shape
    np.testing.assert_array_equal(applied(bound, array), expected)
    assert layout.source_shape(expected.shape) == shape


@pytest.mark.parametrize(
    ("pattern", "axes", "shape", "source"),
    [
        ("t h w i o -> o i t h w", {}, (11, 7, 2, 3, 5), (2, 3, 5, 7, 11)),
        ("h w i o -> o i t h w", {"t": 7}, (11, 5, 7, 2, 3), (2, 3, 5, 11)),
        ("(h w c) o -> o (c h w)", {"h": 3, "w": 5}, (7, 30), (30, 7)),
        ("... c -> c", {}, (7,), (7,)),
        ("... i o -> ... o i", {}, (2, 3, 5, 7), (2, 3, 7, 5)),
        ("1 1 c -> c", {}, (7,), (1, 1, 7)),
        ("i ... -> (...) i", {}, (15, 2), (2, 15)),  # how many axes were merged does not follow
        ("h ... o -> o (h ...)", {"h": 3}, (2, 15), (3, 5, 2)),
    ],
)
def test_the_shape_of_the_variable_follows_from_that_of_the_parameter(
    pattern: str, axes: dict[str, int], shape: tuple[int, ...], source: tuple[int, ...]
) -> None:
    assert Layout.parse(pattern, axes).source_shape(shape) == source


@pytest.mark.parametrize(
    ("pattern", "axes", "what", "expected"),
    [
        ("i o", {}, "a layout has two sides", "i o -> o i"),
        ("a -> b -> c", {}, "a layout has two sides", "i o -> o i"),
        ("i o -> o", {}, "the axis 'i' is only on the left, so its values would be lost", "every axis"),
        (
            "i -> i o",
            {},
            "the axis 'o' is only on the right and has no size",
            "one of i, or axes: {o: …}",
        ),
        ("i -> ... i", {}, "the right side has ... but the left side does not", None),
        ("i o -> o i", {"t": 3}, "axes: names 't', which the layout does not have", "one of i, o"),
        ("i 3 -> 3 i", {}, "a size in a layout needs a name", "a letter, with its size in axes:"),
        (
            "(...) o -> o (...)",
            {},
            "... is not allowed in parentheses on the left side",
            "letters there",
        ),
        ("i -> (i ...)", {}, "the right side has ... but the left side does not", None),
        ("i ... -> (... o) i", {}, "the axis 'o' is only on the right and has no size", "one of i, ..."),
        ("(... i) o -> o i", {}, "... is not allowed in parentheses on the left side", "letters there"),
    ],
)
def test_a_pattern_that_makes_no_sense_says_why(
    pattern: str, axes: dict[str, int], what: str, expected: str | None
) -> None:
    with pytest.raises(MappingError) as caught:
        Layout.parse(pattern, axes)
    assert caught.value.what == what
    assert caught.value.got == pattern
    assert expected is None or str(caught.value.expected).startswith(expected)


@pytest.mark.parametrize(
    "pattern", ["i i -> i", "(i -> i", "i) -> i", "... a ... -> a", "a-b -> a", "((a)) -> a"]
)
def test_what_einops_cannot_read_is_refused_with_its_reason(pattern: str) -> None:
    with pytest.raises(MappingError, match="cannot parse the layout") as caught:
        Layout.parse(pattern)
    assert caught.value.got == pattern


@pytest.mark.parametrize(
    ("pattern", "axes", "shape", "what", "expected", "got"),
    [
        (
            "i o -> o i",
            {},
            (2, 3, 5),
            "the left side of the layout does not have as many axes as the tensor",
            "2 axes, as in i o -> o i",
            "3 axes: [2, 3, 5]",
        ),
        (
            "... i o -> ... o i",
            {},
            (2,),
            "the left side of the layout does not have as many axes as the tensor",
            "at least 2 axes, as in ... i o -> ... o i",
            "1 axes: [2]",
        ),
        (
            "(h w) o -> o h w",
            {"h": 3},
            (10, 2),
            "the axis (h w) does not have the size that the layout gives it",
            "a multiple of 3, as in (h w) o -> o h w",
            "10 in [10, 2]",
        ),
        (
            "i o -> o i",
            {"i": 3},
            (5, 2),
            "the axis (i) does not have the size that the layout gives it",
            "3, as in i o -> o i",
            "5 in [5, 2]",
        ),
        (
            "1 c -> c",
            {},
            (2, 5),
            "the axis (1) does not have the size that the layout gives it",
            "1, as in 1 c -> c",
            "2 in [2, 5]",
        ),
        (
            "(h w) o -> o h w",
            {},
            (6, 2),
            "the sizes of h and w do not follow from their product 6",
            "axes: {h: …}",
            "(h w) o -> o h w",
        ),
    ],
)
def test_a_shape_that_does_not_fit_says_what_was_to_be_there(
    pattern: str, axes: dict[str, int], shape: tuple[int, ...], what: str, expected: str, got: str
) -> None:
    with pytest.raises(LayoutError) as caught:
        Layout.parse(pattern, axes).bind(shape)
    assert (caught.value.what, caught.value.expected, caught.value.got) == (what, expected, got)
