"""A file on a web server, read by ranges: responses are validated, and limited to the requested size."""

from __future__ import annotations

import asyncio
import mmap
import re
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.io import limits
from tfpt.io import remote_errors as failures

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


# Replaced in tests.
clock = time.monotonic


class Pace:
    """The minimum speed of a response: a server that sends single bytes must not block a command for ever.

    Example:
        >>> Pace("https://example.org/m.h5").check(0)
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._began = clock()

    def check(self, received: int) -> None:
        """Raise if `received` bytes are too few for the elapsed time.

        Raises:
            SourceError: The response is slower than `tfpt.io.limits` allows.
        """
        passed = clock() - self._began
        if passed > limits.WEB_PATIENCE + received / limits.WEB_SLOWEST:
            raise SourceError(
                "the server sends too slowly",
                where=self._where,
                expected=f"at least {limits.WEB_SLOWEST:,} bytes a second after {limits.WEB_PATIENCE:.0f} seconds",
                got=f"{received:,} bytes in {passed:.0f} seconds",
                hint="try again later, or get the file by other means and name the local copy",
            )


class NoRangesError(Exception):
    """The server ignores ranges and sends the whole file, or the whole file is too large."""


class WebFile:
    """A file on a web server.

    fsspec's own `cat_file` returns the whole file if a server ignores the range, lets the server compress it, reads any
    amount, and mixes two versions of a file.

    Args:
        store: fsspec's file system for the web.
        url: The file's URL.
        known: The file's ``size``, ``ETag`` and ``Last-Modified``, as far as the server sends them.
    """

    def __init__(self, store: Any, url: str, known: Mapping[str, Any]) -> None:
        self._store = store
        self._url = url
        self._where = failures.shown(url)
        self._size: int | None = known.get("size")
        # The validators of the first response; later ones must be equal.
        self._version = {key: known[key] for key in ("ETag", "Last-Modified") if known.get(key)}
        self._conditional = True

    def part(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to `stop`.

        Raises:
            NoRangesError: The server sends the whole file instead.
            SourceError: The file was replaced, or the response is not what was requested, or too slow.
        """
        from fsspec.asyn import sync

        return cast(bytes, sync(self._store.loop, self._part, start, stop))

    def whole(self) -> npt.NDArray[np.uint8]:
        """All of the file, mapped from a temporary file; `NoRangesError` where it is too large for that."""
        from fsspec.asyn import sync

        with tempfile.TemporaryFile() as file:
            sync(self._store.loop, self._copy, file)
            file.flush()
            if not file.tell():
                return np.frombuffer(b"", np.uint8)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)

    async def _part(self, start: int, stop: int) -> bytes:
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        tag = self._version.get("ETag", "")
        # A weak tag does not promise the same bytes (RFC 9110, section 8.8.1): it is only compared.
        if self._conditional and tag and not tag.startswith("W/"):
            headers["If-Range"] = tag
        async with self._answer(headers, stop - start) as (answer, pace):
            if answer.status == 416:
                raise self._replaced(f"no byte {start}")
            answer.raise_for_status()
            self._compare(answer)
            if answer.status != 206:
                if "If-Range" not in headers or answer.headers.get("Accept-Ranges") != "bytes":
                    raise NoRangesError
                # It supports ranges and has the requested version: it does not support the condition.
                self._conditional = False
            else:
                self._check_range(answer, start, stop)
                return b"".join([content async for content in self._contents(answer, stop - start, pace)])
        return await self._part(start, stop)

    async def _copy(self, into: BinaryIO) -> None:
        async with self._answer({}, limits.WEB_WHOLE) as (answer, pace):
            answer.raise_for_status()
            self._compare(answer)
            promised = answer.content_length
            if promised is not None and promised > limits.WEB_WHOLE:
                raise NoRangesError
            async for content in self._contents(answer, promised, pace):
                if into.tell() + len(content) > limits.WEB_WHOLE:
                    raise NoRangesError
                into.write(content)
            if promised is not None and into.tell() != promised:
                raise failures.CutOffError(f"{into.tell()} bytes of {promised}")

    @asynccontextmanager
    async def _answer(self, headers: dict[str, str], size: int) -> AsyncIterator[tuple[Any, Pace]]:
        """The response, of which only the head has been read, and its pace; closed at the end."""
        import aiohttp

        session = await self._store.set_session()
        options = dict(self._store.kwargs)
        options["headers"] = {**options.get("headers", {}), "Accept-Encoding": "identity", **headers}
        # The pace is checked when bytes come; this timeout ends responses without any.
        total = limits.WEB_ANSWER + limits.WEB_PATIENCE + size / limits.WEB_SLOWEST + limits.WEB_STALL
        options["timeout"] = aiohttp.ClientTimeout(
            total=total, sock_connect=limits.WEB_ANSWER, sock_read=limits.WEB_STALL
        )
        asked = session.get(self._store.encode_url(self._url), **options)
        answer = await asyncio.wait_for(asked, limits.WEB_ANSWER)
        try:
            self._check_encoding(answer)
            yield answer, Pace(self._where)
        finally:
            if not answer.content.at_eof():
                answer.close()
            answer.release()

    async def _contents(self, answer: Any, most: int | None, pace: Pace) -> AsyncIterator[bytes]:
        """The content of a response, chunk by chunk, at most `most` bytes."""
        promised = answer.content_length
        if most is not None and promised is not None and promised > most:
            raise self._wrong("sends more than was requested", f"{most:,} bytes", f"{promised:,} bytes")
        have = 0
        async for content in answer.content.iter_any():
            have += len(content)
            pace.check(have)
            if most is not None and have > most:
                raise self._wrong("sends more than was requested", f"{most:,} bytes", "more")
            yield content

    def _check_encoding(self, answer: Any) -> None:
        encoding = answer.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise self._wrong(
                "sends the file encoded, although the request forbids it",
                "no Content-Encoding",
                f"Content-Encoding: {encoding[:100]}",
            )

    def _check_range(self, answer: Any, start: int, stop: int) -> None:
        said = answer.headers.get("Content-Range", "")
        found = _CONTENT_RANGE.fullmatch(said.strip())
        if found and self._size is not None and found[3] not in ("*", str(self._size)):
            raise self._replaced(f"{found[3]} bytes instead of {self._size}")
        if found is None or (int(found[1]), int(found[2])) != (start, stop - 1):
            raise self._wrong(
                "sends another part of the file than was requested",
                f"Content-Range: bytes {start}-{stop - 1}/{'*' if self._size is None else self._size}",
                f"Content-Range: {said[:100]}" if said else "no Content-Range",
            )

    def _compare(self, answer: Any) -> None:
        """Compare a response with the first one."""
        for key in ("ETag", "Last-Modified"):
            now = answer.headers.get(key)
            if now and self._version.setdefault(key, now) != now:
                raise self._replaced(f"{key}: {now[:100]}", f"{key}: {self._version[key][:100]}")

    def _replaced(self, got: str, expected: str | None = None) -> SourceError:
        return failures.replaced(self._url, got, expected)

    def _wrong(self, what: str, expected: str, got: str) -> SourceError:
        return SourceError(
            f"the server {what}",
            where=self._where,
            expected=expected,
            got=got,
            hint="download the file by other means and name the local copy",
        )
