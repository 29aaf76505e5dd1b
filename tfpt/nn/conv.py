"""Convolutions that pad as TensorFlow does, in one, two and three dimensions.

Each is a subclass of torch's convolution with the same parameter names, so checkpoints load unchanged. `padding` is one
of the rules of `tfpt.nn.padding` instead of torch's numbers, and is kept as `tf_padding`. The input is copied only if
the padding of a dimension is uneven. The layers can be exported with dynamic sizes if ``torch.export`` is not strict
(its default).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from tfpt.nn.padding import check_padding, pads_per_dimension, per_dimension, torch_padding

__all__ = ["Conv1d", "Conv2d", "Conv3d"]


class _Conv(_ConvNd):
    """The common part for any number of dimensions.

    Attributes:
        tf_padding: The rule: ``"same"``, ``"valid"`` or ``"symmetric"``.
        padding: The equivalent padding of a torch layer if it is the same for all input sizes, else 0.
    """

    _dimensions: ClassVar[int]
    _convolve: ClassVar[Callable[..., Tensor]]
    tf_padding: str

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str = "same",
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_padding(padding)
        kernel_size = per_dimension(kernel_size, self._dimensions, "kernel_size")
        stride = per_dimension(stride, self._dimensions, "stride")
        dilation = per_dimension(dilation, self._dimensions, "dilation")
        # The next class in the MRO is torch.nn.Conv1d, 2d or 3d, not the _ConvNd that mypy sees.
        super().__init__(  # type: ignore[call-arg]
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=torch_padding(padding, kernel_size, stride, dilation),
            dilation=dilation,
            groups=groups,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.tf_padding = padding

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        sizes = input.shape[-self._dimensions :]
        even, uneven, copy = [], [], False
        for before, after in pads_per_dimension(
            self.tf_padding, sizes, self.kernel_size, self.stride, self.dilation
        ):
            if isinstance(before, torch.SymInt):
                # A graph with symbolic sizes (torch.export): a comparison of its pads would constrain the sizes.
                even.append(0)
                uneven.append((before, after))
                copy = True
            else:
                even.append(before)  # the operator itself applies these, at no cost
                uneven.append((0, after - before))
                copy = copy or after != before
        if copy:
            input = functional.pad(input, [pad for pads in reversed(uneven) for pad in pads])  # noqa: A001
        return type(self)._convolve(input, weight, bias, self.stride, even, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Torch's description, followed by the padding rule."""
        text: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{text}, tf_padding={self.tf_padding!r}"


class Conv1d(_Conv, nn.Conv1d):
    """A convolution that pads as TensorFlow does.

    Input and output are (batch, channels, width) or (channels, width), in the dtype of the parameters.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Size of the kernel.
        stride: Stride of the kernel.
        padding: ``"same"``, ``"valid"`` or ``"symmetric"``; see `tfpt.nn.padding`.
        dilation: Spacing between kernel elements; may be combined with a stride, which TensorFlow's CPU kernels refuse.
        groups: Number of separate groups of channels, as in torch.
        bias: Whether to add a bias.
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Raises:
        ModelError: There is no such padding rule, or a number is below 1.

    Example:
        >>> layer = Conv1d(2, 5, kernel_size=4, stride=3)
        >>> layer(torch.zeros(1, 2, 7)).shape
        torch.Size([1, 5, 3])
        >>> layer.tf_padding
        'same'
    """

    _dimensions = 1
    _convolve = functional.conv1d


class Conv2d(_Conv, nn.Conv2d):
    """A convolution over (batch, channels, height, width) or (channels, height, width); arguments as for `Conv1d`.

    Example:
        >>> Conv2d(3, 5, kernel_size=(3, 2), stride=2)
        Conv2d(3, 5, kernel_size=(3, 2), stride=(2, 2), tf_padding='same')
    """

    _dimensions = 2
    _convolve = functional.conv2d


class Conv3d(_Conv, nn.Conv3d):
    """A convolution over (batch, channels, time, height, width), the batch optional; arguments as for `Conv1d`.

    Example:
        >>> layer = Conv3d(3, 64, kernel_size=7, stride=2, bias=False)
        >>> layer(torch.zeros(1, 3, 5, 14, 15)).shape
        torch.Size([1, 64, 3, 7, 8])
        >>> isinstance(layer, torch.nn.Conv3d)
        True
    """

    _dimensions = 3
    _convolve = functional.conv3d
