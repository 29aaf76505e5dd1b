"""ResNet V2 of keras.applications.

He et al., "Identity Mappings in Deep Residual Networks", 2016. The layers are those of TF-Slim's network
(`tfpt.models.slim_resnet`), except that the first pool is padded with zeros, which count where all inputs are negative,
and that the epsilon is 1.001e-5 (https://github.com/keras-team/keras, keras/src/applications/resnet.py, Apache-2.0
license).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tfpt.models import slim_resnet

BATCH_NORM_EPSILON = 1.001e-5


class ResNetV2(slim_resnet.ResNetV2):
    """ResNet V2, with normalization before each convolution: class logits of images.

    Images are float tensors (batch, 3, height, width), RGB from -1 to 1.

    Args:
        units: The number of units of each of the four stages; ``(3, 4, 6, 3)`` is ResNet-50.
        num_classes: Number of logits.

    Example:
        >>> ResNetV2(units=(1, 1, 1, 1), num_classes=5)(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 5])
    """

    def __init__(self, units: tuple[int, ...] = (3, 4, 6, 3), num_classes: int = 1000) -> None:
        super().__init__(units, num_classes)
        self.maxpool = nn.MaxPool2d(3, 2)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = BATCH_NORM_EPSILON

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (batch, classes)."""
        x = self.maxpool(functional.pad(self.conv1(images), (1, 1, 1, 1)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(torch.relu(self.postnorm(x)).mean(dim=(2, 3)))
