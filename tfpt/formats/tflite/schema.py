"""Reads the tensors of a TensorFlow Lite model, and where their values are.

Numbers of fields and types: tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tfpt.formats.tflite.flatbuffer import Buffer, Table
from tfpt.formats.tflite.quantization import Quantization, read_quantization
from tfpt.formats.tflite.sparsity import Sparsity, read_sparsity
from tfpt.io.cached_blocks import View
from tfpt.tensors import DTYPES, TensorSpec

# enum TensorType
TYPES = (
    "float32",
    "float16",
    "int32",
    "uint8",
    "int64",
    "string",
    "bool",
    "int16",
    "complex64",
    "int8",
    "float64",
    "complex128",
    "uint64",
    "resource",
    "variant",
    "uint32",
    "uint16",
    "int4",
    "bfloat16",
    "int2",
    "uint4",
)
# Bits per element of dtypes of which several share a byte.
PACKED = {"int4": 4, "uint4": 4, "int2": 2}
_MOST_SUBGRAPHS = 10_000
_MOST_TENSORS = 200_000
_MOST_AXES = 32
_MOST_BYTES = 2**63 - 1


@dataclass(frozen=True)
class Constant:
    """A tensor whose values are in the file.

    Attributes:
        spec: Its name, shape and dtype as stored.
        begin: Where its values start in the file.
        size: Their size in bytes.
        quantization: How its integers represent real numbers, if they do.
        obstacle: Why its values cannot be read, if they cannot.
        sparsity: Which of its elements are stored, if not all are.
    """

    spec: TensorSpec
    begin: int
    size: int
    quantization: Quantization | None
    obstacle: str | None
    sparsity: Sparsity | None = None


@dataclass(frozen=True)
class Model:
    """A model without its operators.

    Attributes:
        description: The writer's description.
        metadata: The names of its metadata.
        constants: The tensors whose values are in the file, by name, in its order.
        places: The subgraph of each and its number there, by name.
    """

    description: str
    metadata: tuple[str, ...]
    constants: dict[str, Constant]
    places: dict[str, tuple[int, int]]


def read_model(location: str, data: View) -> Model:
    """The model whose bytes are `data`.

    Raises:
        SourceError: An offset is outside the file, or the model is inconsistent.
    """
    buffer = Buffer(location, data)
    root = buffer.root()
    spans = [_span(table) for table in root.tables(4, "buffer", _MOST_TENSORS)]
    constants: dict[str, Constant] = {}
    places: dict[str, tuple[int, int]] = {}
    left = _MOST_TENSORS
    seen: dict[str, int] = {}
    for index, subgraph in enumerate(root.tables(2, "subgraph", _MOST_SUBGRAPHS)):
        tensors = subgraph.tables(0, "tensor", left)
        left -= len(tensors)
        scope = f"{subgraph.text(4) or f'subgraph_{index}'}/" if index else ""
        for number, constant in _constants(tensors, spans):
            name = _unique(scope + constant.spec.name, constants, seen)
            places[name] = index, number
            constants[name] = replace(constant, spec=replace(constant.spec, name=name))
    metadata = tuple(table.text(0) for table in root.tables(6, "metadata entry", _MOST_SUBGRAPHS))
    return Model(root.text(3), metadata, constants, places)


def read_use(location: str, data: View) -> list[tuple[int, int]]:
    """The subgraphs and numbers of tensors in the order in which operators read them.

    Raises:
        SourceError: An offset is outside the file.
    """
    used: dict[tuple[int, int], None] = {}
    root = Buffer(location, data).root()
    for index, subgraph in enumerate(root.tables(2, "subgraph", _MOST_SUBGRAPHS)):
        for operator in subgraph.tables(3, "operator", _MOST_TENSORS):
            used.update(dict.fromkeys((index, number) for number in operator.numbers(1, "i4").tolist()))
    return list(used)


def _unique(name: str, taken: dict[str, Constant], seen: dict[str, int]) -> str:
    """`name`, or `name#2`, `name#3`… if it is taken."""
    found = name
    while found in taken:
        seen[name] = seen.get(name, 1) + 1
        found = f"{name}#{seen[name]}"
    return found


def _span(table: Table) -> tuple[int, int]:
    """Where the bytes of a buffer are."""
    begin, size = table.span(0)
    # Models of more than 2 GB store the bytes after the flatbuffer; `offset` 0 or 1 means that they are inside.
    if not size and (offset := table.number(1, "Q")) > 1:
        begin, size = offset, table.number(2, "Q")
        table.buffer.check(begin, size, table.what)
    return begin, size


def _constants(tensors: list[Table], spans: list[tuple[int, int]]) -> Iterator[tuple[int, Constant]]:
    for number, table in enumerate(tensors):
        index = table.number(2, "I")
        if index >= max(len(spans), 1):
            raise table.buffer.damaged(
                f"{table.what} refers to a buffer that does not exist",
                table.at,
                f"below {len(spans)}",
                str(index),
            )
        # Buffer 0 is empty and means no values; computed tensors have an empty buffer too.
        begin, size = spans[index] if index else (0, 0)
        is_elsewhere = table.number(10, "I") != 0
        if size or is_elsewhere:
            yield number, _constant(table, table.text(3) or f"tensor_{number}", begin, size, is_elsewhere)


def _constant(table: Table, name: str, begin: int, size: int, is_elsewhere: bool) -> Constant:
    kind = table.number(1, "b")
    if not 0 <= kind < len(TYPES):
        raise table.buffer.damaged(f"{table.what} has an unknown type", table.at, ", ".join(TYPES), str(kind))
    dtype = TYPES[kind]
    shape = tuple(table.numbers(0, "i4").tolist())
    itemsize = max(1, DTYPES[dtype].itemsize)
    if (
        len(shape) > _MOST_AXES
        or any(axis < 0 for axis in shape)
        or math.prod(filter(None, shape)) * itemsize > _MOST_BYTES
    ):
        raise table.buffer.damaged(
            f"{table.what} has an invalid shape", table.at, f"up to {_MOST_AXES} sizes", str(shape)[:80]
        )
    spec = TensorSpec(name, shape, dtype)
    obstacle = sparsity = None
    if is_elsewhere:
        obstacle = "its values are in another file"
    elif (sparse := table.table(6, f"the sparsity of {table.what}")) is not None:
        sparsity = read_sparsity(sparse, spec)
        if sparsity is None:
            obstacle = "its values are sparse, in a way that does not fit its shape"
        elif dtype in PACKED or not DTYPES[dtype].itemsize:
            obstacle = f"its values are sparse, and of {dtype}"
    elif DTYPES[dtype].numpy is None:
        obstacle = f"it is a {dtype}"
    elif dtype != "string":
        # More is allowed, and ignored: `required_bytes <= bytes` in tensorflow/lite/core/subgraph.cc.
        if size < (expected := packed_size(spec)):
            raise table.buffer.damaged(
                f"{table.what} ({spec}) has too few values", begin, f"{expected:,} bytes", f"{size:,}"
            )
        size = expected
    quantization = read_quantization(table.table(4, f"the quantization of {table.what}"), spec)
    return Constant(spec, begin, size, quantization, obstacle, sparsity)


def packed_size(spec: TensorSpec) -> int:
    """A tensor's size in the file in bytes.

    Example:
        >>> packed_size(TensorSpec("w", (3, 5), "int4"))
        8
    """
    bits = PACKED.get(spec.dtype)
    return spec.nbytes if bits is None else (spec.size * bits + 7) // 8
