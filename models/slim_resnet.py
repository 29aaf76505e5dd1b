"""ResNet V1 and V2 of TF-Slim.

He et al., "Deep Residual Learning for Image Recognition", 2015; "Identity Mappings in Deep Residual Networks", 2016.
The layers are those of https://github.com/google-research/tf-slim (Apache-2.0 license), nets/resnet_v1.py and
nets/resnet_v2.py. They differ from torchvision's: the stride is in the last unit of a stage instead of the first of
the next, the first pool pads as TensorFlow does, and the convolutions of V2 without normalization have biases. Names of
V1's parameters are those of torchvision's resnet50.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tfpt.nn import MaxPool2d

# Slim's defaults for ResNet.
BATCH_NORM_EPSILON = 1e-5
WIDTHS = (64, 128, 256, 512)
# The stride of the last unit of each stage.
STRIDES = (2, 2, 2, 1)


class UnitV1(nn.Module):
    """Three convolutions with batch normalization, added to the input: (batch, channels, height, width)."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=BATCH_NORM_EPSILON)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=BATCH_NORM_EPSILON)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width, eps=BATCH_NORM_EPSILON)
        self.stride = stride
        self.downsample: nn.Module | None = None
        if in_channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, 4 * width, 1, stride, bias=False),
                nn.BatchNorm2d(4 * width, eps=BATCH_NORM_EPSILON),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activations."""
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(shortcut + self.bn3(self.conv3(x)))


class UnitV2(nn.Module):
    """Normalization, then three convolutions, added to the input: (batch, channels, height, width)."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.preact = nn.BatchNorm2d(in_channels, eps=BATCH_NORM_EPSILON)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=BATCH_NORM_EPSILON)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=BATCH_NORM_EPSILON)
        self.conv3 = nn.Conv2d(width, 4 * width, 1)
        self.stride = stride
        self.shortcut = nn.Conv2d(in_channels, 4 * width, 1, stride) if in_channels != 4 * width else None

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activations."""
        normalized = torch.relu(self.preact(x))
        shortcut = (
            x[:, :, :: self.stride, :: self.stride] if self.shortcut is None else self.shortcut(normalized)
        )
        x = torch.relu(self.bn1(self.conv1(normalized)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return shortcut + self.conv3(x)


class ResNetV1(nn.Module):
    """ResNet V1: class logits of images.

    Images are float tensors (batch, 3, height, width), RGB from 0 to 255 less the mean (123.68, 116.78, 103.94).

    Args:
        units: The number of units of each of the four stages; ``(3, 4, 6, 3)`` is ResNet-50.
        num_classes: Number of logits.

    Example:
        >>> ResNetV1(units=(1, 1, 1, 1), num_classes=5)(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 5])
    """

    def __init__(self, units: tuple[int, ...] = (3, 4, 6, 3), num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64, eps=BATCH_NORM_EPSILON)
        self.maxpool = MaxPool2d(3, 2, "same")
        channels = 64
        for stage, (width, stride, count) in enumerate(zip(WIDTHS, STRIDES, units, strict=True), 1):
            layers = []
            for unit in range(count):
                layers.append(UnitV1(channels, width, stride if unit == count - 1 else 1))
                channels = 4 * width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (batch, classes)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(images))))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(x.mean(dim=(2, 3)))


class ResNetV2(nn.Module):
    """ResNet V2, with normalization before each convolution: class logits of images.

    Images are float tensors (batch, 3, height, width), RGB from -1 to 1.

    Args:
        units: The number of units of each of the four stages; ``(3, 4, 6, 3)`` is ResNet-50.
        num_classes: Number of logits; the first is background.

    Example:
        >>> ResNetV2(units=(1, 1, 1, 1), num_classes=5)(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 5])
    """

    def __init__(self, units: tuple[int, ...] = (3, 4, 6, 3), num_classes: int = 1001) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3)
        self.maxpool = MaxPool2d(3, 2, "same")
        channels = 64
        for stage, (width, stride, count) in enumerate(zip(WIDTHS, STRIDES, units, strict=True), 1):
            layers = []
            for unit in range(count):
                layers.append(UnitV2(channels, width, stride if unit == count - 1 else 1))
                channels = 4 * width
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.postnorm = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (batch, classes)."""
        x = self.maxpool(self.conv1(images))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(torch.relu(self.postnorm(x)).mean(dim=(2, 3)))
