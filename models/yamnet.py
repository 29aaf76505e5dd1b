"""YAMNet, a network that recognizes sounds.

Plakal and Ellis, https://github.com/tensorflow/models/tree/master/research/audioset/yamnet (Apache-2.0 license), whose
layers these are. The names of the parameters are those of https://github.com/w-hc/torch_audioset (MIT license), so
weights can be exchanged with that port.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tfpt.nn import Conv2d

# Channels and stride of the separable convolutions, layers 2 to 14.
LAYERS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)
BATCH_NORM_EPSILON = 1e-4


class ConvUnit(nn.Module):
    """A convolution without bias, batch normalization and ReLU: (batch, channels, frames, bands)."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, channels, kernel, stride, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activations."""
        return torch.relu(self.bn(self.conv(x)))


class YAMNet(nn.Module):
    """Scores of 521 kinds of sounds for patches of a spectrogram, and an embedding of each patch.

    A patch is the log-mel spectrogram of 0.96 s of audio at 16 kHz: 96 frames of 64 bands from 125 to 7500 Hz, as
    log(magnitude + 0.001), from windows of 25 ms (Hann) every 10 ms.

    Args:
        num_classes: Number of scores.

    Example:
        >>> scores, embeddings = YAMNet()(torch.zeros(2, 96, 64))
        >>> scores.shape, embeddings.shape
        (torch.Size([2, 521]), torch.Size([2, 1024]))
    """

    def __init__(self, num_classes: int = 521) -> None:
        super().__init__()
        self.layer1 = nn.ModuleDict({"fused": ConvUnit(1, 32, 3, stride=2)})
        before = 32
        for number, (channels, stride) in enumerate(LAYERS, 2):
            depthwise = ConvUnit(before, before, 3, stride, groups=before)
            pointwise = ConvUnit(before, channels, 1)
            self.add_module(
                f"layer{number}", nn.ModuleDict({"depthwise_conv": depthwise, "pointwise_conv": pointwise})
            )
            before = channels
        self.classifier = nn.Linear(before, num_classes)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (batch, classes), each from 0 to 1, and embeddings (batch, 1024) of patches (batch, frames, bands)."""
        x = patches[:, None]
        for layer in self.children():
            if isinstance(layer, nn.ModuleDict):
                for unit in layer.values():
                    x = unit(x)
        embeddings = x.mean(dim=(2, 3))
        return torch.sigmoid(self.classifier(embeddings)), embeddings
