"""HDF5's datatypes and dataspaces: what the elements of a dataset or an attribute are, and how many.

The layout: HDF5 file format specification, IV.A.2.b "The Dataspace Message" and IV.A.2.d "The Datatype Message".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from tfpt.formats.hdf5.blocks import UnfamiliarError
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
    """What an element is.

    Attributes:
        size: How many bytes it takes in the file.
        held: How numpy holds it, in the file's byte order; `None` where it is no number.
        dtype: What tfpt calls it; ``string`` for text; `None` for what no tensor holds.
        reason: What it is, where `dtype` is `None`.
        padding: How a text of fixed size ends: 0 with a zero, 1 filled with zeros, 2 filled with blanks; `None` for
            texts of any length.
    """

    size: int
    held: np.dtype | None = None
    dtype: str | None = None
    reason: str = ""
    padding: int | None = None


def datatype_of(body: bytes) -> Datatype:
    """A datatype message.

    Raises:
        UnfamiliarError: It is none that is known here.
        struct.error: It is cut off.
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
        return Datatype(size, reason="runs of any length")
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
    """Opaque elements as the numbers that an attribute says they are: Keras 3 saves bfloat16 so.

    numpy calls bfloat16 a void of two bytes, and h5py writes it as opaque. Keras 3 names it in an attribute of
    .weights.h5 (keras/src/saving/saving_lib.py, H5IOStore.__setitem__), and in its older format nowhere.
    """
    known = DTYPES.get(name)
    if known is None or known.numpy is None or known.numpy.itemsize != kind.size or known.numpy.kind == "O":
        return kind
    return Datatype(kind.size, known.numpy, known.name)


def shape_of(body: bytes) -> tuple[int, ...] | None:
    """A dataspace message's shape; `None` for one that has no elements at all, which is not a scalar.

    Raises:
        ValueError: It has more dimensions than HDF5 knows.
        UnfamiliarError: It is of another version.
        struct.error: It is cut off.
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
    # h5py saves numpy's bool so.
    if base.size == 1 and count & 0xFFFF == 2 and b"FALSE\0" in body and b"TRUE\0" in body:
        return Datatype(1, np.dtype(np.bool_), "bool")
    return base


def _compound(count: int, size: int, body: bytes) -> Datatype:
    """Complex numbers, which h5py writes as a pair called ``r`` and ``i``; other records are none."""
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
