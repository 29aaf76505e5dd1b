"""Layers that compute what TensorFlow computes.

They are used like torch's layers, have the same parameter names and shapes, and mostly are subclasses of them:

- convolutions and pools with TensorFlow's padding. The argument `padding` is one of ``"same"`` (the default),
  ``"valid"`` and ``"symmetric"`` (see `tfpt.nn.padding`), and is kept as the attribute `tf_padding`;
- transposed convolutions with TensorFlow's output sizes and crops (`tfpt.nn.transposed`);
- `Resize`, by the rules of TensorFlow 2 and 1 and of Keras;
- `LocalResponseNorm`, `DepthToSpace` and `SpaceToDepth` in TensorFlow's conventions;
- `BatchNorm1d`, 2d and 3d with Keras's options;
- `GRU` and `LSTM` with the variants of Keras and TensorFlow 1 (`tfpt.nn.recurrent` says what becomes which parameter).

The layers follow TensorFlow's documentation, as its GPU kernels do. Its CPU kernels deviate in one case: convolutions
and pools in three dimensions with a stride of at least the kernel size + 2 along one of them. Depending on the
processor, they may then read other positions (with size 3, kernel size 1 and stride 3: index 1 instead of 0).

Example:
    >>> import torch
    >>> layer = Conv2d(3, 5, kernel_size=3, stride=2)
    >>> layer(torch.zeros(1, 3, 224, 224)).shape, same_pads(224, kernel=3, stride=2)
    (torch.Size([1, 5, 112, 112]), (0, 1))
"""

from tfpt.nn.activations import ACTIVATIONS, activation
from tfpt.nn.adapt import adapt
from tfpt.nn.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from tfpt.nn.blocks import DepthToSpace, SpaceToDepth
from tfpt.nn.conv import Conv1d, Conv2d, Conv3d
from tfpt.nn.gru import GRU
from tfpt.nn.lstm import LSTM
from tfpt.nn.padding import PADDINGS, same_pads
from tfpt.nn.pool import AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d
from tfpt.nn.resize import Resize
from tfpt.nn.response_norm import LocalResponseNorm
from tfpt.nn.transposed import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d

__all__ = [
    "ACTIVATIONS",
    "GRU",
    "LSTM",
    "PADDINGS",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "DepthToSpace",
    "LocalResponseNorm",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Resize",
    "SpaceToDepth",
    "activation",
    "adapt",
    "same_pads",
]
