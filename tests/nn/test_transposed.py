"""Transposed convolutions against tf.nn.conv*_transpose and Keras, on whole numbers, where sums are exact."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from tests.nn.tensorflow_oracle import documented_pads, tf
from tests.nn.windows_strategy import whole_numbers
from tfpt import nn as tfnn
from tfpt.errors import ModelError

LAYERS = {1: tfnn.ConvTranspose1d, 2: tfnn.ConvTranspose2d, 3: tfnn.ConvTranspose3d}


def filled(layer, seed):
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = torch.from_numpy(whole_numbers(tuple(parameter.shape), seed + number))
    return layer


def reference(x, layer, output, padding):
    """`tf.nn.conv*_transpose`, one group after the other; `output` has the spatial sizes."""
    n = len(output)
    kernel = tuple(layer.kernel_size)
    found = []
    weight = layer.weight.detach().numpy()
    pads = [(0, 0)] * n
    if padding == "symmetric":  # TensorFlow has explicit pads only for some operators: VALID, and crop
        pads = [documented_pads(padding, 0, k, 1, d) for k, d in zip(kernel, layer.dilation, strict=True)]
    sizes = [o + sum(p) for o, p in zip(output, pads, strict=True)]
    groups = layer.groups
    for inputs, filters in zip(np.split(x, groups, 1), np.split(weight, groups, 0), strict=True):
        filters = np.ascontiguousarray(np.moveaxis(filters, (1, 0), (-2, -1)))
        y = tf.nn.conv_transpose(
            np.ascontiguousarray(np.moveaxis(inputs, 1, -1)),
            filters,
            [x.shape[0], *sizes, filters.shape[-2]],
            list(layer.stride),
            padding="SAME" if padding == "same" else "VALID",
            dilations=list(layer.dilation),
        )
        found.append(np.moveaxis(np.asarray(y), -1, 1))
    y = np.concatenate(found, 1)
    y = y[(..., *(slice(p[0], y.shape[2 + i] - p[1]) for i, p in enumerate(pads)))]
    return y if layer.bias is None else y + layer.bias.detach().numpy().reshape(-1, *(1,) * n)


def check_explicit(sizes, kernel, stride, dilation, padding, shorter, groups, seed):
    """The layer with an output size that is one of those from which a convolution yields `sizes`."""
    layer = filled(
        LAYERS[len(sizes)](2 * groups, 3 * groups, kernel, stride, padding, None, groups, dilation=dilation),
        seed,
    )
    x = whole_numbers((2, 2 * groups, *sizes), seed + 7)
    # Searched by the documented formula of the convolution's output, not by what the layer says.
    output = []
    for size, k, s, d, less in zip(sizes, kernel, stride, dilation, shorter, strict=True):
        reach = (k - 1) * d + 1

        def outputs(n, k=k, s=s, d=d, reach=reach):
            if padding == "same":
                return -(-n // s)
            return (n + sum(documented_pads(padding, n, k, s, d)) - reach) // s + 1

        fitting = [n for n in range(1, (size - 1) * s + reach + s + 1) if outputs(n) == size]
        assume(fitting)
        output.append(fitting[-1 - less % len(fitting)])
    with torch.no_grad():
        y = layer(torch.from_numpy(x), output_size=output).numpy()
    np.testing.assert_array_equal(y, reference(x, layer, output, padding))


@st.composite
def windows(draw):
    n = draw(st.integers(1, 3))
    most = {1: 12, 2: 9, 3: 4}[n]
    along = st.tuples(
        st.integers(1, most), st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3)
    )
    sizes, kernel, stride, dilation, shorter = zip(*(draw(along) for _ in range(n)), strict=True)
    if draw(st.booleans()):
        dilation = (1,) * n
    return sizes, kernel, stride, dilation, draw(st.sampled_from(["same", "valid", "symmetric"])), shorter


@settings(max_examples=120, deadline=None)
@given(windows(), st.sampled_from([1, 1, 3]), st.integers(0, 2**16))
def test_every_output_size_equals_tensorflows_to_the_bit(window, groups, seed):
    check_explicit(*window, groups, seed)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(windows(), st.sampled_from([1, 1, 2, 3]), st.integers(0, 2**16))
def test_many_output_sizes_equal_tensorflows(window, groups, seed):
    check_explicit(*window, groups, seed)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_every_small_combination_equals_keras(dimensions, padding):
    """Sizes 1 to 5, kernels 1 to 5, strides 1 to 4, and every output padding that Keras computes with them."""
    kind = getattr(tf.keras.layers, f"Conv{dimensions}DTranspose")
    seen = 0
    for size, kernel, stride in itertools.product((1, 2, 5), range(1, 6), range(1, 5)):
        for more in (None, *range(stride)):
            reach = kernel % 2 if padding == "same" else kernel
            if more is not None and padding == "same" and not 1 <= reach + more <= stride:
                continue
            layer = filled(LAYERS[dimensions](2, 3, kernel, stride, padding, more), size)
            keras = kind(3, kernel, stride, padding, output_padding=more)
            x = whole_numbers((1, 2, *(size, 3, 2)[:dimensions]), kernel)
            keras.build((None, *(None,) * dimensions, 2))
            keras.set_weights(
                [np.moveaxis(layer.weight.detach().numpy(), (1, 0), (-2, -1)), layer.bias.detach().numpy()]
            )
            wanted = np.moveaxis(np.asarray(keras(np.moveaxis(x, 1, -1))), -1, 1)
            with torch.no_grad():
                np.testing.assert_array_equal(layer(torch.from_numpy(x)).numpy(), wanted)
            seen += 1
    assert seen >= 130


@pytest.mark.parametrize("dilation", [2, (3, 1)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_dilations_equal_keras(padding, dilation):
    layer = filled(tfnn.ConvTranspose2d(2, 3, (3, 2), 1, padding, dilation=dilation), 3)
    keras = tf.keras.layers.Conv2DTranspose(3, (3, 2), 1, padding, dilation_rate=dilation)
    x = whole_numbers((1, 2, 5, 4), 5)
    keras.build((None, None, None, 2))
    keras.set_weights(
        [np.transpose(layer.weight.detach().numpy(), (2, 3, 1, 0)), layer.bias.detach().numpy()]
    )
    wanted = np.moveaxis(np.asarray(keras(np.moveaxis(x, 1, -1))), -1, 1)
    np.testing.assert_array_equal(layer(torch.from_numpy(x)).detach().numpy(), wanted)


def test_it_is_torchs_layer_with_its_parameters():
    for n, kind in LAYERS.items():
        stock = getattr(nn, f"ConvTranspose{n}d")(4, 6, 3, 2, 1, 1, groups=2)
        layer = kind(4, 6, 3, 2, groups=2)
        assert isinstance(layer, type(stock))
        layer.load_state_dict(stock.state_dict())
        assert torch.equal(layer.weight, stock.weight)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (5, 3), (2, 3), (1, 4), (3, 1), (6, 2)])
def test_torchs_own_settings_are_those_of_the_equal_stock_layer(kernel, stride):
    layer = tfnn.ConvTranspose2d(2, 3, kernel, stride)
    stock = nn.ConvTranspose2d(2, 3, kernel, stride, layer.padding, layer.output_padding)
    stock.load_state_dict(layer.state_dict())
    x = torch.randn(1, 2, 5, 6)
    assert torch.equal(layer(x), stock(x))


def test_symmetric_is_the_stock_layer_that_crops_half_a_kernel():
    for kernel, more in ((3, 1), (4, 1), (5, 0)):
        layer = tfnn.ConvTranspose2d(2, 3, kernel, 2, "symmetric", more)
        stock = nn.ConvTranspose2d(2, 3, kernel, 2, kernel // 2, more)
        stock.load_state_dict(layer.state_dict())
        x = torch.randn(2, 5, 6)
        assert torch.equal(layer(x), stock(x))


def test_gradients_are_those_of_finite_differences():
    layer = tfnn.ConvTranspose2d(2, 3, 3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(layer, torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
def test_it_exports_with_any_sizes(padding):
    layer = tfnn.ConvTranspose2d(2, 3, (3, 2), (2, 3), padding)
    dims = {
        0: torch.export.Dim("n"),
        2: torch.export.Dim("h", min=3, max=64),
        3: torch.export.Dim("w", min=3, max=64),
    }
    program = torch.export.export(layer, (torch.randn(2, 2, 6, 7),), dynamic_shapes=(dims,), strict=False)
    for sizes in ((1, 2, 9, 4), (3, 2, 6, 7)):
        x = torch.randn(sizes)
        torch.testing.assert_close(program.module()(x), layer(x))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: tfnn.ConvTranspose2d(2, 3, 4, 2, output_padding=0), "1 to 2 more"),
        (lambda: tfnn.ConvTranspose2d(2, 3, 3, 2, output_padding=2), "below the stride"),
        (lambda: tfnn.ConvTranspose2d(2, 3, 3, 2, output_padding=(1, 0, 1)), "2 integers"),
        (lambda: tfnn.ConvTranspose2d(2, 3, 3, 2, "SAME"), "no such padding rule"),
        (lambda: tfnn.ConvTranspose2d(2, 3, (3, 0), 2), "kernel_size does not fit"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make, why):
    with pytest.raises(ModelError, match=why):
        make()


@pytest.mark.parametrize("wanted", [[14, 17], [12, 16], [14], [-1, 3, 99, 99]])
def test_another_output_size_is_refused_as_tensorflow_refuses_it(wanted):
    with pytest.raises(ModelError, match="13 to 14 × 15 to 16"):
        tfnn.ConvTranspose2d(2, 3, 3, 2)(torch.zeros(1, 2, 7, 8), output_size=wanted)


def test_the_size_that_keras_refuses_with_an_even_kernel_is_refused_by_tensorflow_too():
    with pytest.raises(Exception, match=r"(?i)size|shape|dimension"):
        tf.keras.layers.Conv2DTranspose(3, 4, 2, "same", output_padding=0)(np.ones((1, 5, 5, 2), "f"))
