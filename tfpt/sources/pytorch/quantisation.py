"""Quantised tensors of torch: scales and zero points, and the real numbers that integers stand for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfpt import limits
from tfpt.errors import SourceError
from tfpt.sources.pytorch.tensors import Bytes, Sparse, Tensor, values_of
from tfpt.sources.source import Quantised

_AFFINE = ("per_tensor_affine", "per_channel_affine")


def quantised(
    where: str, tensors: Mapping[str, Tensor | Sparse], raw: Bytes, *, swap: bool
) -> dict[str, Quantised]:
    """How each of the quantised tensors stands for real numbers, by name.

    Args:
        where: The file, for errors.
        tensors: All tensors of the file.
        raw: Gives the bytes of storages.
        swap: Whether they are of the other byte order.

    Raises:
        SourceError: There are too many scales.
    """
    found: dict[str, Quantised] = {}
    left = limits.SCALES
    for name, tensor in tensors.items():
        how = None if isinstance(tensor, Sparse) else tensor.quantiser
        if how is None:
            continue
        if not isinstance(how.scale, Tensor) or not isinstance(how.zero, Tensor):
            assert not isinstance(how.scale, Tensor)
            assert not isinstance(how.zero, Tensor)
            found[name] = Quantised((how.scale,), (how.zero,))
            continue
        left -= how.scale.size
        if left < 0:
            raise SourceError(
                "the quantised tensors of the file have too many scales",
                where=where,
                expected=f"at most {limits.SCALES:,}",
            )
        scales, zeros = (values_of(each, raw, swap=swap) for each in (how.scale, how.zero))
        found[name] = Quantised(
            tuple(map(float, scales)),
            tuple(zeros.tolist()),
            how.axis,
            "affine" if how.scheme in _AFFINE else how.scheme,
        )
    return found


def dequantised(values: np.ndarray, how: Quantised) -> np.ndarray:
    """The float32 values that the integers stand for, each rounded once.

    Example:
        >>> dequantised(np.array([[-3, 17]], np.int8), Quantised((0.5,), (-3,))).tolist()
        [[0.0, 10.0]]
        >>> dequantised(np.array([[1, 2], [3, 4]], np.int8), Quantised((1.0, 0.5), (0, 2), axis=1)).tolist()
        [[1.0, 0.0], [3.0, 1.0]]
    """
    shape = [1] * values.ndim
    if how.axis is not None:
        shape[how.axis] = -1
        scales, zeros = (np.array(each, np.float64).reshape(shape) for each in (how.scales, how.zero_points))
    else:
        scales, zeros = np.float64(how.scales[0]), np.float64(how.zero_points[0])
    return ((values - zeros) * scales).astype(np.float32)
