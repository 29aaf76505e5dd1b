"""Where TensorFlow's resizing reads along one dimension, and with which weights, in float32 as in its kernels.

Sources: ``tensorflow/core/util/image_resizer_state.h`` (scales and positions); in ``tensorflow/core/kernels/image/``,
``resize_bilinear_op.cc``, ``resize_nearest_neighbor_op.cc``, ``resize_bicubic_op.cc``, ``resize_area_op.cc``,
``scale_and_translate_op.cc`` and ``sampling_kernels.h``.

A rule says which position of the input an output is taken from. With ``scale = size_in / size_out``:

================== ========================================= ==========================================
rule               position of output i                      TensorFlow
================== ========================================= ==========================================
half_pixel_centers ``(i + 0.5) * scale - 0.5``               ``tf.image.resize``, Keras
align_corners      ``i * (size_in - 1) / (size_out - 1)``    ``align_corners=True`` of TF1
legacy             ``i * scale``                             TF1's default: neither of them
================== ========================================= ==========================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["KERNELS", "RULES", "Lerp", "area", "bicubic", "lerp", "nearest", "sampled"]

RULES = ("half_pixel_centers", "align_corners", "legacy")

# TensorFlow tabulates the cubic kernel at multiples of 1/1024.
_TABLE_SIZE = 1024
# Weights whose sum is below this are not normalized.
_SMALLEST_SUM = 1000.0 * torch.finfo(torch.float32).tiny


class Lerp(NamedTuple):
    """Linear interpolation: between the values at `lower` and `upper` by `fraction`, each (outputs,)."""

    lower: Tensor
    upper: Tensor
    fraction: Tensor


def _scale(before: int, after: int, rule: str, device: torch.device | None) -> Tensor:
    """The input positions per output, as float32."""
    # The sizes are exact in float64, so rounding their quotient once more yields TensorFlow's float32 quotient.
    return torch.full((), _ratio(before, after, rule), dtype=torch.float32, device=device)


def _ratio(before: int, after: int, rule: str) -> float:
    return (before - 1) / (after - 1) if rule == "align_corners" and after > 1 else before / after


def _positions(before: int, after: int, rule: str, device: torch.device | None) -> Tensor:
    scale = _scale(before, after, rule, device)
    outputs = torch.arange(after, device=device).to(torch.float32)
    return (outputs + 0.5) * scale - 0.5 if rule == "half_pixel_centers" else outputs * scale


def nearest(before: int, after: int, rule: str, device: torch.device | None = None) -> Tensor:
    """The input index of each output by ResizeNearestNeighbor: (after,), int64.

    Example:
        >>> [nearest(3, 5, rule).tolist() for rule in RULES]
        [[0, 0, 1, 2, 2], [0, 1, 1, 2, 2], [0, 0, 1, 1, 2]]
    """
    scale = _scale(before, after, rule, device)
    outputs = torch.arange(after, device=device).to(torch.float32)
    if rule == "half_pixel_centers":
        index = ((outputs + 0.5) * scale).floor()
    elif rule == "align_corners":
        # C's roundf: halves away from zero. Positions are at least 0; the sum would round up just below a half.
        position = outputs * scale
        whole = position.floor()
        index = whole + (position - whole >= 0.5)
    else:
        index = (outputs * scale).floor()
    return index.to(torch.int64).clamp(min=0, max=before - 1)


def lerp(before: int, after: int, rule: str, device: torch.device | None = None) -> Lerp:
    """What ResizeBilinear interpolates between along one dimension.

    Example:
        >>> [each.tolist() for each in lerp(3, 5, "align_corners")]
        [[0, 0, 1, 1, 2], [0, 1, 1, 2, 2], [0.0, 0.5, 0.0, 0.5, 0.0]]
    """
    position = _positions(before, after, rule, device)
    whole = position.floor()
    upper = position.ceil().to(torch.int64).clamp(max=before - 1)
    lower = whole.to(torch.int64).clamp(min=0)
    return Lerp(torch.minimum(lower, upper), upper, position - whole)


def bicubic(before: int, after: int, rule: str, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """The four input indices of each output by ResizeBicubic, and their weights: (after, 4), int64 and float32.

    With half-pixel centers the kernel is that of Keys (a = -0.5), and positions outside the input do not count;
    otherwise a = -0.75, and the first and last positions are repeated.

    Example:
        >>> index, weight = bicubic(3, 2, "half_pixel_centers")
        >>> index.tolist(), weight.sum(1).tolist()
        ([[0, 0, 1, 2], [0, 1, 2, 2]], [1.0, 1.0])
    """
    keys = rule == "half_pixel_centers"
    position = _positions(before, after, rule, device)
    whole = position.floor()
    # lrintf: halves to even, as torch.round does.
    offset = ((position - whole) * _TABLE_SIZE).round()
    near, far = _cubic_table(offset, -0.5 if keys else -0.75)
    mirrored_near, mirrored_far = _cubic_table(_TABLE_SIZE - offset, -0.5 if keys else -0.75)
    weight = torch.stack([far, near, mirrored_near, mirrored_far], 1)
    wanted = whole.to(torch.int64)[:, None] + torch.arange(-1, 3, device=device)
    index = wanted.clamp(min=0, max=before - 1)
    if keys:
        weight = _normalized(torch.where(index == wanted, weight, 0.0))
    return index, weight


def _cubic_table(offset: Tensor, a: float) -> tuple[Tensor, Tensor]:
    """The cubic kernel at ``x = offset / 1024`` and at ``x + 1``, in float64 rounded once."""
    x = offset.to(torch.float64) / _TABLE_SIZE
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    x = x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return near.to(torch.float32), far.to(torch.float32)


def _normalized(weight: Tensor) -> Tensor:
    total = weight.sum(1, keepdim=True)
    return torch.where(total.abs() >= _SMALLEST_SUM, weight * (1.0 / total), weight)


def area(before: int, after: int, rule: str, device: torch.device | None = None) -> Tensor:
    """The weight of each input in each output by ResizeArea: (after, before), float32.

    Example:
        >>> area(3, 2, "legacy").tolist()
        [[0.6666666865348816, 0.3333333432674408, 0.0], [0.0, 0.3333333432674408, 0.6666666865348816]]
    """
    if before == 1:  # with aligned corners, the scale would be 0
        return torch.ones(after, 1, device=device)
    scale = _scale(before, after, rule, device)
    outputs = torch.arange(after, device=device).to(torch.float32)
    start, end = (outputs * scale)[:, None], ((outputs + 1) * scale)[:, None]
    # Inputs from floor(start) to ceil(end) - 1. Those beyond the end, which align_corners reaches, are the last one.
    reach = math.ceil(_ratio(before, after, rule)) + 2
    cell = start.floor() + torch.arange(reach, device=device)
    inside = cell < end.ceil()
    part = torch.where(
        cell < start,
        torch.where(cell + 1 > end, scale, cell + 1 - start),
        torch.where(cell + 1 > end, end - cell, 1.0),
    )
    part = torch.where(inside, part, 0.0) * (1.0 / scale)
    weight = torch.zeros(after, before, dtype=torch.float32, device=device)
    return weight.scatter_add(1, cell.to(torch.int64).clamp(min=0, max=before - 1), part)


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _cubic(x: Tensor, inner: tuple[float, ...], outer: tuple[float, ...]) -> Tensor:
    """A kernel that is one cubic polynomial up to 1 and another up to 2, highest coefficients first."""

    def polynomial(coefficients: tuple[float, ...]) -> Tensor:
        found = torch.full_like(x, coefficients[0])
        for each in coefficients[1:]:
            found = found * x + each
        return found

    return torch.where(x >= 2, 0.0, torch.where(x >= 1, polynomial(outer), polynomial(inner)))


def _keys(x: Tensor) -> Tensor:
    return _cubic(x, (1.5, -2.5, 0.0, 1.0), (-0.5, 2.5, -4.0, 2.0))


def _mitchell(x: Tensor) -> Tensor:
    return _cubic(x, (7 / 6, -2.0, 0.0, 16 / 18), (-7 / 18, 2.0, -10 / 3, 16 / 9))


def _lanczos(radius: float) -> Callable[[Tensor], Tensor]:
    def kernel(x: Tensor) -> Tensor:
        angle = math.pi * x
        value = radius * torch.sin(angle) * torch.sin(angle / radius) / (angle * angle)
        # TensorFlow takes 1 within 1e-3 of the center.
        return torch.where(x > radius, 0.0, torch.where(x <= 1e-3, 1.0, value))

    return kernel


def _gaussian(x: Tensor) -> Tensor:
    sigma = 1.5 / 3.0
    return torch.where(x >= 1.5, 0.0, torch.exp(-x * x / (2.0 * sigma * sigma)))


# The kernels of tf.image.resize's ScaleAndTranslate, with their radii, as functions of the distance.
KERNELS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "bilinear": (1.0, _triangle),
    "bicubic": (2.0, _keys),
    "lanczos3": (3.0, _lanczos(3.0)),
    "lanczos5": (5.0, _lanczos(5.0)),
    "gaussian": (1.5, _gaussian),
    "mitchellcubic": (2.0, _mitchell),
}


def sampled(
    before: int, after: int, mode: str, *, antialias: bool, device: torch.device | None = None
) -> Tensor:
    """The weight of each input in each output by ScaleAndTranslate: (after, before), float32.

    Args:
        before: The input size.
        after: The output size.
        mode: One of `KERNELS`.
        antialias: Whether the kernel is stretched when the output is smaller than the input.

    Example:
        >>> sampled(4, 2, "bilinear", antialias=True).mul(7).round().tolist()
        [[3.0, 3.0, 1.0, 0.0], [0.0, 1.0, 3.0, 3.0]]
    """
    radius, kernel = KERNELS[mode]
    # The op is given scale = after / before as float32, and divides 1 by it.
    scale = torch.full((), after / before, dtype=torch.float32, device=device)
    inverse = 1.0 / scale
    stretch = inverse.clamp(min=1.0) if antialias else torch.ones_like(inverse)
    position = (torch.arange(after, device=device).to(torch.float32) + 0.5) * inverse
    first = (position - radius * stretch - 0.5).ceil().clamp(min=0)[:, None]
    last = (position + radius * stretch - 0.5).floor().clamp(max=before - 1)[:, None]
    source = torch.arange(before, device=device).to(torch.float32)
    distance = (source + 0.5 - position[:, None]) * (1.0 / stretch)
    weight = torch.where((source >= first) & (source <= last), kernel(distance.abs()), 0.0)
    outside = (position < 0) | (position > before)
    return torch.where(outside[:, None], 0.0, _normalized(weight))
