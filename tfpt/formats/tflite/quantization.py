"""TensorFlow Lite's quantization: real = (integer - zero point) x scale.

https://ai.google.dev/edge/litert/models/quantization_spec
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.formats.source import Quantized
from tfpt.formats.tflite.flatbuffer import Table
from tfpt.tensors import TensorSpec, format_shape

# A float32 cannot represent all of these integers exactly. Biases have these types, and are small.
_WIDE = ("int32", "int64", "uint32", "uint64")
QUANTIZED = frozenset(("int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", *_WIDE))


@dataclass(frozen=True)
class Quantization:
    """How the integers of a tensor represent real numbers.

    Attributes:
        scales: float32 [n]: one for the tensor, or one for each index of an axis.
        zero_points: int64 [n]: the integers that represent 0.
        axis: The axis of the scales; None if one scale is for the whole tensor.
        scheme: "affine", or the name of another scheme, which tfpt cannot apply.
        problem: Why the scales cannot be applied, if they do not fit the tensor.

    Example:
        >>> scales, zeros = np.array([0.5, 2], np.float32), np.array([0, 1])
        >>> Quantization(scales, zeros, axis=1).real(np.array([[2, 2], [3, 4]], np.int8)).tolist()
        [[1.0, 2.0], [1.5, 6.0]]
    """

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int | None
    scheme: str = "affine"
    problem: str | None = None

    def described(self) -> Quantized:
        """As reports and plans show it."""
        scheme = self.scheme if self.problem is None else f"scales that do not fit: {self.problem}"
        return Quantized(tuple(self.scales.tolist()), tuple(self.zero_points.tolist()), self.axis, scheme)

    def real(self, integers: np.ndarray) -> npt.NDArray[np.float32]:
        """The dequantized `integers` (any shape that fits the axis), as float32."""
        # For 8 and 16 bits, the difference is exact in float32 too, so only the product is rounded.
        wide = integers.dtype.name in _WIDE
        work = np.dtype(np.float64 if wide else np.float32)
        shape = [1] * integers.ndim
        if self.axis is not None:
            shape[self.axis] = len(self.scales)
        values = integers.astype(work) - self.zero_points.astype(work).reshape(shape)
        with np.errstate(over="ignore", invalid="ignore"):
            values *= self.scales.astype(work).reshape(shape)
            return values.astype(np.float32, copy=False)


def read_quantization(table: Table | None, spec: TensorSpec) -> Quantization | None:
    """A tensor's QuantizationParameters; None if they have no scale, as for float tensors.

    Scales that do not fit the tensor are kept with the reason: its integers can still be read.
    """
    if table is None or spec.dtype not in QUANTIZED:
        return None
    scheme = {0: "affine", 1: "custom", 2: "blockwise"}.get(table.number(4, "B"), "unknown")
    scales = table.numbers(2, "f4").astype(np.float32)
    zeros = table.numbers(3, "i8").astype(np.int64)
    if scheme != "affine":
        return Quantization(scales, zeros, None, scheme)
    if not len(scales):
        return None
    if not len(zeros):
        zeros = np.zeros(len(scales), np.int64)
    if len(zeros) == 1 and len(scales) > 1:
        zeros = np.repeat(zeros, len(scales))
    axis = None if len(scales) == 1 else table.number(6, "i")
    problem = None
    if len(zeros) != len(scales):
        problem = f"{len(scales)} scales and {len(zeros)} zero points"
    elif axis is not None and not 0 <= axis < len(spec.shape):
        problem = (
            f"{len(scales)} of them along axis {axis} of {format_shape(spec.shape)}, which has no such axis"
        )
    elif axis is not None and spec.shape[axis] != len(scales):
        problem = f"{len(scales)} of them along axis {axis} of {format_shape(spec.shape)}"
    return Quantization(scales, zeros, axis, scheme, problem)
