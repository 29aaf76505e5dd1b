"""The small network with three branches, its faults, and some that concern more than one layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import tfpt.nn as tf_nn
from tests.verification.diagnosis.networks.network import (
    Fault,
    Network,
    become,
    change,
    loaded,
    perturbed,
    put,
    sets,
    stock,
    together,
)
from tests.verification.diagnosis.small import Mixed, Net, keras_model
from tests.verification.diagnosis.test_faults import FAULTS as SMALL

MAPPING = """\
version: 1
summary: a small network with branches
model: {factory: "tests.verification.diagnosis.small:Net"}
weights:
  - {tf: conv/kernel, pt: stem.conv.weight, layout: "h w i o -> o i h w"}
  - {tf: norm/gamma,           pt: stem.norm.weight}
  - {tf: norm/beta,            pt: stem.norm.bias}
  - {tf: norm/moving_mean,     pt: stem.norm.running_mean}
  - {tf: norm/moving_variance, pt: stem.norm.running_var}
  - {pt: stem.norm.num_batches_tracked, fill: 0, shape: [], dtype: int64}
  - {tf: "{x:left|right|third}/kernel", pt: "mixed.{x}.weight", layout: "h w i o -> o i h w"}
  - {tf: "{x:left|right|third}/bias",   pt: "mixed.{x}.bias"}
  - {tf: hidden/kernel, pt: hidden.weight, layout: "(h w c) o -> o (c h w)", axes: {h: 6, w: 5}}
  - {tf: square/kernel, pt: square.weight, layout: "i o -> o i"}
  - {tf: "{x:hidden|square}/bias", pt: "{x}.bias"}
endpoints:
  - {tf: norm,    pt: stem.norm, layout: "b h w c -> b c h w"}
  - {tf: pool,    pt: pool,      layout: "b h w c -> b c h w"}
  - {tf: mixed,   pt: mixed,     layout: "b h w c -> b c h w"}
  - {tf: hidden,  pt: act}
  - {tf: square,  pt: square}
  - {tf: softmax, pt: softmax}
input: {layout: "b h w c -> b c h w"}
"""

# The same as other orders of the branches, or as another module of the same place.
ALSO = {"branches with each other's weights": ("branch order", "mixed")}


def port(model: Any) -> Net:
    net: Net = loaded(MAPPING, model)
    return net


class PoolAfterwards(Mixed):
    """Averages what the convolution makes of it, which is the same but for the border, where the bias counts."""

    def forward(self, x: Tensor) -> Tensor:
        third = functional.avg_pool2d(self.third(x), 3, 1, 1)
        return functional.leaky_relu(torch.cat([self.left(x), self.right(x), third], 1), 0.3)


class ThirdOfLeft(Mixed):
    """Its third branch takes the wrong input: without the average before it."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(torch.cat([self.left(x), self.right(x), self.third(x)], 1), 0.3)


class WithoutRelu(Net):
    def forward(self, x: Tensor) -> Tensor:
        x = self.mixed(self.pool(self.stem(x)))
        x = self.square(self.act(self.hidden(self.flatten(x))))
        return self.softmax(x)


class ReluBeforePool(Net):
    """The same, since a maximum and a ReLU can be exchanged: but the endpoint between them is not."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixed(self.pool(torch.relu(self.stem(x))))
        x = self.square(self.act(self.hidden(self.flatten(x))))
        return self.softmax(x)


def _small(name: str) -> Fault:
    apply, endpoint, kind, path = SMALL[name]
    other, place = ALSO.get(name, (kind, path))
    parents = (path.rpartition(".")[0],) if path.count(".") else ()
    return Fault(apply, endpoint, {kind, other}, path, place, *parents)


FAULTS = {
    **{name: _small(name) for name in SMALL},
    "stock layers everywhere": Fault(
        together(
            put("stem.conv", lambda conv: stock(conv, padding=2)),
            put("pool", lambda _: nn.MaxPool2d(3, 2, 1)),
            put("mixed.mean", lambda _: nn.AvgPool2d(3, 1, 1)),
            sets("stem.norm", eps=1e-5),
        ),
        "norm",
        {"padding", "epsilon", "counted pads"},
        "stem",
        "pool",
        "mixed.mean",
    ),
    "pads and height and width exchanged": Fault(
        together(
            put("stem.conv", lambda conv: stock(conv, padding=2)),
            change("stem.conv.weight", lambda w: w.transpose(2, 3)),
        ),
        "norm",
        {"padding", "kernel axes"},
        "stem.conv",
    ),
    "average after the convolution": Fault(
        become("mixed", PoolAfterwards), "mixed", {"norm order", "counted pads"}, "mixed"
    ),
    "average missing": Fault(become("mixed", ThirdOfLeft), "mixed", "reduction", "mixed"),
    "relu missing": Fault(become("", WithoutRelu), "mixed", "missing activation", "", "pool", "mixed"),
    "relu too early": Fault(
        become("", ReluBeforePool),
        "pool",
        {"activation", "missing activation", "norm order"},
        "",
        "pool",
        "mixed",
    ),
    "maximum in place of average": Fault(
        put("mixed.mean", lambda _: tf_nn.MaxPool2d(3, 1)), "mixed", "reduction", "mixed.mean"
    ),
    "both kernels turned": Fault(
        together(
            *(change(f"mixed.{name}.weight", lambda w: w.transpose(2, 3)) for name in ("left", "right"))
        ),
        "mixed",
        "kernel axes",
        "mixed.left",
        "mixed.right",
    ),
    "softmax missing": Fault(
        put("softmax", lambda _: nn.Identity()), "softmax", "missing activation", "softmax", "square"
    ),
    "bias doubled": Fault(change("hidden.bias", lambda bias: 2 * bias), "hidden", "values", "hidden"),
    "moving averages": Fault(perturbed, "norm", set()),
}

NETWORK = Network("inception", MAPPING, keras_model, port, FAULTS)
