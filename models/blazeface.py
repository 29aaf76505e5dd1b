"""BlazeFace, which finds faces near the camera: the short-range model of MediaPipe.

Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019. The layers are those of
face_detection_short_range.tflite of https://github.com/google-ai-edge/mediapipe (Apache-2.0 license), the names of the
parameters those of https://github.com/hollance/BlazeFace-PyTorch (Apache-2.0 license), so weights can be exchanged
with that port. Decoding of boxes by their anchors and suppression of overlapping ones are not part of this module.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tfpt.nn import Conv2d, MaxPool2d

# Channels and stride of the blocks.
FINE = (
    *((24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2)),
    *((56, 1), (64, 1), (72, 1), (80, 1), (88, 1)),
)
COARSE = ((96, 2), (96, 1), (96, 1), (96, 1), (96, 1))
# Anchors of each position in the two maps; numbers of each box.
ANCHORS = (2, 6)
BOX = 16


class BlazeBlock(nn.Module):
    """A separable convolution, added to the input: (batch, channels, height, width).

    The input is pooled, if there is a stride, and extended by channels of zeros.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.added = channels - in_channels
        self.max_pool = MaxPool2d(2, 2) if stride > 1 else None
        self.convs = nn.Sequential(
            Conv2d(in_channels, in_channels, 3, stride, groups=in_channels), Conv2d(in_channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activations."""
        shortcut = x if self.max_pool is None else self.max_pool(x)
        return self.activated(self.convs(x) + functional.pad(shortcut, (0, 0, 0, 0, 0, self.added)))

    def activated(self, x: Tensor) -> Tensor:
        """The activation function."""
        return torch.relu(x)


def _blocks(channels: int, sizes: tuple[tuple[int, int], ...]) -> list[nn.Module]:
    before = [channels, *(out for out, _ in sizes)]
    return [BlazeBlock(before[at], out, stride) for at, (out, stride) in enumerate(sizes)]


class BlazeFace(nn.Module):
    """For each of 896 anchors a box with six points, and the logit of a face.

    Images are float tensors (batch, 3, 128, 128), RGB from -1 to 1.

    Example:
        >>> boxes, logits = BlazeFace()(torch.zeros(1, 3, 128, 128))
        >>> boxes.shape, logits.shape
        (torch.Size([1, 896, 16]), torch.Size([1, 896, 1]))
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone1 = nn.Sequential(Conv2d(3, 24, 5, 2), nn.ReLU(), *_blocks(24, FINE))
        self.backbone2 = nn.Sequential(*_blocks(88, COARSE))
        self.classifier_8 = nn.Conv2d(88, ANCHORS[0], 1)
        self.classifier_16 = nn.Conv2d(96, ANCHORS[1], 1)
        self.regressor_8 = nn.Conv2d(88, ANCHORS[0] * BOX, 1)
        self.regressor_16 = nn.Conv2d(96, ANCHORS[1] * BOX, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (batch, 896, 16), in pixels relative to the anchors, and logits (batch, 896, 1)."""
        fine = self.backbone1(images)
        coarse = self.backbone2(fine)
        boxes = [_by_anchor(self.regressor_8(fine), BOX), _by_anchor(self.regressor_16(coarse), BOX)]
        logits = [_by_anchor(self.classifier_8(fine), 1), _by_anchor(self.classifier_16(coarse), 1)]
        return torch.cat(boxes, dim=1), torch.cat(logits, dim=1)


def _by_anchor(x: Tensor, numbers: int) -> Tensor:
    """(batch, anchors · numbers, height, width) to (batch, height · width · anchors, numbers)."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, numbers)
