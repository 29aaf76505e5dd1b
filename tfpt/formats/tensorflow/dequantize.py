"""Dequantizes constants as TensorFlow's operation `Dequantize` does.

The operation: tensorflow/core/kernels/dequantize_op.cc, and QuantizedToFloatStruct in
tensorflow/core/kernels/quantization_utils.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.formats.source import Quantized

MODES = ("MIN_COMBINED", "MIN_FIRST", "SCALED")

# Tolerance within which a zero point counts as an integer: bounds are float32.
_WHOLE = 1e-3


@dataclass(frozen=True)
class Scale:
    """How a constant is dequantized.

    Attributes:
        low: The name of the constant with the minimum, or with the minimum of each slice along `axis`.
        high: The name of the constant with the maximum.
        mode: One of `MODES`.
        axis: The axis along which they differ; -1 for one pair for the whole tensor.
        narrow: Whether the smallest value of the type is unused.
    """

    low: str
    high: str
    mode: str = "MIN_COMBINED"
    axis: int = -1
    narrow: bool = False


def described(
    dtype: np.dtype, low: npt.NDArray[np.generic], high: npt.NDArray[np.generic], scale: Scale
) -> Quantized:
    """The rule as scales and zero points, if it can be expressed so; else the mode and its bounds.

    Args:
        dtype: The dtype of the quantized values.
        low: The minimum, or that of each slice.
        high: The maximum.
        scale: The rule; its names are not used.

    Example:
        >>> bounds = np.float32([-1]), np.float32([1])
        >>> str(described(np.dtype(np.int8), *bounds, Scale("", "", "SCALED")))
        'scale 0.00787402, zero point 0'
        >>> str(described(np.dtype(np.uint8), *bounds, Scale("", "")))
        'by MIN_COMBINED from -1 to 1'
    """
    limits = np.iinfo(dtype)
    bottom, top = float(limits.min), float(limits.max)
    least, most = low.astype(np.float64).reshape(-1), high.astype(np.float64).reshape(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale.mode == "SCALED":
            factors = most / top
            if limits.min:
                factors = np.maximum(least / (bottom + scale.narrow), factors)
            zeros = np.zeros(len(factors))
        elif scale.mode == "MIN_FIRST":
            # Rounded in float32 as in `dequantize`: half a step makes a difference.
            factors = ((most - least) / (2.0**limits.bits - 1)).astype(np.float32)
            zeros = bottom - np.round(least.astype(np.float32) / factors).astype(np.float64)
        else:
            factors = (most - least) / (top - bottom)
            zeros = -((top - bottom + 1) / 2 if limits.min else 0.0) - least / factors
    whole = np.round(zeros)
    if scale.mode in MODES and np.isfinite(zeros).all() and np.abs(zeros - whole).max(initial=0) < _WHOLE:
        axis = scale.axis if scale.axis >= 0 else None
        return Quantized(
            tuple(factors.astype(np.float32).tolist()), tuple(whole.astype(np.int64).tolist()), axis
        )
    between = f" from {least.min():.6g} to {most.max():.6g}" if least.size and most.size else ""
    return Quantized(scheme=f"{scale.mode}{between}")


def dequantize(
    values: npt.NDArray[np.generic], low: npt.NDArray[np.generic], high: npt.NDArray[np.generic], scale: Scale
) -> npt.NDArray[np.float32]:
    """The dequantized values.

    Args:
        values: Of dtype int8, uint8, int16, uint16 or int32.
        low: The minimum: one element, or one for each slice.
        high: The maximum, of the same shape.
        scale: The rule; its names are not used.

    Returns:
        An array of the shape of `values`.

    Raises:
        ValueError: The bounds do not fit the values, or the mode is unknown.

    Example:
        >>> bounds = np.float32([-1]), np.float32([1])
        >>> dequantize(np.array([0, 255], np.uint8), *bounds, Scale("", ""))
        array([-1.,  1.], dtype=float32)
    """
    limits = np.iinfo(values.dtype)  # type: ignore[type-var]
    shape = [1] * values.ndim
    if scale.axis >= 0:
        if scale.axis >= values.ndim or low.size != values.shape[scale.axis] or low.size != high.size:
            raise ValueError("the bounds are not one for each slice of the quantized values")
        shape[scale.axis] = low.size
    elif low.size != 1 or high.size != 1:
        raise ValueError("the bounds are not one number each")
    least = low.astype(np.float32).reshape(shape)
    most = high.astype(np.float32).reshape(shape)
    numbers = values.astype(np.float32)
    one = np.float32(1)
    bottom, top = np.float32(limits.min), np.float32(limits.max)
    if scale.mode == "SCALED":
        factor = most / top
        if limits.min:
            factor = np.maximum(least / (bottom + one * scale.narrow), factor)
        return np.asarray(numbers * factor, np.float32)
    if scale.mode == "MIN_COMBINED":
        half = (top - bottom + one) / np.float32(2) if limits.min else np.float32(0)
        return np.asarray((numbers + half) * ((most - least) / (top - bottom)) + least, np.float32)
    if scale.mode == "MIN_FIRST":
        step = ((most.astype(np.float64) - least) / (2.0**limits.bits - 1)).astype(np.float32)
        rounded = np.where(most == least, least, np.round(least / np.where(step == 0, one, step)) * step)
        return np.asarray((numbers - bottom) * step + rounded, np.float32)
    raise ValueError(f"values quantized in an unknown mode: {scale.mode!r}")
