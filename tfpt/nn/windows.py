"""Pooling beyond torch's operators: larger padding, dilated averages, symbolic sizes; and a faster maximum."""

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
    pads: Sequence[tuple[int, int]],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Tensor:
    """The maximum of each window over the last ``len(kernel)`` dimensions, with `pads` (before, after) for each.

    Padding has the lowest value of the dtype; so has a window of only padding.

    Example:
        >>> max_of_windows(-torch.arange(1.0, 6.0).reshape(1, 5), [(2, 2)], (3,), (1,), (2,))
        tensor([[-1., -2., -1., -2., -3.]])
    """
    lowest = float("-inf") if input.dtype.is_floating_point else torch.iinfo(input.dtype).min
    padded = functional.pad(input, [pad for pair in reversed(pads) for pad in pair], value=lowest)
    if len(kernel) == 3:
        return functional.max_pool3d(padded, kernel, stride, 0, dilation)
    if len(kernel) == 2:
        return functional.max_pool2d(padded, kernel, stride, 0, dilation)
    # Not max_pool1d: with it, an exported graph would be limited to one size (torch 2.13).
    row = padded.unsqueeze(-2)
    return functional.max_pool2d(row, (1, *kernel), (1, *stride), 0, (1, *dilation)).squeeze(-2)


def max_of_shifted_views(
    input: Tensor,  # noqa: A002
    pads: Sequence[tuple[int, int]],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
) -> Tensor:
    """Like `max_of_windows`, without dilation and autograd: maxima of shifted views, one dimension after the other.

    The maximum over a box is the maximum along one dimension after the other. Measured with torch 2.13 on two cores
    with AVX-512, against ``max_pool3d``: a 3×3×3 pool of stride 1 over 256 channels of 8×28×28 takes 1.4 ms instead of
    44, a 1×3×3 pool of stride 2 over 64 channels of 8×112×112 3.3 ms instead of 23; in the channels-last format 0.8
    instead of 2.6, and 1.0 instead of 1.3.

    Only valid if `shifted_views_suffice`.

    Example:
        >>> max_of_shifted_views(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), [(0, 1)], (3,), (2,))
        tensor([[3., 5.]])
    """
    found = input
    for dim, (pad, size, step) in enumerate(zip(pads, kernel, stride, strict=True), -len(kernel)):
        if size > 1 or step > 1:
            found = _max_along(found, dim, pad, size, step)
    return found if found is not input else input.clone()


def shifted_views_suffice(
    sizes: Sequence[int], pads: Sequence[tuple[int, int]], kernel: Sequence[int], stride: Sequence[int]
) -> bool:
    """Whether every window contains the input position at its own index times the stride.

    Example:
        >>> shifted_views_suffice([7], [(1, 1)], [3], [2])
        True
        >>> shifted_views_suffice([7], [(3, 0)], [3], [1])  # the first window covers only padding
        False
    """
    along = zip(sizes, pads, kernel, stride, strict=True)
    return all(
        before < taps and 0 <= (size + before + after - taps) // step * step < size
        for size, (before, after), taps, step in along
    )


def _max_along(x: Tensor, dim: int, pads: tuple[int, int], taps: int, step: int) -> Tensor:
    size = x.shape[dim]
    outputs = (size + sum(pads) - taps) // step + 1

    def windows_reaching(tap: int) -> tuple[int, int]:
        """The first and the last window whose element number `tap` is on the input."""
        return max(0, -(-(pads[0] - tap) // step)), min(outputs - 1, (size - 1 + pads[0] - tap) // step)

    def view(tap: int, first: int, last: int) -> Tensor:
        part = x.narrow(dim, first * step + tap - pads[0], (last - first) * step + 1)
        every: tuple[Any, ...] = (..., slice(None, None, step)) + (slice(None),) * (-dim - 1)
        return part if step == 1 else part[every]

    own = view(pads[0], 0, outputs - 1)
    others = [(tap, *windows_reaching(tap)) for tap in range(taps) if tap != pads[0]]
    # One that all windows reach comes first: it allocates the result. (Copying a strided view would change the format.)
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
    """The sum of each window along one (negative) dimension; padding counts as zeros.

    Example:
        >>> sum_of_windows(torch.arange(1.0, 6.0), -1, (2, 2), kernel=3, stride=1, dilation=2)
        tensor([4., 6., 9., 6., 8.])
    """
    padded = functional.pad(input, [0, 0] * (-dim - 1) + list(pads))
    windows = padded.unfold(dim, span(kernel, dilation), stride)
    return windows[..., ::dilation].sum(-1)


def mean_of_windows(
    input: Tensor,  # noqa: A002
    pads: Sequence[tuple[int, int]],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    count_include_pad: bool = False,
) -> Tensor:
    """The mean of each window over the last ``len(kernel)`` dimensions, with `pads` (before, after) for each.

    Half precision is summed in float32 and rounded once.

    Example:
        >>> mean_of_windows(torch.arange(1.0, 6.0), [(2, 2)], (3,), (1,), (2,))
        tensor([2., 3., 3., 3., 4.])
    """
    half = input.dtype in (torch.float16, torch.bfloat16)
    total = input.float() if half else input
    taps: Tensor | int = 1
    for dim, along in enumerate(zip(pads, kernel, stride, dilation, strict=True), -len(kernel)):
        # The sum over a box is the sum along one dimension after the other, and so is the number of elements inside.
        inside = sum_of_windows(total.new_ones(input.shape[dim]), -1, *along)
        taps = taps * inside.reshape(-1, *(1,) * (-dim - 1))
        total = sum_of_windows(total, dim, *along)
    divisor = math.prod(kernel) if count_include_pad else taps
    return (total / divisor).to(input.dtype)
