"""A residual network: bottleneck blocks with projections, batch norms of three epsilons, raw colors as input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import tfpt.nn as tf_nn
from tests.verification.diagnosis.networks.network import filled, loaded

# Even at every stride of 2, so that SAME pads unevenly there.
SIZE = (40, 56)
# In, between, and out; the stride.
BLOCKS = {"block1": (7, 5, 13, 1), "block2": (13, 5, 13, 2), "block3": (13, 13, 17, 1)}
# 2e-3 and 1e-4 are nobody's default.
EPSILONS = {"stem": 2e-3, "block1": 1e-3, "block2": 1e-4, "block3": 1e-3}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

MAPPING = """\
version: 1
summary: a small residual network
model: {factory: "tests.verification.diagnosis.networks.residual:Net"}
layers:
  norm:
    weights:
      - {tf: gamma,           pt: weight}
      - {tf: beta,            pt: bias}
      - {tf: moving_mean,     pt: running_mean}
      - {tf: moving_variance, pt: running_var}
      - {pt: num_batches_tracked, fill: 0, shape: [], dtype: int64}
scopes:
  - {tf: stem_norm, pt: stem.norm, layer: norm}
  - {tf: "block{i}_norm{j}", pt: "block{i}.norm{j}", layer: norm}
  - {tf: "block{i}_projection_norm", pt: "block{i}.projection.norm", layer: norm}
weights:
  - {tf: stem_conv/kernel, pt: stem.conv.weight, layout: "h w i o -> o i h w"}
  - {tf: "block{i}_conv{j:1|3}/kernel", pt: "block{i}.conv{j}.weight", layout: "h w i o -> o i h w"}
  - {tf: "block{i}_conv2/kernel", pt: "block{i}.conv2.weight", layout: "h w i o -> o i h w"}
  - {tf: "block{i}_conv{j}/bias", pt: "block{i}.conv{j}.bias"}
  - {tf: "block{i}_projection/kernel", pt: "block{i}.projection.conv.weight", layout: "h w i o -> o i h w"}
  - {tf: dense/kernel, pt: dense.weight, layout: "i o -> o i"}
  - {tf: dense/bias,   pt: dense.bias}
endpoints:
  - {tf: pool,    pt: stem,   layout: "b h w c -> b c h w"}
  - {tf: block1,  pt: block1, layout: "b h w c -> b c h w"}
  - {tf: block2,  pt: block2, layout: "b h w c -> b c h w"}
  - {tf: block3,  pt: block3, layout: "b h w c -> b c h w"}
  - {tf: softmax, pt: softmax}
input: {layout: "b h w c -> b c h w", range: [0, 255], kind: rgb}
"""


class Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = tf_nn.Conv2d(3, 7, 5, 2, bias=False)
        self.norm = nn.BatchNorm2d(7, eps=EPSILONS["stem"])
        self.relu = nn.ReLU()
        self.pool = tf_nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.relu(self.norm(self.conv(x))))


class Block(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int, stride: int, eps: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1)
        self.norm1 = nn.BatchNorm2d(width, eps=eps)
        self.conv2 = tf_nn.Conv2d(width, width, 3, stride)
        self.norm2 = nn.BatchNorm2d(width, eps=eps)
        self.conv3 = nn.Conv2d(width, outputs, 1)
        self.norm3 = nn.BatchNorm2d(outputs, eps=eps)
        self.projection = nn.Sequential()
        self.projection.add_module("conv", nn.Conv2d(inputs, outputs, 1, stride, bias=False))
        self.projection.add_module("norm", nn.BatchNorm2d(outputs, eps=eps))

    def branch(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(x)))
        return self.norm3(self.conv3(x))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.branch(x) + self.projection(x))


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem()
        for name, sizes in BLOCKS.items():
            self.add_module(name, Block(*sizes, EPSILONS[name]))
        self.mean = Mean()
        self.dense = nn.Linear(17, 11)
        self.softmax = nn.Softmax(1)
        self.register_buffer("mean_color", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)

    def prepared(self, x: Tensor) -> Tensor:
        return (x / 255 - self.mean_color) / self.deviation

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.prepared(x))
        x = self.block3(self.block2(self.block1(x)))
        return self.softmax(self.dense(self.mean(x)))


def keras_model() -> Any:
    import keras
    from keras import layers

    def norm(x: Any, name: str, block: str) -> Any:
        return layers.BatchNormalization(epsilon=EPSILONS[block], name=name)(x)

    x = inputs = keras.Input((*SIZE, 3))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Normalization(mean=MEAN, variance=[one**2 for one in DEVIATION])(x)
    x = layers.Conv2D(7, 5, 2, "same", use_bias=False, name="stem_conv")(x)
    x = layers.ReLU()(norm(x, "stem_norm", "stem"))
    x = layers.MaxPooling2D(3, 2, "same", name="pool")(x)
    for block, (_, width, outputs, stride) in BLOCKS.items():
        short = layers.Conv2D(outputs, 1, stride, use_bias=False, name=f"{block}_projection")(x)
        short = norm(short, f"{block}_projection_norm", block)
        x = layers.Conv2D(width, 1, name=f"{block}_conv1")(x)
        x = layers.ReLU()(norm(x, f"{block}_norm1", block))
        x = layers.Conv2D(width, 3, stride, "same", name=f"{block}_conv2")(x)
        x = layers.ReLU()(norm(x, f"{block}_norm2", block))
        x = norm(layers.Conv2D(outputs, 1, name=f"{block}_conv3")(x), f"{block}_norm3", block)
        x = layers.ReLU(name=block)(layers.Add()([x, short]))
    x = layers.Dense(11, name="dense")(layers.GlobalAveragePooling2D()(x))
    return filled(keras.Model(inputs, layers.Softmax(name="softmax")(x)), 7, 0.35, {"dense": 3.0})


def port(model: Any) -> Net:
    net: Net = loaded(MAPPING, model)
    return net
