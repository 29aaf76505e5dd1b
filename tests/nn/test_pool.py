from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn import tensorflow_oracle as tensorflow
from tests.nn.windows_strategy import whole_numbers, windows
from tfpt import nn as tfnn

MAX = {1: tfnn.MaxPool1d, 2: tfnn.MaxPool2d, 3: tfnn.MaxPool3d}
AVG = {1: tfnn.AvgPool1d, 2: tfnn.AvgPool2d, 3: tfnn.AvgPool3d}


def check_max(window, seed):
    sizes, kernel, stride, dilation, padding = window
    x = whole_numbers((2, 3, *sizes), seed) - 9  # all below zero: a pad of zeros would win
    y = MAX[len(sizes)](kernel, stride, padding, dilation)(torch.from_numpy(x))
    np.testing.assert_array_equal(y.numpy(), tensorflow.pool(x, "MAX", kernel, stride, padding, dilation))


def check_avg(window, seed, count_include_pad=False):
    sizes, kernel, stride, dilation, padding = window
    x = whole_numbers((2, 3, *sizes), seed) + 9
    layer = AVG[len(sizes)](kernel, stride, padding, dilation, count_include_pad)
    wanted = tensorflow.pool(x, "AVG", kernel, stride, padding, dilation, count_include_pad)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), wanted, rtol=2e-6)


@settings(max_examples=150, deadline=None)
@given(windows(), st.integers(0, 2**16))
def test_max_pools_equal_tensorflow_to_the_bit(window, seed):
    check_max(window, seed)


@settings(max_examples=150, deadline=None)
@given(windows(), st.integers(0, 2**16))
def test_average_pools_equal_tensorflow_to_rounding(window, seed):
    check_avg(window, seed)


@settings(max_examples=40, deadline=None)
@given(windows(), st.integers(0, 2**16))
def test_average_pools_that_count_pads_take_them_for_zeros(window, seed):
    check_avg(window, seed, count_include_pad=True)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(windows(), st.integers(0, 2**16))
def test_many_pools_equal_tensorflow(window, seed):
    check_max(window, seed)
    check_avg(window, seed)


@pytest.mark.parametrize("kernel", range(1, 8))
@pytest.mark.parametrize("stride", range(1, 5))
def test_same_pools_equal_tensorflow_at_every_size(kernel, stride):
    for size in range(1, 41):
        check_max(((size,), (kernel,), (stride,), (1,), "same"), size)
        check_avg(((size,), (kernel,), (stride,), (1,), "same"), size)


def test_integers_are_pooled():
    x = np.random.default_rng(3).integers(-99, -1, (1, 8, 7, 3)).astype(np.int32)
    wanted = tensorflow.tf.nn.max_pool2d(x, (3, 2), (2, 1), "SAME").numpy()
    layer = tfnn.MaxPool2d((3, 2), (2, 1))
    np.testing.assert_array_equal(layer(torch.from_numpy(x).movedim(-1, 1)).movedim(1, -1).numpy(), wanted)


def test_an_integer_window_of_pads_alone_is_the_minimum():
    layer = tfnn.MaxPool2d(2, 1, dilation=2)
    assert layer(torch.ones(1, 1, 1, 1, dtype=torch.int64)).item() == torch.iinfo(torch.int64).min


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_dtypes(dtype):
    x = torch.randn(1, 3, 8, 9).to(dtype)
    assert torch.equal(tfnn.MaxPool2d(3, 2)(x).double(), tfnn.MaxPool2d(3, 2)(x.double()))
    for dilation in (1, 2):
        layer = tfnn.AvgPool2d(3, 2, dilation=dilation)
        assert layer(x).dtype == dtype
        torch.testing.assert_close(layer(x).double(), layer(x.double()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_averages_in_three_dimensions_are_the_rounded_ones(dtype):
    x = torch.randn(1, 5, 3, 7, 8, generator=torch.Generator().manual_seed(2)).to(dtype)
    for layer in (tfnn.AvgPool3d((2, 7, 7), 1, "valid"), tfnn.AvgPool3d(3, 2)):
        found = layer(x)
        assert found.dtype == dtype
        torch.testing.assert_close(found, layer(x.float()).to(dtype), rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("layer", [tfnn.MaxPool2d, tfnn.AvgPool2d])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_gradients_are_those_of_finite_differences(layer, stride, dilation):
    x = torch.randperm(30, dtype=torch.float64).reshape(1, 1, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(layer((2, 3), stride, "same", dilation), x)


def test_the_stride_is_the_kernel_unless_given():
    assert tfnn.MaxPool3d((1, 2, 3)).stride == (1, 2, 3)
    assert isinstance(tfnn.AvgPool1d(3), torch.nn.AvgPool1d)
    assert isinstance(tfnn.MaxPool3d(3), torch.nn.MaxPool3d)


def test_a_description_shows_the_rule():
    assert repr(tfnn.MaxPool1d(3)) == "MaxPool1d(kernel_size=(3,), stride=(3,), tf_padding='same')"
    text = repr(tfnn.AvgPool2d(3, 1, "symmetric", (1, 2), count_include_pad=True))
    assert text == (
        "AvgPool2d(kernel_size=(3, 3), stride=(1, 1), dilation=(1, 2), tf_padding='symmetric', "
        "count_include_pad=True)"
    )


def test_inputs_without_a_batch_are_taken():
    x = torch.randn(3, 7, 8)
    for layer in (tfnn.MaxPool2d(2, 1), tfnn.AvgPool2d((2, 3), (1, 2)), tfnn.AvgPool2d(3, 2, dilation=2)):
        torch.testing.assert_close(layer(x), layer(x[None])[0])
