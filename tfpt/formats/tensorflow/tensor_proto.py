"""Decodes tensors stored as messages: the constants of graphs, and the values of V1 checkpoints.

The format: tensorflow/core/framework/tensor.proto; its meaning: Tensor::FromProto in
tensorflow/core/framework/tensor.cc.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.formats.tensorflow.tensorflow_pb2 import TensorShapeProto
from tfpt.formats.tensorflow.wire import FIXED32, FIXED64, LENGTH, VARINT, unpack_varints, walk
from tfpt.io.cached_blocks import View
from tfpt.io.limits import LARGEST_FILL
from tfpt.tensors import BY_TENSORFLOW, DTYPES, TensorSpec, format_shape, string_array

# numpy before 2.0 supports 32 axes; TensorFlow allows 254 and uses 8.
_MOST_AXES = 32
_MOST_BYTES = 1 << 62

# The number of a `_REF` type, a variable, is that of the plain type plus 100 (types.proto).
_REF = 100

_CONTENT = 4

# The field for the values of each type (tensor.proto).
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
# Stored as in memory; all others are variable-length integers.
_PLAIN = {_FLOAT: FIXED32, _SCOMPLEX: FIXED32, _DOUBLE: FIXED64, _DCOMPLEX: FIXED64}


@dataclass(frozen=True)
class Stored:
    """A tensor's message: its description, and where it is.

    Attributes:
        spec: Name, shape and dtype.
        begin: Where the message starts.
        end: Where it ends.
        held: How many bytes of values it contains; 0 means that all values are zero.
    """

    spec: TensorSpec
    begin: int
    end: int
    held: int = 0


def shape_of(shape: TensorShapeProto, dtype: int, name: str) -> TensorSpec:
    """The spec of a tensor, from its shape's message and the number of its type.

    Raises:
        ValueError: The shape is invalid, or tfpt does not know the type.
    """
    known = BY_TENSORFLOW.get(dtype % _REF)
    if known is None:
        raise ValueError(f"tensor {name!r} has a dtype that tfpt does not know: number {dtype}")
    sizes = tuple([dim.size for dim in shape.dim])
    most = math.prod([size or 1 for size in sizes]) * max(known.itemsize, 1)
    negative = bool(sizes) and min(sizes) < 0
    if len(sizes) > _MOST_AXES or shape.unknown_rank or negative or most > _MOST_BYTES:
        shown = "of unknown rank" if shape.unknown_rank else format_shape(sizes[:_MOST_AXES])
        raise ValueError(f"tensor {name!r} has an invalid shape: {shown}")
    return TensorSpec(name, sizes, known.name)


def describe(data: View, begin: int, end: int, name: str) -> Stored:
    """The tensor whose message is in ``data[begin:end]``; does not read values.

    Raises:
        ValueError: It is not such a message, or the tensor is invalid.
    """
    dtype, shape, held = 0, TensorShapeProto(), 0
    for field in walk(data, begin, end):
        if field.number == 1 and field.kind == VARINT:
            dtype = field.value
        elif field.number == 2 and field.kind == LENGTH:
            shape.MergeFromString(bytes(data[field.begin : field.end]))
        elif field.number >= _CONTENT:
            held += field.end - field.begin
    return Stored(shape_of(shape, dtype, name), begin, end, held)


def decode(data: View, stored: Stored, fill: bool = True) -> npt.NDArray[np.generic]:
    """The values of a tensor: a view of `data` if they are stored as in memory and aligned, else a copy.

    Args:
        data: The file or the block that contains the message.
        stored: Where it is, and the tensor's shape and dtype; those in the message are ignored.
        fill: Whether the last value is repeated if there are too few, and no values mean zeros, as in the constants
            of graphs.

    Raises:
        ValueError: The number of values does not match the shape, or only TensorFlow can represent them.
    """
    spec = stored.spec
    held = DTYPES[spec.dtype].numpy
    if held is None:
        raise ValueError(
            f"tensor {spec.name!r} is a {spec.dtype}, whose values only TensorFlow can represent"
        )
    number = _FIELDS.get(spec.dtype, _INT)
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
    return _spread(_values(data, stored, number, chunks, held), spec, held, fill)


def _chunks(
    data: View, stored: Stored, number: int
) -> tuple[npt.NDArray[np.uint8] | None, list[npt.NDArray[np.uint8]]]:
    """The bytes of `tensor_content`, if any, and those of each field of that number."""
    content = None
    chunks: list[npt.NDArray[np.uint8]] = []
    single = bytearray()  # unpacked values, as early protobufs wrote them: no array for each
    for field in walk(data, stored.begin, stored.end):
        if field.number == _CONTENT and field.kind == LENGTH and field.end > field.begin:
            content = np.frombuffer(data[field.begin : field.end], np.uint8)
        elif field.number == number and field.kind == _PLAIN.get(number):
            single += data[field.begin : field.end]
        elif field.number == number and field.kind == LENGTH:
            if single:
                chunks.append(np.frombuffer(bytes(single), np.uint8))
                single = bytearray()
            chunks.append(np.frombuffer(data[field.begin : field.end], np.uint8))
    if single:
        chunks.append(np.frombuffer(bytes(single), np.uint8))
    return content, chunks


def _strings(
    chunks: Sequence[npt.NDArray[np.uint8]], spec: TensorSpec, fill: bool
) -> npt.NDArray[np.generic]:
    strings = [chunk.tobytes() for chunk in chunks]
    _check_count(len(strings), spec, 8, fill)
    strings += [strings[-1] if strings else b""] * (spec.size - len(strings))
    return string_array(strings, spec.shape)


def _values(
    data: View,
    stored: Stored,
    number: int,
    chunks: Sequence[npt.NDArray[np.uint8]],
    held: np.dtype,
) -> npt.NDArray[np.generic]:
    """The stored values, flat, in their dtype in memory."""
    if number in _PLAIN or number == _FLOAT8:
        joined = chunks[0] if len(chunks) == 1 else np.concatenate([np.empty(0, np.uint8), *chunks])
        if len(joined) % held.itemsize:
            raise ValueError(f"tensor {stored.spec.name!r} ends in the middle of a value")
        return joined.view(held)
    wide = np.uint64 if number == _UINT64 else np.int64
    if number == _HALF:
        return _varints(data, stored, number, np.uint16).view(held)
    return _varints(data, stored, number, held, wide)


def _varints(
    data: View, stored: Stored, number: int, held: npt.DTypeLike, wide: npt.DTypeLike = np.int64
) -> npt.NDArray[np.generic]:
    """The variable-length integers of a field, packed or not, cast to their dtype in memory."""
    parts: list[npt.NDArray[np.generic]] = []
    single: list[int] = []
    for field in walk(data, stored.begin, stored.end):
        if field.number != number:
            continue
        if field.kind == VARINT:
            single.append(field.value)
        elif field.kind == LENGTH:
            if single:
                parts.append(np.array(single, np.uint64).view(wide).astype(held))
                single = []
            raw = np.frombuffer(data[field.begin : field.end], np.uint8)
            parts.append(unpack_varints(raw, held, wide, stored.spec.name))
    if single:
        parts.append(np.array(single, np.uint64).view(wide).astype(held))
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, held), *parts])


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
    """Check that `count` values are right for the tensor, before it is allocated."""
    if count > spec.size or (count < spec.size and not fill):
        raise ValueError(
            f"tensor {spec.name!r} has {count} values, and its shape {format_shape(spec.shape)} requires {spec.size}"
        )
    if count < spec.size and spec.size * itemsize > LARGEST_FILL:
        raise ValueError(
            f"tensor {spec.name!r} of {spec.size * itemsize} bytes is stored as only {count} values: refused"
        )


def _as_array(raw: npt.NDArray[np.uint8], spec: TensorSpec, held: np.dtype) -> npt.NDArray[np.generic]:
    if spec.dtype == "bool":
        # To TensorFlow any nonzero byte is true; a numpy bool must be 0 or 1.
        return np.not_equal(raw, 0).reshape(spec.shape)
    values: npt.NDArray[np.generic] = raw.view(held).reshape(spec.shape)
    return values if values.flags.aligned else values.copy()
