"""Windows where torch's pools have none: pads beyond what they accept, dilated means, sizes left open."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tfpt.nn.padding import span


def max_of_windows(
    input: Tensor,  # noqa: A002
    both: Sequence[tuple[int, int]],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """The maximum of each window over the last ``len(kernel)`` dimensions, with (before, after) `both` each.

    Pads have the least value of the dtype, and so has a window of pads alone.

    Example:
        >>> max_of_windows(-torch.arange(1.0, 6.0).reshape(1, 5), [(2, 2)], (3,), (1,), (2,))
        tensor([[-1., -2., -1., -2., -3.]])
    """
    lowest = float("-inf") if input.dtype.is_floating_point else torch.iinfo(input.dtype).min
    padded = functional.pad(input, [pad for pair in reversed(both) for pad in pair], value=lowest)
    if len(kernel) == 3:
        return functional.max_pool3d(padded, kernel, stride, 0, dilation)
    if len(kernel) == 2:
        return functional.max_pool2d(padded, kernel, stride, 0, dilation)
    # Not max_pool1d: an exported graph would then be for one size alone (torch 2.13).
    lying = padded.unsqueeze(-2)
    return functional.max_pool2d(lying, (1, *kernel), (1, *stride), 0, (1, *dilation)).squeeze(-2)


def sum_of_windows(
    input: Tensor,  # noqa: A002
    dim: int,
    pads: tuple[int, int],
    kernel: int,
    stride: int,
    dilation: int,
) -> Tensor:
    """The sum of each window along one (negative) dimension, pads counting as zeros.

    Example:
        >>> sum_of_windows(torch.arange(1.0, 6.0), -1, (2, 2), kernel=3, stride=1, dilation=2)
        tensor([4., 6., 9., 6., 8.])
    """
    padded = functional.pad(input, [0, 0] * (-dim - 1) + list(pads))
    windows = padded.unfold(dim, span(kernel, dilation), stride)
    return windows[..., ::dilation].sum(-1)


def mean_of_windows(
    input: Tensor,  # noqa: A002
    both: Sequence[tuple[int, int]],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    count_include_pad: bool = False,
) -> Tensor:
    """The mean of each window over the last ``len(kernel)`` dimensions, with (before, after) `both` each.

    Half precision is summed in float32 and rounded once.

    Example:
        >>> mean_of_windows(torch.arange(1.0, 6.0), [(2, 2)], (3,), (1,), (2,))
        tensor([2., 3., 3., 3., 4.])
    """
    half = input.dtype in (torch.float16, torch.bfloat16)
    total = input.float() if half else input
    taps: Tensor | int = 1
    for dim, along in enumerate(zip(both, kernel, stride, dilation, strict=True), -len(kernel)):
        # A box: its sum is that along one dimension after the other, and so is the number of taps inside.
        inside = sum_of_windows(total.new_ones(input.shape[dim]), -1, *along)
        taps = taps * inside.reshape(-1, *(1,) * (-dim - 1))
        total = sum_of_windows(total, dim, *along)
    divisor = math.prod(kernel) if count_include_pad else taps
    return (total / divisor).to(input.dtype)
