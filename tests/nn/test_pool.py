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
    wanted = tensorflow.pool(x, "MAX", kernel, stride, padding, dilation)
    # With gradients torch's own operator works, which keeps the positions of the maxima.
    for learns in (False, True):
        y = MAX[len(sizes)](kernel, stride, padding, dilation)(torch.from_numpy(x).requires_grad_(learns))
        np.testing.assert_array_equal(y.detach().numpy(), wanted)


def check_avg(window, seed, count_include_pad=False):
    sizes, kernel, stride, dilation, padding = window
    x = whole_numbers((2, 3, *sizes), seed) + 9
    layer = AVG[len(sizes)](kernel, stride, padding, dilation, count_include_pad)
    wanted = tensorflow.pool(x, "AVG", kernel, stride, padding, dilation, count_include_pad)
    np.testing.assert_allclose(layer(torch.from_numpy(x)).numpy(), wanted, rtol=2e-6)


@settings(max_examples=150)
@given(windows(), st.integers(0, 2**16))
def test_max_pools_equal_tensorflow_to_the_bit(window, seed):
    check_max(window, seed)


@settings(max_examples=150)
@given(windows(), st.integers(0, 2**16))
def test_average_pools_equal_tensorflow_to_rounding(window, seed):
    check_avg(window, seed)


@settings(max_examples=40)
@given(windows(), st.integers(0, 2**16))
def test_average_pools_that_count_pads_take_them_for_zeros(window, seed):
    check_avg(window, seed, count_include_pad=True)


@pytest.mark.slow
@settings(max_examples=2000)
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


# Kernel, stride: of every dimension, some that leave an odd position over and some whose last window is short.
POOLS = [(3, 1), (2, 1), (5, 1), (3, 2), (2, 2), (1, 2), (4, 3), (7, 5), (2, 3)]


def torchs(layer, x):
    """What torch's operator gives: under autograd the layer calls nothing else."""
    return layer(x.clone().requires_grad_(True)).detach()


@pytest.mark.parametrize(("kernel", "stride"), POOLS)
@pytest.mark.parametrize("rule", ["same", "valid", "symmetric"])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_maxima_of_shifted_views_equal_torchs_operator_in_every_format(kernel, stride, rule, dimensions):
    layer = MAX[dimensions](kernel, stride, rule)
    torch.manual_seed(7)
    for sizes in ((7, 11, 13), (8, 9, 10), (12, 15, 7)):
        x = torch.randn(2, 3, *sizes[:dimensions])
        formats = {1: [], 2: [torch.channels_last], 3: [torch.channels_last_3d]}[dimensions]
        turned = x.transpose(-1, -2) if dimensions > 1 else x.transpose(0, 1)
        for held in (x, *(x.contiguous(memory_format=form) for form in formats), turned):
            assert torch.equal(layer(held), torchs(layer, held.contiguous()))
        for form in formats:
            if layer(x).shape[-1] > 1:
                assert layer(x.contiguous(memory_format=form)).is_contiguous(memory_format=form)


def test_what_is_not_a_number_comes_through_and_infinities_too():
    x = torch.randn(1, 2, 9, 9)
    x[0, 0, 4, 4], x[0, 1, 2, 2], x[0, 1, 7] = float("nan"), float("inf"), float("-inf")
    layer = tfnn.MaxPool2d(3, 2)
    torch.testing.assert_close(layer(x), torchs(layer, x), rtol=0, atol=0, equal_nan=True)
    assert layer(x).isnan().any()


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (2, 2)])
def test_the_input_is_left_alone_and_shares_nothing_with_the_output(kernel, stride):
    x = torch.randn(1, 2, 8, 8)
    before = x.clone()
    tfnn.MaxPool2d(kernel, stride)(x).fill_(7)
    assert torch.equal(x, before)


def test_transforms_of_functions_take_the_usual_way():
    layer, x = tfnn.MaxPool2d(3, 1), torch.randn(5, 2, 3, 7, 7)
    assert torch.equal(torch.func.vmap(layer)(x), layer(x.flatten(0, 1)).reshape(5, 2, 3, 7, 7))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_traced_pool_takes_other_sizes_of_no_uneven_pads():
    layer = tfnn.MaxPool2d(3, 1)
    traced = torch.jit.trace(layer, torch.randn(1, 2, 7, 7))
    x = torch.randn(1, 2, 9, 11)
    assert torch.equal(traced(x), layer(x))
