"""From the shapes of parameters back to shapes of variables: bound to these, a row writes just those parameters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.operations.test_transform import transform
from tfpt.operations.inversion import source_shapes
from tfpt.operations.layout import LayoutError


@pytest.mark.parametrize(
    ("row", "written", "count", "read"),
    [
        ('tf: a, pt: b, layout: "h w i o -> o i h w"', [(7, 5, 2, 3)], 1, [(2, 3, 5, 7)]),
        ('tf: [q, k, v], pt: b, layout: "n i o -> (n o) i", axes: {n: 3}', [(6, 5)], 3, [(5, 2)] * 3),
        ('tf: a, pt: [x, y], layout: "i (n o) -> n o i", axes: {n: 2}', [(3, 5), (3, 5)], 1, [(5, 6)]),
        (
            'tf: a, pt: [x, y], layout: "i o -> o i", split: {axis: o, sizes: [3, 2]}',
            [(3, 7), (2, 7)],
            1,
            [(7, 5)],
        ),
        ('tf: a, pt: b, layout: "i o -> o i", slice: {i: "2:"}', [(3, 5)], 1, [(7, 3)]),
        ("tf: a, pt: b", [(3, 5)], 1, [(3, 5)]),
        ('tf: a, pt: b, layout: "v d -> d v", slice: {v: "1:-1"}', [(3, 5)], 1, [(7, 3)]),
        ('tf: a, pt: b, layout: "v d -> d v", slice: {v: "::2"}', [(3, 5)], 1, [(9, 3)]),
        ('tf: a, pt: b, layout: "v d -> d v", slice: {v: "::-1"}', [(3, 5)], 1, [(5, 3)]),
        ('tf: a, pt: b, layout: "v d -> d v", slice: {v: "-3::-2"}', [(3, 5)], 1, [(11, 3)]),
        ('tf: a, pt: b, layout: "v d -> d v", slice: {v: "-5:"}', [(3, 5)], 1, [(5, 3)]),
        ('tf: a, pt: b, layout: "v d -> d v", slice: {v: "2:9:3"}', [(3, 3)], 1, [(9, 3)]),
        ('tf: a, pt: b, layout: "(v d) -> d v", axes: {d: 3}, slice: {v: "2:"}', [(3, 5)], 1, [(21,)]),
        ('tf: a, pt: b, layout: "(v d) -> d v", axes: {v: 7}, slice: {v: "2:"}', [(3, 5)], 1, [(21,)]),
        (
            'tf: a, pt: b, layout: "(n o) i -> (n o) i", axes: {n: 3}, slice: {n: "1:"}',
            [(10, 7)],
            1,
            [(15, 7)],
        ),
        ('tf: a, pt: b, layout: "v d -> v d", pad: {axis: v, to: 8}', [(8, 3)], 1, [(8, 3)]),
        (
            'tf: a, pt: b, layout: "v d -> v d", slice: {v: "0:5"}, pad: {axis: v, to: 8}',
            [(8, 3)],
            1,
            [(5, 3)],
        ),
        (
            'tf: a, pt: b, layout: "v -> v", reorder: {axis: v, as: [2, 0, 1]}, pad: {axis: v, multiple: 4}',
            [(8,)],
            1,
            [(6,)],
        ),
        ('tf: [q, k, v], pt: b, layout: "n i o -> (n o) i"', [(6, 5)], 3, [(5, 2)] * 3),
        ('tf: [q, k, v], pt: b, layout: "n i o -> (n o) i", slice: {n: "1:"}', [(4, 5)], 3, [(5, 2)] * 3),
        ('tf: "l{i:int}/w", pt: b, layout: "n i o -> n o i"', [(3, 5, 2)], None, [(2, 5)] * 3),
        (
            'tf: "l{i:int}/w", pt: b, layout: "n i o -> n o i", slice: {n: "1:"}',
            [(3, 5, 2)],
            None,
            [(2, 5)] * 4,
        ),
        (
            'tf: all, pt: "l.{i:int}", layout: "l i o -> l o i", slice: {l: "1:-1"}',
            [(7, 2)] * 3,
            1,
            [(5, 2, 7)],
        ),
        ('tf: [a, b, c], pt: t, layout: "v d -> d v", concat: v', [(3, 11)], 3, [(4, 3), (4, 3), (3, 3)]),
        ('tf: [a, b], pt: t, layout: "... v -> ... v", concat: v', [(3, 5)], 2, [(3, 3), (3, 2)]),
        ('tf: a, pt: [x, y], layout: "... o -> ... o", split: o', [(3, 2, 5), (3, 2, 5)], 1, [(3, 2, 10)]),
        ('tf: a, pt: b, layout: "i ... -> (...) i"', [(6, 5)], 1, [(5, 6)]),
        (
            'tf: a, pt: b, layout: "(g o i) -> (g o) i", axes: {g: 4, o: 5}, slice: {"(g o i)": "100:240"}',
            [(20, 7)],
            1,
            [(240,)],
        ),
        (
            'tf: a, pt: b, layout: "(g i) o -> o g i", axes: {g: 2}, slice: {"(g i)": "::-2", i: "1:"}',
            [(3, 2, 4)],
            1,
            [(19, 3)],
        ),
        (
            'tf: [b, k], pt: c, layout: ["o -> o 1", "1 1 i o -> o i"], concat: i',
            [(7, 6)],
            2,
            [(7,), (1, 1, 5, 7)],
        ),
        (
            'tf: [a, b, c], pt: d, layout: ["h i o -> o (h i)", "n o -> o n", "o -> o n"], '
            "axes: {n: 3, h: 2}, concat: n",
            [(7, 14)],
            3,
            [(2, 4, 7), (3, 7), (7,)],
        ),
        ('tf: [a, b], pt: c, layout: ["i o -> o i", "o i -> o i"]', [(2, 3, 5)], 2, [(5, 3), (3, 5)]),
        ('tf: [a, b], pt: c, layout: "i o -> o i", combine: [1, -1]', [(3, 5)], 2, [(5, 3)] * 2),
        (
            'tf: [a, b], pt: c, layout: ["i o -> o i", "o i -> o i"], combine: [1, 1]',
            [(3, 5)],
            2,
            [(5, 3), (3, 5)],
        ),
        ('tf: [w, u], pt: c, product: "h i o, 1 o -> h i", axes: {o: 7}', [(3, 5)], 2, [(3, 5, 7), (1, 7)]),
        (
            'tf: [m, v, k], pt: [x, y], layout: "h i m -> (i m) 1 h", axes: {m: 2}, '
            'fold: {batch_norm: [mean, variance, kernel], eps: 1, axis: "(i m)"}',
            [(6, 1, 3), (6,)],
            3,
            [(6,), (6,), (3, 3, 2)],
        ),
        ("tf: a, pt: b, apply: [log, square], scale: 2", [(3, 5)], 1, [(3, 5)]),
    ],
)
def test_shapes_of_variables_follow_from_those_of_the_parameters(
    row: str, written: list[tuple[int, ...]], count: int | None, read: list[tuple[int, ...]]
) -> None:
    found = source_shapes(transform(row), written, count)
    assert found == read
    assert list(transform(row).bind(found, len(written)).shapes) == written


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_slice_has_a_size_that_fits_and_it_is_the_smallest(data: st.DataObject) -> None:
    ends = st.one_of(st.just(""), st.integers(-7, 7).map(str))
    step = data.draw(st.sampled_from(["", "1", "2", "3", "-1", "-2"]))
    text = f"{data.draw(ends)}:{data.draw(ends)}:{step}"
    size = data.draw(st.integers(1, 9))
    start, stop, by = (int(part) if part else None for part in text.split(":"))
    # By trying, with a list.
    fitting = [length for length in range(60) if len([*range(length)][start:stop:by]) == size]
    row = transform(f'tf: a, pt: b, layout: "v d -> d v", slice: {{v: "{text}"}}')
    if fitting:
        assert source_shapes(row, [(3, size)], 1) == [(fitting[0], 3)]
    else:
        with pytest.raises(LayoutError, match="no size of axis v yields the parameter's size"):
            source_shapes(row, [(3, size)], 1)


@pytest.mark.parametrize(
    ("row", "written", "count", "what"),
    [
        ('tf: a, pt: b, layout: "(h w) -> h w", slice: {h: "0:2"}', [(3, 5)], 1, "no size of axis h yields"),
        ('tf: a, pt: b, layout: "i o -> (i o)"', [(15,)], 1, "the sizes of i and o do not follow"),
        ('tf: [a, b], pt: c, layout: "n i -> n i"', [(3, 5)], 2, "the axis (n) does not have the size"),
        ("tf: [a, b], pt: c", [(3, 5)], 2, "the number of stacked variables does not match"),
        (
            'tf: [a, b, c], pt: t, layout: "v d -> d v", concat: v',
            [(3, 2)],
            3,
            "3 variables cannot be joined",
        ),
        ('tf: a, pt: b, layout: "v -> v", pad: {axis: v, to: 7}', [(5,)], 1, "no size of axis v yields"),
        (
            'tf: [w, u], pt: c, product: "h i o, 1 o -> h i"',
            [(3, 5)],
            2,
            "the product does not have the axis o",
        ),
        (
            'tf: [a, b], pt: c, layout: ["o -> o n", "o -> o 1"], axes: {n: 2}, concat: n',
            [(3, 4)],
            2,
            "2 variables cannot be joined",
        ),
        (
            'tf: a, pt: b, layout: "(a b) -> a b", axes: {a: 2}, slice: {"(a b)": "1:4"}',
            [(2, 3)],
            1,
            "no size of axis (a b) yields",
        ),
    ],
)
def test_what_no_variable_fits_is_refused(
    row: str, written: list[tuple[int, ...]], count: int, what: str
) -> None:
    with pytest.raises(LayoutError) as caught:
        source_shapes(transform(row), written, count)
    assert caught.value.what.startswith(what)


@pytest.mark.parametrize(
    ("known", "found"),
    [
        ([(3, 5), None], [(3, 5), (1, 5)]),
        ([None, (1, 7)], [(3, 7), (1, 7)]),
        # Only summed over, and no other row says how long: any size would do.
        ([None, None], [(3, 1), (1, 1)]),
    ],
)
def test_an_axis_that_a_product_only_sums_over_has_the_size_that_other_rows_give_it(known, found):
    row = transform('tf: [w, u], pt: c, product: "i o, 1 o -> i"')
    assert source_shapes(row, [(3,)], 2, known) == found
    assert list(row.bind(found, 1).shapes) == [(3,)]
    weights, vectors = map(np.ones, found)
    assert np.einsum("io,xo->i", weights, vectors).shape == (3,)


def test_sizes_of_factors_determine_those_that_the_result_merges():
    row = transform('tf: [w, u], pt: c, product: "h w i o, 1 o -> (i h w)"')
    assert source_shapes(row, [(30,)], 2, [(2, 3, 5, 7), None]) == [(2, 3, 5, 7), (1, 7)]
    with pytest.raises(LayoutError):
        source_shapes(row, [(30,)], 2, [None, (1, 7)])
