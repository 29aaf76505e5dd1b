"""Every operation against its inverse, and its box against the values that its results depend on.

Axes have prime sizes, and permutations are not their own inverse, so that nothing is right by accident.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.operations.test_transform import transform
from tfpt.operations.add import Add
from tfpt.operations.cast import Cast, CastError
from tfpt.operations.combine import Combine
from tfpt.operations.concat import Concat, Split
from tfpt.operations.fold import Fold
from tfpt.operations.function import Apply
from tfpt.operations.layout import Layout
from tfpt.operations.operation import Axes, Box, Irreversible, Operation, numbered, shape_of
from tfpt.operations.pad import Pad
from tfpt.operations.product import Product
from tfpt.operations.reorder import Reorder
from tfpt.operations.scale import Scale
from tfpt.operations.slice import Slice
from tfpt.operations.stack import Stack, Unstack
from tfpt.operations.zero import Zero


def named(**sizes: int) -> Axes:
    return tuple(sizes.items())


def reorder(axis: str, order: Sequence[int | str], groups: Sequence[str] | None = None) -> Reorder:
    return Reorder.model_validate({"axis": axis, "as": order, "groups": groups})


THREE = [named(v=3, d=5), named(v=7, d=5), named(v=2, d=5)]

# An operation and the axes of its inputs.
EXACT: list[tuple[Operation, list[Axes]]] = [
    (Stack(), [named(i=3, o=5)] * 7),
    (Stack(), [()] * 3),
    (Unstack(), [named(l=3, i=5, o=7)]),
    (Concat(axis="v"), THREE),
    (Concat(axis="d"), [named(v=3, d=5), named(v=3, d=2)]),
    (Split(axis="o", sizes=(3, 2)), [named(i=7, o=5)]),
    (Slice(axis="i", step=-1), [named(i=7, o=3)]),
    (Layout.parse("t h w i o -> o i t h w"), [numbered((2, 3, 5, 7, 11))]),
    (Layout.parse("a b c -> c a b"), [numbered((2, 3, 5))]),
    (Layout.parse("h w i m -> (i m) 1 h w"), [numbered((2, 3, 5, 7))]),
    (Layout.parse("(h w c) o -> o (c h w)", {"h": 3, "w": 5}), [numbered((30, 7))]),
    (Layout.parse("... i o -> o ... i"), [numbered((2, 3, 5, 7))]),
    (Layout.parse("... i o -> o i"), [numbered((1, 1, 5, 7))]),
    (Layout.parse("i ... -> (...) i"), [numbered((2, 3, 5))]),
    (Layout.parse("i ... -> (...) i"), [numbered((2,))]),
    (Layout.parse("run0 ... o -> (o ... run0)"), [numbered((2, 3, 5, 7))]),
    (Layout.parse("i o -> o 1 (t i)", {"t": 1}), [numbered((5, 7))]),
    (reorder("o", [2, 0, 1]), [named(i=5, o=21)]),
    (reorder("i", ["i", "f", "g", "o"], ["f", "g", "i", "o"]), [named(i=20, o=3)]),
    (Pad(axis="v", to=11), [named(v=7, d=3)]),
    (Pad(axis="v", multiple=5, value=-1), [named(v=7, d=3)]),
    (Scale(numerator=4), [named(i=5, o=7)]),
    (Scale(numerator=-1, denominator=8), [named(i=5, o=7)]),
    (Add.model_validate(3), [named(i=5, o=7)]),
    (Add(axis="o", groups=("i", "f", "o"), values={"f": 1, "i": -0.5}), [named(i=5, o=21)]),
    (Slice(axis="(g i)", step=-1), [tuple({"o": 3, "(g i)": 7}.items())]),
]
LOSSY: list[tuple[Operation, list[Axes], str]] = [
    (Slice(axis="i", start=1, stop=-1), [named(i=7, o=3)], "the slice leaves out 2 of 7 along axis i"),
    (Slice(axis="i", step=-2), [named(i=7, o=3)], "the slice leaves out 3 of 7 along axis i"),
    (Zero(axis="v", at=-1), [named(v=7, d=3)], "the values at index -1 of axis v are lost"),
    (Zero(axis="d", at=0), [named(v=7, d=3)], "the values at index 0 of axis d are lost"),
    (Layout.parse("i -> i t", {"t": 3}), [numbered((5,))], "the layout repeats the values along t"),
    (Combine(numbers=(2, -0.5)), [named(i=5, o=7)] * 2, "the sum does not determine its 2 terms"),
    (Apply(functions=("square",)), [named(i=5, o=7)], "square loses the signs"),
    (
        Product(factors=(("h", "i", "o"), ("o",)), result=("i", "h")),
        [named(h=2, i=3, o=5), named(o=5)],
        "the product does not determine its factors",
    ),
    (
        Fold(batch_norm=("gamma", "kernel", "variance", "beta", "mean"), eps=1e-3, axis="o"),
        [named(o=5), named(o=5, i=3), *[named(o=5)] * 3],
        "weight and bias do not determine the statistics that they contain",
    ),
]
ALL = [*EXACT, *((operation, inputs) for operation, inputs, _ in LOSSY)]


def arrays_of(inputs: Sequence[Axes]) -> list[np.ndarray]:
    """Every value another whole number."""
    ends = np.cumsum([0, *(math.prod(shape_of(axes)) for axes in inputs)])
    return [
        np.arange(start, start + math.prod(shape_of(axes)), dtype=np.float64).reshape(shape_of(axes))
        for start, axes in zip(ends, inputs, strict=False)
    ]


def applied(operation: Operation, arrays: Sequence[np.ndarray], inputs: Sequence[Axes]) -> list[np.ndarray]:
    results = operation.apply([array.copy() for array in arrays], inputs)
    assert [shape_of(axes) for axes in operation.shape(inputs)] == [result.shape for result in results]
    return results


def there_and_back(operation: Operation, inputs: Sequence[Axes]) -> None:
    inverse = operation.inverse(inputs)
    assert isinstance(inverse, Operation)
    arrays = arrays_of(inputs)
    back = applied(inverse, applied(operation, arrays, inputs), operation.shape(inputs))
    for array, again in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(again, array)


@pytest.mark.parametrize(("operation", "inputs"), EXACT, ids=lambda value: str(value)[:60])
def test_an_operation_followed_by_its_inverse_changes_nothing(
    operation: Operation, inputs: list[Axes]
) -> None:
    there_and_back(operation, inputs)


@pytest.mark.parametrize(("operation", "inputs"), EXACT, ids=lambda value: str(value)[:60])
def test_the_inverse_of_the_inverse_is_the_operation(operation: Operation, inputs: list[Axes]) -> None:
    inverse = operation.inverse(inputs)
    assert isinstance(inverse, Operation)
    results = operation.shape(inputs)
    again = inverse.inverse(results)
    if isinstance(operation, Pad):  # a slice that leaves out the padding does not know its value
        assert again == Irreversible(
            f"the slice leaves out {results[0][0][1] - 7} of {results[0][0][1]} along axis v"
        )
        return
    assert isinstance(again, Operation)
    arrays = arrays_of(inputs)
    for expected, found in zip(
        applied(operation, arrays, inputs), applied(again, arrays, inputs), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("operation", "inputs", "reason"), LOSSY, ids=lambda value: str(value)[:60])
def test_what_loses_values_says_what_it_loses(operation: Operation, inputs: list[Axes], reason: str) -> None:
    assert operation.inverse(inputs) == Irreversible(reason)


PERMUTED = st.integers(2, 5).flatmap(
    lambda rank: st.tuples(st.just([2, 3, 5, 7, 11][:rank]), st.permutations(range(rank)))
)


@settings(max_examples=60)
@given(PERMUTED, st.booleans())
def test_any_permutation_of_axes_has_its_inverse(drawn: tuple[list[int], list[int]], grouped: bool) -> None:
    sizes, order = drawn
    names = "abcde"[: len(sizes)]
    right = " ".join(names[axis] for axis in order)
    pattern = f"{' '.join(names)} -> {f'({right})' if grouped else right}"
    layout, inputs = Layout.parse(pattern), [numbered(sizes)]
    (array,) = arrays_of(inputs)
    np.testing.assert_array_equal(applied(layout, [array], inputs)[0], rearrange(array, pattern))
    there_and_back(layout, inputs)


@settings(max_examples=60)
@given(st.permutations(range(7)), st.sampled_from([7, 14, 21]))
def test_any_order_of_groups_has_its_inverse(order: list[int], size: int) -> None:
    operation, inputs = reorder("o", order), [named(i=3, o=size)]
    (array,) = arrays_of(inputs)
    expected = array.reshape(3, 7, -1)[:, order].reshape(array.shape)
    np.testing.assert_array_equal(applied(operation, [array], inputs)[0], expected)
    inverse = operation.inverse(inputs)
    assert isinstance(inverse, Reorder)
    assert inverse.indices == tuple(np.argsort(order))
    there_and_back(operation, inputs)


@settings(max_examples=60)
@given(st.sampled_from(["1/7", "3/5", "-10/11", 0.1, 0.7071067811865476]), st.integers(-50, 50))
def test_scaling_and_adding_back_gives_every_float32_again(scale: Any, number: int) -> None:
    array = np.random.default_rng(0).normal(0, 3, 997).astype(np.float32)
    inputs = [numbered(array.shape)]
    for operation in (Scale.parse(scale), Add.model_validate(number / 7)):
        (back,) = applied(
            operation.inverse(inputs),  # type: ignore[arg-type]
            applied(operation, [array.astype(np.float64)], inputs),
            inputs,
        )
        # Computed in float64, the two roundings are far below the precision of float32.
        np.testing.assert_array_equal((back.astype(np.float32) + np.float32(0)), array)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("float16", "float32", Cast(dtype="float16")),
        ("bool", "int64", Cast(dtype="bool")),
        ("float32", "bfloat16", Irreversible("from float32 to bfloat16, values are rounded")),
        ("int64", "float32", Irreversible("from int64 to float32, values are rounded")),
        ("float32", "int32", Irreversible("from float32 to int32, fractions are lost")),
        ("int64", "uint8", Irreversible("from int64 to uint8, values out of range are lost")),
        ("complex64", "float32", Irreversible("from complex64 to float32, imaginary parts are lost")),
        (None, "float32", Irreversible("it is not known which dtype was cast")),
    ],
)
def test_a_cast_says_what_it_loses(source: str | None, target: str, expected: object) -> None:
    assert Cast(dtype=target).inverse([], source) == expected


def test_a_cast_and_its_inverse_give_the_values_again() -> None:
    array = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float16)
    inverse = Cast(dtype="float32").inverse([], "float16")
    assert isinstance(inverse, Cast)
    (back,) = inverse.apply(Cast(dtype="float32").apply([array]))
    assert back.dtype == np.float16
    np.testing.assert_array_equal(back, array)
    with pytest.raises(CastError) as caught:
        Cast(dtype="int8").apply([np.zeros(3), np.float64([1e3])])
    assert caught.value.piece == 1


# -- boxes ----------------------------------------------------------------------------------------------


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, ...]) -> Box:
    found = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        found.append(slice(start, draw(st.integers(start + 1, size))))
    return tuple(found)


def needed(operation: Operation, inputs: Sequence[Axes], output: int, wanted: Box) -> list[Box | None]:
    """The smallest boxes, by changing one value after another and looking at the result."""
    # A factor of 0 would hide what it is multiplied by.
    arrays = [np.asarray(array + 1) for array in arrays_of(inputs)]
    before = applied(operation, arrays, inputs)[output][wanted]
    found: list[Box | None] = []
    for number, array in enumerate(arrays):
        places = []
        for place in np.ndindex(array.shape):
            changed = [other.copy() for other in arrays]
            changed[number][place] += 1e6
            if not np.array_equal(applied(operation, changed, inputs)[output][wanted], before):
                places.append(place)
        if not places:
            found.append(None)
            continue
        corners = np.array(places).reshape(len(places), array.ndim)
        found.append(
            tuple(
                slice(int(low), int(high) + 1)
                for low, high in zip(corners.min(0), corners.max(0), strict=True)
            )
        )
    return found


SMALL = [(op, inputs) for op, inputs in ALL if sum(math.prod(shape_of(axes)) for axes in inputs) < 150]
GROUPED = Layout.parse("(h w) (i o) -> o (w h i)", {"h": 2, "o": 3})


@pytest.mark.parametrize(
    ("operation", "inputs"), [*SMALL, (GROUPED, [numbered((6, 6))])], ids=lambda value: str(value)[:60]
)
@settings(max_examples=12, deadline=None)
@given(st.data())
def test_a_box_is_the_smallest_that_contains_every_value_needed(
    operation: Operation, inputs: list[Axes], data: st.DataObject
) -> None:
    results = operation.shape(inputs)
    output = data.draw(st.integers(0, len(results) - 1))
    wanted = data.draw(boxes(shape_of(results[output])))
    found = operation.box(wanted, inputs, output)
    if isinstance(operation, Layout) and any("(" in side for side in str(operation).split("->")):
        # A box of merged axes need not be one of their parts: it may be larger, but it must be enough.
        for box, least in zip(found, needed(operation, inputs, output, wanted), strict=True):
            assert box is not None
            assert least is not None
            assert all(b.start <= n.start and n.stop <= b.stop for b, n in zip(box, least, strict=True))
        return
    assert found == needed(operation, inputs, output, wanted)


@pytest.mark.parametrize("index", range(3))
def test_a_cast_needs_the_box_that_is_wanted_and_no_other_input(index: int) -> None:
    box = (slice(1, 2), slice(0, 5))
    assert Cast(dtype="float16").box(box, THREE, index) == [
        box if number == index else None for number in range(3)
    ]


@pytest.mark.parametrize(
    ("row", "shapes", "pieces"),
    [
        ("tf: a, pt: b, scale: 2", [(3, 5)], 1),
        ("tf: [a, b], pt: c", [(3, 5), (3, 5)], 1),
        ('tf: a, pt: b, layout: "h w i m -> (i m) 1 h w"', [(2, 3, 5, 2)], 1),
        ('tf: a, pt: b, layout: "h w i o -> o i t h w", axes: {t: 3}, scale: 1/3', [(2, 3, 5, 7)], 1),
        ('tf: [q, k, v], pt: b, layout: "n i o -> (n o) i"', [(5, 2)] * 3, 1),
        ('tf: [a, b], pt: c, layout: "v d -> d v", concat: v, slice: {v: "1:-1"}', [(3, 2), (7, 2)], 1),
        ('tf: a, pt: [x, y, z], layout: "i (n o) -> n o i", axes: {n: 3}', [(5, 6)], 3),
        (
            'tf: a, pt: b, layout: "(g i) o -> o g i", axes: {g: 2}, slice: {"(g i)": "3:", i: "1:"}',
            [(9, 2)],
            1,
        ),
        (
            'tf: [a, b], pt: c, layout: ["(h w) o -> w (o h)", "w n -> w n"], axes: {h: 2}, concat: n',
            [(6, 2), (3, 5)],
            1,
        ),
        ('tf: [a, b], pt: c, layout: ["i o -> o i", "o i -> o i"], combine: [1, -2]', [(3, 5), (5, 3)], 1),
        ('tf: [a, b], pt: c, product: "(h w) i o, 1 o -> (i h w)", axes: {h: 2}', [(6, 2, 3), (1, 3)], 1),
        (
            'tf: [k, m, v], pt: [x, y], layout: "h i o -> (o i) h", '
            'fold: {batch_norm: [kernel, mean, variance], eps: 1, axis: "(o i)"}',
            [(2, 3, 2), (1, 6), (6,)],
            2,
        ),
        ('tf: a, pt: [x, y], layout: "i o -> o i", split: {axis: o, sizes: [2, 5]}', [(3, 7)], 2),
        (
            'tf: a, pt: b, layout: "(h w) o -> o (w h)", axes: {h: 3}, slice: {w: "::-2"}, '
            "reorder: {axis: o, as: [2, 0, 1]}, add: {axis: o, groups: [x, y, z], values: {y: 1}}, "
            "pad: {axis: o, to: 11}, zero: {axis: h, at: 1}",
            [(15, 6)],
            1,
        ),
    ],
)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_boxes_of_a_whole_row_are_enough(
    row: str, shapes: list[tuple[int, ...]], pieces: int, data: st.DataObject
) -> None:
    bound = transform(row).bind(shapes, pieces)
    arrays = arrays_of(list(map(numbered, shapes)))
    piece = data.draw(st.integers(0, pieces - 1))
    wanted = data.draw(boxes(bound.shapes[piece]))
    found = bound.box(wanted, piece)
    assert len(found) == len(arrays)
    read = []
    for array, box in zip(arrays, found, strict=True):
        blank = np.full(array.shape, 1e6)
        if box is not None:
            assert all(
                0 <= span.start < span.stop <= size for span, size in zip(box, array.shape, strict=True)
            )
            blank[box] = array[box]
        read.append(blank)
    targets = [np.dtype(np.float64)] * pieces
    expected, result = (bound.apply(values, targets)[piece][wanted] for values in (arrays, read))
    np.testing.assert_array_equal(result, expected)
