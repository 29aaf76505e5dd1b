"""MediaPipe's face mesh: 468 points of a face in three dimensions.

Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019. The layers are those of
face_landmark.tflite of https://github.com/google-ai-edge/mediapipe (Apache-2.0 license), the names of the parameters
those of https://github.com/thepowerfuldeez/facemesh.pytorch. Cropping and turning the face are not part of this module.
"""

from __future__ import annotations

from torch import Tensor, nn

from tfpt.models.blazeface import BlazeBlock
from tfpt.nn import Conv2d

# Channels and stride of the blocks that both outputs use.
BLOCKS = (
    *((16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (128, 2), (128, 1)),
    *((128, 1), (128, 2), (128, 1), (128, 1)),
)
POINTS = 468


class FaceMeshBlock(BlazeBlock):
    """A block of BlazeFace with a PReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, channels, stride)
        self.act = nn.PReLU(channels)

    def activated(self, x: Tensor) -> Tensor:
        """The activation function."""
        return self.act(x)


def _head(blocks: int, outputs: int) -> nn.Sequential:
    """From maps of 6 by 6 to one value for each output."""
    return nn.Sequential(
        *(FaceMeshBlock(128, 128, 1 if at else 2) for at in range(blocks)),
        nn.Conv2d(128, 32, 1),
        nn.PReLU(32),
        FaceMeshBlock(32, 32),
        nn.Conv2d(32, outputs, 3, 3),
    )


class FaceMesh(nn.Module):
    """The 468 points of the face in an image, and the logit that there is one.

    Images are float tensors (batch, 3, 192, 192), RGB from 0 to 1.

    Example:
        >>> import torch
        >>> points, logits = FaceMesh()(torch.zeros(2, 3, 192, 192))
        >>> points.shape, logits.shape
        (torch.Size([2, 468, 3]), torch.Size([2, 1]))
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(Conv2d(3, 16, 3, 2), nn.PReLU(16))
        channels = 16
        for out, stride in BLOCKS:
            self.backbone.append(FaceMeshBlock(channels, out, stride))
            channels = out
        self.coord_head = _head(3, 3 * POINTS)
        self.conf_head = _head(1, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Points (batch, 468, 3) in pixels, as x, y and depth, and logits (batch, 1)."""
        x = self.backbone(images)
        return self.coord_head(x).reshape(len(x), POINTS, 3), self.conf_head(x).flatten(1)
