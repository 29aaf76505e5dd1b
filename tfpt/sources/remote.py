"""One file on a remote store, read by ranges: what is looked at is fetched, and no more."""

from __future__ import annotations

import io
import mmap
import re
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.sources import failures, stores

# Small slices are served from blocks: one request (some 50 ms at a store) instead of one for each of the vectors
# that stand side by side in a checkpoint. 8 MB of them are kept for each file.
BLOCK = 256 << 10
KEPT = 32

# A large slice is fetched in requests of this size, so that one that is cut off costs no more than this again.
PIECE = 16 << 20

# A file of a server without ranges is fetched whole up to this size; above, the person downloads it knowingly.
LARGEST_WHOLE = 64 << 20

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class _NoRangesError(Exception):
    """The server sends the whole file, whatever range it is asked for."""


class RemoteFile:
    """A `tfpt.sources.storage.Storage` over a URL that fsspec knows.

    A slice of up to 256 KB comes from blocks of that size, 32 of which are kept; a larger one is fetched exactly, once,
    and not kept. Slices may be taken from several threads at once. An answer that fails in passing is asked for again.
    A file of up to 64 MB on a server that knows no ranges is fetched once, into a temporary file without a name.

    Raises:
        SourceError: There is no such file, it may not be read, the store cannot be reached, or its server knows no
            ranges and the file is large. Also while slices are taken.

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
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._coming: dict[int, Future[bytes]] = {}
        self._whole: npt.NDArray[np.uint8] | None = None
        # Without a size there is no end to count from: only the whole file tells.
        self._size = len(self._fetch_whole()) if known.get("size") is None else int(known["size"])

    @property
    def data(self) -> RemoteBytes:
        """The file's bytes, fetched when a slice of them is taken."""
        return RemoteBytes(self)

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
            if stop - start <= BLOCK:
                return np.frombuffer(self._from_blocks(start, stop), np.uint8)
            return self._exactly(start, stop)
        except _NoRangesError:
            return self._fetch_whole()[start:stop]

    def release(self, offset: int, size: int) -> None:
        """Drop the blocks that lie within these bytes."""
        with self._lock:
            for number in range(-(-offset // BLOCK), (offset + size) // BLOCK):
                self._blocks.pop(number, None)

    def open(self) -> BinaryIO:
        """The file as a file object; each reads and seeks by itself."""
        return cast(BinaryIO, io.BufferedReader(_RawFile(self), BLOCK // 4))

    def close(self) -> None:
        """Drop the blocks that are kept, and the copy of the whole file if there is one."""
        with self._lock:
            self._blocks.clear()
            self._whole = None

    def _from_blocks(self, start: int, stop: int) -> bytes:
        first, last = start // BLOCK, (stop - 1) // BLOCK
        joined = b"".join(self._block(number) for number in range(first, last + 1))
        return joined[start - first * BLOCK : stop - first * BLOCK]

    def _block(self, number: int) -> bytes:
        """One block; threads that want the same one wait for the one that fetches it."""
        with self._lock:
            if number in self._blocks:
                self._blocks.move_to_end(number)
                return self._blocks[number]
            coming = self._coming.get(number)
            if coming is None:
                mine = self._coming[number] = Future()
        if coming is not None:
            return coming.result()
        try:
            block = self._request(number * BLOCK, min((number + 1) * BLOCK, self._size))
        except BaseException as error:
            with self._lock:
                del self._coming[number]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._coming[number]
            self._blocks[number] = block
            while len(self._blocks) > KEPT:
                self._blocks.popitem(last=False)
        mine.set_result(block)
        return block

    def _exactly(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        if stop - start <= PIECE:
            return np.frombuffer(self._request(start, stop), np.uint8)
        values = np.empty(stop - start, np.uint8)
        for begin in range(start, stop, PIECE):
            end = min(begin + PIECE, stop)
            values[begin - start : end - start] = np.frombuffer(self._request(begin, end), np.uint8)
        values.flags.writeable = False
        return values

    def _request(self, start: int, stop: int) -> bytes:
        def once() -> bytes:
            if failures.is_http(self.location):
                content = _http_range(self._store, self._path, start, stop, self._size)
            else:
                content = self._store.cat_file(self._path, start=start, end=stop)
            if len(content) != stop - start:
                raise failures.CutOffError(f"{len(content)} bytes of {stop - start}")
            return content

        try:
            return stores.attempted(once)
        except (_NoRangesError, SourceError):
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

    def _fetch_whole(self) -> npt.NDArray[np.uint8]:
        with self._lock:
            if self._whole is None:
                try:
                    self._whole = stores.attempted(lambda: _http_whole(self._store, self._path))
                except _NoRangesError:
                    raise SourceError(
                        "the server knows no ranges, so that this file can only be fetched whole",
                        where=failures.shown(self.location),
                        expected=f"an answer 206 to a request for a part, or {LARGEST_WHOLE >> 20} MB at most",
                        hint="download the file, with those beside it, and name the local copy",
                    ) from None
                except Exception as error:
                    raise failures.explained(error, self.location) from error
            return self._whole


class RemoteBytes:
    """A file's bytes: ``len(data)``, and slices of step 1, as arrays of uint8 that are not writable."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file

    def __len__(self) -> int:
        return self._file.size

    def __getitem__(self, key: slice, /) -> npt.NDArray[np.uint8]:
        start, stop, step = key.indices(self._file.size)
        if step != 1:
            raise ValueError("only slices of step 1 are fetched")
        return self._file.read(start, stop)


class _RawFile(io.RawIOBase):
    """What `io.BufferedReader` asks of a file."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence] + offset
        if at < 0:
            raise ValueError("a place before the file's start")
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        content = self._file.data[self._at : self._at + len(buffer)]
        memoryview(buffer).cast("B")[: len(content)] = content.tobytes()
        self._at += len(content)
        return len(content)


def _http_range(store: Any, url: str, start: int, stop: int, size: int) -> bytes:
    """A part of a file on a web server.

    fsspec's own `cat_file` takes the whole file for the part where a server ignores the range, and lets the server
    compress what it sends.
    """
    from fsspec.asyn import sync

    async def fetch() -> bytes:
        async with await _get(store, url, {"Range": f"bytes={start}-{stop - 1}"}) as answer:
            answer.raise_for_status()
            if answer.status != 206:
                raise _NoRangesError
            found = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
            if found and (int(found[1]) != start or found[3] not in ("*", str(size))):
                raise SourceError(
                    "the file on the server changed while it was read",
                    where=failures.shown(url),
                    expected=f"bytes from {start} of {size}",
                    got=found[0],
                    hint="run the same command again",
                )
            return cast(bytes, await answer.read())

    return cast(bytes, sync(store.loop, fetch))


def _http_whole(store: Any, url: str) -> npt.NDArray[np.uint8]:
    """All of a file on a web server, mapped from a temporary file; `_NoRangesError` where it is too large for that."""
    from fsspec.asyn import sync

    async def fetch(into: BinaryIO) -> None:
        async with await _get(store, url, {}) as answer:
            answer.raise_for_status()
            promised = int(answer.headers.get("Content-Length", 0))
            if promised > LARGEST_WHOLE:
                raise _NoRangesError
            async for content in answer.content.iter_chunked(1 << 20):
                if into.tell() + len(content) > LARGEST_WHOLE:
                    raise _NoRangesError
                into.write(content)
            if promised and into.tell() != promised:
                raise failures.CutOffError(f"{into.tell()} bytes of {promised}")

    with tempfile.TemporaryFile() as file:
        sync(store.loop, fetch, file)
        file.flush()
        if not file.tell():
            return np.frombuffer(b"", np.uint8)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


async def _get(store: Any, url: str, headers: dict[str, str]) -> Any:
    session = await store.set_session()
    options = dict(store.kwargs)
    options["headers"] = {**options.get("headers", {}), "Accept-Encoding": "identity", **headers}
    return session.get(store.encode_url(url), **options)
