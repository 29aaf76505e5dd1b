from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tfpt
from tests.nn.tensorflow_oracle import tf
from tfpt import nn as tfnn

LAYERS = {1: tfnn.BatchNorm1d, 2: tfnn.BatchNorm2d, 3: tfnn.BatchNorm3d}


def last(x):
    return np.moveaxis(x, 1, -1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=0, max_size=3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1e-3, 1e-5, 0.1]),
    st.sampled_from([0.99, 0.9, 0.5]),
    st.integers(0, 999),
)
def test_inference_and_training_equal_keras(sizes, scale, center, eps, momentum, seed):
    rng = np.random.default_rng(seed)
    layer = LAYERS[max(len(sizes), 1)](7, eps, momentum, scale, center)
    keras = tf.keras.layers.BatchNormalization(epsilon=eps, momentum=momentum, scale=scale, center=center)
    keras.build((None, *sizes, 7))
    values = {
        name: rng.uniform(0.5, 2, 7).astype(np.float32) for name in layer.state_dict() if "num" not in name
    }
    layer.load_state_dict({name: torch.from_numpy(v) for name, v in values.items()}, strict=False)
    keras.set_weights(list(values.values()))  # gamma, beta, mean, variance: torch's order too
    x = rng.normal(size=(3, 7, *sizes)).astype(np.float32)
    with torch.no_grad():
        for training in (False, True, False):
            got = layer.train(training)(torch.from_numpy(x)).numpy()
            wanted = np.moveaxis(np.asarray(keras(last(x), training=training)), -1, 1)
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(layer.running_mean.numpy(), keras.moving_mean.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), keras.moving_variance.numpy(), rtol=1e-5)
    assert int(layer.num_batches_tracked) == 1


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("center", [False, True])
def test_what_is_left_out_is_not_a_parameter(scale, center):
    layer = tfnn.BatchNorm2d(3, scale=scale, center=center)
    assert [name for name, _ in layer.named_parameters()] == ["weight"] * scale + ["bias"] * center
    assert layer.affine is (scale or center)
    assert isinstance(layer, nn.BatchNorm2d)
    layer.reset_parameters()


def test_with_both_it_is_torchs_with_other_defaults():
    stock, layer = nn.BatchNorm2d(3, 1e-3), tfnn.BatchNorm2d(3)
    layer.load_state_dict(stock.state_dict())
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(layer.eval()(x), stock.eval()(x))


def test_gradients_are_those_of_finite_differences():
    layer = tfnn.BatchNorm1d(3, scale=False, dtype=torch.float64)
    assert torch.autograd.gradcheck(layer, torch.randn(4, 3, dtype=torch.float64, requires_grad=True))


def test_it_is_folded_into_a_convolution():
    model = nn.Sequential(nn.Conv2d(3, 5, 3), tfnn.BatchNorm2d(5, scale=False), nn.ReLU()).eval()
    model[1].running_mean.normal_()
    model[1].bias.data.normal_()
    faster, x = tfpt.optimize(model), torch.randn(1, 3, 8, 9)
    assert isinstance(faster[1], nn.Identity)
    with torch.no_grad():
        torch.testing.assert_close(faster(x), model(x))
