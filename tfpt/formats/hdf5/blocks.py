"""Reads small pieces of an HDF5 file, in cached blocks."""

from __future__ import annotations

from tfpt.errors import SourceError
from tfpt.io.cached_blocks import KeptBytes
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.locations import is_remote
from tfpt.io.storage import Storage

# Local blocks are four pages: reading them again costs next to nothing.
_LOCAL_BLOCK, _LOCAL_KEPT = 16 << 10, 8 << 20

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
        self._bytes = (
            KeptBytes(storage)
            if is_remote(storage.location)
            else KeptBytes(storage, _LOCAL_BLOCK, _LOCAL_KEPT // _LOCAL_BLOCK)
        )

    def take(self, address: int, size: int, what: str) -> bytes:
        """`size` bytes from an address.

        Raises:
            SourceError: They are not in the file.
        """
        start = self.base + address
        stop = start + size
        if stop > self.size:
            raise self.damaged(what, address, f"{size:,} bytes in a file of {self.size:,}")
        return bytes(self._bytes[start:stop])

    def damaged(self, what: str, address: int, expected: str | None = None) -> SourceError:
        """The error for something invalid at an address."""
        return SourceError(
            f"the file is damaged: {what}",
            where=f"{self.location}, byte {self.base + address:,}",
            expected=expected,
            hint=DOWNLOAD_AGAIN,
        )
