"""HDF5's superblock and object headers: where a file begins, and the messages that describe each object.

The layout: HDF5 file format specification (https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html),
II.A "Disk Format: Level 0A - Format Signature and Superblock" and IV.A "Disk Format: Level 2A - Data Object Headers".
What h5py writes unless it is asked for something newer is read here: superblocks and headers of versions 0 and 1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tfpt.errors import SourceError
from tfpt.formats.hdf5.blocks import Blocks, UnfamiliarError
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.limits import HDF5_HEADER_BLOCKS
from tfpt.io.storage import Storage

SIGNATURE = b"\x89HDF\r\n\x1a\n"

# Types of messages (IV.A.2).
DATASPACE, DATATYPE, OLD_FILL, FILL, EXTERNAL, LAYOUT = 0x1, 0x3, 0x4, 0x5, 0x7, 0x8
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0xB, 0xC, 0x10, 0x11
# Of newer ways to keep links and attributes.
_NEWER = (0x2, 0x6, 0xF, 0x15)
_SHARED = 2


@dataclass
class Header:
    """The messages of one object.

    Attributes:
        address: Where the header is.
        messages: Bodies by type; only of an attribute may there be several.
        attributes: The bodies of the attributes.
    """

    address: int
    messages: dict[int, bytes] = field(default_factory=dict)
    attributes: list[bytes] = field(default_factory=list)


def superblock_of(storage: Storage) -> tuple[Blocks, int]:
    """The file's pieces, and the address of the root group's header.

    Raises:
        SourceError: It is no HDF5 file, or it is cut off.
        UnfamiliarError: It is of a newer version.
    """
    place, size = 0, len(storage.data)
    while storage.data[place : place + len(SIGNATURE)].tobytes() != SIGNATURE:
        # Behind a user block, whose size is a power of two.
        place = place * 2 or 512
        if place >= size:
            raise SourceError(
                "the file cannot be opened as HDF5: it has no signature", where=storage.location
            )
    head = storage.data[place : place + 100].tobytes()
    if len(head) < 100:
        raise SourceError("the file is cut off", where=storage.location, hint=DOWNLOAD_AGAIN)
    if head[8] > 1 or head[13:15] != b"\x08\x08":
        raise UnfamiliarError(f"superblock of version {head[8]}")
    # Version 1 has four bytes more in front of the addresses.
    at = 24 if head[8] == 0 else 28
    base, _, end, _, _, root = struct.unpack_from("<6Q", head, at)
    if base != place:
        raise UnfamiliarError("addresses that do not count from the superblock")
    if end > size:
        raise SourceError(
            "the file is cut off",
            where=storage.location,
            expected=f"{end:,} bytes, as its beginning says",
            got=f"{size:,} bytes",
            hint=DOWNLOAD_AGAIN,
        )
    return Blocks(storage, base), root


class Headers:
    """Reads object headers; each once, and no more bytes in all than the file has."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._known: dict[int, Header] = {}
        self._left = blocks.size

    def at(self, address: int) -> Header:
        """The header at an address.

        Raises:
            SourceError: It is damaged.
            UnfamiliarError: It is of a newer version.
        """
        if address not in self._known:
            self._known[address] = self._read(address)
        return self._known[address]

    def _read(self, address: int) -> Header:
        head = self._blocks.take(address, 16, "an object's header lies outside of it")
        version, _, count, _, size = struct.unpack_from("<BBHII", head)
        if head[:4] == b"OHDR":
            raise UnfamiliarError("object header of version 2")
        if version != 1:
            raise self._blocks.damaged("an object has no header", address, "a header of version 1 or 2")
        header = Header(address)
        pending, seen = [(address + 16, size)], 0
        read = 0
        while pending:
            begin, size = pending.pop(0)
            seen += 1
            self._left -= size
            if seen > HDF5_HEADER_BLOCKS or self._left < 0:
                raise self._blocks.damaged("an object's header leads to itself, or to another's", begin)
            block = self._blocks.take(begin, size, "an object's header lies outside of it")
            at = 0
            while at + 8 <= size and read < count:
                kind, length, flags = struct.unpack_from("<HHB", block, at)
                body = block[at + 8 : at + 8 + length]
                if len(body) < length:
                    raise self._blocks.damaged("a message of an object's header is cut off", begin + at)
                at += 8 + length
                read += 1
                if kind == CONTINUATION:
                    pending.append(struct.unpack("<QQ", self._exact(body, 16, begin)))
                else:
                    self._add(header, kind, flags, body)
        return header

    def _exact(self, body: bytes, size: int, at: int) -> bytes:
        if len(body) < size:
            raise self._blocks.damaged("a message of an object's header is cut off", at)
        return body[:size]

    def _add(self, header: Header, kind: int, flags: int, body: bytes) -> None:
        if kind in _NEWER or (flags & _SHARED and kind in (DATASPACE, DATATYPE, FILL, FILTERS, ATTRIBUTE)):
            raise UnfamiliarError(f"message of type {kind}")
        if kind == ATTRIBUTE:
            header.attributes.append(body)
        elif header.messages.setdefault(kind, body) is not body and kind != 0:
            raise self._blocks.damaged("an object is described twice", header.address)
