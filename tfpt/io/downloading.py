"""Downloads of whole files: resumed after an interruption, and renamed to their final name only when complete.

`huggingface_hub`, which reads ``hf://`` through fsspec, is not used to download: it has no limits on size, pace and
free
space, and a cache of its own beside this one."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from tfpt._version import __version__
from tfpt.errors import SourceError, TfptError
from tfpt.io import limits, stores
from tfpt.io import remote_errors as failures
from tfpt.io.http import Pace

# Called with the file's name, the bytes received, and the file's size if it is known.
Progress = Callable[[str, int, "int | None"], None]

_CHUNK = 1 << 18
_PIECE = 8 << 20

# How often free disk space is checked, in bytes received.
_LOOK = 64 << 20

# Bytes that an attempt must receive to reset the count of attempts.
_STEP = 1 << 20


class _ChangedError(Exception):
    """The partial download belongs to an older version of the remote file."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to other web addresses; urllib's own handler also follows them to FTP."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise failures.AstrayError(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        # urllib's own check of the scheme raises an HTTPError without a useful message.
        said = headers.get("location") or headers.get("uri") or ""
        if urlsplit(said).scheme not in ("", "http", "https"):
            raise failures.AstrayError(said)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def download(url: str, target: Path, progress: Progress | None = None) -> None:
    """Download the file at `url` to `target`, whose folder exists.

    Received bytes are kept in ``NAME.part`` until the file is complete. A later call resumes if the store still has the
    same file (``If-Range`` with its ETag or date), and otherwise starts again. Web servers are accessed with the
    standard library alone, so that published checkpoints need no further package; other stores through fsspec. The
    caller holds
    a lock: see `locked`.

    Args:
        url: A URL of a store that `tfpt.io.addresses` lists.
        target: The file to write; replaced atomically at the end.
        progress: Called from time to time.

    Raises:
        SourceError: There is no such file, the store cannot be reached, or it sends less than it announced.
        TfptError: The file cannot be written.
    """
    part, mark = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")
    told = progress or (lambda name, done, total: None)
    fetch = _from_web if failures.is_http(url) else _from_store

    def once() -> None:
        try:
            fetch(url, part, mark, told)
        except _ChangedError:
            part.unlink(missing_ok=True)
            fetch(url, part, mark, told)

    try:
        _persist(once, part)
        _to_disk(part)  # otherwise a power failure could leave half a file under the final name
        os.replace(part, target)
        mark.unlink(missing_ok=True)
    except failures.CutOffError as error:
        raise SourceError(
            "the download was cut off",
            where=failures.shown(url),
            got=str(error),
            hint="run the same command again: it resumes the download",
        ) from error
    except TfptError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename in (str(part), str(mark), str(target)):
            raise _unwritable(target, error) from error
        raise failures.explained(error, url) from error


def _persist(once: Callable[[], None], part: Path) -> None:
    """Retry after temporary failures, as long as attempts make progress."""
    delays = iter(stores.DELAYS)
    while True:
        before = _size(part)
        try:
            return once()
        except Exception as error:
            if not failures.is_passing(error):
                raise
            if _size(part) - before >= _STEP:
                delays = iter(stores.DELAYS)
            delay = next(delays, None)
            if delay is None:
                raise
        time.sleep(delay)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for other processes; without locks in the system, go on."""
    try:
        import fcntl
    except ImportError:  # Windows: concurrent processes are not excluded
        yield
        return
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _from_web(url: str, part: Path, mark: Path, told: Progress) -> None:
    have, tag = _begun(url, part, mark)
    headers = {"User-Agent": f"tfpt/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    # Spaces and non-ASCII letters are allowed in a mapping, but not in a request.
    request = urllib.request.Request(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), headers=headers)
    where = failures.shown(url)
    try:
        answer = _answer(request, where)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            raise _ChangedError from None
        raise
    with answer:
        _check_encoding(answer, where)
        length = answer.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        if answer.status == 206:
            span = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", "").strip())
            if span is None or int(span[1]) != have or _tag(answer) not in ("", tag):
                raise _ChangedError
            total = int(span[3])
        else:
            have = 0  # the file has changed, or the server does not support ranges: it sends all of it
            tag = _tag(answer)
            _remember(url, tag, mark)
        with _opened(part, have, total) as file:
            _copy(answer, file, part, have, total, where, told)


def _answer(request: urllib.request.Request, where: str) -> Any:
    """The response, whose head must come within a time limit: urllib's own timeout restarts with every byte."""
    opener = urllib.request.build_opener(_Redirects)
    came: list[Any] = []

    def ask() -> None:
        try:
            came.append(opener.open(request, timeout=limits.WEB_STALL))
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=ask, daemon=True, name="tfpt-download")
    thread.start()
    thread.join(limits.WEB_ANSWER)
    if not came:
        raise SourceError(
            "the server does not answer in time",
            where=where,
            expected=f"an answer within {limits.WEB_ANSWER:.0f} seconds",
            hint="try again later",
        )
    if isinstance(came[0], BaseException):
        raise came[0]
    return came[0]


def _check_encoding(answer: Any, where: str) -> None:
    encoding = (answer.headers.get("Content-Encoding") or "").strip().lower()
    if encoding not in ("", "identity"):
        raise SourceError(
            "the server sends the file encoded, although the request forbids it",
            where=where,
            expected="no Content-Encoding",
            got=f"Content-Encoding: {encoding[:100]}",
            hint="download the file by other means and name the local copy",
        )


def _tag(answer: Any) -> str:
    """The server's validator of this version for ``If-Range``; empty if it sends none."""
    tag = answer.headers.get("ETag") or ""
    # A weak ETag promises the same meaning, not the same bytes (RFC 9110, section 8.8.1).
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified") or ""


def _copy(
    answer: Any, file: BinaryIO, part: Path, have: int, total: int | None, where: str, told: Progress
) -> None:
    """Append the response to the `have` bytes received so far, up to `total` bytes."""
    most = limits.DOWNLOAD_UNSIZED if total is None else total
    pace, begun, looked = Pace(where), have, have
    # Not `read`, which waits for a whole chunk, however slowly it comes.
    while content := answer.read1(_CHUNK):
        have += len(content)
        if have > most:
            file.close()
            part.unlink(missing_ok=True)
            raise SourceError(
                "the server sends more than it announced, or than one file may have",
                where=where,
                expected=f"at most {most:,} bytes"
                + ("" if total is not None else ", as it does not announce a size"),
                got="more",
                hint="get the file by other means and name the local copy",
            )
        if total is None and have - looked >= _LOOK:
            looked = have
            try:
                _check_room(part, 0)
            except TfptError:
                file.close()
                part.unlink(missing_ok=True)
                raise
        _write(file, content, part)
        pace.check(have - begun)
        told(part.name.removesuffix(".part"), have, total)
    _check_size(have, total)


def _from_store(url: str, part: Path, mark: Path, told: Progress) -> None:
    stores.forget()
    known = stores.info(url)
    if known is None or known.get("type") == "directory":
        raise stores.absent(url)
    store, path = stores.store_of(url)
    if known.get("size") is None:
        raise SourceError("the store does not report the size of this file", where=failures.shown(url))
    total = int(known["size"])
    now = stores.version(known)
    have, tag = _begun(url, part, mark)
    if tag != now or have > total:
        have = 0
    _remember(url, now, mark)
    with _opened(part, have, total) as file:
        while have < total:
            content = store.cat_file(path, start=have, end=min(have + _PIECE, total))
            if not content:
                break
            _write(file, content, part)
            have += len(content)
            told(part.name.removesuffix(".part"), have, total)
    _check_size(have, total)
    stores.forget()
    after = stores.info(url)
    if after is None or stores.version(after) != now:
        part.unlink(missing_ok=True)
        raise failures.replaced(url)


def _check_size(have: int, total: int | None) -> None:
    if total is not None and have != total:
        raise failures.CutOffError(f"{have} bytes of {total}")


def _begun(url: str, part: Path, mark: Path) -> tuple[int, str]:
    """The number of bytes already downloaded, and the tag of the version that they belong to."""
    try:
        said = json.loads(mark.read_text())
        if said["url"] == url and said["tag"]:
            return part.stat().st_size, str(said["tag"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no download to resume, or of an unknown version
    return 0, ""


def _remember(url: str, tag: str, mark: Path) -> None:
    mark.write_text(json.dumps({"url": url, "tag": tag}))


@contextmanager
def _opened(part: Path, have: int, total: int | None) -> Iterator[BinaryIO]:
    """The partial file, open for appending to its first `have` bytes."""
    _check_room(part, 0 if total is None else total - have)
    with open(part, "ab") as file:
        file.truncate(have)
        yield file


def _check_room(part: Path, wanted: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if wanted + limits.DISK_LEFT > free:
        raise TfptError(
            "not enough disk space for the file in the cache",
            where=str(part.parent),
            expected=f"{wanted:,} bytes, and {limits.DISK_LEFT >> 20} MB to spare",
            got=f"{free:,} bytes free",
            hint="TFPT_CACHE names another folder for it",
        )


def _write(file: BinaryIO, content: bytes, part: Path) -> None:
    try:
        file.write(content)
    except OSError as error:
        raise _unwritable(part, error) from error


def _to_disk(part: Path) -> None:
    with open(part, "r+b") as file:
        os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError) -> TfptError:
    return TfptError(
        f"cannot write into the cache: {error.strerror}",
        where=str(path),
        hint="TFPT_CACHE names another folder for it",
    )
