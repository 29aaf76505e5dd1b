"""Reads small pieces of an HDF5 file, in cached blocks."""

from __future__ import annotations

from collections import OrderedDict

from tfpt.errors import SourceError
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.locations import is_remote
from tfpt.io.storage import Storage

# Remote blocks are as large as those of tfpt.io.remote, and enough are cached for each to be fetched once. Local
# blocks are four pages: reading them again costs next to nothing.
_REMOTE_BLOCK, _LOCAL_BLOCK = 256 << 10, 16 << 10
_REMOTE_KEPT, _LOCAL_KEPT = 64 << 20, 8 << 20

# The undefined address.
NOWHERE = 0xFFFF_FFFF_FFFF_FFFF


class UnfamiliarError(Exception):
    """A feature that tfpt does not parse itself; the HDF5 library may support it."""


class Blocks:
    """Small pieces of a file.

    Args:
        storage: The file.
        base: The offset of address 0: the end of the user block.
    """

    def __init__(self, storage: Storage, base: int = 0) -> None:
        self.storage = storage
        self.location = storage.location
        self.size = len(storage.data)
        self.base = base
        remote = is_remote(storage.location)
        self._block = _REMOTE_BLOCK if remote else _LOCAL_BLOCK
        self._kept = _REMOTE_KEPT if remote else _LOCAL_KEPT
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def take(self, address: int, size: int, what: str) -> bytes:
        """`size` bytes from an address.

        Raises:
            SourceError: They are not in the file.
        """
        start = self.base + address
        stop = start + size
        if stop > self.size:
            raise self.damaged(what, address, f"{size:,} bytes in a file of {self.size:,}")
        number, last = start // self._block, max(start, stop - 1) // self._block
        if number == last:
            at = start - number * self._block
            return self._load(number)[at : at + size]
        if size > self._kept:
            return self.storage.data[start:stop].tobytes()
        joined = b"".join(self._load(each) for each in range(number, last + 1))
        return joined[start - number * self._block : stop - number * self._block]

    def damaged(self, what: str, address: int, expected: str | None = None) -> SourceError:
        """The error for something invalid at an address."""
        return SourceError(
            f"the file is damaged: {what}",
            where=f"{self.location}, byte {self.base + address:,}",
            expected=expected,
            hint=DOWNLOAD_AGAIN,
        )

    def _load(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            start = number * self._block
            block = self.storage.data[start : start + self._block].tobytes()
            self._blocks[number] = block
            while len(self._blocks) * self._block > self._kept:
                self._blocks.popitem(last=False)
        return block
