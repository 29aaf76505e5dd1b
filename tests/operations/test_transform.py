"""What a row does to values, against numpy and einops written out in the test.

Each row is read from YAML, so that what is tested is what a mapping says.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import yaml
from einops import rearrange, repeat
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpt.language.compiler import Compiler
from tfpt.language.mapping import Copy
from tfpt.language.schema import MappingEntry
from tfpt.language.tree import parse_document
from tfpt.operations.cast import CastError
from tfpt.operations.casting import Loss
from tfpt.operations.concat import Concat
from tfpt.operations.layout import Layout, LayoutError
from tfpt.operations.scale import Scale
from tfpt.operations.transform import Transform

F32 = np.dtype(np.float32)


def transform(row: str) -> Transform:
    text = f"{{version: 1, weights: [{{{row}}}]}}"
    entry = MappingEntry.model_validate(yaml.safe_load(text))
    compiler = Compiler(parse_document(text, "m.yaml"), entry)
    (found,) = compiler.alternatives()[0].rows
    compiler.finish()
    assert isinstance(found, Copy)
    return found.transform


def values(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, shape).astype(dtype)


def apply(row: str, *arrays: np.ndarray, pieces: int = 1, dtype: Any = F32) -> list[np.ndarray]:
    bound = transform(row).bind([array.shape for array in arrays], pieces)
    written = bound.apply(arrays, [np.dtype(dtype)] * pieces)
    assert [array.shape for array in written] == list(bound.shapes)
    assert all(array.flags.c_contiguous and array.dtype == np.dtype(dtype) for array in written)
    return written


def one(row: str, *arrays: np.ndarray, dtype: Any = F32) -> np.ndarray:
    (written,) = apply(row, *arrays, dtype=dtype)
    return written


A, B, C = values(2, 3, seed=1), values(2, 3, seed=2), values(2, 3, seed=3)
K = values(7, 10, seed=4)  # a kernel of 7 inputs and 5 groups of 2 outputs


# -- one key at a time --------------------------------------------------------------------------------


def test_a_row_without_a_layout_writes_the_tensor_as_it_is() -> None:
    written = one("tf: a, pt: b", A)
    np.testing.assert_array_equal(written, A)
    assert np.shares_memory(written, A)


def test_a_layout_that_changes_nothing_gives_a_view() -> None:
    assert np.shares_memory(one('tf: a, pt: b, layout: "i o -> i o"', A), A)
    assert np.shares_memory(one('tf: a, pt: b, layout: "... i o -> i (o)"', A[None]), A)


def test_a_layout_is_carried_out() -> None:
    kernel = values(2, 3, 5, 7, 11)
    written = one('tf: a, pt: b, layout: "t h w i o -> o i t h w"', kernel)
    np.testing.assert_array_equal(written, rearrange(kernel, "t h w i o -> o i t h w"))


def test_a_large_kernel_goes_through_the_tiled_copy_unchanged() -> None:
    kernel = values(3, 5, 211, 199)
    written = one('tf: a, pt: b, layout: "h w i o -> o i h w"', kernel)
    np.testing.assert_array_equal(written, rearrange(kernel, "h w i o -> o i h w"))


def test_several_variables_are_stacked_in_the_order_of_the_row() -> None:
    row = 'tf: [q, k, v], pt: qkv, layout: "qkv i o -> (qkv o) i"'
    np.testing.assert_array_equal(one(row, A, B, C), np.vstack([A.T, B.T, C.T]))
    np.testing.assert_array_equal(one("tf: [q, k], pt: qk", A, B), np.stack([A, B]))


def test_unequal_pieces_are_joined_along_a_named_axis() -> None:
    table, rest = values(5, 3), values(2, 3, seed=9)
    row = 'tf: [table, rest], pt: t, layout: "v d -> d v", concat: v'
    np.testing.assert_array_equal(one(row, table, rest), np.concatenate([table, rest]).T)
    row = 'tf: [a, b], pt: t, layout: "... v d -> d v", concat: {axis: d}'
    left, right = values(1, 2, 3), values(1, 2, 5, seed=9)
    np.testing.assert_array_equal(one(row, left, right), np.concatenate([left, right], 2)[0].T)


def test_one_variable_is_split_on_the_first_axis_of_its_layout() -> None:
    fused = values(5, 3 * 2)
    row = 'tf: qkv, pt: [q, k, v], layout: "i (qkv o) -> qkv o i", axes: {qkv: 3}'
    written = apply(row, fused, pieces=3)
    for piece, expected in zip(written, np.split(fused, 3, axis=1), strict=True):
        np.testing.assert_array_equal(piece, expected.T)


@pytest.mark.parametrize(
    ("split", "width", "cuts"), [("{axis: o, sizes: [2, 5, 3]}", 10, [2, 7]), ("o", 15, [5, 10])]
)
def test_one_variable_is_split_along_an_axis_into_pieces(split: str, width: int, cuts: list[int]) -> None:
    fused = values(3, width)
    written = apply(f'tf: a, pt: [x, y, z], layout: "i o -> i o", split: {split}', fused, pieces=3)
    for piece, expected in zip(written, np.split(fused, cuts, axis=1), strict=True):
        np.testing.assert_array_equal(piece, expected)


def test_an_index_of_the_parameters_takes_a_variable_apart() -> None:
    stacked = values(5, 2, 3)
    written = apply('tf: all/w, pt: "l.{i:int}.w", layout: "l i o -> l o i"', stacked, pieces=5)
    for index, piece in enumerate(written):
        np.testing.assert_array_equal(piece, stacked[index].T)


def test_an_index_of_the_variables_stacks_them() -> None:
    written = one('tf: "l{i:int}/w", pt: all, layout: "l i o -> o l i"', A, B, C)
    np.testing.assert_array_equal(written, np.stack([A, B, C]).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("1:", np.s_[1:]),
        (":-2", np.s_[:-2]),
        ("2:5", np.s_[2:5]),
        ("::3", np.s_[::3]),
        ("5:1:-2", np.s_[5:1:-2]),
    ],
)
def test_a_slice_is_a_python_slice_of_the_named_axis(text: str, cut: slice) -> None:
    written = one(f'tf: a, pt: b, layout: "i o -> o i", slice: {{i: "{text}"}}', K)
    np.testing.assert_array_equal(written, K[cut].T)


def test_a_slice_reaches_an_axis_inside_a_group() -> None:
    flat = values(3 * 5, 2)
    written = one('tf: a, pt: b, layout: "(h w) o -> o h w", axes: {h: 3}, slice: {w: "1:3", h: ":2"}', flat)
    np.testing.assert_array_equal(written, rearrange(flat.reshape(3, 5, 2)[:2, 1:3], "h w o -> o h w"))


def test_the_gates_of_a_recurrent_cell_change_their_order() -> None:
    kernel = values(3, 4 * 2)  # TensorFlow: i, j, f, o; PyTorch: i, f, g, o
    i, j, f, o = np.split(kernel, 4, axis=1)
    row = 'tf: a, pt: b, layout: "i o -> o i", reorder: {axis: o, groups: [i, j, f, o], as: [i, f, j, o]}'
    np.testing.assert_array_equal(one(row, kernel), np.concatenate([i, f, j, o], axis=1).T)


def test_a_reordering_that_is_not_its_own_inverse_goes_the_right_way() -> None:
    row = 'tf: a, pt: b, layout: "i o -> o i", reorder: {axis: o, groups: [a, b, c], as: [c, a, b]}'
    kernel = values(5, 6)
    a, b, c = np.split(kernel, 3, axis=1)
    np.testing.assert_array_equal(one(row, kernel), np.concatenate([c, a, b], axis=1).T)


def test_bgr_becomes_rgb() -> None:
    kernel = values(2, 5, 3, 7)
    row = 'tf: a, pt: b, layout: "h w i o -> o i h w", reorder: {axis: i, as: [2, 1, 0]}'
    np.testing.assert_array_equal(one(row, kernel), kernel[:, :, [2, 1, 0]].transpose(3, 2, 0, 1))


def test_the_forget_gates_bias_is_added_to_its_group_only() -> None:
    bias = values(4 * 3)
    row = 'tf: a, pt: b, layout: "o -> o", add: {axis: o, groups: [i, j, f, o], values: {f: 1, o: 1/4}}'
    expected = bias + np.repeat(np.float32([0, 0, 1, 0.25]), 3)
    np.testing.assert_array_equal(one(row, bias), expected)


def test_a_gate_is_added_to_after_the_gates_are_reordered() -> None:
    bias = values(4 * 2)
    i, j, f, o = np.split(bias, 4)
    row = (
        'tf: a, pt: b, layout: "o -> o", reorder: {axis: o, groups: [i, j, f, o], as: [i, f, j, o]}, '
        "add: {axis: o, groups: [i, f, j, o], values: {f: 1}}"
    )
    np.testing.assert_array_equal(one(row, bias), np.concatenate([i, f + np.float32(1), j, o]))


def test_one_number_is_added_to_everything() -> None:
    np.testing.assert_array_equal(one("tf: a, pt: b, add: -1/2", A), A - np.float32(0.5))


def test_a_scale_of_a_fraction_divides_and_does_not_multiply_by_a_rounded_reciprocal() -> None:
    array = np.arange(1, 1000, dtype=np.float32)
    written = one("tf: a, pt: b, scale: 1/7", array)
    np.testing.assert_array_equal(written, array / np.float32(7))
    assert (written != array * np.float32(1 / 7)).any()  # so the line above tells the two apart


def nearest(exact: list[Fraction], dtype: Any) -> np.ndarray:
    """The value of a float dtype nearest to each fraction, found among the neighbors of a first guess."""
    found = []
    for value in exact:
        guess = np.array([float(value)]).astype(dtype)[0]
        neighbors = [guess, np.nextafter(guess, dtype(np.inf)), np.nextafter(guess, dtype(-np.inf))]
        finite = [near for near in neighbors if np.isfinite(near)]
        even = {near.tobytes(): int(near.view(f"u{near.itemsize}")) & 1 for near in finite}
        found.append(min(finite, key=lambda near: (abs(Fraction(float(near)) - value), even[near.tobytes()])))
    return np.array(found, dtype)


SCALES = [
    "2",
    "-1",
    "0.1",
    "1e-3",
    "3/5",
    "1/7",
    "-10/11",
    "1",
    "0.7071067811865476",
    "1e24",
    "1e-30",
    "123456789/1000",
]


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_gives_the_float32_nearest_to_the_product(scale: str) -> None:
    array = values(7, 11, seed=8)
    exact = [Fraction(float(value)) * Fraction(scale) for value in array.reshape(-1)]
    written = one(f"tf: a, pt: b, scale: {scale}", array)
    np.testing.assert_array_equal(written.reshape(-1), nearest(exact, np.float32))


@pytest.mark.parametrize("scale", ["3/5", "1/7", "-10/11", "5", "123456789/1000"])
def test_a_fraction_of_float64_is_rounded_once(scale: str) -> None:
    array = values(17, 11, seed=8, dtype=np.float64)
    exact = [Fraction(float(value)) * Fraction(scale) for value in array.reshape(-1)]
    written = one(f"tf: a, pt: b, scale: {scale}", array, dtype=np.float64)
    np.testing.assert_array_equal(written.reshape(-1), nearest(exact, np.float64))


def test_a_fraction_in_two_steps_would_be_something_else() -> None:
    array = values(17, 11, seed=8, dtype=np.float64)
    written = one("tf: a, pt: b, scale: 10/11", array, dtype=np.float64)
    assert (written != array * 10 / 11).any()


def test_a_decimal_scale_is_the_float64_nearest_to_it() -> None:
    array = values(7, 11, dtype=np.float64)
    written = one("tf: a, pt: b, scale: 0.7071067811865476", array, dtype=np.float64)
    np.testing.assert_array_equal(written, array * 0.7071067811865476)
    written = one("tf: a, pt: b, scale: 1e24", array, dtype=np.float64)
    np.testing.assert_array_equal(written, array * 1e24)


def test_a_fraction_whose_parts_float64_has_not_is_the_nearest_number() -> None:
    array = values(7, 11, dtype=np.float64)
    huge = Fraction(10**30 + 7, 3**60)
    written = one(f"tf: a, pt: b, scale: {huge.numerator}/{huge.denominator}", array, dtype=np.float64)
    np.testing.assert_array_equal(written, array * float(huge))


def test_complex_numbers_are_scaled_in_both_parts() -> None:
    array = np.array([1 + 2j, complex(np.inf, 3), -7j], np.complex64)
    written = one("tf: a, pt: b, scale: 3/7, add: 0.5", array, dtype=np.complex64)
    real = (array.real.astype(np.float64) * 3 / 7 + 0.5).astype(np.float32)
    np.testing.assert_array_equal(written.real, real)
    np.testing.assert_array_equal(written.imag, (array.imag.astype(np.float64) * 3 / 7).astype(np.float32))


def test_the_source_is_not_changed() -> None:
    array = A.copy()
    one('tf: a, pt: b, scale: 3, add: 1, layout: "i o -> i o", zero: {axis: i, at: 0}', array)
    np.testing.assert_array_equal(array, A)
    array.flags.writeable = False  # sources hand out read-only views
    row = 'tf: a, pt: b, layout: "i o -> o i", add: {axis: o, groups: [x, y, z], values: {y: 1}}'
    expected = A.T + np.float32([[0], [1], [0]])
    np.testing.assert_array_equal(one(row, array), expected)


NARROW = [ml_dtypes.bfloat16, np.float16, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn]


@pytest.mark.parametrize("narrow", NARROW)
@pytest.mark.parametrize("written", [np.float32, np.float64, ml_dtypes.bfloat16, np.float16])
def test_narrow_floats_are_computed_with_in_float64_and_cast_once(narrow: Any, written: Any) -> None:
    array = values(1009, dtype=narrow)
    found = one("tf: a, pt: b, scale: 3/7, add: 0.3", array, dtype=written)
    exact = [Fraction(float(value)) * 3 / 7 + Fraction(0.3) for value in array.astype(np.float64)]
    if written in (np.float32, np.float16):
        np.testing.assert_array_equal(found, nearest(exact, written))
    wide = array.astype(np.float64) * 3 / 7 + 0.3
    half_step = np.abs(wide) * float(ml_dtypes.finfo(written).eps) / 2
    assert (np.abs(found.astype(np.float64) - wide) <= half_step * (1 + 1e-9) + 1e-15).all()
    # Rounded back to the narrow type in between, most would be something else.
    back = wide.astype(np.float32).astype(narrow).astype(np.float32).astype(written)
    if np.dtype(written).itemsize > 2:
        assert (back.astype(np.float64) != found.astype(np.float64)).mean() > 0.5


def test_float64_is_scaled_and_added_to_before_it_is_rounded() -> None:
    array = values(1009, dtype=np.float64)
    found = one("tf: a, pt: b, scale: 0.1, add: 0.3", array)
    np.testing.assert_array_equal(found, (array * 0.1 + 0.3).astype(np.float32))
    assert (found != array.astype(np.float32) * np.float32(0.1) + np.float32(0.3)).any()


MIXED = [
    (ml_dtypes.bfloat16, np.float32),
    (np.float16, ml_dtypes.bfloat16),
    (np.float32, np.float64),
    (np.int32, np.float32),
    (np.int64, np.float32),
    (np.uint8, ml_dtypes.bfloat16),
    (np.int64, np.uint64),
    (np.complex64, np.float64),
]


@pytest.mark.parametrize(("first", "second"), [*MIXED, *(pair[::-1] for pair in MIXED)])
@pytest.mark.parametrize(
    "written", [(np.float64, np.float64), (np.float32, np.float64), (np.float64, np.float32)]
)
def test_what_is_joined_goes_through_no_narrower_dtype(first: Any, second: Any, written: Any) -> None:
    a, b = (
        np.abs(values(2, 101, seed=seed) * 1000).astype(dtype) for seed, dtype in enumerate((first, second))
    )
    if np.int64 in (first, second):
        (a if first == np.int64 else b)[0, :3] = [2**53 + 1, 2**24 + 1, 2**62 + 2**37 + 1]
    targets = [
        np.dtype(np.complex128 if "complex64" in (a.dtype.name, b.dtype.name) else held) for held in written
    ]
    bound = transform('tf: [a, b], pt: [x, y], layout: "n i o -> i n o"').bind([(2, 101), (2, 101)], 2)
    found = bound.apply([a, b], targets)
    for index, (piece, held) in enumerate(zip(found, targets, strict=True)):
        # numpy casts integers and its own floats to these in one step, and ml_dtypes' floats exactly.
        np.testing.assert_array_equal(piece, np.stack([a[index].astype(held), b[index].astype(held)]))


def test_a_pad_is_a_value_of_the_dtype_written() -> None:
    array = values(3, 2, dtype=ml_dtypes.bfloat16)
    written = one('tf: a, pt: b, layout: "v d -> v d", pad: {axis: v, to: 5, value: 0.1}', array)
    np.testing.assert_array_equal(written[3:], np.full((2, 2), 0.1, np.float32))
    np.testing.assert_array_equal(written[:3], array.astype(np.float32))
    counts = np.array([2**60 + 1, 7])
    written = one('tf: a, pt: b, layout: "v -> v", pad: {axis: v, to: 3, value: -1}', counts, dtype=np.int64)
    assert written.tolist() == [2**60 + 1, 7, -1]


@pytest.mark.parametrize(
    ("row", "pieces", "dtypes", "piece"),
    [
        ("tf: a, pt: b", 1, [np.float16], 0),
        ('tf: a, pt: [x, y], layout: "i o -> i o"', 2, [np.float16] * 2, 1),
        ('tf: a, pt: [x, y], layout: "i o -> i o"', 2, [np.float32, np.float16], 1),
        ('tf: a, pt: b, layout: "i o -> o i", scale: 1e36', 1, [np.float32], 0),
    ],
)
def test_values_that_become_infinite_are_refused(
    row: str, pieces: int, dtypes: list[Any], piece: int
) -> None:
    array = np.float32([[1, 2, 3], [4, -1e5, 65520]])
    with pytest.raises(CastError) as caught:
        transform(row).bind([array.shape], pieces).apply([array], [np.dtype(held) for held in dtypes])
    scaled = "scale" in row
    assert caught.value.piece == piece
    assert caught.value.loss == Loss(*((2, "-1e+41") if scaled else (2, "-100000.0")))


def test_what_a_slice_leaves_out_may_be_anything() -> None:
    array = np.float64([[1e300, 2], [np.nan, 3]])
    written = one('tf: a, pt: b, layout: "i o -> o i", slice: {o: "1:"}', array, dtype=np.float16)
    assert written.tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("size", "pad", "padded"), [(5, "to: 7", 7), (5, "multiple: 4", 8), (8, "multiple: 4", 8)]
)
def test_padding_appends_up_to_a_size_or_a_multiple(size: int, pad: str, padded: int) -> None:
    table = values(size, 3)
    written = one(f'tf: a, pt: b, layout: "v d -> v d", pad: {{axis: v, {pad}, value: -1.5}}', table)
    expected = np.full((padded, 3), -1.5, np.float32)
    expected[:size] = table
    np.testing.assert_array_equal(written, expected)


@pytest.mark.parametrize("at", [0, 2, -1])
def test_one_index_of_an_axis_is_set_to_zero(at: int) -> None:
    expected = K.T.copy()
    expected[:, at] = 0
    written = one(f'tf: a, pt: b, layout: "i o -> o i", zero: {{axis: i, at: {at}}}', K)
    np.testing.assert_array_equal(written, expected)


@pytest.mark.parametrize(
    ("source", "target"), [(np.float64, np.float32), (np.float32, ml_dtypes.bfloat16), (np.int32, np.int64)]
)
def test_values_are_cast_to_the_dtype_written(source: Any, target: Any) -> None:
    array = (values(3, 5) * 100).astype(source)
    written = one('tf: a, pt: b, layout: "i o -> o i"', array, dtype=target)
    np.testing.assert_array_equal(written.astype(np.float64), array.T.astype(target).astype(np.float64))


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.complex64, ml_dtypes.float8_e4m3fn])
def test_every_dtype_is_moved_bit_for_bit(dtype: Any) -> None:
    raw = np.random.default_rng(5).integers(0, 2, 6 * np.dtype(dtype).itemsize).astype(np.uint8)
    array = raw.view(dtype).reshape(2, 3)
    written = one('tf: a, pt: b, layout: "i o -> o i"', array, dtype=dtype)
    assert written.tobytes() == array.T.tobytes()


def test_pieces_of_two_narrow_kinds_are_joined_in_float32() -> None:
    first, second = values(3, dtype=ml_dtypes.bfloat16), values(3, seed=1, dtype=np.float16)
    written = one("tf: [a, b], pt: c", first, second)
    np.testing.assert_array_equal(written, np.stack([first.astype(F32), second.astype(F32)]))


# -- in combination -----------------------------------------------------------------------------------


def test_a_filter_is_inflated_and_divided_by_how_often_it_repeats() -> None:
    kernel = values(3, 5, 2, 11)
    row = 'tf: a, pt: b, layout: "h w i o -> o i t h w", axes: {t: 7}, scale: 1/7'
    expected = repeat(kernel, "h w i o -> o i t h w", t=7) / np.float32(7)
    np.testing.assert_array_equal(one(row, kernel), expected)


def test_everything_at_once_is_done_in_the_order_of_the_language() -> None:
    first, second = values(7, 4, seed=1), values(7, 4, seed=2)
    row = (
        'tf: [a, b], pt: [x, y], layout: "n i o -> i (n o)", slice: {i: "1:6"}, '
        "reorder: {axis: o, as: [2, 0, 3, 1]}, scale: 1/3, "
        "add: {axis: o, groups: [p, q, r, s], values: {p: 1}}, "
        "pad: {axis: i, multiple: 4, value: 9}, zero: {axis: i, at: 7}, split: {axis: i, sizes: [3, 5]}"
    )
    joined = np.stack([first, second])  # n i o
    sliced = joined[:, 1:6]
    laid_out = rearrange(sliced, "n i o -> i n o")
    reordered = laid_out[..., [2, 0, 3, 1]]
    scaled = reordered / np.float32(3)
    added = scaled.copy()
    added[..., 0] += 1  # the first group after the reordering
    padded = np.full((8, 2, 4), 9, np.float32)  # neither scaled nor added to
    padded[:5] = added
    padded[7] = 0  # zeroed after the padding
    half = padded.astype(np.float16).reshape(8, 8)
    # `i` stands alone on the right side, so it can be split on
    x, y = apply(row, first, second, pieces=2, dtype=np.float16)
    np.testing.assert_array_equal(x, half[:3])
    np.testing.assert_array_equal(y, half[3:])


def test_a_sliced_stack_is_taken_apart_into_as_many_as_are_left() -> None:
    stacked = values(5, 2, 3)
    row = 'tf: all, pt: "l.{i:int}", layout: "l i o -> l o i", slice: {l: "2:"}'
    assert transform(row).count_pieces([(5, 2, 3)]) == 3
    written = apply(row, stacked, pieces=3)
    np.testing.assert_array_equal(written[0], stacked[2].T)


def test_several_variables_may_be_joined_and_taken_apart_at_once() -> None:
    keys, queries = values(5, 2, 3), values(5, 2, 3, seed=1)
    row = 'tf: [k, q], pt: "l.{i:int}", layout: "kq l i o -> l (kq o) i"'
    assert transform(row).count_pieces([(5, 2, 3), (5, 2, 3)]) == 5
    written = apply(row, keys, queries, pieces=5)
    np.testing.assert_array_equal(written[3], np.vstack([keys[3].T, queries[3].T]))


@settings(max_examples=150)
@given(st.data())
def test_shapes_known_beforehand_are_the_shapes_of_the_values(data: st.DataObject) -> None:
    i, o = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 3)) * 6
    keys = ['layout: "i o -> o i"']
    if data.draw(st.booleans()):
        start = data.draw(st.integers(-8, 8))
        keys.append(f'slice: {{i: "{start}:"}}')
    if data.draw(st.booleans()):
        keys.append(f"reorder: {{axis: o, as: {data.draw(st.permutations([0, 1, 2]))}}}")
    if data.draw(st.booleans()):
        keys.append(f"pad: {{axis: i, multiple: {data.draw(st.integers(1, 5))}}}")
    if data.draw(st.booleans()):
        keys.append("add: {axis: o, groups: [a, b], values: {b: 2}}")
    split = data.draw(st.sampled_from(["", "split: o", "split: {axis: o, sizes: [1, 5]}"]))
    row = f"tf: a, pt: {'[x, y]' if split else 'x'}, {', '.join([*keys, split]).rstrip(', ')}"
    array = values(i, o)
    try:
        bound = transform(row).bind([array.shape], 2 if split else 1)
    except LayoutError as error:
        assert error.what in (  # noqa: PT017
            "the slice of axis i is empty",
            "the pieces of axis o do not add up to its size",
        )
        return
    assert bound.shapes == tuple(piece.shape for piece in bound.apply([array], [F32] * len(bound.shapes)))


# -- what does not fit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "shapes", "pieces", "what", "expected", "got"),
    [
        (
            "tf: [a, b], pt: c",
            [(2, 3), (2, 5)],
            1,
            "variables to be stacked have different shapes",
            "equal shapes, or concat: AXIS",
            "[2, 3] and [2, 5]",
        ),
        (
            'tf: [a, b], pt: c, layout: "v d -> v d", concat: v',
            [(2, 3), (2, 5)],
            1,
            "variables to be joined along v differ in another axis",
            "equal sizes in every axis but v",
            "[2, 3] and [2, 5]",
        ),
        (
            'tf: [a, b], pt: c, layout: "v d -> v d", concat: v',
            [(2, 3), (3,)],
            1,
            "variables to be joined along v differ in another axis",
            "equal sizes in every axis but v",
            "[2, 3] and [3]",
        ),
        (
            'tf: a, pt: [x, y], layout: "i o -> i o", split: {axis: o, sizes: [2, 3]}',
            [(2, 7)],
            2,
            "the pieces of axis o do not add up to its size",
            "2 + 3 = 5",
            "7 in [2, 7]",
        ),
        (
            'tf: a, pt: [x, y], layout: "i o -> o i"',
            [(2, 3)],
            2,
            "the size of the first axis is not the number of parameters to write",
            "2 parameters",
            "[3, 2]",
        ),
        (
            'tf: a, pt: b, layout: "i -> i", slice: {i: "5:"}',
            [(3,)],
            1,
            "the slice of axis i is empty",
            None,
            "[3]",
        ),
        (
            'tf: a, pt: b, layout: "i -> i", reorder: {axis: i, as: [1, 0]}',
            [(3,)],
            1,
            "axis i does not divide into 2 groups",
            None,
            "size 3",
        ),
        (
            'tf: a, pt: b, layout: "i -> i", add: {axis: i, groups: [x, y], values: {x: 1}}',
            [(3,)],
            1,
            "axis i does not divide into 2 groups",
            None,
            "size 3",
        ),
        (
            'tf: a, pt: b, layout: "v -> v", pad: {axis: v, to: 3}',
            [(5,)],
            1,
            "axis v is longer than the size it is padded to",
            "at most 3",
            "5",
        ),
        (
            'tf: a, pt: b, layout: "v -> v", zero: {axis: v, at: 3}',
            [(3,)],
            1,
            "axis v has no index 3 to set to zero",
            None,
            "size 3",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused_before_a_value_is_read(
    row: str, shapes: list[tuple[int, ...]], pieces: int, what: str, expected: str | None, got: str
) -> None:
    with pytest.raises(LayoutError) as caught:
        transform(row).bind(shapes, pieces)
    assert (caught.value.what, caught.value.expected, caught.value.got) == (what, expected, got)


def test_a_scalar_cannot_be_taken_apart() -> None:
    with pytest.raises(LayoutError, match="a scalar cannot be split"):
        transform('tf: a, pt: "l.{i:int}"').count_pieces([()])


# -- the words -------------------------------------------------------------------------


def test_a_transform_describes_itself_in_the_order_of_the_work() -> None:
    row = (
        'tf: [a, b], pt: [x, y], layout: "n i o -> i (n o)", slice: {i: "1:6:2"}, '
        "reorder: {axis: o, as: [1, 0]}, scale: 1/3, add: 0.5, pad: {axis: i, multiple: 4}, "
        "zero: {axis: i, at: 1}, split: {axis: i}"
    )
    assert transform(row).describe() == (
        "stack, slice i 1:6:2, layout n i o -> i (n o), reorder o, scale 1/3, add 0.5, pad i, zero i at 1, split i"
    )
    assert (
        Transform(layout=Layout.parse("i -> i"), scale=Scale(numerator=2)).describe()
        == "layout i -> i, scale 2"
    )
    assert Transform().describe() == "copy"


def test_an_axis_to_concatenate_on_may_be_before_or_behind_others_that_are_not_named() -> None:
    behind = Transform(join=Concat(axis="v"), layout=Layout.parse("... v -> v ..."))
    assert behind.bind([(3, 5, 2), (3, 5, 7)]).shapes == ((9, 3, 5),)
    before = Transform(join=Concat(axis="v"), layout=Layout.parse("v ... -> ... v"))
    assert before.bind([(2, 3, 5), (7, 3, 5)]).shapes == ((3, 5, 9),)
    rng = np.random.default_rng(3)
    pieces = [rng.normal(size=shape) for shape in ((3, 5, 2), (3, 5, 7))]
    (joined,) = behind.bind([piece.shape for piece in pieces]).apply(pieces, [np.dtype(np.float64)])
    np.testing.assert_array_equal(joined, np.moveaxis(np.concatenate(pieces, -1), -1, 0))
