"""A network in three dimensions: cubic kernels, whose axes no shape tells apart, and a flattening."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import torch
from torch import Tensor, nn

import tfpt.nn as tf_nn
from tests.verification.diagnosis.networks.network import (
    Fault,
    Network,
    become,
    change,
    filled,
    loaded,
    perturbed,
    put,
    stock,
    together,
)

SIZE = (8, 12, 4)
MAPPING = """\
version: 1
summary: a small network for volumes
model: {factory: "tests.verification.diagnosis.networks.volume:Net"}
weights:
  - {tf: "{d:enc|dec}{n:int}_conv/kernel", pt: "{d}{n}.main.weight", layout: "t h w i o -> o i t h w"}
  - {tf: "{d:enc|dec}{n:int}_conv/bias",   pt: "{d}{n}.main.bias"}
  - {tf: dense/kernel, pt: dense.weight, layout: "(t h w c) o -> o (c t h w)", axes: {t: 4, h: 6, w: 2}}
  - {tf: dense/bias,   pt: dense.bias}
endpoints:
  - {tf: "enc{n}", pt: "enc{n}", layout: "b t h w c -> b c t h w"}
  - {tf: "dec{n}", pt: "dec{n}", layout: "b t h w c -> b c t h w"}
  - {tf: dense, pt: dense}
input: {layout: "b t h w c -> b c t h w", range: [-1, 1]}
"""


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.main = tf_nn.Conv3d(inputs, outputs, 3, stride)
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.main(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc1, self.enc2, self.dec1 = Block(2, 5, 2), Block(5, 7, 2), Block(7, 7)
        self.up = nn.Upsample(scale_factor=2)
        self.dec2 = Block(12, 5)
        self.dense = nn.Linear(4 * 6 * 2 * 5, 11)

    def joined(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([self.up(x), skip], 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.enc1(x)
        x = self.joined(self.dec1(self.enc2(first)), first)
        return self.dense(self.dec2(x).flatten(1))


class SkipFirst(Net):
    def joined(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([skip, self.up(x)], 1)


def keras_model() -> Any:
    import keras
    from keras import layers

    def block(x: Any, name: str, outputs: int, stride: int = 1) -> Any:
        x = layers.Conv3D(outputs, 3, stride, "same", name=f"{name}_conv")(x)
        return layers.LeakyReLU(0.2, name=name)(x)

    inputs = keras.Input((*SIZE, 2))
    first = block(inputs, "enc1", 5, 2)
    x = block(block(first, "enc2", 7, 2), "dec1", 7)
    x = block(layers.Concatenate()([layers.UpSampling3D()(x), first]), "dec2", 5)
    x = layers.Dense(11, name="dense")(layers.Flatten()(x))
    return filled(keras.Model(inputs, x), 31, 1.3)


def port(model: Any) -> Net:
    net: Net = loaded(MAPPING, model)
    return net


BLOCKS = ("enc1", "enc2", "dec1", "dec2")


def axes(*order: int) -> Any:
    return lambda weight: weight.permute(0, 1, *(2 + axis for axis in order))


def everywhere(function: Any) -> Any:
    return together(*(change(f"{name}.main.weight", function) for name in BLOCKS))


def channels_last(weight: Tensor) -> Tensor:
    """The columns as TensorFlow has them."""
    return weight.unflatten(1, (5, 4, 6, 2)).movedim(1, -1).flatten(1)


def in_place(weight: Tensor) -> Tensor:
    """The columns with all axes but the channels in another order."""
    return weight.unflatten(1, (5, 4, 6, 2)).transpose(2, 4).flatten(1)


ORDERS = [order for order in permutations(range(3)) if order != (0, 1, 2)]
EVEN = together(*(put(f"{name}.main", lambda conv: stock(conv, padding=1)) for name in BLOCKS))
MAINS = tuple(f"{name}.main" for name in BLOCKS)

FAULTS = {
    **{
        f"axes {' '.join('thw'[axis] for axis in order)} in one kernel": Fault(
            change("enc2.main.weight", axes(*order)), "enc2", "kernel axes", "enc2.main"
        )
        for order in ORDERS
    },
    "axes w h t everywhere": Fault(everywhere(axes(2, 1, 0)), "enc1", "kernel axes", *MAINS),
    "axes h w t everywhere": Fault(everywhere(axes(1, 2, 0)), "enc1", "kernel axes", *MAINS),
    "even pads": Fault(put("enc2.main", lambda conv: stock(conv, padding=1)), "enc2", "padding", "enc2.main"),
    "even pads everywhere": Fault(EVEN, "enc1", "padding", *MAINS),
    "even pads and axes w h t in one": Fault(
        together(
            put("enc2.main", lambda conv: stock(conv, padding=1)),
            change("enc2.main.weight", axes(2, 1, 0)),
        ),
        "enc2",
        {"padding", "kernel axes"},
        "enc2.main",
    ),
    "even pads and axes w h t everywhere": Fault(
        together(EVEN, everywhere(axes(2, 1, 0))), "enc1", {"padding", "kernel axes"}, *MAINS
    ),
    "in and out exchanged": Fault(
        change("dec1.main.weight", lambda w: w.transpose(0, 1)), "dec1", "square weight", "dec1.main"
    ),
    "mirrored everywhere": Fault(everywhere(lambda w: w.flip(2, 3, 4)), "enc1", "mirrored kernel", *MAINS),
    "torch's slope": Fault(
        together(*(put(f"{name}.activation", lambda _: nn.LeakyReLU()) for name in BLOCKS)),
        "enc1",
        "activation",
        *BLOCKS,
    ),
    "slope of one": Fault(put("dec1.activation", lambda _: nn.LeakyReLU(0.1)), "dec1", "activation", "dec1"),
    "trilinear": Fault(
        put("up", lambda _: nn.Upsample(scale_factor=2, mode="trilinear")), "dec2", "resize", "up"
    ),
    "skip first": Fault(become("", SkipFirst), "dec2", "branch order", ""),
    "columns of the dense layer channels last": Fault(
        change("dense.weight", channels_last), "dense", "flattening", "dense"
    ),
    "columns of the dense layer in the order c w h t": Fault(
        change("dense.weight", in_place), "dense", "flattening", "dense"
    ),
    "activation missing": Fault(
        put("dec2.activation", lambda _: nn.Identity()), "dec2", "missing activation", "dec2"
    ),
    "input's times reversed": Fault(
        change("enc1.main.weight", lambda w: w.flip(2)), "enc1", "mirrored kernel", "enc1.main"
    ),
    "channels of the input reversed": Fault(
        change("enc1.main.weight", lambda w: w.flip(1)), "enc1", "input", "", "enc1.main"
    ),
    "moving averages": Fault(perturbed, "enc1", set()),
}

NETWORK = Network("volume", MAPPING, keras_model, port, FAULTS)
