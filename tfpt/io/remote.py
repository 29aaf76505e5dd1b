"""A file on a remote store, read by ranges, so that only the bytes that are used are fetched."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.io import limits, stores
from tfpt.io import remote_errors as failures
from tfpt.io.cached_blocks import Blocks, runs
from tfpt.io.http import NoRangesError, WebFile
from tfpt.io.storage import FileBytes, file_over

# Small slices are served from blocks: one request (some 50 ms) instead of one for each of the adjacent vectors of a
# checkpoint. Sequential reads fetch two blocks, then four, up to 4 MB per request.
BLOCK = 64 << 10
AHEAD = 64

# A larger slice is fetched exactly, in requests small enough to repeat.
LARGE = 256 << 10
PIECE = 16 << 20

# Samples of many tensors: small gaps between two of them are fetched too, which is cheaper than a request.
APART = 32 << 10
REQUESTS = 8

# Of all remote files together.
BLOCKS = Blocks()


class RemoteFile:
    """A `tfpt.io.storage.Storage` over a URL that fsspec knows.

    A slice of up to 256 KB comes from cached blocks of 64 KB; a larger one is fetched exactly, except for its cached
    blocks, and not cached. Thread-safe. Temporary failures are retried. A file of up to 64 MB on a server without
    ranges is fetched once, into an unnamed temporary file.

    Raises:
        SourceError: There is no such file, it may not be read, the store cannot be reached, or its server does not
            support ranges and the file is large; while reading, also if the file was replaced.

    Example:
        >>> import fsspec
        >>> fsspec.filesystem("memory").pipe_file("/doc/a.bin", b"0123456789")
        >>> file = RemoteFile("memory://doc/a.bin")
        >>> len(file.data), file.data[2:5].tobytes()
        (10, b'234')
    """

    def __init__(self, location: str) -> None:
        self.location = location
        known = stores.info(location)
        if known is None:
            raise stores.absent(location)
        if known.get("type") == "directory":
            raise SourceError("this is a folder, not a file", where=failures.shown(location))
        self._store, self._path = stores.store_of(location)
        self._web = WebFile(self._store, self._path, known) if failures.is_http(location) else None
        self._version = stores.version(known)
        self._lock = threading.Lock()
        self._key: Hashable = (location, self._version)
        self._is_certain = stores.is_certain(location, known)
        if not self._is_certain:
            self._key = object()
            weakref.finalize(self, BLOCKS.forget, self._key)
        self._coming: dict[int, Future[bytes]] = {}
        self._ahead: dict[int, int] = {}
        self._whole: npt.NDArray[np.uint8] | None = None
        # Without a size, only the whole file shows where it ends.
        self._size = len(self._fetch_whole()) if known.get("size") is None else int(known["size"])
        if not 0 <= self._size <= limits.REMOTE_SIZE:
            raise SourceError(
                "the store reports an impossible file size",
                where=failures.shown(location),
                expected=f"at most {limits.REMOTE_SIZE:,} bytes",
                got=f"{self._size:,} bytes",
            )

    @property
    def data(self) -> FileBytes:
        """The file's bytes, fetched when sliced."""
        return FileBytes(self)

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self._size

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """The bytes from `start` to `stop`, which are in the file; not writable."""
        if stop <= start:
            return np.frombuffer(b"", np.uint8)
        if self._whole is not None:
            return self._whole[start:stop]
        try:
            if stop - start <= LARGE:
                return np.frombuffer(self._from_blocks(start, stop), np.uint8)
            return self._exactly(start, stop)
        except NoRangesError:
            return self._fetch_whole()[start:stop]

    def samples(self, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of many small spans, in order; adjacent ones are fetched in one request."""
        if self._whole is not None:
            return [self._whole[start:stop].tobytes() for start, stop in spans]
        groups = _groups(spans, self._size)
        found: list[bytes] = [b""] * len(spans)

        def fetch(group: tuple[int, int, list[int]]) -> None:
            start, stop, members = group
            content = self._kept(start, stop) or self._request(start, stop)
            self._keep(start, content)
            for member in members:
                first, last = spans[member]
                found[member] = content[first - start : last - start]

        try:
            with ThreadPoolExecutor(min(REQUESTS, len(groups) or 1)) as pool:
                for done in [pool.submit(fetch, group) for group in groups]:
                    done.result()
        except NoRangesError:
            whole = self._fetch_whole()
            return [whole[start:stop].tobytes() for start, stop in spans]
        return found

    def release(self, offset: int, size: int) -> None:
        """Make the blocks within these bytes the next to be evicted."""
        BLOCKS.age(self._key, -(-offset // BLOCK), (offset + size) // BLOCK)

    def open(self) -> BinaryIO:
        """The file as a file object with a position of its own."""
        return file_over(self.data, BLOCK)

    def close(self) -> None:
        """Drop the copy of the whole file if there is one, and the blocks if its version is uncertain."""
        if not self._is_certain:
            BLOCKS.forget(self._key)
        with self._lock:
            self._whole = None

    def _from_blocks(self, start: int, stop: int) -> bytes:
        first, last = start // BLOCK, (stop - 1) // BLOCK
        joined = b"".join(self._take(first, last + 1))
        return joined[start - first * BLOCK : stop - first * BLOCK]

    def _take(self, first: int, last: int) -> list[bytes]:
        """The blocks from `first` to `last` (exclusive); threads wait for blocks that another thread is fetching."""
        found: dict[int, bytes | Future[bytes]] = {}
        mine: list[int] = []
        with self._lock:
            for number in range(first, last):
                block = BLOCKS.get(self._key, number) or self._coming.get(number)
                if block is None:
                    mine.append(number)
                else:
                    found[number] = block
            if mine:
                mine = self._with_ahead(mine)
            for number in mine:
                found[number] = self._coming[number] = Future()
        for run in runs(mine):
            self._fetch_run(run, mine)
        taken = (found[number] for number in range(first, last))
        return [block.result() if isinstance(block, Future) else block for block in taken]

    def _with_ahead(self, wanted: list[int]) -> list[int]:
        """`wanted`, and the following blocks if the last requests were sequential."""
        run = list(runs(wanted))[-1]
        window = self._ahead.pop(run.start, 0)
        stop = run.stop
        while (
            stop < run.start + window
            and stop * BLOCK < self._size
            and stop not in self._coming
            and BLOCKS.get(self._key, stop) is None
        ):
            stop += 1
        self._ahead[stop] = min(2 * (stop - run.start), AHEAD)
        while len(self._ahead) > REQUESTS:
            del self._ahead[next(iter(self._ahead))]
        return [*wanted, *range(run.stop, stop)]

    def _fetch_run(self, run: range, mine: list[int]) -> None:
        try:
            content = self._request(run.start * BLOCK, min(run.stop * BLOCK, self._size))
        except BaseException as error:
            with self._lock:
                left = [self._coming.pop(number) for number in mine if number in self._coming]
            for future in left:
                if not future.done():
                    future.set_exception(error)
            raise
        for at, number in enumerate(run):
            block = content[at * BLOCK : (at + 1) * BLOCK]
            BLOCKS.put(self._key, number, block)
            with self._lock:
                future = self._coming.pop(number)
            future.set_result(block)

    def _keep(self, start: int, content: bytes) -> None:
        """Cache the complete blocks in `content`, the bytes from `start`."""
        for number in range(-(-start // BLOCK), -(-(start + len(content)) // BLOCK)):
            block = content[number * BLOCK - start : (number + 1) * BLOCK - start]
            if len(block) == min(BLOCK, self._size - number * BLOCK):
                BLOCKS.put(self._key, number, block)

    def _kept(self, start: int, stop: int) -> bytes | None:
        """The bytes from `start` to `stop`, if all are in cached blocks."""
        first = start // BLOCK
        blocks = [BLOCKS.get(self._key, number) for number in range(first, (stop - 1) // BLOCK + 1)]
        if None in blocks:
            return None
        return b"".join(cast("list[bytes]", blocks))[start - first * BLOCK : stop - first * BLOCK]

    def _exactly(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        values: npt.NDArray[np.uint8] | None = None
        for begin, end, kept in self._pieces(start, stop):
            content = kept if kept is not None else self._request(begin, end)
            if (begin, end) == (start, stop):
                return np.frombuffer(content, np.uint8)
            if values is None:
                # Only after the first response: a claimed size takes no memory.
                values = self._room(stop - start)
            values[begin - start : end - start] = np.frombuffer(content, np.uint8)
        assert values is not None
        values.flags.writeable = False
        return values

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, bytes | None]]:
        """Split the bytes from `start` to `stop` into cached blocks and requests for the rest."""
        at = start
        for number in BLOCKS.numbers(self._key):
            begin, end = max(start, number * BLOCK), min(stop, (number + 1) * BLOCK)
            block = BLOCKS.get(self._key, number) if begin < end else None
            if block is None:
                continue
            yield from _cut(at, begin)
            yield begin, end, block[begin - number * BLOCK : end - number * BLOCK]
            at = end
        yield from _cut(at, stop)

    def _room(self, size: int) -> npt.NDArray[np.uint8]:
        try:
            return np.empty(size, np.uint8)
        except (MemoryError, ValueError):
            raise SourceError(
                "not enough memory for this part of the file",
                where=failures.shown(self.location),
                got=f"{size:,} bytes at once",
                hint="the size may be a false claim of the file or of its server",
            ) from None

    def _request(self, start: int, stop: int) -> bytes:
        def once() -> bytes:
            if self._web is not None:
                content = self._web.part(start, stop)
            else:
                content = self._store.cat_file(self._path, start=start, end=stop)
                self._check_version()
            if len(content) != stop - start:
                raise failures.CutOffError(f"{len(content)} bytes of {stop - start}")
            return content

        try:
            return stores.attempted(once)
        except NoRangesError:
            raise
        except SourceError:
            # A retry must not use cached information about a file that was replaced.
            stores.forget()
            raise
        except failures.CutOffError as error:
            raise SourceError(
                "the store sends less than the file's size promises",
                where=f"{failures.shown(self.location)}, byte {start}",
                expected=f"{stop - start} bytes",
                got=str(error),
                hint="the file may be being replaced: run the same command again",
            ) from None
        except Exception as error:
            raise failures.explained(error, self.location) from error

    def _check_version(self) -> None:
        """Refuse another version than the one that was opened; the store is asked every few seconds, not each time."""
        known = stores.info(self.location)
        if known is None or stores.version(known) != self._version:
            raise failures.replaced(self.location)

    def _fetch_whole(self) -> npt.NDArray[np.uint8]:
        with self._lock:
            if self._whole is None:
                self._whole = self._copied()
            return self._whole

    def _copied(self) -> npt.NDArray[np.uint8]:
        if self._web is None:
            raise SourceError(
                "the store does not report the size of this file",
                where=failures.shown(self.location),
                hint="download the file and name the local copy",
            )
        try:
            return stores.attempted(self._web.whole)
        except NoRangesError:
            raise SourceError(
                "the server does not support ranges, and the file is too large to fetch whole",
                where=failures.shown(self.location),
                expected=f"status 206 for a range request, or {limits.WEB_WHOLE >> 20} MB at most",
                hint="download the file, with those beside it, and name the local copy",
            ) from None
        except Exception as error:
            raise failures.explained(error, self.location) from error


def _cut(start: int, stop: int) -> Iterator[tuple[int, int, None]]:
    for begin in range(start, stop, PIECE):
        yield begin, min(begin + PIECE, stop), None


def _groups(spans: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int, list[int]]]:
    """Adjacent spans in groups: first byte, last byte and the indices of the members in `spans`.

    A group larger than a block is extended to whole blocks, so that they can be cached.
    """
    groups: list[tuple[int, int, list[int]]] = []
    for place in sorted(
        (place for place, span in enumerate(spans) if span[0] < span[1]), key=lambda p: spans[p]
    ):
        start, stop = spans[place]
        if groups:
            first, last, members = groups[-1]
            if start - last <= APART and max(stop, last) - first <= PIECE:
                members.append(place)
                groups[-1] = (first, max(stop, last), members)
                continue
        groups.append((start, stop, [place]))
    return [
        (first // BLOCK * BLOCK, min(-(-last // BLOCK) * BLOCK, size), members)
        if last - first > BLOCK
        else (first, last, members)
        for first, last, members in groups
    ]
