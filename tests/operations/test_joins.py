"""Rows of several variables, and of parts of a flat one: layouts of their own, combine, product, composed slices.

The oracles are numpy, written out here, PyTorch and Keras.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operations.test_transform import F32, apply, one, transform, values
from tfpt.operations.layout import LayoutError

# -- slices of a composed axis ------------------------------------------------------------------------


def test_a_flat_vector_is_cut_before_its_layout_takes_it_apart() -> None:
    flat = values(4 * 5 * 7 + 11)
    row = 'tf: a, pt: b, layout: "(g o i) -> (g o) i", axes: {g: 4, o: 5}, slice: {"(g o i)": "0:140"}'
    np.testing.assert_array_equal(one(row, flat), flat[:140].reshape(20, 7))
    row = 'tf: a, pt: b, layout: "(g o i) -> i (o g)", axes: {g: 4, o: 5}, slice: {"( g  o i )": "11:"}'
    expected = flat[11:].reshape(4, 5, 7).transpose(2, 1, 0).reshape(7, 20)
    np.testing.assert_array_equal(one(row, flat), expected)


def test_composed_and_elementary_axes_are_cut_in_one_row() -> None:
    array = values(31, 3)
    row = 'tf: a, pt: b, layout: "(g i) o -> o g i", axes: {g: 5}, slice: {i: "1:", "(g i)": "1:", o: "::2"}'
    expected = array[1:].reshape(5, 6, 3)[:, 1:, ::2].transpose(2, 0, 1)
    np.testing.assert_array_equal(one(row, array), expected)


@given(st.integers(1, 40), st.integers(-40, 40), st.sampled_from([1, 2, 3, -1, -2]))
def test_any_slice_of_a_composed_axis_is_that_of_numpy(size: int, start: int, step: int) -> None:
    array = np.arange(float(size), dtype=np.float32)
    row = f'tf: a, pt: b, layout: "(a b) -> b a", axes: {{a: 2}}, slice: {{"(a b)": "{start}::{step}"}}'
    cut = array[start::step]
    if not cut.size or cut.size % 2:
        with pytest.raises(LayoutError):
            transform(row).bind([array.shape])
        return
    np.testing.assert_array_equal(one(row, array), cut.reshape(2, -1).T)


@pytest.mark.parametrize("shape", [(), (7,), (3, 5, 7)])
def test_a_composed_slice_of_another_rank_is_a_misfit(shape: tuple[int, ...]) -> None:
    row = 'tf: a, pt: b, layout: "o (g i) -> o g i", axes: {g: 2}, slice: {"(g i)": "1:"}'
    with pytest.raises(LayoutError, match="does not have as many axes as the tensor"):
        transform(row).bind([shape])


def test_the_flat_weights_of_a_cudnn_lstm_are_those_that_keras_makes() -> None:
    """Keras puts its weights into the flat vector that cuDNN takes; PyTorch must compute what Keras computes."""
    keras = pytest.importorskip("keras")
    torch = pytest.importorskip("torch")
    tf = pytest.importorskip("tensorflow")
    flatten = pytest.importorskip("keras.src.backend.tensorflow.rnn")._standardize_cudnn_weights
    inputs, units = 7, 5
    layer = keras.layers.LSTM(units, return_sequences=True)
    x = values(2, 3, inputs, seed=4)
    layer.build(x.shape)
    rng = np.random.default_rng(0)
    kernel, recurrent, bias = (rng.normal(size=w.shape).astype("f4") for w in layer.get_weights())
    layer.set_weights([kernel, recurrent, bias])
    matrices = [*np.split(kernel, 4, axis=1), *np.split(recurrent, 4, axis=1)]
    both = np.split(np.concatenate([np.zeros_like(bias), bias]), 8)
    flat = flatten(matrices, both, tf.constant([-1]), transpose_weights=True).numpy()
    weights = 4 * units * inputs
    biases = weights + 4 * units * units
    lstm = torch.nn.LSTM(inputs, units, batch_first=True)
    matrix = f"axes: {{g: 4, o: {units}}}"
    written = {
        "weight_ih_l0": f'layout: "(g o i) -> (g o) i", {matrix}, slice: {{"(g o i)": "0:{weights}"}}',
        "weight_hh_l0": f'layout: "(g o i) -> (g o) i", {matrix}, slice: {{"(g o i)": "{weights}:{biases}"}}',
        "bias_ih_l0": f'layout: "b -> b", slice: {{b: "{biases}:{biases + 4 * units}"}}',
        "bias_hh_l0": f'layout: "b -> b", slice: {{b: "{biases + 4 * units}:"}}',
    }
    state = {name: one(f"tf: a, pt: {name}, {keys}", flat) for name, keys in written.items()}
    lstm.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    with torch.no_grad():
        found, _ = lstm(torch.from_numpy(x))
    np.testing.assert_allclose(found.numpy(), layer(x).numpy(), atol=2e-6)


# -- a layout for each variable -----------------------------------------------------------------------


def test_a_bias_is_joined_to_a_kernel_of_another_rank() -> None:
    kernel, bias = values(1, 1, 5, 7), values(7, seed=1)
    row = 'tf: [b, k], pt: c, layout: ["o -> o 1", "1 1 i o -> o i"], concat: i'
    expected = np.concatenate([bias[:, None], kernel[0, 0].T], axis=1)
    np.testing.assert_array_equal(one(row, bias, kernel), expected)


def test_results_of_layouts_are_stacked_on_a_new_first_axis_and_processed_by_their_letters() -> None:
    first, second = values(5, 4), values(4, 5, seed=1)
    row = (
        'tf: [a, b], pt: c, layout: ["i o -> o i", "o i -> o i"], reorder: {axis: o, as: [1, 0]}, '
        "pad: {axis: i, to: 6}, zero: {axis: o, at: 1}, slice: {i: '1:'}"
    )
    stacked = np.stack([first.T, second])[:, :, 1:]
    expected = np.pad(stacked[:, [2, 3, 0, 1]], ((0, 0), (0, 0), (0, 2)))
    expected[:, 1] = 0
    np.testing.assert_array_equal(one(row, first, second), expected)


def test_results_of_layouts_are_split_again() -> None:
    first, second = values(5, 3), values(2, 5, seed=1)
    row = (
        'tf: [a, b], pt: [x, y], layout: ["i o -> o i", "o i -> o i"], concat: o, '
        "split: {axis: o, sizes: [1, 4]}"
    )
    expected = np.concatenate([first.T, second])
    x, y = apply(row, first, second, pieces=2)
    np.testing.assert_array_equal(x, expected[:1])
    np.testing.assert_array_equal(y, expected[1:])


def test_sizes_go_to_the_layouts_that_have_the_axes() -> None:
    first, second = values(6, 5), values(7, 5, seed=1)
    row = (
        'tf: [a, b], pt: c, layout: ["(h w) o -> (w h) o", "n o -> n o"], axes: {h: 2}, concat: n, scale: 1/7'
    )
    turned = first.reshape(2, 3, 5).transpose(1, 0, 2).reshape(6, 5)
    np.testing.assert_array_equal(one(row, first, second), np.concatenate([turned, second]) / np.float32(7))


def test_a_list_with_one_layout_is_that_layout() -> None:
    listed = transform('tf: a, pt: b, layout: ["i o -> o i"], reorder: {axis: o, as: [1, 0]}')
    assert listed == transform('tf: a, pt: b, layout: "i o -> o i", reorder: {axis: o, as: [1, 0]}')


# -- combine ------------------------------------------------------------------------------------------


def test_biases_are_added_in_float64_and_rounded_once() -> None:
    first, second, third = (values(999, seed=seed) for seed in range(3))
    expected = (first.astype(np.float64) + second + third).astype(np.float32)
    row = "tf: [a, b, c], pt: d, combine: [1, 1, 1]"
    np.testing.assert_array_equal(one(row, first, second, third), expected)
    assert (expected != first + second + third).any()  # otherwise the line above shows nothing


def test_a_combination_is_laid_out_as_a_whole_or_each_term_by_itself() -> None:
    first, second, third = values(5, 7), values(5, 7, seed=1), values(5, 7, seed=2)
    expected = (first.astype(float) * 0.5 - second - third.astype(float) * 3 + 1).T.astype(np.float32)
    row = 'tf: [a, b, c], pt: d, combine: [1/2, -1, -3], layout: "i o -> o i", add: 1'
    np.testing.assert_array_equal(one(row, first, second, third), expected)
    row = (
        "tf: [a, b, c], pt: d, combine: [1/2, -1, -3], "
        'layout: ["i o -> o i", "o i -> o i", "i o -> o i"], add: 1'
    )
    np.testing.assert_array_equal(one(row, first, np.ascontiguousarray(second.T), third), expected)


def test_complex_numbers_are_combined_in_both_parts() -> None:
    first = np.array([1 + 2j, complex(np.inf, 3)], np.complex64)
    second = np.array([5 - 1j, 2j], np.complex64)
    written = one("tf: [a, b], pt: c, combine: [2, -1]", first, second, dtype=np.complex64)
    np.testing.assert_array_equal(written, np.array([-3 + 5j, complex(np.inf, 4)], np.complex64))


def test_a_term_that_is_negative_zero_stays_so() -> None:
    zero = np.array([-0.0], np.float32)
    assert np.signbit(one("tf: [a, b], pt: c, combine: [1, 1]", zero, zero))[0]


# -- product ------------------------------------------------------------------------------------------


def test_a_product_is_that_of_einsum_in_float64() -> None:
    kernel, u = values(2, 3, 5, 7), values(1, 7, seed=1)
    expected = np.einsum("hwio,o->ihw", kernel.astype(float), u[0].astype(float)).reshape(-1)
    row = 'tf: [w, u], pt: v, product: "h w i o, 1 o -> (i h w)"'
    np.testing.assert_array_equal(one(row, kernel, u), expected.astype(np.float32))


@pytest.mark.parametrize(
    ("pattern", "axes", "shapes", "einsum"),
    [
        ("i k, k o -> o i", "", [(2, 3), (3, 5)], "ik,ko->oi"),
        ("(h d) i, h -> i d h", "{h: 2}", [(6, 5), (2,)], "hdi,h->idh"),
        ("a, b -> (b a)", "", [(2,), (3,)], "a,b->ba"),
        ("... o, o i -> i o", "", [(1, 1, 3), (3, 5)], "o,oi->io"),
        ("o i, o -> 1 o i", "", [(3, 5), (3,)], "oi,o->oi"),
        ("o i, o -> t i", "{t: 2}", [(3, 5), (3,)], "oi,o->i"),
    ],
)
def test_every_product_is_that_of_einsum(
    pattern: str, axes: str, shapes: list[tuple[int, ...]], einsum: str
) -> None:
    first, second = (values(*shape, seed=index) for index, shape in enumerate(shapes))
    known = {"h": 2, "d": 3, "i": 5, "o": 3, "k": 3, "a": 2, "b": 3}
    if einsum == "ik,ko->oi":
        known = {"i": 2, "k": 3, "o": 5}
    sides = einsum.split("->")[0].split(",")
    reshaped = [
        array.reshape([known[letter] for letter in side]).astype(float)
        for array, side in zip((first, second), sides, strict=True)
    ]
    keys = f"axes: {axes}, " if axes else ""
    written = one(f'tf: [a, b], pt: c, {keys}product: "{pattern}"', first, second)
    expected = np.broadcast_to(np.einsum(einsum, *reshaped).reshape(-1), (2, 5)) if "t" in pattern else None
    expected = np.einsum(einsum, *reshaped).reshape(written.shape) if expected is None else expected
    np.testing.assert_allclose(written, expected, rtol=1e-6)


def test_what_follows_a_product_names_axes_of_its_result() -> None:
    first, second = values(4, 3), values(3, 5, seed=1)
    row = (
        'tf: [a, b], pt: c, product: "i k, k o -> o i", slice: {o: "1:"}, reorder: {axis: i, as: [1, 0]}, '
        "pad: {axis: o, to: 6}"
    )
    product = (first.astype(float) @ second.astype(float)).T[1:][:, [2, 3, 0, 1]]
    expected = np.pad(product, ((0, 2), (0, 0)))
    np.testing.assert_allclose(one(row, first, second), expected, rtol=1e-6)


def test_a_product_may_have_three_variables_one_of_them_twice() -> None:
    """A step of power iteration, as spectral norms take one."""
    w, u = values(2, 3, 5), values(1, 5, seed=1)
    written = one('tf: [w, w, u], pt: c, product: "h i o, h i k, 1 k -> o", apply: normalize', w, w, u)
    matrix = w.reshape(6, 5).astype(float)
    expected = matrix.T @ (matrix @ u[0])
    np.testing.assert_allclose(written, expected / np.linalg.norm(expected), rtol=1e-6)
    with pytest.raises(LayoutError) as caught:
        transform('tf: [a, b, d], pt: c, product: "i k, k, k -> i"').bind([(2, 3), (3,), (5,)])
    assert caught.value.what == "the axis k does not have the same size in all variables"


def test_an_axis_of_both_variables_has_one_size() -> None:
    with pytest.raises(LayoutError) as caught:
        transform('tf: [a, b], pt: c, product: "i k, k o -> i o"').bind([(2, 3), (5, 7)])
    assert caught.value.what == "the axis k does not have the same size in both variables"
    assert (caught.value.expected, caught.value.got) == ("3", "5")


# -- the words ----------------------------------------------------------------------------------------


def test_rows_describe_themselves() -> None:
    assert (
        transform('tf: [a, b], pt: c, layout: ["i o -> o i", "o -> o 1"], concat: i, scale: 2').describe()
        == "layout i o -> o i, layout o -> o 1, concat i, scale 2"
    )
    assert transform("tf: [a, b], pt: c, combine: [1/2, -1], apply: [exp, sqrt]").describe() == (
        "combine 0.5, -1, apply exp sqrt"
    )
    assert transform('tf: [w, u], pt: v, product: "h i o, 1 o -> (i h)", apply: normalize').describe() == (
        "product h i o, o -> i h, layout i h -> (i h), apply normalize"
    )


def test_variables_of_several_dtypes_are_computed_with_in_float64() -> None:
    bound = transform("tf: [a, b], pt: c, combine: [1, 1]").bind([(3,), (3,)])
    assert bound.carrier([F32, np.dtype(np.float16)]) == np.dtype(np.float64)
