"""The reference networks of MLPerf Tiny: ResNet-8, DS-CNN and MobileNet 0.25.

Banbury et al., "MLPerf Tiny Benchmark", 2021. The layers are those of https://github.com/mlcommons/tiny (Apache-2.0
license), benchmark/training. As there, convolutions before a normalization have biases, and the networks end with a
softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tfpt.nn import Conv2d

# Keras' default.
BATCH_NORM_EPSILON = 1e-3


class NormalizedConv(nn.Module):
    """A convolution, padded as TensorFlow does, and batch normalization: (batch, channels, height, width)."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int | tuple[int, int], stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, channels, kernel, stride, groups=groups)
        self.bn = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activations."""
        return self.bn(self.conv(x))


class ResidualStage(nn.Module):
    """Two convolutions of 3 by 3, added to the input: (batch, channels, height, width).

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: Stride of the first convolution, and of the shortcut: a convolution of 1 by 1, if it is not 1.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.unit1 = NormalizedConv(in_channels, channels, 3, stride)
        self.unit2 = NormalizedConv(channels, channels, 3)
        self.shortcut = Conv2d(in_channels, channels, 1, stride) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activations."""
        y = self.unit2(torch.relu(self.unit1(x)))
        return torch.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet8(nn.Module):
    """ResNet-8, which classifies images: probabilities of the classes.

    Images are float tensors (batch, 3, 32, 32), RGB from 0 to 255.

    Args:
        width: Channels of the first layer; 16 in the published network, 40 in the large one.
        num_classes: Number of classes, those of CIFAR-10.

    Example:
        >>> ResNet8()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, width: int = 16, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = NormalizedConv(3, width, 3)
        self.stage1 = ResidualStage(width, width, 1)
        self.stage2 = ResidualStage(width, 2 * width, 2)
        self.stage3 = ResidualStage(2 * width, 4 * width, 2)
        self.classifier = nn.Linear(4 * width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """The probabilities, (batch, classes)."""
        x = torch.relu(self.stem(images))
        x = self.stage3(self.stage2(self.stage1(x)))
        return torch.softmax(self.classifier(x.mean(dim=(2, 3))), dim=1)


class SeparableUnit(nn.Module):
    """A depthwise and a pointwise convolution: (batch, channels, height, width)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = NormalizedConv(in_channels, in_channels, 3, stride, groups=in_channels)
        self.pointwise = NormalizedConv(in_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activations."""
        return torch.relu(self.pointwise(torch.relu(self.depthwise(x))))


class SeparableNetwork(nn.Module):
    """A convolution, then separable units: probabilities of the classes.

    Args:
        stem: The first convolution.
        units: Channels and stride of each unit.
        num_classes: Number of classes.
    """

    def __init__(self, stem: NormalizedConv, units: Sequence[tuple[int, int]], num_classes: int) -> None:
        super().__init__()
        self.stem = stem
        self.units = nn.Sequential()
        channels = stem.conv.out_channels
        for out, stride in units:
            self.units.append(SeparableUnit(channels, out, stride))
            channels = out
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """The probabilities, (batch, classes)."""
        x = self.units(torch.relu(self.stem(inputs)))
        return torch.softmax(self.classifier(x.mean(dim=(2, 3))), dim=1)


class DsCnn(SeparableNetwork):
    """DS-CNN, which recognizes spoken words: probabilities of the words.

    The input is a float tensor (batch, 1, 49, 10): 10 mel-frequency cepstral coefficients of each of 49 windows of a
    second of audio.

    Args:
        width: Channels of all layers.
        depth: Number of separable units.
        num_classes: Number of words, with silence and unknown words.

    Example:
        >>> DsCnn()(torch.zeros(2, 1, 49, 10)).shape
        torch.Size([2, 12])
    """

    def __init__(self, width: int = 64, depth: int = 4, num_classes: int = 12) -> None:
        super().__init__(NormalizedConv(1, width, (10, 4), 2), [(width, 1)] * depth, num_classes)


class MobileNet(SeparableNetwork):
    """MobileNet V1, which says whether a person is in an image: probabilities of the classes.

    Images are float tensors (batch, 3, 96, 96), RGB from 0 to 1.

    Args:
        width: Channels of the first layer: 8 is a quarter of MobileNet's.
        num_classes: Number of classes: no person, and a person.

    Example:
        >>> MobileNet()(torch.zeros(2, 3, 96, 96)).shape
        torch.Size([2, 2])
    """

    # Channels of each unit, in those of the first layer, and its stride.
    UNITS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))

    def __init__(self, width: int = 8, num_classes: int = 2) -> None:
        units = [(width * factor, stride) for factor, stride in self.UNITS]
        super().__init__(NormalizedConv(3, width, 3, 2), units, num_classes)
