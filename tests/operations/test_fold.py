"""A convolution and its batch normalization as one convolution, against numpy in float64 and Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.operations.test_transform import apply, transform, values
from tfpt.operations.domain import DomainError
from tfpt.operations.layout import LayoutError

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


def test_a_fold_describes_itself() -> None:
    row = f'{FOLD}, layout: "i o -> o i", fold: {{{PARTS}, eps: 1.0e-3, axis: o}}'
    assert transform(row).describe() == "layout i o -> o i, layout ... c -> c, fold batch norm along o"
