"""What ports get wrong in a residual network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import tfpt.nn as tf_nn
from tests.verification.diagnosis.networks.network import (
    Fault,
    Network,
    become,
    change,
    exchange,
    perturbed,
    put,
    sets,
    stock,
    together,
)
from tests.verification.diagnosis.networks.residual import (
    BLOCKS,
    MAPPING,
    Block,
    Net,
    keras_model,
    port,
)


class WithoutResidual(Block):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.branch(x))


class Halved(Block):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(0.5 * self.branch(x) + self.projection(x))


class ActivatedFirst(Block):
    def branch(self, x: Tensor) -> Tensor:
        x = self.norm1(torch.relu(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(x)))
        return self.norm3(self.conv3(x))


class WithoutRelu(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.projection(x)


class ReluTooMany(Block):
    def branch(self, x: Tensor) -> Tensor:
        return torch.relu(super().branch(x))


class ReluTooFew(Block):
    def branch(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        return self.norm3(self.conv3(self.norm2(self.conv2(x))))


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


class Undivided(Net):
    def prepared(self, x: Tensor) -> Tensor:
        return (x - self.mean_color) / self.deviation


class DividedAlone(Net):
    def prepared(self, x: Tensor) -> Tensor:
        return x / 255


class Unprepared(Net):
    def prepared(self, x: Tensor) -> Tensor:
        return x


class Signed(Net):
    def prepared(self, x: Tensor) -> Tensor:
        return x / 127.5 - 1


class Bgr(Net):
    def prepared(self, x: Tensor) -> Tensor:
        return super().prepared(x.flip(1))


class BgrBehind(Net):
    def prepared(self, x: Tensor) -> Tensor:
        return super().prepared(x).flip(1)


def stride_on_the_first(net: Net) -> None:
    """As in the first ResNet, where TensorFlow's has it on the 3×3."""
    block, conv = net.block2, net.block2.conv2
    block.conv1 = stock(block.conv1, stride=2)
    block.conv2 = tf_nn.Conv2d(5, 5, 3)
    block.conv2.load_state_dict(conv.state_dict())


def transposed(weight: Tensor) -> Tensor:
    return weight.transpose(0, 1)


def turned(weight: Tensor) -> Tensor:
    return weight.transpose(2, 3)


def norms(net: nn.Module) -> list[str]:
    return [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]


def of_norms(fault: Any) -> Any:
    """The same fault in every norm, as a wrong row of the mapping has."""
    return lambda net: together(*(fault(name) for name in norms(net)))(net)


KERNELS = tuple(f"{block}.conv2" for block in BLOCKS)

FAULTS = {
    "residual forgotten": Fault(become("block2", WithoutResidual), "block2", "missing skip", "block2"),
    "branch halved": Fault(become("block2", Halved), "block2", "scale", "block2"),
    "stride on the 1×1": Fault(stride_on_the_first, "block2", "stride", "block2"),
    "torch's epsilon in the stem": Fault(sets("stem.norm", eps=1e-5), "pool", "epsilon", "stem.norm"),
    "Keras's epsilon in the stem": Fault(sets("stem.norm", eps=1e-3), "pool", "epsilon", "stem.norm"),
    "torch's epsilon in a block": Fault(
        together(
            *(sets(f"block2.{name}", eps=1e-5) for name in ("norm1", "norm2", "norm3", "projection.norm"))
        ),
        "block2",
        "epsilon",
        "block2",
    ),
    "epsilon of 1e-4 in a norm": Fault(sets("block1.norm2", eps=1e-4), "block1", "epsilon", "block1.norm2"),
    "torch's epsilon everywhere": Fault(
        of_norms(lambda name: sets(name, eps=1e-5)), "pool", "epsilon", "stem.norm", *BLOCKS
    ),
    "gamma and beta exchanged": Fault(
        exchange("block1.norm2.weight", "block1.norm2.bias"), "block1", "statistics", "block1.norm2"
    ),
    "gamma and beta exchanged everywhere": Fault(
        of_norms(lambda name: exchange(f"{name}.weight", f"{name}.bias")),
        "pool",
        "statistics",
        "stem.norm",
        *BLOCKS,
    ),
    "deviation as variance": Fault(
        change("block2.norm1.running_var", torch.sqrt), "block2", "statistics", "block2.norm1"
    ),
    "variance squared": Fault(
        change("block2.norm1.running_var", torch.square), "block2", "statistics", "block2.norm1"
    ),
    "reciprocal of the variance": Fault(
        change("block2.norm1.running_var", torch.reciprocal), "block2", "statistics", "block2.norm1"
    ),
    "activation before the norm": Fault(become("block1", ActivatedFirst), "block1", "norm order", "block1"),
    "softmax missing": Fault(
        put("softmax", lambda _: nn.Identity()), "softmax", "missing activation", "softmax", "dense"
    ),
    "relu missing at a block's end": Fault(
        become("block2", WithoutRelu), "block2", "missing activation", "block2"
    ),
    "relu missing in a block": Fault(
        become("block3", ReluTooFew), "block3", "missing activation", "block3.norm2"
    ),
    "relu too many": Fault(become("block1", ReluTooMany), "block1", "activation", "block1"),
    "square kernel transposed": Fault(
        change("block3.conv1.weight", transposed), "block3", "square weight", "block3.conv1"
    ),
    "3×3 square kernel transposed": Fault(
        change("block1.conv2.weight", transposed), "block1", "square weight", "block1.conv2"
    ),
    "height and width exchanged": Fault(
        change("block1.conv2.weight", turned), "block1", "kernel axes", "block1.conv2"
    ),
    "height and width exchanged everywhere": Fault(
        together(*(change(f"{name}.weight", turned) for name in KERNELS)), "block1", "kernel axes", *KERNELS
    ),
    "even pads in the stem": Fault(
        put("stem.conv", lambda conv: stock(conv, padding=2)), "pool", "padding", "stem.conv"
    ),
    "even pads in a block": Fault(
        put("block2.conv2", lambda conv: stock(conv, padding=1)), "block2", "padding", "block2.conv2"
    ),
    "even pads everywhere": Fault(
        together(
            put("stem.conv", lambda conv: stock(conv, padding=2)),
            put("stem.pool", lambda _: nn.MaxPool2d(3, 2, 1)),
            *(put(name, lambda conv: stock(conv, padding=1)) for name in KERNELS),
        ),
        "pool",
        "padding",
        "stem",
        *KERNELS,
    ),
    "average in place of maximum": Fault(
        put("stem.pool", lambda _: tf_nn.AvgPool2d(3, 2)), "pool", "reduction", "stem.pool"
    ),
    "sum in place of mean": Fault(
        put("mean", lambda _: Sum()), "softmax", {"scale", "reduction"}, "mean", "dense"
    ),
    "weights of two blocks exchanged": Fault(
        exchange("block1.conv2.weight", "block2.conv2.weight"),
        "block1",
        "exchanged weights",
        "block1.conv2",
        "block2.conv2",
    ),
    "statistics of two norms exchanged": Fault(
        together(
            *(
                exchange(f"block3.norm1.{one}", f"block3.norm2.{one}")
                for one in ("running_mean", "running_var")
            )
        ),
        "block3",
        {"exchanged weights", "statistics"},
        "block3.norm1",
        "block3.norm2",
    ),
    "input not divided by 255": Fault(become("", Undivided), "pool", "input", "", "stem.conv"),
    "mean not subtracted": Fault(become("", DividedAlone), "pool", "input", "", "stem.conv"),
    "input not prepared": Fault(become("", Unprepared), "pool", "input", "", "stem.conv"),
    "input from -1 to 1": Fault(become("", Signed), "pool", "input", "", "stem.conv"),
    "BGR": Fault(become("", Bgr), "pool", "input", "", "stem.conv"),
    "BGR after the mean": Fault(become("", BgrBehind), "pool", "input", "", "stem.conv"),
    "bias doubled": Fault(
        change("block2.conv3.bias", lambda bias: 2 * bias), "block2", "values", "block2.conv3", "block2.norm3"
    ),
    "bias of the dense layer doubled": Fault(
        change("dense.bias", lambda bias: 2 * bias), "softmax", "values", "dense"
    ),
    "moving averages": Fault(perturbed, "pool", set()),
}

NETWORK = Network("residual", MAPPING, keras_model, port, FAULTS)
