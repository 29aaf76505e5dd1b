"""Windows where torch's pools have none: pads beyond what they accept, dilated means, sizes left open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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


def max_of_slides(
    input: Tensor,  # noqa: A002
    both: Sequence[tuple[int, int]],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
) -> Tensor:
    """The same for undilated windows without autograd: maxima of shifted views, one dimension after the other.

    The maximum over a box is that along one dimension after the other. Measured with torch 2.13 on two cores with
    AVX-512, against ``max_pool3d``: a 3×3×3 pool of stride 1 over 256 channels of 8×28×28 takes 1.4 ms and not 44,
    a 1×3×3 pool of stride 2 over 64 of 8×112×112 3.3 and not 23; in the channels-last format 0.8 and 2.6, 1.0 and 1.3.

    It is for windows of which `slides` holds.

    Example:
        >>> max_of_slides(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), [(0, 1)], (3,), (2,))
        tensor([[3., 5.]])
    """
    found = input
    for dim, (pads, taps, step) in enumerate(zip(both, kernel, stride, strict=True), -len(kernel)):
        if taps > 1 or step > 1:
            found = _max_along(found, dim, pads, taps, step)
    return found if found is not input else input.clone()


def slides(
    sizes: Sequence[int], both: Sequence[tuple[int, int]], kernel: Sequence[int], stride: Sequence[int]
) -> bool:
    """Whether every window holds the position at a multiple of the stride that is its own.

    Example:
        >>> slides([7], [(1, 1)], [3], [2]), slides([7], [(3, 0)], [3], [1])  # the second begins on pads alone
        (True, False)
    """
    along = zip(sizes, both, kernel, stride, strict=True)
    return all(
        before < taps and 0 <= (size + before + after - taps) // step * step < size
        for size, (before, after), taps, step in along
    )


def _max_along(x: Tensor, dim: int, pads: tuple[int, int], taps: int, step: int) -> Tensor:
    size = x.shape[dim]
    outputs = (size + sum(pads) - taps) // step + 1

    def seen(tap: int) -> tuple[int, int]:
        """The first and the last window whose tap falls on the input."""
        return max(0, -(-(pads[0] - tap) // step)), min(outputs - 1, (size - 1 + pads[0] - tap) // step)

    def view(tap: int, first: int, last: int) -> Tensor:
        part = x.narrow(dim, first * step + tap - pads[0], (last - first) * step + 1)
        every: tuple[Any, ...] = (..., slice(None, None, step)) + (slice(None),) * (-dim - 1)
        return part if step == 1 else part[every]

    own = view(pads[0], 0, outputs - 1)
    others = [(tap, *seen(tap)) for tap in range(taps) if tap != pads[0]]
    # One that all windows see first: it makes the result. (A copy of a strided view would be in another format.)
    others.sort(key=lambda other: other[1] - other[2])
    everywhere = bool(others) and others[0][1:] == (0, outputs - 1)
    found = torch.maximum(own, view(*others[0]) if everywhere else own)
    for tap, first, last in others[everywhere:]:
        if first <= last:
            part = found.narrow(dim, first, last - first + 1)
            torch.maximum(part, view(tap, first, last), out=part)
    return found


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
