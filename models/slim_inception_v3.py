"""Inception V3 of TF-Slim.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2015. The layers are those of
https://github.com/google-research/tf-slim (Apache-2.0 license), nets/inception_v3.py, the names of the parameters those
of torchvision's inception_v3. That one counts the padding in its average pools, which this and TensorFlow do not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tfpt.nn import AvgPool2d

BATCH_NORM_EPSILON = 1e-3
Kernel = int | tuple[int, int]


class Unit(nn.Module):
    """A convolution, batch normalization and ReLU: (batch, channels, height, width)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Kernel, stride: int = 1, padding: str = "same"
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        pads = (sides[0] // 2, sides[1] // 2) if padding == "same" else 0
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, pads, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activations."""
        return torch.relu(self.bn(self.conv(x)))


class Module(nn.Module):
    """Branches over the same input, concatenated along the channels.

    Args:
        chains: For each branch the names of its layers, in order. The last may be several, whose outputs are
            concatenated; an empty branch passes its input on.
        layers: The layers by name.
        pool: The pool before the last branch.
    """

    def __init__(
        self, chains: list[list[str | tuple[str, ...]]], layers: dict[str, nn.Module], pool: nn.Module
    ) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.pool = pool
        self.chains = chains

    def forward(self, x: Tensor) -> Tensor:
        """The branches' outputs, concatenated along the channels."""
        outputs = []
        for chain in self.chains:
            y = self.pool(x) if chain is self.chains[-1] else x
            for step in chain:
                names = (step,) if isinstance(step, str) else step
                y = torch.cat([self.get_submodule(name)(y) for name in names], dim=1)
            outputs.append(y)
        return torch.cat(outputs, dim=1)


def _pool() -> nn.Module:
    return AvgPool2d(3, 1, "same")


def _module_a(channels: int, pooled: int) -> Module:
    layers = {
        "branch1x1": Unit(channels, 64, 1),
        "branch5x5_1": Unit(channels, 48, 1),
        "branch5x5_2": Unit(48, 64, 5),
        "branch3x3dbl_1": Unit(channels, 64, 1),
        "branch3x3dbl_2": Unit(64, 96, 3),
        "branch3x3dbl_3": Unit(96, 96, 3),
        "branch_pool": Unit(channels, pooled, 1),
    }
    chains: list[list[str | tuple[str, ...]]] = [
        ["branch1x1"],
        ["branch5x5_1", "branch5x5_2"],
        ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"],
        ["branch_pool"],
    ]
    return Module(chains, layers, _pool())


def _module_b(channels: int) -> Module:
    layers = {
        "branch3x3": Unit(channels, 384, 3, 2, "valid"),
        "branch3x3dbl_1": Unit(channels, 64, 1),
        "branch3x3dbl_2": Unit(64, 96, 3),
        "branch3x3dbl_3": Unit(96, 96, 3, 2, "valid"),
    }
    return Module(
        [["branch3x3"], ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"], []],
        layers,
        nn.MaxPool2d(3, 2),
    )


def _module_c(channels: int, width: int) -> Module:
    layers = {
        "branch1x1": Unit(channels, 192, 1),
        "branch7x7_1": Unit(channels, width, 1),
        "branch7x7_2": Unit(width, width, (1, 7)),
        "branch7x7_3": Unit(width, 192, (7, 1)),
        "branch7x7dbl_1": Unit(channels, width, 1),
        "branch7x7dbl_2": Unit(width, width, (7, 1)),
        "branch7x7dbl_3": Unit(width, width, (1, 7)),
        "branch7x7dbl_4": Unit(width, width, (7, 1)),
        "branch7x7dbl_5": Unit(width, 192, (1, 7)),
        "branch_pool": Unit(channels, 192, 1),
    }
    chains: list[list[str | tuple[str, ...]]] = [
        ["branch1x1"],
        ["branch7x7_1", "branch7x7_2", "branch7x7_3"],
        [f"branch7x7dbl_{number}" for number in range(1, 6)],
        ["branch_pool"],
    ]
    return Module(chains, layers, _pool())


def _module_d(channels: int) -> Module:
    layers = {
        "branch3x3_1": Unit(channels, 192, 1),
        "branch3x3_2": Unit(192, 320, 3, 2, "valid"),
        "branch7x7x3_1": Unit(channels, 192, 1),
        "branch7x7x3_2": Unit(192, 192, (1, 7)),
        "branch7x7x3_3": Unit(192, 192, (7, 1)),
        "branch7x7x3_4": Unit(192, 192, 3, 2, "valid"),
    }
    chains: list[list[str | tuple[str, ...]]] = [
        ["branch3x3_1", "branch3x3_2"],
        [f"branch7x7x3_{number}" for number in range(1, 5)],
        [],
    ]
    return Module(chains, layers, nn.MaxPool2d(3, 2))


def _module_e(channels: int) -> Module:
    layers = {
        "branch1x1": Unit(channels, 320, 1),
        "branch3x3_1": Unit(channels, 384, 1),
        "branch3x3_2a": Unit(384, 384, (1, 3)),
        "branch3x3_2b": Unit(384, 384, (3, 1)),
        "branch3x3dbl_1": Unit(channels, 448, 1),
        "branch3x3dbl_2": Unit(448, 384, 3),
        "branch3x3dbl_3a": Unit(384, 384, (1, 3)),
        "branch3x3dbl_3b": Unit(384, 384, (3, 1)),
        "branch_pool": Unit(channels, 192, 1),
    }
    chains: list[list[str | tuple[str, ...]]] = [
        ["branch1x1"],
        ["branch3x3_1", ("branch3x3_2a", "branch3x3_2b")],
        ["branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")],
        ["branch_pool"],
    ]
    return Module(chains, layers, _pool())


class InceptionV3(nn.Module):
    """Inception V3: class logits of images.

    Images are float tensors (batch, 3, height, width), RGB from -1 to 1, of at least 75 by 75; 299 by 299 in training.

    Args:
        num_classes: Number of logits; the first is background.

    Example:
        >>> InceptionV3(num_classes=5).eval()(torch.zeros(1, 3, 75, 75)).shape
        torch.Size([1, 5])
    """

    def __init__(self, num_classes: int = 1001) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, 2, "valid")
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, 1, "valid")
        self.Conv2d_2b_3x3 = Unit(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, 1, "valid")
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b = _module_a(192, 32)
        self.Mixed_5c = _module_a(256, 64)
        self.Mixed_5d = _module_a(288, 64)
        self.Mixed_6a = _module_b(288)
        self.Mixed_6b = _module_c(768, 128)
        self.Mixed_6c = _module_c(768, 160)
        self.Mixed_6d = _module_c(768, 160)
        self.Mixed_6e = _module_c(768, 192)
        self.Mixed_7a = _module_d(768)
        self.Mixed_7b = _module_e(1280)
        self.Mixed_7c = _module_e(2048)
        self.fc = nn.Linear(2048, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (batch, classes)."""
        x = images
        for name, layer in self.named_children():
            if name != "fc":
                x = layer(x)
        return self.fc(x.mean(dim=(2, 3)))
