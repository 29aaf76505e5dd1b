from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn import tensorflow_oracle as tensorflow
from tests.nn.windows_strategy import whole_numbers, windows
from tfpt import nn as tfnn
from tfpt.errors import ModelError

CONVS = {1: tfnn.Conv1d, 2: tfnn.Conv2d, 3: tfnn.Conv3d}


def check_against_tensorflow(window, groups, seed):
    sizes, kernel, stride, dilation, padding = window
    layer = CONVS[len(sizes)](2 * groups, 3 * groups, kernel, stride, padding, dilation, groups)
    x = whole_numbers((2, 2 * groups, *sizes), seed)
    weight = whole_numbers(tuple(layer.weight.shape), seed + 1)
    bias = whole_numbers((3 * groups,), seed + 2)
    layer.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    with torch.no_grad():
        y = layer(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(y, tensorflow.conv(x, weight, bias, stride, padding, dilation, groups))


@settings(max_examples=150)
@given(windows(), st.sampled_from([1, 1, 3]), st.integers(0, 2**16))
def test_convolutions_equal_tensorflow_to_the_bit_on_whole_numbers(window, groups, seed):
    check_against_tensorflow(window, groups, seed)


@pytest.mark.slow
@settings(max_examples=2000)
@given(windows(), st.sampled_from([1, 1, 2, 3]), st.integers(0, 2**16))
def test_many_convolutions_equal_tensorflow(window, groups, seed):
    check_against_tensorflow(window, groups, seed)


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
def test_real_numbers_agree_to_rounding(padding):
    rng = np.random.default_rng(5)
    layer = tfnn.Conv3d(5, 7, (3, 4, 7), (2, 1, 2), padding)
    x = rng.normal(size=(2, 5, 8, 9, 14)).astype(np.float32)
    weight, bias = (parameter.detach().numpy() for parameter in layer.parameters())
    wanted = tensorflow.conv(x, weight, bias, (2, 1, 2), padding, (1, 1, 1))
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach().numpy(), wanted, rtol=0, atol=3e-6)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_it_is_torchs_layer_with_its_parameter_names(dimensions):
    layer = CONVS[dimensions](3, 5, 2)
    stock = getattr(torch.nn, f"Conv{dimensions}d")(3, 5, 2)
    assert isinstance(layer, type(stock))
    assert layer.tf_padding == "same"
    layer.load_state_dict(stock.state_dict())
    assert torch.equal(layer.weight, stock.weight)


def test_torchs_own_padding_attribute_is_set_where_it_says_the_same():
    assert tfnn.Conv2d(1, 1, 3).padding == (1, 1)
    assert tfnn.Conv2d(1, 1, 7, 2, "symmetric").padding == (3, 3)
    assert tfnn.Conv2d(1, 1, 7, 2).padding == (0, 0)


def test_an_input_without_a_batch_is_taken():
    layer = tfnn.Conv2d(3, 5, (2, 3), 2)
    x = torch.randn(3, 7, 8)
    torch.testing.assert_close(layer(x), layer(x[None])[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_dtypes(dtype):
    layer = tfnn.Conv2d(3, 5, 4, 3, dtype=dtype)
    reference = tfnn.Conv2d(3, 5, 4, 3, dtype=torch.float64)
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(1, 3, 8, 9, dtype=dtype)
    assert layer(x).dtype == dtype
    torch.testing.assert_close(layer(x).double(), reference(x.double()), rtol=2e-2, atol=2e-2)


def test_a_device_and_no_bias():
    layer = tfnn.Conv3d(3, 5, 3, bias=False, device="meta")
    assert layer.weight.is_meta
    assert layer.bias is None


def test_gradients_are_those_of_finite_differences():
    layer = tfnn.Conv2d(2, 3, (4, 3), (3, 2), dilation=(1, 2), dtype=torch.float64)
    assert torch.autograd.gradcheck(layer, torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True))


def test_its_description_shows_the_rule():
    text = repr(tfnn.Conv2d(3, 5, 7, 2))
    assert text == "Conv2d(3, 5, kernel_size=(7, 7), stride=(2, 2), tf_padding='same')"


def test_another_rule_is_refused():
    with pytest.raises(ModelError, match="no such padding rule"):
        tfnn.Conv2d(3, 5, 7, padding="SAME")
