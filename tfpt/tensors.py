"""Tensors without their values: name, shape and dtype, with the names of both frameworks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tfpt.errors import TfptError


@dataclass(frozen=True)
class DType:
    """One element type under all its names.

    Attributes:
        name: The name in tfpt; the same as in numpy and ml_dtypes, if they have the type.
        numpy: The dtype of the values in memory; ``None`` for types that are not arrays of numbers.
        tensorflow: The number in TensorFlow's ``DataType`` enum (tensorflow/core/framework/types.proto);
            ``None`` if TensorFlow has no such type.
        torch: The attribute of the ``torch`` module; ``None`` if PyTorch has no such type.
        safetensors: The code in a safetensors header; ``None`` if the format has no such type.
    """

    name: str
    numpy: np.dtype | None
    tensorflow: int | None = None
    torch: str | None = None
    safetensors: str | None = None

    @property
    def itemsize(self) -> int:
        """Bytes per element in memory; 0 if elements have no fixed size."""
        return 0 if self.numpy is None or self.numpy.kind == "O" else self.numpy.itemsize


def _dtype(
    name: str,
    held_as: object,
    tensorflow: int | None = None,
    torch: str | None = None,
    safetensors: str | None = None,
) -> DType:
    held = None if held_as is None else np.dtype(held_as)  # type: ignore[call-overload]
    return DType(name, held, tensorflow, torch, safetensors)


# Numbers: tensorflow/core/framework/types.proto. Codes: safetensors' `Dtype` (safetensors/src/tensor.rs).
_TABLE = (
    _dtype("float32", np.float32, 1, "float32", "F32"),
    _dtype("float64", np.float64, 2, "float64", "F64"),
    _dtype("int32", np.int32, 3, "int32", "I32"),
    _dtype("uint8", np.uint8, 4, "uint8", "U8"),
    _dtype("int16", np.int16, 5, "int16", "I16"),
    _dtype("int8", np.int8, 6, "int8", "I8"),
    _dtype("string", np.object_, 7),
    _dtype("complex64", np.complex64, 8, "complex64", "C64"),
    _dtype("int64", np.int64, 9, "int64", "I64"),
    _dtype("bool", np.bool_, 10, "bool", "BOOL"),
    _dtype("qint8", np.int8, 11),
    _dtype("quint8", np.uint8, 12),
    _dtype("qint32", np.int32, 13),
    _dtype("bfloat16", ml_dtypes.bfloat16, 14, "bfloat16", "BF16"),
    _dtype("qint16", np.int16, 15),
    _dtype("quint16", np.uint16, 16),
    _dtype("uint16", np.uint16, 17, "uint16", "U16"),
    _dtype("complex128", np.complex128, 18, "complex128"),
    _dtype("float16", np.float16, 19, "float16", "F16"),
    _dtype("resource", None, 20),
    _dtype("variant", None, 21),
    _dtype("uint32", np.uint32, 22, "uint32", "U32"),
    _dtype("uint64", np.uint64, 23, "uint64", "U64"),
    _dtype("float8_e5m2", ml_dtypes.float8_e5m2, 24, "float8_e5m2", "F8_E5M2"),
    _dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, 25, "float8_e4m3fn", "F8_E4M3"),
    _dtype("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, 26, "float8_e4m3fnuz", "F8_E4M3FNUZ"),
    _dtype("float8_e4m3b11fnuz", ml_dtypes.float8_e4m3b11fnuz, 27),
    _dtype("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, 28, "float8_e5m2fnuz", "F8_E5M2FNUZ"),
    _dtype("int4", ml_dtypes.int4, 29),
    _dtype("uint4", ml_dtypes.uint4, 30),
    _dtype("int2", ml_dtypes.int2, 31),
    _dtype("uint2", ml_dtypes.uint2, 32),
    _dtype("float4_e2m1fn", ml_dtypes.float4_e2m1fn, 33),
)

DTYPES = {d.name: d for d in _TABLE}
BY_TENSORFLOW = {d.tensorflow: d for d in _TABLE if d.tensorflow is not None}
BY_SAFETENSORS = {d.safetensors: d for d in _TABLE if d.safetensors is not None}
# Several names share one numpy dtype (int8 and qint8): the plain one comes first in the table.
BY_NUMPY = {d.numpy: d for d in reversed(_TABLE) if d.numpy is not None and not d.name.startswith("q")}


def dtype(name: str) -> DType:
    """The element type with that name.

    Raises:
        TfptError: There is no such type.

    Example:
        >>> dtype("bfloat16").safetensors
        'BF16'
    """
    if name not in DTYPES:
        raise TfptError(f"no dtype is called {name!r}", expected=", ".join(DTYPES), got=name)
    return DTYPES[name]


@cache  # called for every tensor, with few distinct pairs
def is_exact(source: str, target: str) -> bool:
    """Whether dtype `target` can represent every value of dtype `source`.

    Example:
        >>> is_exact("bfloat16", "float32"), is_exact("float32", "bfloat16"), is_exact("int64", "int32")
        (True, False, False)
    """
    if source == target:
        return True
    held, wanted = dtype(source).numpy, dtype(target).numpy
    if held is None or wanted is None or "O" in (held.kind, wanted.kind):
        return False
    if held.kind == "b" or wanted.kind == "b":
        return held.kind == "b"
    # Computed here: numpy's can_cast is wrong for ml_dtypes (it says that uint8 to float8 is safe).
    if is_integer(source):
        values = _iinfo(held)
        if is_integer(target):
            limits = _iinfo(wanted)
            return bool(limits.min <= values.min and values.max <= limits.max)
        room = _finfo(wanted)
        return bool(values.bits - (values.min < 0) <= room.nmant + 1 and values.max <= float(room.max))
    if is_integer(target) or (held.kind == "c" and wanted.kind != "c"):
        return False
    have, room = _finfo(held), _finfo(wanted)
    return bool(
        have.nmant <= room.nmant
        and float(have.max) <= float(room.max)
        and float(room.smallest_subnormal) <= float(have.smallest_subnormal)
        and _has_infinity(wanted) >= _has_infinity(held)
    )


def is_integer(name: str) -> bool:
    """Whether a dtype is an integer type; bool is not.

    Example:
        >>> is_integer("int8"), is_integer("quint8"), is_integer("bool"), is_integer("float16")
        (True, True, False, False)
    """
    return name.lstrip("qu").startswith("int")


def _iinfo(held: np.dtype) -> Any:
    return ml_dtypes.iinfo(held)  # type: ignore[no-untyped-call]


def _finfo(held: np.dtype) -> Any:
    real = np.zeros(0, held).real.dtype if held.kind == "c" else held
    return ml_dtypes.finfo(real)  # type: ignore[no-untyped-call]


def _has_infinity(held: np.dtype) -> bool:
    return bool(np.isinf(np.asarray(np.inf, np.float32).astype(held)))


# The purpose of a tensor; one without a role is a weight.
Role = Literal[
    "slot",  # an optimizer's state for a variable
    "average",  # a moving average of a variable
    "counter",  # a training step, an epoch, the number of saves
    "metric",  # the state of a metric
    "constant",  # a constant of a graph that is not a weight: a shape, an axis, a file name
    "record",  # not a tensor of the model at all, such as the graph of a checkpoint's objects
]


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of one tensor.

    Example:
        >>> spec = TensorSpec("conv.weight", (64, 3, 7, 7, 7), "float32")
        >>> spec.size, spec.nbytes
        (65856, 263424)
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values; 0 for strings, whose dtype does not determine their size."""
        return self.size * dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.name} {format_shape(self.shape)} {self.dtype}"


def format_shape(shape: tuple[int, ...]) -> str:
    """A shape in the usual notation.

    Example:
        >>> format_shape((64, 3)), format_shape(())
        ('[64, 3]', '[]')
    """
    return "[" + ", ".join(map(str, shape)) + "]"


def string_array(strings: Sequence[bytes], shape: tuple[int, ...]) -> npt.NDArray[np.object_]:
    """An array of Python `bytes`; numpy's own fixed-width strings would lose zero bytes at the end.

    Example:
        >>> string_array([b"a", b"bc"], (2, 1)).tolist()
        [[b'a'], [b'bc']]
    """
    flat = np.empty(len(strings), np.object_)
    flat[:] = strings
    return flat.reshape(shape)
