"""Quantised constants as the numbers they stand for, as TensorFlow's operation `Dequantize` computes them.

The operation: tensorflow/core/kernels/dequantize_op.cc, and QuantizedToFloatStruct in
tensorflow/core/kernels/quantization_utils.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MODES = ("MIN_COMBINED", "MIN_FIRST", "SCALED")


@dataclass(frozen=True)
class Scale:
    """How the values of a constant are to be understood.

    Attributes:
        low: The name of the constant with the smallest number, or with that of each slice along `axis`.
        high: That with the largest.
        mode: One of `MODES`.
        axis: The axis along which they differ; -1 for none.
        narrow: Whether the smallest value of the type is not in use.
    """

    low: str
    high: str
    mode: str = "MIN_COMBINED"
    axis: int = -1
    narrow: bool = False


def dequantise(
    values: npt.NDArray[np.generic], low: npt.NDArray[np.generic], high: npt.NDArray[np.generic], scale: Scale
) -> npt.NDArray[np.float32]:
    """The numbers that quantised values stand for.

    Args:
        values: Of dtype int8, uint8, int16, uint16 or int32.
        low: The smallest number, of one element, or of one for each slice.
        high: The largest, of the same shape.
        scale: How; its names are not looked at.

    Returns:
        An array of the shape of `values`.

    Raises:
        ValueError: The bounds do not fit the values, or the mode is not known.

    Example:
        >>> bounds = np.float32([-1]), np.float32([1])
        >>> dequantise(np.array([0, 255], np.uint8), *bounds, Scale("", ""))
        array([-1.,  1.], dtype=float32)
    """
    limits = np.iinfo(values.dtype)  # type: ignore[type-var]
    shape = [1] * values.ndim
    if scale.axis >= 0:
        if scale.axis >= values.ndim or low.size != values.shape[scale.axis] or low.size != high.size:
            raise ValueError("the bounds are not one for each slice of the quantised values")
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
    raise ValueError(f"values quantised in a mode that is not known: {scale.mode!r}")
