from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nn.tensorflow_oracle import tf
from tfpt import nn as tfnn
from tfpt.errors import ModelError


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 5), st.tuples(*[st.integers(1, n) for n in (3, 5, 7, 6)]))
def test_both_equal_tensorflows(block, shape):
    batch, channels, height, width = shape
    deep = np.arange(batch * channels * block**2 * height * width, dtype=np.int32)
    deep = deep.reshape(batch, channels * block**2, height, width)
    wide = np.moveaxis(np.asarray(tf.nn.depth_to_space(np.moveaxis(deep, 1, -1), block)), -1, 1)
    got = tfnn.DepthToSpace(block)(torch.from_numpy(deep)).numpy()
    np.testing.assert_array_equal(got, wide)
    back = np.moveaxis(np.asarray(tf.nn.space_to_depth(np.moveaxis(wide, 1, -1), block)), -1, 1)
    np.testing.assert_array_equal(tfnn.SpaceToDepth(block)(torch.from_numpy(wide.copy())).numpy(), back)


def test_pixel_shuffle_orders_channels_otherwise():
    x = torch.arange(2 * 12 * 3 * 5.0).reshape(2, 12, 3, 5)
    assert not torch.equal(tfnn.DepthToSpace(2)(x), torch.nn.PixelShuffle(2)(x))
    order = torch.arange(12).reshape(4, 3).t().flatten()
    assert torch.equal(tfnn.DepthToSpace(2)(x), torch.nn.PixelShuffle(2)(x[:, order]))


@pytest.mark.parametrize("kind", [tfnn.DepthToSpace, tfnn.SpaceToDepth])
def test_it_exports_and_takes_no_batch(kind):
    layer, dims = kind(2), {0: torch.export.Dim("n"), 2: 2 * torch.export.Dim("h", min=2)}
    program = torch.export.export(layer, (torch.randn(2, 4, 6, 8),), dynamic_shapes=(dims,), strict=False)
    x = torch.randn(3, 4, 10, 8)
    assert torch.equal(program.module()(x), layer(x))
    assert torch.equal(layer(x[0]), layer(x)[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: tfnn.DepthToSpace(1),
        lambda: tfnn.SpaceToDepth(2.0),
        lambda: tfnn.DepthToSpace(2)(torch.zeros(1, 6, 2, 2)),
        lambda: tfnn.SpaceToDepth(2)(torch.zeros(1, 6, 2, 3)),
        lambda: tfnn.SpaceToDepth(2)(torch.zeros(2, 2)),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(ModelError, match="not fit"):
        call()
