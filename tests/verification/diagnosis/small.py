"""A small network in two dimensions, in Keras and in PyTorch, with what ports get wrong in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import tfpt.nn as tf_nn

# Even, so that SAME pads a stride of 2 unevenly; a pool then sees 11 by 9, and pads evenly.
SIZE = (22, 18)

MAPPING = """\
version: 1
summary: a small network, for its activations alone
modules:
  - {pt: stem, padding: same, eps: 1.0e-3}
weights:
  - {tf: "{x}/kernel", pt: "{x}.weight", layout: "h w i o -> o i h w"}
endpoints:
  - {tf: norm,    pt: stem.norm, layout: "b h w c -> b c h w"}
  - {tf: pool,    pt: pool,      layout: "b h w c -> b c h w"}
  - {tf: mixed,   pt: mixed,     layout: "b h w c -> b c h w"}
  - {tf: hidden,  pt: act,       layout: "b k -> b k"}
  - {tf: square,  pt: square,    layout: "b k -> b k"}
  - {tf: softmax, pt: softmax,   layout: "b k -> b k"}
input: {layout: "b h w c -> b c h w"}
"""


class Mixed(nn.Module):
    """Three branches: two convolutions of one shape, and an average pool before a third."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(7, 5, 3, padding=1)
        self.right = nn.Conv2d(7, 5, 3, padding=1)
        self.mean = tf_nn.AvgPool2d(3, 1)
        self.third = nn.Conv2d(7, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.left(x), self.right(x), self.third(self.mean(x)))
        return functional.leaky_relu(torch.cat(branches, 1), 0.3)


class Net(nn.Module):
    """What the Keras model computes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.add_module("conv", tf_nn.Conv2d(3, 7, 5, 2, bias=False))
        self.stem.add_module("norm", nn.BatchNorm2d(7, eps=1e-3))
        self.pool = tf_nn.MaxPool2d(3, 2)
        self.mixed = Mixed()
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(6 * 5 * 13, 11)
        self.act = nn.GELU()
        self.square = nn.Linear(11, 11)
        self.softmax = nn.Softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixed(torch.relu(self.pool(self.stem(x))))
        x = self.square(self.act(self.hidden(self.flatten(x))))
        return self.softmax(x)


def keras_model() -> Any:
    """The network as Keras has it, its weights from a seed."""
    import keras
    from keras import layers

    x = inputs = keras.Input((*SIZE, 3))
    x = layers.Conv2D(7, 5, 2, "same", use_bias=False, name="conv")(x)
    x = layers.BatchNormalization(epsilon=1e-3, name="norm")(x)
    x = layers.MaxPooling2D(3, 2, "same", name="pool")(x)
    x = layers.ReLU(name="relu")(x)
    left = layers.Conv2D(5, 3, padding="same", name="left")(x)
    right = layers.Conv2D(5, 3, padding="same", name="right")(x)
    third = layers.Conv2D(3, 1, name="third")(layers.AveragePooling2D(3, 1, "same", name="mean")(x))
    x = layers.LeakyReLU(name="mixed")(layers.Concatenate(name="joined")([left, right, third]))
    x = layers.Dense(11, activation="gelu", name="hidden")(layers.Flatten(name="flat")(x))
    x = layers.Softmax(name="softmax")(layers.Dense(11, name="square")(x))
    model = keras.Model(inputs, x)
    random = np.random.default_rng(7)
    for weight in model.weights:
        shape = tuple(weight.shape)
        if "variance" in weight.path:
            # Small enough that an epsilon shows.
            values = random.uniform(0.02, 0.3, shape)
        elif len(shape) == 1:
            # Below 0 for the mean of most channels, so that zeros beside the input would win.
            values = random.normal(-1.0 if "beta" in weight.path else 0.5, 0.3, shape)
        else:
            values = random.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape)
        weight.assign(values.astype(np.float32))
    return model


def port(model: Any) -> Net:
    """The PyTorch network with the Keras model's weights, moved by hand."""
    held = {weight.path: np.asarray(weight) for weight in model.weights}
    net = Net().eval()
    state = net.state_dict()
    for name in ("stem.conv", "mixed.left", "mixed.right", "mixed.third"):
        layer = name.split(".")[-1]
        state[f"{name}.weight"] = torch.tensor(held[f"{layer}/kernel"].transpose(3, 2, 0, 1).copy())
        if f"{name}.bias" in state:
            state[f"{name}.bias"] = torch.tensor(held[f"{layer}/bias"])
    for leaf, theirs in {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }.items():
        state[f"stem.norm.{leaf}"] = torch.tensor(held[f"norm/{theirs}"])
    kernel = held["hidden/kernel"].reshape(6, 5, 13, 11)
    state["hidden.weight"] = torch.tensor(kernel.transpose(3, 2, 0, 1).reshape(11, -1).copy())
    state["square.weight"] = torch.tensor(held["square/kernel"].T.copy())
    for name in ("hidden", "square"):
        state[f"{name}.bias"] = torch.tensor(held[f"{name}/bias"])
    net.load_state_dict(state)
    return net


def write_mapping(folder: Path) -> Path:
    path = folder / "small.yaml"
    path.write_text(MAPPING)
    return path
