"""Quantized tensors of torch: scales and zero points, and the real numbers that integers stand for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.pytorch.tensors import Bytes, Sparse, Tensor, values_of
from tfpt.formats.source import Quantized
from tfpt.io import limits

_AFFINE = ("per_tensor_affine", "per_channel_affine")


def quantized(
    where: str, tensors: Mapping[str, Tensor | Sparse], raw: Bytes, *, swap: bool
) -> dict[str, Quantized]:
    """How each of the quantized tensors stands for real numbers, by name.

    Args:
        where: The file, for errors.
        tensors: All tensors of the file.
        raw: Gives the bytes of storages.
        swap: Whether they are of the other byte order.

    Raises:
        SourceError: There are too many scales.
    """
    found: dict[str, Quantized] = {}
    left = limits.SCALES
    for name, tensor in tensors.items():
        how = None if isinstance(tensor, Sparse) else tensor.quantizer
        if how is None:
            continue
        if not isinstance(how.scale, Tensor) or not isinstance(how.zero, Tensor):
            assert not isinstance(how.scale, Tensor)
            assert not isinstance(how.zero, Tensor)
            found[name] = Quantized((how.scale,), (how.zero,))
            continue
        left -= how.scale.size
        if left < 0:
            raise SourceError(
                "the quantized tensors of the file have too many scales",
                where=where,
                expected=f"at most {limits.SCALES:,}",
            )
        scales, zeros = (values_of(each, raw, swap=swap) for each in (how.scale, how.zero))
        found[name] = Quantized(
            tuple(map(float, scales)),
            tuple(zeros.tolist()),
            how.axis,
            "affine" if how.scheme in _AFFINE else how.scheme,
        )
    return found


def dequantized(values: np.ndarray, how: Quantized) -> np.ndarray:
    """The float32 values that the integers stand for, each rounded once.

    Example:
        >>> dequantized(np.array([[-3, 17]], np.int8), Quantized((0.5,), (-3,))).tolist()
        [[0.0, 10.0]]
        >>> dequantized(np.array([[1, 2], [3, 4]], np.int8), Quantized((1.0, 0.5), (0, 2), axis=1)).tolist()
        [[1.0, 0.0], [3.0, 1.0]]
    """
    shape = [1] * values.ndim
    if how.axis is not None:
        shape[how.axis] = -1
        scales, zeros = (np.array(each, np.float64).reshape(shape) for each in (how.scales, how.zero_points))
    else:
        scales, zeros = np.float64(how.scales[0]), np.float64(how.zero_points[0])
    return ((values - zeros) * scales).astype(np.float32)
