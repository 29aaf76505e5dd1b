"""The header messages that describe an HDF5 dataset: shape, datatype, fill value, filters, and where its values are.

The layout: HDF5 file format specification, IV.A.2.b "The Dataspace Message", d "The Datatype Message", e and f
"Fill Value", i "Data Layout", l "Filter Pipeline".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from tfpt.formats.hdf5.blocks import NOWHERE, UnfamiliarError
from tfpt.formats.hdf5.structure import FILL, FILTERS, LAYOUT, OLD_FILL, Header
from tfpt.tensors import BY_NUMPY, DTYPES

_FIXED, _FLOAT, _TIME, _STRING, _BITS, _OPAQUE, _COMPOUND, _REFERENCE, _ENUM, _RUN, _ARRAY = range(11)
_LARGEST_RANK = 32
# Sizes of exponent and mantissa, and the exponent's bias, by numpy's names.
_FLOATS = {
    (2, 5, 10, 15): np.dtype(np.float16),
    (2, 8, 7, 127): np.dtype(ml_dtypes.bfloat16),
    (4, 8, 23, 127): np.dtype(np.float32),
    (8, 11, 52, 1023): np.dtype(np.float64),
}


@dataclass(frozen=True)
class Datatype:
    """The type of an element.

    Attributes:
        size: How many bytes it takes in the file.
        held: numpy's dtype, in the file's byte order; `None` if it is not a number.
        dtype: tfpt's name for it; ``string`` for text; `None` if a tensor cannot contain it.
        reason: What it is, if `dtype` is `None`.
        padding: How a fixed-size text ends: 0 with a zero, 1 padded with zeros, 2 padded with blanks; `None` for
            variable-length texts.
    """

    size: int
    held: np.dtype | None = None
    dtype: str | None = None
    reason: str = ""
    padding: int | None = None


def datatype_of(body: bytes) -> Datatype:
    """The datatype that a message describes.

    Raises:
        UnfamiliarError: Its class is unknown here.
        struct.error: It is truncated.
    """
    kind, size = body[0] & 15, struct.unpack_from("<I", body, 4)[0]
    bits = int.from_bytes(body[1:4], "little")
    if kind in (_FIXED, _FLOAT):
        return _number(kind, bits, size, body[8:])
    if kind == _STRING:
        return Datatype(size, None, "string", padding=bits & 15)
    if kind == _RUN:
        if bits & 15 == 1 and size == 16:
            return Datatype(size, None, "string")
        return Datatype(size, reason="variable-length arrays")
    if kind == _ENUM:
        return _enumeration(bits, body)
    if kind == _COMPOUND:
        return _compound(bits, size, body)
    if kind == _OPAQUE:
        return Datatype(size, reason=f"opaque elements of {size} bytes")
    if kind == _REFERENCE:
        return Datatype(size, reason="references to other objects")
    if kind == _ARRAY:
        return Datatype(size, reason="elements that are arrays")
    raise UnfamiliarError(f"datatype of class {kind}")


def opaque_number(kind: Datatype, name: str) -> Datatype:
    """Opaque elements as the numbers that an attribute names: Keras 3 saves bfloat16 this way.

    To numpy, bfloat16 is a void of two bytes, which h5py writes as opaque. Keras 3 names it in an attribute of
    .weights.h5 (keras/src/saving/saving_lib.py, H5IOStore.__setitem__), but not in its older format.
    """
    known = DTYPES.get(name)
    if known is None or known.numpy is None or known.numpy.itemsize != kind.size or known.numpy.kind == "O":
        return kind
    return Datatype(kind.size, known.numpy, known.name)


def shape_of(body: bytes) -> tuple[int, ...] | None:
    """A dataspace message's shape; `None` for a null dataspace, which has no elements (a scalar has one).

    Raises:
        ValueError: It has more dimensions than HDF5 allows.
        UnfamiliarError: It is of another version.
        struct.error: It is truncated.
    """
    version, rank, _, kind = struct.unpack_from("<4B", body)
    if version not in (1, 2):
        raise UnfamiliarError(f"dataspace of version {version}")
    if rank > _LARGEST_RANK:
        raise ValueError(f"{rank} dimensions")
    if version == 2 and kind == 2:
        return None
    return struct.unpack_from(f"<{rank}Q", body, 8 if version == 1 else 4)


def _number(kind: int, bits: int, size: int, properties: bytes) -> Datatype:
    offset, precision = struct.unpack_from("<HH", properties)
    if kind == _FIXED:
        known = size in (1, 2, 4, 8) and (offset, precision) == (0, 8 * size)
        held = np.dtype(f"{'i' if bits & 8 else 'u'}{size}") if known else None
    else:
        place, exponent, low, mantissa, bias = struct.unpack_from("<4BI", properties, 4)
        plain = (offset, precision, place, low) == (0, 8 * size, mantissa, 0) and bits & 0x30 == 0x20
        plain = plain and bits >> 8 & 0xFF == 8 * size - 1 and not bits & 0x40
        held = _FLOATS.get((size, exponent, mantissa, bias)) if plain else None
    if held is None:
        raise UnfamiliarError("numbers of another kind")
    return _named(held if not bits & 1 or size == 1 else _swapped(held))


def _swapped(held: np.dtype) -> np.dtype:
    if held == np.dtype(ml_dtypes.bfloat16):
        raise UnfamiliarError("bfloat16 in another byte order")
    swapped: np.dtype = held.newbyteorder(">")
    return swapped


def _named(held: np.dtype) -> Datatype:
    return Datatype(held.itemsize, held, BY_NUMPY[held.newbyteorder("=")].name)


def _enumeration(count: int, body: bytes) -> Datatype:
    base = datatype_of(body[8:])
    if base.held is None or base.held.kind not in "iu":
        raise UnfamiliarError("enumeration of something else")
    # This is how h5py saves numpy's bool.
    if base.size == 1 and count & 0xFFFF == 2 and b"FALSE\0" in body and b"TRUE\0" in body:
        return Datatype(1, np.dtype(np.bool_), "bool")
    return base


def _compound(count: int, size: int, body: bytes) -> Datatype:
    """Complex numbers, which h5py writes as a record of ``r`` and ``i``; other records are not read."""
    other = Datatype(size, reason="records of several fields")
    if count & 0xFFFF != 2 or size not in (8, 16):
        return other
    version, parts, at = body[0] >> 4, [], 8
    for name in (b"r\0", b"i\0"):
        if body[at : at + 2] != name:
            return other
        at += 8 if version < 3 else 2
        width = 4 if version < 3 else 1
        offset = int.from_bytes(body[at : at + width], "little")
        # Version 1 has dimensions of the member here.
        at += width + (28 if version == 1 else 0)
        if body[at : at + 1] == b"" or body[at] & 15 != _FLOAT:
            return other
        parts.append((offset, datatype_of(body[at:])))
        at += 8 + 12
    (first, real), (second, imaginary) = parts
    if real != imaginary or real.held is None or (first, second, 2 * real.size) != (0, real.size, size):
        return other
    if real.held.kind != "f":
        return other
    return _named(np.dtype(f"{real.held.str[0]}c{size}"))


_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = 0, 1, 2, 3


@dataclass(frozen=True)
class Layout:
    """Where values are stored, and how.

    Attributes:
        compact: The values themselves, if they are in the header.
        address: Where they start, or where the tree of chunks does; `None` if nothing was written.
        size: Their size in bytes according to the file; 0 if it does not say.
        chunk: The shape of a chunk, if there are chunks.
        filters: The filters in the order of packing: the number of each, and its first parameter.
        fill: The element for values that were not written; empty for zeros.
        virtual: Whether the values are in other datasets.
    """

    compact: bytes | None = None
    address: int | None = None
    size: int = 0
    chunk: tuple[int, ...] | None = None
    filters: tuple[tuple[int, int], ...] = ()
    fill: bytes = b""
    virtual: bool = False


def layout_of(header: Header, rank: int) -> Layout:
    """The layout of the dataset that has this header.

    Raises:
        UnfamiliarError: It is of a newer kind.
        struct.error, ValueError: It is damaged.
    """
    body = header.messages[LAYOUT]
    filters = _filters(header.messages[FILTERS]) if FILTERS in header.messages else ()
    fill = _fill(header)
    version, kind = body[0], body[1]
    if version == 3:
        return _third(body, kind, rank, filters, fill)
    if version == 4 and kind == _VIRTUAL:
        return Layout(virtual=True)
    if version == 4 and kind in (_COMPACT, _CONTIGUOUS):
        return _third(body, kind, rank, filters, fill)
    raise UnfamiliarError(f"layout of version {version}, class {kind}")


def _third(body: bytes, kind: int, rank: int, filters: tuple[tuple[int, int], ...], fill: bytes) -> Layout:
    if kind == _COMPACT:
        (size,) = struct.unpack_from("<H", body, 2)
        if len(body) < 4 + size:
            raise ValueError("truncated values")
        return Layout(body[4 : 4 + size], size=size, filters=filters, fill=fill)
    if kind == _CONTIGUOUS:
        address, size = struct.unpack_from("<QQ", body, 2)
        return Layout(None, None if address == NOWHERE else address, size, None, filters, fill)
    if kind == _CHUNKED:
        dimensions, address = struct.unpack_from("<BQ", body, 2)
        if dimensions != rank + 1:
            raise ValueError("chunks and dataset differ in their number of dimensions")
        chunk = struct.unpack_from(f"<{dimensions}I", body, 11)[:-1]
        if not all(chunk):
            raise ValueError("chunks of no elements")
        return Layout(None, None if address == NOWHERE else address, 0, chunk, filters, fill)
    raise UnfamiliarError(f"layout of class {kind}")


def _filters(body: bytes) -> tuple[tuple[int, int], ...]:
    version, count = body[0], body[1]
    if version not in (1, 2) or count > 32:
        raise UnfamiliarError(f"filters of version {version}")
    found, at = [], 8 if version == 1 else 2
    for _ in range(count):
        (number,) = struct.unpack_from("<H", body, at)
        at += 2
        length = 0
        if version == 1 or number >= 256:
            (length,) = struct.unpack_from("<H", body, at)
            at += 2
        _, values = struct.unpack_from("<HH", body, at)
        at += 4 + (length + 7) // 8 * 8 if version == 1 else 4 + length
        first = struct.unpack_from("<I", body, at)[0] if values else 0
        at += 4 * values + (4 if version == 1 and values % 2 else 0)
        found.append((number, first))
    return tuple(found)


def _fill(header: Header) -> bytes:
    """The fill value; the newer message takes precedence."""
    body = header.messages.get(FILL)
    if body is not None:
        version = body[0]
        if version in (1, 2):
            if version == 2 and not body[3]:
                return b""
            return _sized(body, 4)
        if version == 3:
            return _sized(body, 2) if body[1] & 0x20 else b""
        raise UnfamiliarError(f"fill value of version {version}")
    body = header.messages.get(OLD_FILL)
    return b"" if body is None else _sized(body, 0)


def _sized(body: bytes, at: int) -> bytes:
    (size,) = struct.unpack_from("<i", body, at)
    if size <= 0:
        return b""
    if len(body) < at + 4 + size:
        raise ValueError("a truncated fill value")
    return body[at + 4 : at + 4 + size]
