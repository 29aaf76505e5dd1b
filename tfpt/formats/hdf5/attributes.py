"""Attributes of HDF5 objects as texts, and the heaps that contain variable-length texts.

The layout: HDF5 file format specification, IV.A.2.m "The Attribute Message" and III.E "Global Heap".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.hdf5.blocks import Blocks, UnfamiliarError
from tfpt.formats.hdf5.messages import Datatype, datatype_of, shape_of
from tfpt.io.limits import HDF5_ATTRIBUTE_BYTES

_REFERENCE = struct.Struct("<IQI")  # length, address of the heap, number of the object
_OBJECT = struct.Struct("<HHIQ")  # number, references, reserved, size


def attribute_texts(
    blocks: Blocks, heaps: Heaps, bodies: Iterable[bytes], name: str, where: str
) -> list[str] | None:
    """The attribute of that name among the messages of an object; `None` if there is none.

    Numbers are returned as texts: Keras saves an empty list of names as an empty array of floats.

    Raises:
        SourceError: It is neither text nor numbers, or claims more than the file contains.
    """
    wanted = name.encode()
    for body in bodies:
        found = _parts(body, wanted)
        if found is None:
            continue
        kind, shape, data = found
        count = 0 if shape is None else math.prod(shape)
        if count * max(1, kind.size) > len(data):
            raise SourceError(
                f"attribute {name!r} claims more than the file contains",
                where=where,
                expected=f"{len(data):,} bytes at most",
                got=f"{count * kind.size:,} bytes",
                hint="the file is damaged or forged: do not trust it",
            )
        if kind.dtype is None or (kind.dtype == "string" and kind.padding is None and kind.size != 16):
            raise SourceError(
                f"attribute {name!r} is not text",
                where=where,
                got=kind.reason,
                hint="the file is damaged or forged: do not trust it",
            )
        if kind.held is not None:
            return [str(value) for value in np.frombuffer(data, kind.held, count).tolist()]
        texts = texts_of(heaps, kind, count, data, HDF5_ATTRIBUTE_BYTES)
        return [text.decode("utf-8", "replace") for text in texts]
    return None


def texts_of(heaps: Heaps, kind: Datatype, count: int, data: bytes, room: int) -> list[bytes]:
    """Texts of fixed or variable length.

    Args:
        heaps: The heaps that contain variable-length texts.
        kind: Their datatype.
        count: How many.
        data: The texts themselves, or references to them.
        room: How many bytes they may have in total.

    Raises:
        SourceError: They have more, or a reference is invalid.
    """
    if kind.padding is not None:
        pieces = (data[at : at + kind.size] for at in range(0, count * kind.size, kind.size))
        return [_unpadded(piece, kind.padding) for piece in pieces]
    texts = []
    for at in range(0, count * _REFERENCE.size, _REFERENCE.size):
        length, heap, number = _REFERENCE.unpack_from(data, at)
        room -= length
        if room < 0:
            raise heaps.blocks.damaged("its texts exceed its size", 0)
        # h5py also ends a variable-length text at its first zero.
        texts.append(heaps.object(heap, number, length).partition(b"\0")[0] if length else b"")
    return texts


def _unpadded(piece: bytes, padding: int) -> bytes:
    if padding == 0:
        return piece.partition(b"\0")[0]
    return piece.rstrip(b" ").rstrip(b"\0") if padding == 2 else piece.rstrip(b"\0")


def _parts(body: bytes, wanted: bytes) -> tuple[Datatype, tuple[int, ...] | None, bytes] | None:
    """Datatype, shape and data of an attribute message, if it has the requested name."""
    version, flags, *sizes = struct.unpack_from("<BBHHH", body)
    if version not in (1, 2, 3):
        raise UnfamiliarError(f"attribute of version {version}")
    at = 9 if version == 3 else 8
    if body[at : at + sizes[0]].partition(b"\0")[0] != wanted:
        return None
    if version > 1 and flags & 3:
        raise UnfamiliarError("attribute of a shared datatype")
    steps = [(size + 7) // 8 * 8 if version == 1 else size for size in sizes]
    kind, space = at + steps[0], at + steps[0] + steps[1]
    data = body[space + steps[2] :]
    return datatype_of(body[kind : kind + sizes[1]]), shape_of(body[space : space + sizes[2]]), data


class Heaps:
    """Reads objects of global heaps: each heap once, and no more bytes in total than the file has."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self._known: dict[int, dict[int, tuple[int, int]]] = {}
        self._left = blocks.size

    def object(self, address: int, number: int, length: int) -> bytes:
        """The first `length` bytes of an object.

        Raises:
            SourceError: There is no such object, or it is shorter.
        """
        if address not in self._known:
            self._known[address] = self._objects(address)
        begin, size = self._known[address].get(number, (0, -1))
        if size < length:
            raise self.blocks.damaged("a text is longer than its heap object", address)
        return self.blocks.take(begin, length, "a text is outside the file")

    def _objects(self, address: int) -> dict[int, tuple[int, int]]:
        """Start and size of each object of a heap."""
        blocks = self.blocks
        head = blocks.take(address, 16, "a heap of texts is outside the file")
        (size,) = struct.unpack_from("<Q", head, 8)
        self._left -= size
        if head[:5] != b"GCOL\1" or size < 16 or self._left < 0:
            raise blocks.damaged("a heap of texts is invalid, or overlaps another", address)
        found: dict[int, tuple[int, int]] = {}
        at, end = address + 16, address + size
        while at + 16 <= end:
            number, _, _, length = _OBJECT.unpack(blocks.take(at, 16, "a heap of texts is cut off"))
            # Object 0 is the free space up to the end; its size includes its header.
            step = length if number == 0 else 16 + (length + 7) // 8 * 8
            if step < 16 or at + step > end:
                raise blocks.damaged("the objects of a heap of texts do not fill it", at)
            if number:
                found[number] = (at + 16, length)
            at += step
        return found
