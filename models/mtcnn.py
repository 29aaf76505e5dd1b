"""MTCNN, the three networks that detect faces and five points of each: P-Net, R-Net and O-Net.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016. The layers are
those of https://github.com/davidsandberg/facenet (MIT license), the names of the parameters those of
https://github.com/timesler/facenet-pytorch (MIT license), so weights can be exchanged with that port.

Images are float tensors (batch, 3, height, width), RGB, scaled by (value - 127.5) / 128. The pyramid of images, the
selection of boxes and the cropping between the networks are not part of this module.
"""

from __future__ import annotations

from torch import Tensor, nn


class PNet(nn.Module):
    """The proposal network: for every window of 12 by 12, at a stride of 2, a box and the probability of a face.

    Example:
        >>> import torch
        >>> boxes, probabilities = PNet()(torch.zeros(1, 3, 12, 16))
        >>> boxes.shape, probabilities.shape
        (torch.Size([1, 4, 1, 3]), torch.Size([1, 2, 1, 3]))
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.softmax4_1 = nn.Softmax(dim=1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (batch, 4, rows, columns), and probabilities (batch, 2, rows, columns) of no face and of a face."""
        x = self.pool1(self.prelu1(self.conv1(images)))
        x = self.prelu2(self.conv2(x))
        x = self.prelu3(self.conv3(x))
        return self.conv4_2(x), self.softmax4_1(self.conv4_1(x))


class RNet(nn.Module):
    """The refinement network: a box and the probability of a face for images of 24 by 24.

    Example:
        >>> import torch
        >>> boxes, probabilities = RNet()(torch.zeros(5, 3, 24, 24))
        >>> boxes.shape, probabilities.shape
        (torch.Size([5, 4]), torch.Size([5, 2]))
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.softmax5_1 = nn.Softmax(dim=1)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (batch, 4), and probabilities (batch, 2) of no face and of a face."""
        x = self.pool1(self.prelu1(self.conv1(images)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(_flat(x)))
        return self.dense5_2(x), self.softmax5_1(self.dense5_1(x))


class ONet(nn.Module):
    """The output network: a box, five points and the probability of a face for images of 48 by 48.

    Example:
        >>> import torch
        >>> boxes, points, probabilities = ONet()(torch.zeros(5, 3, 48, 48))
        >>> boxes.shape, points.shape, probabilities.shape
        (torch.Size([5, 4]), torch.Size([5, 10]), torch.Size([5, 2]))
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.prelu1 = nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.prelu2 = nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.prelu3 = nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4 = nn.Conv2d(64, 128, 2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.softmax6_1 = nn.Softmax(dim=1)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (batch, 4), points (batch, 10), and probabilities (batch, 2) of no face and of a face."""
        x = self.pool1(self.prelu1(self.conv1(images)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(_flat(x)))
        return self.dense6_2(x), self.dense6_3(x), self.softmax6_1(self.dense6_1(x))


def _flat(x: Tensor) -> Tensor:
    """(batch, channels, height, width) to (batch, features), in TensorFlow's order: width, height, channels."""
    return x.permute(0, 3, 2, 1).flatten(1)
