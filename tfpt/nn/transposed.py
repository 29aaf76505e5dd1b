"""Transposed convolutions with TensorFlow's output sizes and crops, in one, two and three dimensions.

TensorFlow defines a transposed convolution as the gradient of a convolution with respect to its input
(``tensorflow/python/ops/nn_ops.py``, `conv2d_transpose`): its output is the input of a convolution with the same
kernel, stride, dilation and padding rule. What that convolution pads, the transposed one crops. Along each dimension

    full = (size - 1) * stride + span        what the kernel reaches; span = (kernel - 1) * dilation + 1
    output = (size - 1) * stride + extent    what is kept, beginning at position `crop`

========== ============================= ============================ ==================================
rule       extent                        possible with an output size crop
========== ============================= ============================ ==================================
same       ``stride``                    ``1 … stride``               ``floor(max(span - extent, 0) / 2)``
valid      ``max(span, stride)``         ``span … span + stride - 1`` 0
symmetric  ``span - 2 * crop``           that, ``… + stride - 1``     ``floor(span / 2)``
========== ============================= ============================ ==================================

Positions that the kernel does not reach are zero plus the bias. With Keras's `output_padding` the extent is
``span % 2 + output_padding`` under ``"same"``, and ``span + output_padding`` under ``"valid"``
(``keras/src/backend/common/backend_utils.py``, `_get_output_shape_given_tf_padding`).

No stock torch layer crops an odd number of positions: torch crops equally on both sides. These layers slice off the
last position, without a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvTransposeNd

from tfpt.errors import ModelError
from tfpt.nn.padding import check_padding, per_dimension, span

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "crop", "extent", "extents"]


def extent(
    padding: str, kernel: int, stride: int = 1, dilation: int = 1, output_padding: int | None = None
) -> int:
    """The output size of a transposed convolution beyond ``(size - 1) * stride``, along one dimension.

    Args:
        padding: The rule.
        kernel: The kernel size, in positions.
        stride: The stride.
        dilation: The dilation.
        output_padding: Keras's `output_padding`; ``None`` for the size that Keras chooses without it.

    Raises:
        ModelError: There is no such rule.

    Example:
        >>> extent("same", 3, stride=2), extent("valid", 3, stride=2), extent("same", 3, stride=2, output_padding=0)
        (2, 3, 1)
    """
    reach = span(kernel, dilation)
    match check_padding(padding):
        case "same":
            return stride if output_padding is None else reach % 2 + output_padding
        case "valid":
            return max(reach, stride) if output_padding is None else reach + output_padding
        case _:
            return reach % 2 + (output_padding or 0)


def extents(padding: str, kernel: int, stride: int = 1, dilation: int = 1) -> range:
    """The extents for which a convolution by the rule yields the input size again, along one dimension.

    Example:
        >>> extents("same", 3, stride=2), extents("valid", 3, stride=2), extents("symmetric", 3, stride=2)
        (range(1, 3), range(3, 5), range(1, 3))
    """
    reach = span(kernel, dilation)
    least = {"same": 1, "valid": reach, "symmetric": reach % 2}[check_padding(padding)]
    return range(least, least + stride)


def crop(padding: str, kernel: int, dilation: int, kept: int) -> int:
    """How many positions are cut off at the start, for an extent of `kept`.

    Example:
        >>> crop("same", 4, 1, kept=2), crop("same", 3, 1, kept=2), crop("symmetric", 3, 1, kept=2)
        (1, 0, 1)
    """
    reach = span(kernel, dilation)
    return {"same": max(reach - kept, 0) // 2, "valid": 0, "symmetric": reach // 2}[check_padding(padding)]


class _ConvTranspose(_ConvTransposeNd):
    """The common part for any number of dimensions.

    Attributes:
        tf_padding: The rule: ``"same"``, ``"valid"`` or ``"symmetric"``.
        tf_output_padding: Keras's `output_padding` along each dimension, or ``None``.
        padding, output_padding: Those of the equivalent torch layer along each dimension; 0 where there is none.
    """

    _dimensions: ClassVar[int]
    _convolve: ClassVar[Callable[..., Tensor]]
    tf_padding: str
    tf_output_padding: tuple[int, ...] | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str = "same",
        output_padding: int | Sequence[int] | None = None,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_padding(padding)
        kernel_size = per_dimension(kernel_size, self._dimensions, "kernel_size")
        stride = per_dimension(stride, self._dimensions, "stride")
        dilation = per_dimension(dilation, self._dimensions, "dilation")
        more: Sequence[int | None] = (None,) * self._dimensions
        if output_padding is not None:
            more = _output_padding(output_padding, stride)
        along = tuple(zip(kernel_size, stride, dilation, strict=True))
        kept = tuple(extent(padding, *each, given) for each, given in zip(along, more, strict=True))
        for each, (k, s, d) in zip(kept, along, strict=True):
            if each not in (allowed := extents(padding, k, s, d)):
                raise ModelError(
                    "output_padding does not fit the kernel and the stride",
                    expected=f"{allowed[0] - each} to {allowed[-1] - each} more for kernel size {k} and stride {s}",
                    got=repr(output_padding),
                    hint="without output_padding, the output size is that of Keras",
                )
        crops = tuple(crop(padding, k, d, each) for each, (k, _, d) in zip(kept, along, strict=True))
        lacking = [each - span(k, d) + 2 * c for each, c, (k, _, d) in zip(kept, crops, along, strict=True)]
        # The next class in the MRO is torch.nn.ConvTranspose1d, 2d or 3d, not what mypy sees.
        super().__init__(  # type: ignore[call-arg]
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=tuple(c if more >= 0 else 0 for c, more in zip(crops, lacking, strict=True)),
            output_padding=tuple(max(each, 0) for each in lacking),
            groups=groups,
            bias=bias,
            dilation=dilation,  # type: ignore[arg-type]
            device=device,  # type: ignore[arg-type]
            dtype=dtype,  # type: ignore[arg-type]
        )
        self.tf_padding = padding
        self.tf_output_padding = None if output_padding is None else tuple(map(int, more))  # type: ignore[arg-type]

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:  # noqa: A002
        """Compute the activations.

        Args:
            input: (Batch, channels, …spatial), the batch optional.
            output_size: The spatial sizes of the output, as in ``tf.nn.conv2d_transpose(output_shape=…)``, with or
                without the dimensions before them.

        Raises:
            ModelError: A convolution by the rule does not yield the input's sizes from `output_size`.
        """
        sizes = input.shape[-self._dimensions :]
        kept = self._extents(sizes, output_size)
        along = tuple(zip(self.kernel_size, self.dilation, kept, strict=True))
        crops = [crop(self.tf_padding, *each) for each in along]
        lacking = [each - span(k, d) + 2 * c for (k, d, each), c in zip(along, crops, strict=True)]
        output = type(self)._convolve(
            input,
            self.weight,
            self.bias,
            self.stride,
            crops,
            [max(each, 0) for each in lacking],
            self.groups,
            self.dilation,
        )
        for axis, each in enumerate(lacking, -self._dimensions):
            if each < 0:
                output = output.narrow(axis, 0, (sizes[axis] - 1) * self.stride[axis] + kept[axis])
        return output

    def _extents(self, sizes: Sequence[int], output_size: Sequence[int] | None) -> list[int]:
        along = tuple(zip(self.kernel_size, self.stride, self.dilation, strict=True))
        if output_size is None:
            more = self.tf_output_padding or (None,) * self._dimensions
            return [extent(self.tf_padding, *each, given) for each, given in zip(along, more, strict=True)]
        wanted = tuple(output_size)[-self._dimensions :]
        allowed = [extents(self.tf_padding, *each) for each in along]
        least = [(size - 1) * s for size, s in zip(sizes, self.stride, strict=True)]
        if len(wanted) == self._dimensions:
            found = [each - start for each, start in zip(wanted, least, strict=True)]
            if all(each in one for each, one in zip(found, allowed, strict=True)):
                return found
        ranges = [f"{n + one[0]} to {n + one[-1]}" for n, one in zip(least, allowed, strict=True)]
        raise ModelError(
            f"output_size does not fit an input of {tuple(sizes)} with {self.tf_padding} padding",
            expected=" × ".join(ranges),
            got=str(tuple(output_size)),
        )

    def extra_repr(self) -> str:
        """Torch's description, followed by the padding rule."""
        text: str = super().extra_repr()  # type: ignore[no-untyped-call]
        text += f", tf_padding={self.tf_padding!r}"
        if self.tf_output_padding is not None:
            text += f", tf_output_padding={self.tf_output_padding}"
        return text


def _output_padding(value: int | Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
    numbers = (value,) * len(stride) if isinstance(value, int) else tuple(value)
    if len(numbers) != len(stride) or not all(0 <= n < s for n, s in zip(numbers, stride, strict=True)):
        raise ModelError(
            "output_padding does not fit",
            expected=f"{len(stride)} integers from 0, each below the stride {tuple(stride)}",
            got=repr(value),
        )
    return numbers


class ConvTranspose1d(_ConvTranspose, nn.ConvTranspose1d):
    """A transposed convolution with TensorFlow's output sizes and crops.

    Input and output are (batch, channels, width) or (channels, width), in the dtype of the parameters. Parameters have
    torch's names and shapes; the weight is (in_channels, out_channels / groups, width). The order of the arguments is
    torch's.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Size of the kernel.
        stride: Stride of the kernel; under ``"same"`` the output is `stride` times as large as the input.
        padding: ``"same"``, ``"valid"`` or ``"symmetric"``; see `tfpt.nn.transposed`.
        output_padding: As in Keras: not torch's, which counts from another size. By default, the output has the
            size that Keras gives it without one.
        groups: Number of separate groups of channels, as in torch.
        bias: Whether to add a bias.
        dilation: Spacing between kernel elements; may be combined with a stride.
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Raises:
        ModelError: There is no such padding rule, a number is below 1, or `output_padding` does not fit.

    Example:
        >>> layer = ConvTranspose1d(2, 5, kernel_size=4, stride=3)
        >>> layer(torch.zeros(1, 2, 7)).shape, layer(torch.zeros(1, 2, 7), output_size=[20]).shape
        (torch.Size([1, 5, 21]), torch.Size([1, 5, 20]))
    """

    _dimensions = 1
    _convolve = functional.conv_transpose1d


class ConvTranspose2d(_ConvTranspose, nn.ConvTranspose2d):
    """A transposed convolution over (batch, channels, height, width), the batch optional; see `ConvTranspose1d`.

    Example:
        >>> layer = ConvTranspose2d(3, 5, kernel_size=3, stride=2)
        >>> layer, layer(torch.zeros(1, 3, 7, 8)).shape
        (ConvTranspose2d(3, 5, kernel_size=(3, 3), stride=(2, 2), tf_padding='same'), torch.Size([1, 5, 14, 16]))
    """

    _dimensions = 2
    _convolve = functional.conv_transpose2d


class ConvTranspose3d(_ConvTranspose, nn.ConvTranspose3d):
    """A transposed convolution over (batch, channels, time, height, width), the batch optional; see `ConvTranspose1d`.

    Example:
        >>> layer = ConvTranspose3d(3, 5, kernel_size=3, stride=(1, 2, 2), padding="valid")
        >>> layer(torch.zeros(1, 3, 4, 7, 8)).shape
        torch.Size([1, 5, 6, 15, 17])
    """

    _dimensions = 3
    _convolve = functional.conv_transpose3d
