"""Rows of several variables, and of parts of a flat one: layouts of their own, combine, product, fold, composed slices.

The oracles are numpy, written out here, PyTorch and Keras.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.operations.test_transform import F32, apply, one, transform, values
from tfpt.errors import MappingError
from tfpt.language.compiler import Compiler
from tfpt.language.schema import MappingEntry
from tfpt.language.tree import parse_document
from tfpt.operations.domain import DomainError
from tfpt.operations.layout import LayoutError


def mistake(row: str) -> MappingError:
    """The mistake in a row."""
    text = f"{{version: 1, weights: [{{{row}}}]}}"
    compiler = Compiler(parse_document(text, "m.yaml"), MappingEntry.model_validate(yaml.safe_load(text)))
    compiler.alternatives()
    with pytest.raises(MappingError) as caught:
        compiler.finish()
    return caught.value


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
    kernel, bias = values(2, 3, 5, 7), values(7, seed=1)
    row = 'tf: [k, b], pt: c, layout: ["h w i o -> o (h w i)", "o -> o 1"], concat: i'
    assert mistake(row).what.startswith("concat: names the axis 'i', which the left side")
    row = 'tf: [b, k], pt: c, layout: ["o -> o 1", "1 1 i o -> o i"], concat: i'
    kernel = values(1, 1, 5, 7)
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


def test_an_axis_of_both_variables_has_one_size() -> None:
    with pytest.raises(LayoutError) as caught:
        transform('tf: [a, b], pt: c, product: "i k, k o -> i o"').bind([(2, 3), (5, 7)])
    assert caught.value.what == "the axis k does not have the same size in both variables"
    assert (caught.value.expected, caught.value.got) == ("3", "5")


# -- fold ---------------------------------------------------------------------------------------------

EPS = 1e-3


def folded(kernel: np.ndarray, *parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition, in float64: channels last."""
    gamma, beta, mean, variance, bias = (part.astype(np.float64) for part in parts)
    factor = gamma / np.sqrt(variance + EPS)
    return kernel.astype(np.float64) * factor, beta + (bias - mean) * factor


def statistics(size: int) -> list[np.ndarray]:
    gamma, beta, mean, bias = (values(size, seed=seed) for seed in range(4))
    return [gamma, beta, mean, np.abs(values(size, seed=5)) + np.float32(0.1), bias]


FOLD = "tf: [k, g, b, m, v, c], pt: [w, x]"
PARTS = "batch_norm: [kernel, gamma, beta, mean, variance, bias]"


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_folded_convolution_is_rounded_once(dtype: Any) -> None:
    kernel, parts = values(2, 3, 5, 7), statistics(7)
    row = f'{FOLD}, layout: "h w i o -> o i h w", fold: {{{PARTS}, eps: 1.0e-3, axis: o}}'
    weight, bias = apply(row, kernel, *parts, pieces=2, dtype=dtype)
    exact, offset = folded(kernel, *parts)
    np.testing.assert_allclose(weight, exact.transpose(3, 2, 0, 1).astype(dtype), rtol=2e-7)
    np.testing.assert_allclose(bias, offset.astype(dtype), rtol=2e-7)


def test_missing_parts_are_one_and_zero() -> None:
    kernel, (_, _, mean, variance, _) = values(5, 7), statistics(7)
    row = (
        'tf: [v, k, m], pt: [w, x], layout: "i o -> o i", '
        "fold: {batch_norm: [variance, kernel, mean], eps: 1e-3, axis: o}"
    )
    weight, bias = apply(row, variance, kernel, mean, pieces=2)
    one_, zero = np.ones(7), np.zeros(7)
    exact, offset = folded(kernel, one_, zero, mean, variance, zero)
    np.testing.assert_allclose(weight, exact.T, rtol=1e-6)
    np.testing.assert_allclose(bias, offset, rtol=1e-6)


def test_the_channels_of_a_depthwise_convolution_are_a_composed_axis() -> None:
    kernel, parts = values(2, 3, 5, 2), statistics(10)
    row = f'{FOLD}, layout: "h w i m -> (i m) 1 h w", fold: {{{PARTS}, eps: 1.0e-3, axis: "(i  m)"}}'
    weight, bias = apply(row, kernel, *parts, pieces=2)
    exact, offset = folded(kernel.reshape(2, 3, 10), *parts)
    np.testing.assert_allclose(weight[:, 0], exact.transpose(2, 0, 1), rtol=1e-6)
    np.testing.assert_allclose(bias, offset, rtol=1e-6)


def test_statistics_may_have_leading_axes_or_layouts_of_their_own() -> None:
    kernel, parts = values(2, 3, 5, 7), statistics(7)
    exact, offset = folded(kernel, *parts)
    row = f'{FOLD}, layout: "h w i o -> o i h w", fold: {{{PARTS}, eps: 1.0e-3, axis: o}}'
    weight, bias = apply(row, kernel, *(part.reshape(1, 1, 1, 7) for part in parts), pieces=2)
    layouts = ", ".join(['"h w i o -> o i h w"', *['"c 1 1 -> c"'] * 5])
    row = f"{FOLD}, layout: [{layouts}], fold: {{{PARTS}, eps: 1.0e-3, axis: o}}"
    again = apply(row, kernel, *(part.reshape(7, 1, 1) for part in parts), pieces=2)
    for found, expected in ((weight, exact.transpose(3, 2, 0, 1)), (bias, offset)):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(again[0], weight)
    np.testing.assert_array_equal(again[1], bias)


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D", "Conv2DTranspose"])
def test_a_folded_convolution_computes_what_keras_computes(kind: str) -> None:
    keras = pytest.importorskip("keras")
    torch = pytest.importorskip("torch")
    count = {"Conv2D": 7, "DepthwiseConv2D": 10, "Conv2DTranspose": 7}[kind]
    options = {"depth_multiplier": 2} if kind == "DepthwiseConv2D" else {"filters": 7}
    conv = getattr(keras.layers, kind)(kernel_size=(2, 3), **options)
    norm = keras.layers.BatchNormalization(epsilon=EPS)
    x = values(2, 6, 8, 5, seed=9)
    norm(conv(x))
    gamma, beta, mean, variance, bias = statistics(count)
    kernel = values(*conv.get_weights()[0].shape, seed=8)
    conv.set_weights([kernel, bias])
    norm.set_weights([gamma, beta, mean, variance])
    expected = norm(conv(x), training=False).numpy()
    layout, axis, layer = {
        "Conv2D": ("h w i o -> o i h w", "o", torch.nn.Conv2d(5, 7, (2, 3))),
        "DepthwiseConv2D": ("h w i m -> (i m) 1 h w", "(i m)", torch.nn.Conv2d(5, 10, (2, 3), groups=5)),
        "Conv2DTranspose": ("h w o i -> i o h w", "o", torch.nn.ConvTranspose2d(5, 7, (2, 3))),
    }[kind]
    row = f'{FOLD}, layout: "{layout}", fold: {{{PARTS}, eps: 1.0e-3, axis: "{axis}"}}'
    weight, offset = apply(row, kernel, gamma, beta, mean, variance, bias, pieces=2)
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(offset)})
    with torch.no_grad():
        found = layer(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_variance_below_minus_epsilon_is_refused() -> None:
    kernel, parts = values(5, 7), statistics(7)
    parts[3][[1, 4]] = -EPS, -2
    row = f'{FOLD}, layout: "i o -> o i", fold: {{{PARTS}, eps: 1.0e-3, axis: o}}'
    with pytest.raises(DomainError) as caught:
        apply(row, kernel, *parts, pieces=2)
    assert caught.value.largest == "-2.0"
    assert caught.value.domain == "variances above -0.001"


def test_statistics_of_another_size_are_a_misfit() -> None:
    row = f'{FOLD}, layout: "i o -> o i", fold: {{{PARTS}, eps: 1.0e-3, axis: o}}'
    with pytest.raises(LayoutError) as caught:
        transform(row).bind([(5, 7), (7,), (7,), (5,), (7,), (7,)], 2)
    assert caught.value.what == "the mean does not have one value for each index of axis o of the kernel"
    assert (caught.value.expected, caught.value.got) == ("[7]", "[5]")


# -- rows that make no sense --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ('tf: [a, b], pt: c, layout: ["i -> i", "i -> i", "i -> i"]', "a list of layouts needs one for each"),
        ('tf: "l{i:int}", pt: c, layout: ["i -> i", "i -> i"]', "a list of layouts needs one for each"),
        ('tf: [a, b], pt: c, layout: ["i o -> o i", "o -> o"]', "must have as many axes"),
        ('tf: [a, b], pt: c, layout: ["i o -> o i", "... o -> ... o"]', "cannot have ... outside"),
        ('tf: [a, b], pt: c, layout: ["i o -> o i", "i o -> i o"]', "'i' is at different places"),
        ('tf: [a, b], pt: c, layout: ["i -> i", "i -> i"], axes: {t: 2}', "which none of the layouts has"),
        (
            'tf: [a, b], pt: c, layout: ["i o -> o i", "i o -> (o i)"], concat: o',
            "must have as many axes",
        ),
        (
            'tf: [a, b], pt: c, layout: ["i o -> (o i)", "i -> i"], reorder: {axis: o, as: [1, 0]}',
            "reorder: names the axis 'o'",
        ),
        (
            'tf: a, pt: c, layout: "(a b) -> a b", axes: {a: 2}, slice: {"(b a)": "1:"}',
            "slice: names the axis",
        ),
        ('tf: a, pt: c, layout: "a b -> a b", slice: {"(a b)": "1:"}', "slice: names the axis"),
        ('tf: a, pt: c, slice: {"(a b)": "1:"}', "so the row needs a layout"),
        ("tf: [a, b], pt: c, combine: [1, 2, 3]", "combine: needs one number for each name"),
        ('tf: "l{i:int}", pt: c, combine: [1, 2]', "combine: needs one number for each name"),
        ('tf: [a, b], pt: c, combine: [1, 2], layout: "v -> v", concat: v', "both say how variables are"),
        ('tf: [a, b], pt: c, combine: [1, 2], product: "i, i -> 1"', "both say how variables are"),
        ('tf: [a, b, d], pt: c, product: "i, i -> 1"', "product: needs two names"),
        ('tf: [a, b], pt: c, product: "i, i -> 1", layout: "i -> i"', "so the row needs no layout"),
        ('tf: [a, b], pt: c, product: "i -> i"', "a product has two variables and a result"),
        ('tf: [a, b], pt: c, product: "i, j, k -> i"', "a product has two variables and a result"),
        ('tf: [a, b], pt: c, product: "i j, i -> i"', "'j' is in one of the variables only"),
        ('tf: [a, b], pt: c, product: "i, i -> t"', "'t' is only on the right and has no size"),
        ('tf: [a, b], pt: c, product: "i, i -> i", axes: {t: 2}', "axes: names 't'"),
        ('tf: [a, b], pt: c, product: "i i, i -> i"', "cannot parse the layout"),
        ('tf: [a, b], pt: c, product: "i (...), i -> i"', "... is not allowed in parentheses"),
        ('tf: [a, b], pt: c, product: "i ..., i -> i ..."', "the right side has ... but the left"),
        (f"{FOLD}, fold: {{{PARTS}, eps: 1, axis: o}}", "so the row needs a layout"),
        (f'{FOLD}, layout: "i o -> o i", fold: {{{PARTS}, eps: 1, axis: q}}', "fold: names the axis 'q'"),
        (
            f'{FOLD}, layout: "i m -> (i m)", fold: {{{PARTS}, eps: 1, axis: m}}',
            "fold: names the axis 'm'",
        ),
        (
            f'{FOLD}, layout: "i o -> o i", scale: 2, fold: {{{PARTS}, eps: 1, axis: o}}',
            "fold: cannot be combined with scale:",
        ),
        (
            'tf: [a, b, d], pt: x, layout: "i o -> o i", '
            "fold: {batch_norm: [kernel, mean, variance], eps: 1, axis: o}",
            "fold: needs two names under pt:",
        ),
        (
            'tf: [a, b], pt: [x, y], layout: "i o -> o i", '
            "fold: {batch_norm: [kernel, mean, variance], eps: 1, axis: o}",
            "fold: needs one name under tf: for each part",
        ),
        (
            'tf: ["a{i:int}", "b{i:int}", "c{i:int}"], pt: [x, y], layout: "i o -> o i", '
            "fold: {batch_norm: [kernel, mean, variance], eps: 1, axis: o}",
            "fold: cannot stack or split by {i}",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_refused(row: str, what: str) -> None:
    caught = mistake(row)
    assert what in caught.what
    assert caught.where is not None
    assert caught.where.startswith("m.yaml:1:")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("tf: [a, b], pt: c, combine: [1, 0]", "expected numbers other than 0"),
        ("tf: [a, b], pt: c, combine: [1]", "expected a list of numbers"),
        ("tf: [a, b], pt: c, combine: [1, x]", "expected a number or a fraction"),
        ("tf: [a, b], pt: c, combine: 1", "expected a list of numbers"),
        ("tf: a, pt: c, apply: cosine", "expected one of sqrt, square"),
        ("tf: [a, b], pt: c, combine: {numbers: [1, 1]}", "expected a list of numbers"),
        ("tf: a, pt: c, apply: []", "expected one of sqrt, square"),
        ("tf: a, pt: c, apply: {functions: [exp]}", "expected one of sqrt, square"),
        ("tf: a, pt: [b, c], fold: {batch_norm: [kernel, mean], eps: 1, axis: o}", "needs a variance"),
        (
            "tf: a, pt: b, fold: {batch_norm: [kernel, mean, variance, mean], eps: 1, axis: o}",
            "must list each part once",
        ),
        (
            "tf: a, pt: b, fold: {batch_norm: [kernel, mean, variance], eps: -1, axis: o}",
            "greater than or equal to 0",
        ),
        ("tf: a, pt: b, fold: {batch_norm: [kernel, mean, variance], axis: o}", "Field required"),
        ("pt: b, fill: 1, apply: sqrt", "apply: needs tf:"),
        ("pt: b, fill: 1, product: 'i, i -> i'", "product: needs tf:"),
    ],
)
def test_values_that_an_operation_cannot_have_are_refused(row: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        transform(row)


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
    row = f'{FOLD}, layout: "i o -> o i", fold: {{{PARTS}, eps: 1.0e-3, axis: o}}'
    assert transform(row).describe() == "layout i o -> o i, layout ... c -> c, fold batch norm along o"


def test_variables_of_several_dtypes_are_computed_with_in_float64() -> None:
    bound = transform("tf: [a, b], pt: c, combine: [1, 1]").bind([(3,), (3,)])
    assert bound.carrier([F32, np.dtype(np.float16)]) == np.dtype(np.float64)
