"""Where the values of an HDF5 dataset lie, and how they were packed.

The layout: HDF5 file format specification, IV.A.2.e and f "Fill Value", i "Data Layout", l "Filter Pipeline".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tfpt.formats.hdf5.blocks import NOWHERE, UnfamiliarError
from tfpt.formats.hdf5.headers import FILL, FILTERS, LAYOUT, OLD_FILL, Header

_COMPACT, _CONTIGUOUS, _CHUNKED, _VIRTUAL = 0, 1, 2, 3


@dataclass(frozen=True)
class Layout:
    """Where values lie.

    Attributes:
        compact: The values themselves, where the header holds them.
        address: Where they begin, or where the tree of chunks does; `None` where nothing was written.
        size: How many bytes the file says to hold of them; 0 where it does not say.
        chunk: The shape of a chunk, where there are chunks.
        filters: What packed them, in the order of packing: the number of each filter, and its first parameter.
        fill: The element that stands for what was not written; empty for zeros.
        virtual: Whether the values lie in other datasets.
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
            raise ValueError("values that are cut off")
        return Layout(body[4 : 4 + size], size=size, filters=filters, fill=fill)
    if kind == _CONTIGUOUS:
        address, size = struct.unpack_from("<QQ", body, 2)
        return Layout(None, None if address == NOWHERE else address, size, None, filters, fill)
    if kind == _CHUNKED:
        dimensions, address = struct.unpack_from("<BQ", body, 2)
        if dimensions != rank + 1:
            raise ValueError("chunks of another number of dimensions than the dataset")
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
    """The fill value; the newer message counts where there are both."""
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
        raise ValueError("a fill value that is cut off")
    return body[at + 4 : at + 4 + size]
