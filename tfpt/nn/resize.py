"""Resizing with TensorFlow's rules: those of ``tf.image.resize`` and Keras, and the three of TensorFlow 1.

Torch's ``interpolate`` agrees with TensorFlow in some of the cases: ``"bilinear"`` computes half-pixel centers, or
aligned corners with ``align_corners=True``; ``"nearest"`` computes TF1's default, and ``"nearest-exact"`` half-pixel
centers. Others it does not have: TF1's default ``"bilinear"``, ``"nearest"`` with aligned corners, every ``"bicubic"``
(another kernel, tabulated, with other edges) and every antialiased one. This layer computes all of them as
TensorFlow's kernels do; `tfpt.nn.resize_weights` has the formulas and their sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tfpt.errors import ModelError
from tfpt.nn.resize_weights import area, bicubic, lerp, nearest, sampled

__all__ = ["MODES", "Resize"]

MODES = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")


class Resize(nn.Module):
    """Resizes images as TensorFlow does.

    Input and output are (batch, channels, height, width) or (channels, height, width). ``"nearest"`` also takes one or
    three spatial dimensions, and keeps every dtype. The other modes compute in float32, or in float64 if the input has
    that dtype; floating-point dtypes are kept, and integers become float32. (TensorFlow returns float32 always.)

    ============================================================== ====================================================
    TensorFlow                                                     here
    ============================================================== ====================================================
    ``tf.image.resize(x, size, mode)``                             ``Resize(size, mode=mode)``
    ``tf.image.resize(x, size, mode, antialias=True)``             ``Resize(size, mode=mode, antialias=True)``
    ``keras.layers.UpSampling2D(2)``                               ``Resize(scale=2, mode="nearest")``
    ``keras.layers.Resizing(h, w)``                                ``Resize((h, w))``
    ``tf.compat.v1.image.resize_bilinear(x, size)``                ``Resize(size, half_pixel_centers=False)``
    ``…resize_bilinear(x, size, align_corners=True)``              ``Resize(size, align_corners=True)``
    ``tf.compat.v1.image.resize_area(x, size)``                    ``Resize(size, mode="area")``
    ============================================================== ====================================================

    Args:
        size: The spatial size of the output: one number for all dimensions, or one for each.
        scale: Instead of `size`: a whole number by which each spatial size is multiplied, or one for each dimension.
        mode: ``"bilinear"``, ``"nearest"``, ``"bicubic"`` or ``"area"``; or ``"lanczos3"``, ``"lanczos5"``,
            ``"gaussian"`` or ``"mitchellcubic"``, which TensorFlow has since version 2.
        align_corners: Whether the centers of the corner pixels keep their places, as with TF1's option.
        half_pixel_centers: Whether pixels are taken as squares with centers at halves, as in TensorFlow 2. By default
            they are unless `align_corners` is set. ``False`` without `align_corners` is TF1's default. ``"area"`` has
            no centers and ignores it.
        antialias: Whether a kernel is stretched to the size of an output pixel when downsampling, as with the option of
            ``tf.image.resize``, which ignores it for ``"nearest"`` and ``"area"``.

    Raises:
        ModelError: Not exactly one of `size` and `scale` is given, a number is below 1, there is no such mode, the
            options exclude each other; or, when called, the input has another number of dimensions or no positions.

    Example:
        >>> x = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]])
        >>> Resize(scale=2)(x)[0, 0, 0]
        tensor([0.0000, 0.5000, 1.5000, 2.0000])
        >>> Resize(scale=2, half_pixel_centers=False)(x)[0, 0, 0]  # tf.compat.v1.image.resize_bilinear
        tensor([0., 1., 2., 2.])
        >>> Resize(size=(1, 5), mode="nearest", align_corners=True)
        Resize(size=(1, 5), mode='nearest', rule='align_corners')
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale: int | Sequence[int] | None = None,
        mode: str = "bilinear",
        align_corners: bool = False,
        half_pixel_centers: bool | None = None,
        antialias: bool = False,
    ) -> None:
        super().__init__()
        if (size is None) == (scale is None):
            raise ModelError("a resize needs either a size or a scale", got=f"size={size!r}, scale={scale!r}")
        if mode not in MODES:
            raise ModelError("no such mode of resizing", expected=", ".join(MODES), got=repr(mode))
        if align_corners and half_pixel_centers:
            raise ModelError("align_corners and half_pixel_centers exclude each other, as in TensorFlow")
        self.size = None if size is None else _numbers(size, "size")
        self.scale = None if scale is None else _numbers(scale, "scale")
        self.mode, self.antialias = mode, antialias
        centers = not align_corners if half_pixel_centers is None else half_pixel_centers
        self.rule = "align_corners" if align_corners else "half_pixel_centers" if centers else "legacy"
        only_two = antialias or mode not in ("bilinear", "nearest", "bicubic", "area")
        if only_two and self.rule != "half_pixel_centers" and mode not in ("nearest", "area"):
            raise ModelError(
                f"TensorFlow has {'antialiased' if antialias else mode} resizing with half-pixel centers only",
                got=self.rule,
            )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the resized images.

        Raises:
            ModelError: The input has another number of dimensions, or no positions.
        """
        sizes = self._output_sizes(x)
        if self.mode == "nearest":
            for axis, after in enumerate(sizes, -len(sizes)):
                if after != x.shape[axis]:
                    x = x.index_select(axis, nearest(x.shape[axis], after, self.rule, x.device))
            return x
        dtype = x.dtype if x.is_floating_point() else torch.float32
        y = x.to(torch.float64 if dtype == torch.float64 else torch.float32)
        if self.mode in ("bilinear", "bicubic") and not self.antialias:
            # TensorFlow interpolates rows first for the one, columns first for the other.
            order = (-1, -2) if self.mode == "bilinear" else (-2, -1)
            for axis in order:
                y = self._interpolated(y, axis, sizes[axis])
        else:
            for axis in (-2, -1):
                y = self._weighted(y, axis, sizes[axis])
        return y.to(dtype)

    def _output_sizes(self, x: Tensor) -> tuple[int, ...]:
        given = self.size or self.scale or ()
        # Without a number for each dimension, a three-dimensional input of "nearest" is (batch, channels, width).
        dimensions = len(given) if len(given) > 1 else x.ndim - 2 if self.mode == "nearest" else 2
        fits = x.ndim - dimensions in (1, 2) and (
            dimensions == 2 or (self.mode == "nearest" and dimensions < 4)
        )
        if not fits or dimensions < 1 or any(size == 0 for size in x.shape[-dimensions:]):
            raise ModelError(
                f"this input cannot be resized ({self.mode})",
                expected="batch, channels, then one to three spatial dimensions"
                if self.mode == "nearest"
                else "batch, channels, height, width",
                got=str(tuple(x.shape)),
            )
        given = given * dimensions if len(given) == 1 else given
        if self.size is not None:
            return given
        return tuple(size * factor for size, factor in zip(x.shape[-dimensions:], given, strict=True))

    def _interpolated(self, x: Tensor, axis: int, after: int) -> Tensor:
        before = x.shape[axis]
        shape = (-1, *(1,) * (-axis - 1))
        if self.mode == "bilinear":
            lower, upper, fraction = lerp(before, after, self.rule, x.device)
            start, end = x.index_select(axis, lower), x.index_select(axis, upper)
            return start + (end - start) * fraction.view(shape)
        index, weight = bicubic(before, after, self.rule, x.device)
        parts = [
            x.index_select(axis, index[:, tap]) * weight[:, tap].view(shape) for tap in range(index.shape[1])
        ]
        return parts[0] + parts[1] + parts[2] + parts[3]

    def _weighted(self, x: Tensor, axis: int, after: int) -> Tensor:
        before = x.shape[axis]
        if self.mode == "area":
            weight = area(before, after, self.rule, x.device)
        else:
            weight = sampled(before, after, self.mode, antialias=self.antialias, device=x.device)
        weight = weight.to(x.dtype)
        return x @ weight.t() if axis == -1 else weight @ x

    def extra_repr(self) -> str:
        """The size or scale, the mode and the rule."""
        text = f"size={self.size}" if self.size is not None else f"scale={self.scale}"
        text += f", mode={self.mode!r}, rule={self.rule!r}"
        return text + (", antialias=True" if self.antialias else "")


def _numbers(value: int | Sequence[int], what: str) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, Sequence) else (value,)
    if not 1 <= len(numbers) <= 3 or not all(isinstance(n, int) and n >= 1 for n in numbers):
        raise ModelError(
            f"{what} does not fit", expected="one to three whole numbers of at least 1", got=repr(value)
        )
    return numbers
