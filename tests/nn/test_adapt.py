from __future__ import annotations

import pytest
import torch
from torch import nn

from tfpt import nn as tfnn
from tfpt.errors import ModelError

STOCK = [
    nn.Conv1d(2, 4, 4, 3, padding=1, groups=2),
    nn.Conv2d(2, 3, (3, 7), (2, 1), padding=(1, 3), dilation=(1, 2), bias=False),
    nn.Conv3d(2, 3, 3, 2, padding=1),
    nn.MaxPool1d(3, 2),
    nn.MaxPool2d((2, 3), (1, 4), dilation=(2, 1)),
    nn.MaxPool3d((1, 3, 3), (1, 2, 2), ceil_mode=True),
    nn.AvgPool1d(2, 1),
    nn.AvgPool2d(3, 2, padding=1),
    nn.AvgPool3d((1, 3, 3), (1, 2, 2)),
]


class Clipped(nn.Conv2d):
    def forward(self, x):
        return super().forward(x).clamp(0, 6)


@pytest.mark.parametrize("stock", STOCK, ids=str)
def test_everything_but_the_padding_is_kept(stock):
    layer = tfnn.adapt(stock.eval(), "same")
    assert type(layer) is getattr(tfnn, type(stock).__name__)
    assert isinstance(layer, type(stock))
    assert layer.tf_padding == "same"
    assert not layer.training
    for key in ("stride", "kernel_size", "dilation", "groups", "in_channels", "out_channels"):
        kept = getattr(stock, key, None)
        if kept is not None:
            found = getattr(layer, key)
            assert found in (kept, (kept,) * len(found) if isinstance(found, tuple) else kept)
    assert dict(layer.named_parameters()).keys() == dict(stock.named_parameters()).keys()
    for key, parameter in stock.named_parameters():
        assert layer.get_parameter(key) is parameter


@pytest.mark.parametrize("stock", STOCK[:3], ids=str)
def test_an_adapted_convolution_computes_as_one_built_so(stock):
    layer = tfnn.adapt(stock, "same")
    built = type(layer)(
        *(stock.in_channels, stock.out_channels, stock.kernel_size, stock.stride, "same"),
        *(stock.dilation, stock.groups, stock.bias is not None),
    )
    built.load_state_dict(stock.state_dict())
    x = torch.randn(1, 2, *(8, 9, 10)[: len(layer.stride)])
    assert torch.equal(layer(x), built(x))


def test_under_valid_a_layer_without_pads_computes_as_before():
    x = torch.randn(2, 2, 11, 13)
    for stock in (nn.Conv2d(2, 3, 3, 2), nn.MaxPool2d(3, 2), nn.AvgPool2d(3, 2)):
        assert torch.equal(tfnn.adapt(stock, "valid")(x), stock(x))


def test_under_symmetric_a_layer_with_half_a_kernel_of_pads_computes_as_before():
    x = torch.randn(2, 2, 11, 13)
    for stock in (nn.Conv2d(2, 3, 3, 2, 1), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1)):
        assert torch.equal(tfnn.adapt(stock, "symmetric")(x), stock(x))


def test_under_same_an_average_no_longer_counts_pads():
    x = torch.ones(1, 1, 4, 4)
    assert torch.equal(tfnn.adapt(nn.AvgPool2d(3, 1, 1), "same")(x), x)


def test_the_rule_of_a_layer_of_ours_is_replaced():
    ours = tfnn.Conv2d(2, 3, 3, padding="valid")
    layer = tfnn.adapt(ours, "same")
    assert layer.tf_padding == "same"
    assert layer.weight is ours.weight
    assert ours.tf_padding == "valid"
    pool = tfnn.adapt(tfnn.AvgPool2d(3, 1, "same", 2), "valid")
    assert (pool.tf_padding, pool.dilation) == ("valid", (2, 2))


@pytest.mark.parametrize(
    ("module", "padding", "why"),
    [
        (nn.Conv2d(2, 3, 3, padding_mode="reflect"), "same", "padding_mode='reflect'"),
        (nn.LPPool2d(2, 3), "same", "only these layers"),
        (nn.LazyConv2d(3, 3), "same", "only these layers"),
        (Clipped(2, 3, 3), "same", "not subclasses of them"),
        (nn.Linear(2, 3), "same", "only these layers"),
        (nn.AdaptiveAvgPool2d(1), "same", "only these layers"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), "valid", "ceil_mode"),
        (nn.AvgPool2d(3, 2, ceil_mode=True), "symmetric", "ceil_mode"),
        (nn.MaxPool2d(3, 2, return_indices=True), "same", "indices"),
        (nn.AvgPool2d(3, 2, divisor_override=4), "same", "divides by 4"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3)), "same", "not subclasses of them"),
    ],
    ids=str,
)
def test_what_it_cannot_keep_it_refuses(module, padding, why):
    with pytest.raises(ModelError, match=why):
        tfnn.adapt(module, padding)


def test_hooks_are_not_lost_in_silence():
    stock = nn.Conv2d(2, 3, 3)
    stock.register_forward_hook(lambda *_: None)
    with pytest.raises(ModelError, match="hooks"):
        tfnn.adapt(stock, "same")


def test_another_rule_is_refused():
    with pytest.raises(ModelError, match="no such padding rule"):
        tfnn.adapt(nn.Conv2d(2, 3, 3), "SAME")
