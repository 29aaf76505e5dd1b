"""Caches of blocks of files that are read in small pieces.

The caches of fsspec are not used: each belongs to one open file and has no limit across files, knows no versions, and
on the web takes a whole file for a part where the server ignores ranges; `cat_ranges` likewise.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import overload

from tfpt.io.limits import MOST_KEPT_BLOCKS
from tfpt.io.storage import LocalFile, Storage

# Blocks contain what is read in small slices: indexes, vectors, gaps between large tensors.
KEPT = 32 << 20


class Blocks:
    """Blocks of remote files in memory, by file and number, with one limit for all files; least recently used go first.

    The key of a file identifies one version of it, so that a file that is opened again finds its blocks.

    Args:
        limit: The maximum of bytes kept; the newest block is kept whatever its size.

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
        """A block, if it is in the cache."""
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
        """Make the blocks from `first` to `last` (exclusive) the next to be evicted."""
        with self._lock:
            for number in self.numbers(file):
                if first <= number < last:
                    self._kept.move_to_end((file, number), last=False)

    def numbers(self, file: Hashable) -> list[int]:
        """The numbers of a file's blocks in the cache, in order."""
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


def runs(numbers: Sequence[int]) -> Iterator[range]:
    """Ascending numbers of blocks, as ranges of neighbors.

    Example:
        >>> list(runs([3, 4, 9]))
        [range(3, 5), range(9, 10)]
    """
    start = 0
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1:
            yield range(numbers[start], numbers[at - 1] + 1)
            start = at


# A multiple of the block size of `tfpt.io.remote`, aligned with it: no part of a block is fetched twice.
BLOCK = 256 << 10


class KeptBytes:
    """The bytes of a file with the interface of a `memoryview`: single bytes as numbers, slices of step 1 as bytes.

    For files whose structure is interleaved with large values: small slices are cached, those longer than a block
    are not.

    Args:
        storage: The file.
        block: The size of a block in bytes.
        most: The maximum number of cached blocks; the oldest are dropped.

    Example:
        >>> import tempfile
        >>> from tfpt.io.storage import open_storage
        >>> path = f"{tempfile.mkdtemp()}/a.bin"
        >>> with open(path, "wb") as file:
        ...     _ = file.write(b"0123456789")
        >>> kept = KeptBytes(open_storage(path))
        >>> len(kept), kept[3], bytes(kept[2:5])
        (10, 51, b'234')
    """

    def __init__(self, storage: Storage, block: int = BLOCK, most: int = MOST_KEPT_BLOCKS) -> None:
        self._storage = storage
        self._size = len(storage.data)
        self._block, self._most = block, most
        self._blocks: dict[int, memoryview] = {}
        self._latest = (-1, memoryview(b""))

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, key: int) -> int: ...

    @overload
    def __getitem__(self, key: slice) -> memoryview: ...

    def __getitem__(self, key: int | slice) -> int | memoryview:
        if isinstance(key, int):
            if not 0 <= key < self._size:
                raise IndexError("a byte outside the file")
            return self._at(key // self._block)[key % self._block]
        start, stop, _ = key.indices(self._size)
        if stop <= start:
            return memoryview(b"")
        size = self._block
        first, last = start // size, (stop - 1) // size
        if first == last:
            return self._at(first)[start - first * size : stop - first * size]
        if stop - start > size:
            return memoryview(self._storage.data[start:stop].data)
        both = bytes(self._at(first)[start - first * size :]) + bytes(self._at(last)[: stop - last * size])
        return memoryview(both)

    def _at(self, number: int) -> memoryview:
        # One pair, taken at once: several threads may read.
        latest, block = self._latest
        if number == latest:
            return block
        found = self._blocks.get(number)
        if found is None:
            found = memoryview(self._storage.data[number * self._block : (number + 1) * self._block].data)
            while len(self._blocks) >= self._most:
                self._blocks.pop(next(iter(self._blocks), -1), None)
            self._blocks[number] = found
        self._latest = (number, found)
        return found


View = memoryview | KeptBytes


# Local files of up to this size are read as a whole: parsing bytes in memory is several times faster.
_SMALL = 16 << 20


def view_of(storage: Storage) -> View:
    """The bytes of a file, to parse: a small local one as a whole, any other block by block."""
    if isinstance(storage, LocalFile) and storage.size <= _SMALL:
        return memoryview(storage.data[:].data)
    return KeptBytes(storage)
