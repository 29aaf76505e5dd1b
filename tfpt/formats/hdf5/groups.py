"""HDF5's groups as trees of names: the links of a group, in files of the usual kind.

The layout: HDF5 file format specification, III.A.1 "Version 1 B-trees", III.B "Group Symbol Table Nodes" and
III.D "Local Heaps".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tfpt.formats.hdf5.blocks import Blocks
from tfpt.io.limits import HDF5_NAMES_PER_BYTE, HDF5_TREE_LEVELS

_LONGEST_NAME = 1 << 16
_PIECE = 256
_SOFT = 2


@dataclass(frozen=True)
class Link:
    """One entry of a group.

    Attributes:
        name: Its name.
        address: The header of the object that it leads to.
        target: The path that it leads to, where it is a soft link.
    """

    name: str
    address: int
    target: str | None = None


class Groups:
    """Reads the links of groups: each node of a tree once, and no more names in all than the file could hold."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._seen: set[int] = set()
        self._left = HDF5_NAMES_PER_BYTE * blocks.size

    def links(self, symbol_table: bytes) -> list[Link]:
        """The links of a group, from the message that its header has.

        Raises:
            SourceError: They are damaged, or lead back to where they came from.
        """
        if len(symbol_table) < 16:
            raise self._blocks.damaged("a group's message is cut off", 0)
        tree, heap = struct.unpack_from("<QQ", symbol_table)
        head = self._blocks.take(heap, 32, "the names of a group lie outside of it")
        if head[:4] != b"HEAP":
            raise self._blocks.damaged("a group has no names", heap)
        # The list of free pieces is nobody's business who does not write.
        size, _, names = struct.unpack_from("<QQQ", head, 8)
        return [
            self._link(entry, names, size)
            for node in self._nodes(tree, None)
            for entry in self._entries(node)
        ]

    def _nodes(self, address: int, level: int | None) -> Iterator[int]:
        """The addresses of the nodes that hold entries."""
        blocks = self._blocks
        head = blocks.take(address, 24, "a group's tree lies outside of it")
        own, count = head[5], struct.unpack_from("<H", head, 6)[0]
        if head[:5] != b"TREE\0" or address in self._seen or own > HDF5_TREE_LEVELS:
            raise blocks.damaged("a group's tree is none, or leads to itself", address)
        if level is not None and own != level:
            raise blocks.damaged("a group's tree is not as deep everywhere", address)
        self._seen.add(address)
        body = blocks.take(address + 24, 16 * count + 8, "a group's tree lies outside of it")
        for (child,) in struct.iter_unpack("<8xQ", body[: 16 * count]):
            if own:
                yield from self._nodes(child, own - 1)
            else:
                yield child

    def _entries(self, address: int) -> Iterator[tuple[int, int, int, int]]:
        """Name's offset, header, kind of link and where its target's name is, of each entry of a node."""
        blocks = self._blocks
        head = blocks.take(address, 8, "the entries of a group lie outside of it")
        if head[:5] != b"SNOD\1" or address in self._seen:
            raise blocks.damaged("the entries of a group are none, or are another's", address)
        self._seen.add(address)
        size = 40 * struct.unpack_from("<H", head, 6)[0]
        body = blocks.take(address + 8, size, "the entries of a group lie outside of it")
        yield from struct.iter_unpack("<QQI4xI12x", body)

    def _link(self, entry: tuple[int, int, int, int], names: int, size: int) -> Link:
        name, address, kind, target = entry
        return Link(
            self._text(names, name, size),
            address,
            self._text(names, target, size) if kind == _SOFT else None,
        )

    def _text(self, names: int, offset: int, size: int) -> str:
        """A name, up to the zero that ends it."""
        found = b""
        while b"\0" not in found:
            room = min(_PIECE, size - offset - len(found))
            if room <= 0 or len(found) > _LONGEST_NAME:
                raise self._blocks.damaged("a name has no end", names)
            found += self._blocks.take(names + offset + len(found), room, "a name lies outside of it")
        found = found.partition(b"\0")[0]
        self._left -= len(found) + 40
        if self._left < 0:
            raise self._blocks.damaged("its names are more than it can hold", names)
        # Names that are not UTF-8 stay tellable apart, as h5py keeps them.
        return found.decode("utf-8", "surrogateescape")
