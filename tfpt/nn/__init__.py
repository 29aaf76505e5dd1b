"""Layers that compute what TensorFlow computes: convolutions and pools with its padding rules.

Every layer says its rule as `tf_padding`, one of ``"same"``, ``"valid"`` and ``"symmetric"``.

They follow TensorFlow's documentation, as its GPU kernels do. Its CPU kernels depart from it in one case: three
dimensions and a stride of at least the kernel's size + 2 along one of them. There, depending on the processor, they may
read other positions (size 3, kernel 1, stride 3: index 1 instead of 0).
"""

from tfpt.nn.adapt import adapt
from tfpt.nn.conv import Conv1d, Conv2d, Conv3d
from tfpt.nn.padding import PADDINGS, same_pads
from tfpt.nn.pool import AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d

__all__ = [
    "PADDINGS",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "adapt",
    "same_pads",
]
