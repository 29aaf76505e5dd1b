"""Blocks of remote files that are kept in memory, within one limit for all files together."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

# Blocks hold what is read in small slices: indexes, vectors, what lies between large tensors.
KEPT = 32 << 20


class Blocks:
    """Blocks by file and number; those that were not looked at for longest go first.

    A file is known by whatever stands for one version of it, so that who opens it anew finds what is kept.

    Args:
        limit: How many bytes are kept at most; the newest block is kept whatever its size.

    Example:
        >>> blocks = Blocks(limit=5)
        >>> blocks.put("a", 0, b"abc"); blocks.put("a", 7, b"def")
        >>> blocks.get("a", 0), blocks.get("a", 7), blocks.numbers("a")
        (None, b'def', [7])
    """

    def __init__(self, limit: int = KEPT) -> None:
        self.limit = limit
        self._lock = threading.RLock()
        self._kept: OrderedDict[tuple[Hashable, int], bytes] = OrderedDict()
        self._of_file: dict[Hashable, set[int]] = {}
        self._size = 0

    def get(self, file: Hashable, number: int) -> bytes | None:
        """A block, if it is kept."""
        with self._lock:
            block = self._kept.get((file, number))
            if block is not None:
                self._kept.move_to_end((file, number))
            return block

    def put(self, file: Hashable, number: int, block: bytes) -> None:
        """Keep a block."""
        with self._lock:
            self._drop(file, number)
            self._kept[file, number] = block
            self._of_file.setdefault(file, set()).add(number)
            self._size += len(block)
            while self._size > self.limit and len(self._kept) > 1:
                self._drop(*next(iter(self._kept)))

    def age(self, file: Hashable, first: int, last: int) -> None:
        """Let the blocks from `first` to `last` (not included) be the next to go; they are of use until then."""
        with self._lock:
            for number in self.numbers(file):
                if first <= number < last:
                    self._kept.move_to_end((file, number), last=False)

    def numbers(self, file: Hashable) -> list[int]:
        """Which blocks of a file are kept, in order."""
        with self._lock:
            return sorted(self._of_file.get(file, ()))

    def forget(self, file: Hashable) -> None:
        """Drop all blocks of a file."""
        with self._lock:
            for number in self.numbers(file):
                self._drop(file, number)

    def _drop(self, file: Hashable, number: int) -> None:
        block = self._kept.pop((file, number), None)
        if block is None:
            return
        self._size -= len(block)
        self._of_file[file].discard(number)
        if not self._of_file[file]:
            del self._of_file[file]
