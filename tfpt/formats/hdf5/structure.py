"""The structure of an HDF5 file: its superblock, the header of each object, and the links of each group.

The layout: HDF5 file format specification (https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html),
II.A "Disk Format: Level 0A - Format Signature and Superblock", III.A.1 "Version 1 B-trees", III.B "Group Symbol Table
Nodes", III.D "Local Heaps" and IV.A "Disk Format: Level 2A - Data Object Headers". This reads what h5py writes by
default: superblocks and headers of versions 0 and 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from tfpt.errors import SourceError
from tfpt.formats.hdf5.blocks import Blocks, UnfamiliarError
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.limits import HDF5_HEADER_BLOCKS, HDF5_NAMES_PER_BYTE, HDF5_TREE_LEVELS
from tfpt.io.storage import Storage

SIGNATURE = b"\x89HDF\r\n\x1a\n"

# Types of messages (IV.A.2).
DATASPACE, DATATYPE, OLD_FILL, FILL, EXTERNAL, LAYOUT = 0x1, 0x3, 0x4, 0x5, 0x7, 0x8
FILTERS, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0xB, 0xC, 0x10, 0x11
# Of newer ways to store links and attributes.
_NEWER = (0x2, 0x6, 0xF, 0x15)
_SHARED = 2


@dataclass
class Header:
    """The messages of one object.

    Attributes:
        address: The header's address.
        messages: Bodies by type; only attributes may occur more than once.
        attributes: The bodies of the attributes.
    """

    address: int
    messages: dict[int, bytes] = field(default_factory=dict)
    attributes: list[bytes] = field(default_factory=list)


def superblock_of(storage: Storage) -> tuple[Blocks, int]:
    """The file's blocks, and the address of the root group's header.

    Raises:
        SourceError: It is not an HDF5 file, or it is truncated.
        UnfamiliarError: It is of a newer version.
    """
    place, size = 0, len(storage.data)
    while storage.data[place : place + len(SIGNATURE)].tobytes() != SIGNATURE:
        # After a user block, whose size is a power of two.
        place = place * 2 or 512
        if place >= size:
            raise SourceError(
                "the file cannot be opened as HDF5: it has no signature", where=storage.location
            )
    head = storage.data[place : place + 100].tobytes()
    if len(head) < 100:
        raise SourceError("the file is truncated", where=storage.location, hint=DOWNLOAD_AGAIN)
    if head[8] > 1 or head[13:15] != b"\x08\x08":
        raise UnfamiliarError(f"superblock of version {head[8]}")
    # Version 1 has four more bytes before the addresses.
    at = 24 if head[8] == 0 else 28
    base, _, end, _, _, root = struct.unpack_from("<6Q", head, at)
    if base != place:
        raise UnfamiliarError("addresses not relative to the superblock")
    if end > size:
        raise SourceError(
            "the file is truncated",
            where=storage.location,
            expected=f"{end:,} bytes, according to its superblock",
            got=f"{size:,} bytes",
            hint=DOWNLOAD_AGAIN,
        )
    return Blocks(storage, base), root


class Headers:
    """Reads object headers: each once, and no more bytes in total than the file has."""

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
        head = self._blocks.take(address, 16, "an object's header is outside the file")
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
                raise self._blocks.damaged("an object's header refers to itself, or to another's", begin)
            block = self._blocks.take(begin, size, "an object's header is outside the file")
            at = 0
            while at + 8 <= size and read < count:
                kind, length, flags = struct.unpack_from("<HHB", block, at)
                body = block[at + 8 : at + 8 + length]
                if len(body) < length:
                    raise self._blocks.damaged("a message of an object's header is truncated", begin + at)
                at += 8 + length
                read += 1
                if kind == CONTINUATION:
                    pending.append(struct.unpack("<QQ", self._exact(body, 16, begin)))
                else:
                    self._add(header, kind, flags, body)
        return header

    def _exact(self, body: bytes, size: int, at: int) -> bytes:
        if len(body) < size:
            raise self._blocks.damaged("a message of an object's header is truncated", at)
        return body[:size]

    def _add(self, header: Header, kind: int, flags: int, body: bytes) -> None:
        if kind in _NEWER or (flags & _SHARED and kind in (DATASPACE, DATATYPE, FILL, FILTERS, ATTRIBUTE)):
            raise UnfamiliarError(f"message of type {kind}")
        if kind == ATTRIBUTE:
            header.attributes.append(body)
        elif header.messages.setdefault(kind, body) is not body and kind != 0:
            raise self._blocks.damaged("an object is described twice", header.address)


_LONGEST_NAME = 1 << 16
_PIECE = 256
_SOFT = 2


@dataclass(frozen=True)
class Link:
    """One entry of a group.

    Attributes:
        name: Its name.
        address: The header of its target.
        target: The path of its target, if it is a soft link.
    """

    name: str
    address: int
    target: str | None = None


class Groups:
    """Reads the links of groups: each node of a tree once, and no more names in total than the file can contain."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._seen: set[int] = set()
        self._left = HDF5_NAMES_PER_BYTE * blocks.size

    def links(self, symbol_table: bytes) -> list[Link]:
        """The links of a group, from the symbol table message in its header.

        Raises:
            SourceError: They are damaged, or form a cycle.
        """
        if len(symbol_table) < 16:
            raise self._blocks.damaged("a group's message is truncated", 0)
        tree, heap = struct.unpack_from("<QQ", symbol_table)
        head = self._blocks.take(heap, 32, "the names of a group are outside the file")
        if head[:4] != b"HEAP":
            raise self._blocks.damaged("a group has no names", heap)
        # A reader does not need the list of free pieces.
        size, _, names = struct.unpack_from("<QQQ", head, 8)
        return [
            self._link(entry, names, size)
            for node in self._nodes(tree, None)
            for entry in self._entries(node)
        ]

    def _nodes(self, address: int, level: int | None) -> Iterator[int]:
        """The addresses of the nodes that contain entries."""
        blocks = self._blocks
        head = blocks.take(address, 24, "a group's tree is outside the file")
        own, count = head[5], struct.unpack_from("<H", head, 6)[0]
        if head[:5] != b"TREE\0" or address in self._seen or own > HDF5_TREE_LEVELS:
            raise blocks.damaged("a group's tree is invalid, or refers to itself", address)
        if level is not None and own != level:
            raise blocks.damaged("a group's tree is not equally deep everywhere", address)
        self._seen.add(address)
        body = blocks.take(address + 24, 16 * count + 8, "a group's tree is outside the file")
        for (child,) in struct.iter_unpack("<8xQ", body[: 16 * count]):
            if own:
                yield from self._nodes(child, own - 1)
            else:
                yield child

    def _entries(self, address: int) -> Iterator[tuple[int, int, int, int]]:
        """Offset of the name, header, kind of link and offset of the target's name, for each entry of a node."""
        blocks = self._blocks
        head = blocks.take(address, 8, "the entries of a group are outside the file")
        if head[:5] != b"SNOD\1" or address in self._seen:
            raise blocks.damaged("the entries of a group are invalid, or belong to another", address)
        self._seen.add(address)
        size = 40 * struct.unpack_from("<H", head, 6)[0]
        body = blocks.take(address + 8, size, "the entries of a group are outside the file")
        yield from struct.iter_unpack("<QQI4xI12x", body)

    def _link(self, entry: tuple[int, int, int, int], names: int, size: int) -> Link:
        name, address, kind, target = entry
        return Link(
            self._text(names, name, size),
            address,
            self._text(names, target, size) if kind == _SOFT else None,
        )

    def _text(self, names: int, offset: int, size: int) -> str:
        """A name, up to its terminating zero."""
        found = b""
        while b"\0" not in found:
            room = min(_PIECE, size - offset - len(found))
            if room <= 0 or len(found) > _LONGEST_NAME:
                raise self._blocks.damaged("a name is not terminated", names)
            found += self._blocks.take(names + offset + len(found), room, "a name is outside the file")
        found = found.partition(b"\0")[0]
        self._left -= len(found) + 40
        if self._left < 0:
            raise self._blocks.damaged("its names exceed its size", names)
        # Names that are not UTF-8 remain distinct, as in h5py.
        return found.decode("utf-8", "surrogateescape")
