from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.tensorflow_oracle import tf
from tfpt import nn as tfnn
from tfpt.errors import ModelError

constants = st.tuples(
    st.integers(0, 9), st.floats(0.5, 4), st.floats(1e-4, 2), st.sampled_from([0.5, 0.75, 1.0, 0.3])
)


@settings(max_examples=150, deadline=None)
@given(st.tuples(*[st.integers(1, n) for n in (3, 13, 5, 4)]), constants, st.integers(0, 999))
def test_it_equals_tensorflow_for_all_radii_and_channels(shape, given_, seed):
    x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    wanted = np.asarray(tf.nn.local_response_normalization(np.moveaxis(x, 1, -1), *given_))
    got = tfnn.LocalResponseNorm(*given_)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, np.moveaxis(wanted, -1, 1), rtol=2e-6, atol=1e-7)


def test_the_defaults_are_tensorflows():
    x = np.random.default_rng(3).normal(size=(2, 5, 4, 17)).astype(np.float32)
    wanted = np.moveaxis(np.asarray(tf.nn.local_response_normalization(x)), -1, 1)
    got = tfnn.LocalResponseNorm()(torch.from_numpy(np.moveaxis(x, -1, 1))).numpy()
    np.testing.assert_allclose(got, wanted, rtol=2e-6)


def test_it_is_torchs_with_alpha_times_the_window():
    x = torch.randn(2, 11, 5, 4, dtype=torch.float64)
    ours = tfnn.LocalResponseNorm(2, 2.0, 1e-2, 0.75)
    torch.testing.assert_close(ours(x), torch.nn.LocalResponseNorm(5, 5e-2, 0.75, 2.0)(x))


@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 3), (2, 7, 3, 4, 5)])
def test_any_number_of_dimensions(shape):
    x = torch.randn(shape)
    wanted = tfnn.LocalResponseNorm(2)(x.reshape(2, 7, -1, 1)).reshape(shape)
    torch.testing.assert_close(tfnn.LocalResponseNorm(2)(x), wanted)


def test_gradients_half_precision_and_export():
    norm = tfnn.LocalResponseNorm(1, 1.5, 0.3, 0.75)
    assert torch.autograd.gradcheck(norm, torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True))
    x = torch.randn(1, 4, 2, 3)
    torch.testing.assert_close(norm(x.half()).float(), norm(x), rtol=2e-3, atol=2e-3)
    dims = {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=3), 3: torch.export.Dim("w", min=3)}
    program = torch.export.export(norm, (torch.randn(2, 4, 5, 6),), dynamic_shapes=(dims,), strict=False)
    y = torch.randn(3, 4, 7, 4)
    torch.testing.assert_close(program.module()(y), norm(y))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ModelError, match="depth_radius does not fit"):
        tfnn.LocalResponseNorm(-1)
    with pytest.raises(ModelError, match="needs channels"):
        tfnn.LocalResponseNorm()(torch.zeros(3))
