"""One file on a remote store, read by ranges: what is looked at is fetched, and no more."""

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
from tfpt.io.cached_blocks import Blocks
from tfpt.io.http import NoRangesError, WebFile
from tfpt.io.storage import FileBytes, file_over

# Small slices are served from blocks: one request (some 50 ms at a store) instead of one for each of the vectors
# that stand side by side in a checkpoint. Who reads on behind a block gets two, then four, up to 4 MB a request.
BLOCK = 64 << 10
AHEAD = 64

# A larger slice is fetched exactly, in requests of a size that one that is cut off costs no more than again.
LARGE = 256 << 10
PIECE = 16 << 20

# Samples of many tensors: what lies between two of them is fetched too where that is less than a request costs.
APART = 32 << 10
REQUESTS = 8

# Of all remote files together.
BLOCKS = Blocks()


class RemoteFile:
    """A `tfpt.io.storage.Storage` over a URL that fsspec knows.

    A slice of up to 256 KB comes from blocks of 64 KB, which are kept; a larger one is fetched exactly, but for the
    blocks of it that are there, and not kept. Slices may be taken from several threads at once. An answer that fails
    in passing is asked for again. A file of up to 64 MB on a server that knows no ranges is fetched once, into a
    temporary file without a name.

    Raises:
        SourceError: There is no such file, it may not be read, the store cannot be reached, or its server knows no
            ranges and the file is large. Also while slices are taken: then the file may have been replaced, too.

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
        # Without a size there is no end to count from: only the whole file tells.
        self._size = len(self._fetch_whole()) if known.get("size") is None else int(known["size"])
        if not 0 <= self._size <= limits.REMOTE_SIZE:
            raise SourceError(
                "the store claims a size that no file has",
                where=failures.shown(location),
                expected=f"at most {limits.REMOTE_SIZE:,} bytes",
                got=f"{self._size:,} bytes",
            )

    @property
    def data(self) -> FileBytes:
        """The file's bytes, fetched when a slice of them is taken."""
        return FileBytes(self)

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self._size

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """The bytes from `start` to `stop`, which lie in the file; not writable."""
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
        """The bytes of many small spans, in their order; those that lie close together come in one request."""
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
        """Let the blocks that lie within these bytes be the next to go; until room is needed they are kept."""
        BLOCKS.age(self._key, -(-offset // BLOCK), (offset + size) // BLOCK)

    def open(self) -> BinaryIO:
        """The file as a file object; each reads and seeks by itself."""
        return file_over(self.data, BLOCK)

    def close(self) -> None:
        """Drop the copy of the whole file if there is one, and the blocks where a later file may be another."""
        if not self._is_certain:
            BLOCKS.forget(self._key)
        with self._lock:
            self._whole = None

    def _from_blocks(self, start: int, stop: int) -> bytes:
        first, last = start // BLOCK, (stop - 1) // BLOCK
        joined = b"".join(self._take(first, last + 1))
        return joined[start - first * BLOCK : stop - first * BLOCK]

    def _take(self, first: int, last: int) -> list[bytes]:
        """The blocks from `first` to `last` (not included); threads that want one wait for the one that fetches it."""
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
        for run in _runs(mine):
            self._fetch_run(run, mine)
        taken = (found[number] for number in range(first, last))
        return [block.result() if isinstance(block, Future) else block for block in taken]

    def _with_ahead(self, wanted: list[int]) -> list[int]:
        """`wanted`, and the blocks behind them where the last requests show that the file is read on."""
        run = list(_runs(wanted))[-1]
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
        """Keep the blocks that are whole in `content`, the bytes from `start`."""
        for number in range(-(-start // BLOCK), -(-(start + len(content)) // BLOCK)):
            block = content[number * BLOCK - start : (number + 1) * BLOCK - start]
            if len(block) == min(BLOCK, self._size - number * BLOCK):
                BLOCKS.put(self._key, number, block)

    def _kept(self, start: int, stop: int) -> bytes | None:
        """The bytes from `start` to `stop`, if they lie in blocks that are kept."""
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
                # Only when something has come: a size that is claimed takes no memory.
                values = self._room(stop - start)
            values[begin - start : end - start] = np.frombuffer(content, np.uint8)
        assert values is not None
        values.flags.writeable = False
        return values

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, bytes | None]]:
        """Where to cut the bytes from `start` to `stop`: into what is kept, and requests for the rest."""
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
                "there is no memory for so large a part of the file",
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
            # Whoever starts again is not to be told what was known of a file that was replaced.
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
        """Whether the store still has the version that was opened; it is asked every few seconds, not each time."""
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
                "the store does not say how large this file is",
                where=failures.shown(self.location),
                hint="download the file and name the local copy",
            )
        try:
            return stores.attempted(self._web.whole)
        except NoRangesError:
            raise SourceError(
                "the server knows no ranges, so that this file can only be fetched whole",
                where=failures.shown(self.location),
                expected=f"an answer 206 to a request for a part, or {limits.WEB_WHOLE >> 20} MB at most",
                hint="download the file, with those beside it, and name the local copy",
            ) from None
        except Exception as error:
            raise failures.explained(error, self.location) from error


def _runs(numbers: Sequence[int]) -> Iterator[range]:
    """Ascending numbers as ranges of neighbors."""
    start = 0
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1:
            yield range(numbers[start], numbers[at - 1] + 1)
            start = at


def _cut(start: int, stop: int) -> Iterator[tuple[int, int, None]]:
    for begin in range(start, stop, PIECE):
        yield begin, min(begin + PIECE, stop), None


def _groups(spans: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int, list[int]]]:
    """Spans that lie close together, as first byte, last byte and the places of the members in `spans`.

    A group of more than a block takes in all of its blocks, so that what came is of use to whoever reads it next.
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
