"""Tensors that are stored as messages: the constants of graphs, and the values of V1 checkpoints.

The format: tensorflow/core/framework/tensor.proto; how its values are to be understood: Tensor::FromProto in
tensorflow/core/framework/tensor.cc.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from tfpt.sources.tensorflow.strings import string_array
from tfpt.sources.tensorflow.tensorflow_pb2 import TensorProto, TensorShapeProto
from tfpt.sources.tensorflow.wire import FIXED32, FIXED64, LENGTH, VARINT, walk
from tfpt.tensors import BY_TENSORFLOW, DTYPES, TensorSpec, format_shape

# numpy before 2.0 holds 32 axes at most; TensorFlow allows 254 and uses 8.
_MOST_AXES = 32
_MOST_BYTES = 1 << 62

# One stored value may stand for a whole tensor of it: what that may take, so that a file of some bytes cannot fill
# the memory. A constant of zeros of this size is 128 Mi float32; no model has a larger one.
_LARGEST_FILL = 1 << 29

# A type with `_REF` in its name is its number plus 100: a variable of that type (types.proto).
_REF = 100

_CONTENT = 4

# The field that holds values of a type, and how they are stored there (tensor.proto).
_FLOAT, _DOUBLE, _INT, _STRING, _SCOMPLEX, _INT64, _BOOL, _DCOMPLEX, _HALF = 5, 6, 7, 8, 9, 10, 11, 12, 13
_UINT32, _UINT64, _FLOAT8 = 16, 17, 18
_FIELDS = {
    "float32": _FLOAT,
    "float64": _DOUBLE,
    "string": _STRING,
    "complex64": _SCOMPLEX,
    "int64": _INT64,
    "bool": _BOOL,
    "complex128": _DCOMPLEX,
    "float16": _HALF,
    "bfloat16": _HALF,
    "uint32": _UINT32,
    "uint64": _UINT64,
    "float8_e5m2": _FLOAT8,
    "float8_e4m3fn": _FLOAT8,
    "float8_e4m3fnuz": _FLOAT8,
    "float8_e4m3b11fnuz": _FLOAT8,
    "float8_e5m2fnuz": _FLOAT8,
}
# Stored as they are in memory; all others are variable-length integers.
_PLAIN = {_FLOAT: FIXED32, _SCOMPLEX: FIXED32, _DOUBLE: FIXED64, _DCOMPLEX: FIXED64}


@dataclass(frozen=True)
class Stored:
    """A tensor's message: what it says of itself, and where it lies.

    Attributes:
        spec: Name, shape and dtype.
        begin: Where the message starts.
        end: Where it ends.
    """

    spec: TensorSpec
    begin: int
    end: int


def shape_of(shape: TensorShapeProto, dtype: int, name: str) -> TensorSpec:
    """The spec of a tensor, from its shape's message and the number of its type.

    Raises:
        ValueError: No tensor is of this shape, or tfpt does not know the type.
    """
    known = BY_TENSORFLOW.get(dtype % _REF)
    if known is None:
        raise ValueError(f"tensor {name!r} is of a dtype tfpt does not know: number {dtype}")
    sizes = tuple([dim.size for dim in shape.dim])
    most = math.prod([size or 1 for size in sizes]) * max(known.itemsize, 1)
    negative = bool(sizes) and min(sizes) < 0
    if len(sizes) > _MOST_AXES or shape.unknown_rank or negative or most > _MOST_BYTES:
        shown = "of unknown rank" if shape.unknown_rank else format_shape(sizes[:_MOST_AXES])
        raise ValueError(f"tensor {name!r} has a shape that no tensor has: {shown}")
    return TensorSpec(name, sizes, known.name)


def describe(data: memoryview, begin: int, end: int, name: str) -> Stored:
    """The tensor whose message lies in ``data[begin:end]``; looks at no value.

    Raises:
        ValueError: It is no such message, or no tensor is like it.
    """
    dtype, shape = 0, TensorShapeProto()
    for field in walk(data, begin, end):
        if field.number == 1 and field.kind == VARINT:
            dtype = field.value
        elif field.number == 2 and field.kind == LENGTH:
            shape.MergeFromString(bytes(data[field.begin : field.end]))
    return Stored(shape_of(shape, dtype, name), begin, end)


def decode(data: memoryview, stored: Stored, fill: bool = True) -> npt.NDArray[np.generic]:
    """The values of a tensor: a view of `data` where they lie there as they do in memory, aligned, else a copy.

    Args:
        data: The file or the block that holds the message.
        stored: Where it lies, and the tensor's shape and dtype; what the message itself says of these is not read.
        fill: Whether the last of too few values stands for all that are missing, and no value for zeros, as in the
            constants of graphs.

    Raises:
        ValueError: The values are not as many as the shape says, or are of a kind that only TensorFlow can hold.
    """
    spec = stored.spec
    held = DTYPES[spec.dtype].numpy
    if held is None:
        raise ValueError(f"tensor {spec.name!r} is a {spec.dtype}: only TensorFlow can hold its values")
    number = _FIELDS.get(spec.dtype, _INT)
    try:
        content, chunks = _chunks(data, stored, number)
        if content is not None and spec.dtype != "string":
            if len(content) != spec.size * held.itemsize:
                raise ValueError(
                    f"tensor {spec.name!r} has {len(content)} bytes of values, "
                    f"and its shape {format_shape(spec.shape)} and dtype {spec.dtype} need {spec.size * held.itemsize}"
                )
            return _as_array(content, spec, held)
        if spec.dtype == "string":
            return _strings(chunks, spec, fill)
        values = _values(data, stored, number, chunks, held)
    except DecodeError:
        raise ValueError(f"the values of tensor {spec.name!r} cannot be parsed") from None
    return _spread(values, spec, held, fill)


def _chunks(
    data: memoryview, stored: Stored, number: int
) -> tuple[npt.NDArray[np.uint8] | None, list[npt.NDArray[np.uint8]]]:
    """The bytes of `tensor_content`, where there are some, and those of each field of that number."""
    content = None
    chunks = []
    for field in walk(data, stored.begin, stored.end):
        if field.number == _CONTENT and field.kind == LENGTH and field.end > field.begin:
            content = np.frombuffer(data[field.begin : field.end], np.uint8)
        elif field.number == number and field.kind in (LENGTH, _PLAIN.get(number)):
            chunks.append(np.frombuffer(data[field.begin : field.end], np.uint8))
    return content, chunks


def _strings(
    chunks: Sequence[npt.NDArray[np.uint8]], spec: TensorSpec, fill: bool
) -> npt.NDArray[np.generic]:
    strings = [chunk.tobytes() for chunk in chunks]
    _check_count(len(strings), spec, 8, fill)
    strings += [strings[-1] if strings else b""] * (spec.size - len(strings))
    return string_array(strings, spec.shape)


def _values(
    data: memoryview,
    stored: Stored,
    number: int,
    chunks: Sequence[npt.NDArray[np.uint8]],
    held: np.dtype,
) -> npt.NDArray[np.generic]:
    """The stored values, flat, of the dtype they are held in."""
    if number in _PLAIN or number == _FLOAT8:
        joined = chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, np.uint8), *chunks])
        if len(joined) % held.itemsize:
            raise ValueError(f"tensor {stored.spec.name!r} ends in the middle of a value")
        return joined.view(held)
    message = TensorProto.FromString(bytes(data[stored.begin : stored.end]))
    lists: dict[int, Iterable[int]] = {
        _INT: message.int_val,
        _INT64: message.int64_val,
        _BOOL: message.bool_val,
        _HALF: message.half_val,
        _UINT32: message.uint32_val,
        _UINT64: message.uint64_val,
    }
    wide = np.fromiter(lists[number], np.uint64 if number == _UINT64 else np.int64)
    if number == _HALF:
        return wide.astype(np.uint16).view(held)
    return wide.astype(held)


def _spread(
    values: npt.NDArray[np.generic], spec: TensorSpec, held: np.dtype, fill: bool
) -> npt.NDArray[np.generic]:
    _check_count(len(values), spec, held.itemsize, fill)
    if len(values) == spec.size:
        return _as_array(values.view(np.uint8), spec, held)
    whole = np.zeros(spec.size, held)
    if len(values):
        whole[: len(values)] = values
        whole[len(values) :] = values[-1]
    return whole.reshape(spec.shape)


def _check_count(count: int, spec: TensorSpec, itemsize: int, fill: bool) -> None:
    """Whether `count` values make up the tensor; asked before anything of its size is allocated."""
    if count > spec.size or (count < spec.size and not fill):
        raise ValueError(
            f"tensor {spec.name!r} has {count} values, and its shape {format_shape(spec.shape)} asks for {spec.size}"
        )
    if count < spec.size and spec.size * itemsize > _LARGEST_FILL:
        raise ValueError(
            f"tensor {spec.name!r} of {spec.size * itemsize} bytes is stored as {count} values: not believed"
        )


def _as_array(raw: npt.NDArray[np.uint8], spec: TensorSpec, held: np.dtype) -> npt.NDArray[np.generic]:
    if spec.dtype == "bool":
        # TensorFlow takes any byte but zero as true; a numpy bool must be 0 or 1.
        return np.not_equal(raw, 0).reshape(spec.shape)
    values: npt.NDArray[np.generic] = raw.view(held).reshape(spec.shape)
    return values if values.flags.aligned else values.copy()
