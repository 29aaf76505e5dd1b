"""One file fetched whole into a folder of ours: resumed where it was cut off, and under its name only when complete."""

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

# Called with the file's name, the bytes that are there, and the size of the whole where that is known.
Progress = Callable[[str, int, "int | None"], None]

_CHUNK = 1 << 18
_PIECE = 8 << 20

# How often the room on the disk is looked at, in bytes that came.
_LOOK = 64 << 20

# What an attempt must bring for the next ones to be counted anew.
_STEP = 1 << 20


class _ChangedError(Exception):
    """What is there of the file is no part of what the store has now."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other web addresses; urllib's own goes on to FTP, too."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise failures.AstrayError(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        # urllib's own check of the scheme raises an HTTPError that says neither what nor where.
        said = headers.get("location") or headers.get("uri") or ""
        if urlsplit(said).scheme not in ("", "http", "https"):
            raise failures.AstrayError(said)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def download(url: str, target: Path, progress: Progress | None = None) -> None:
    """Fetch the file at `url` to `target`, whose folder exists.

    What has come is kept in ``NAME.part`` until it is whole. A later call goes on from there if the store still has
    the same file: it is asked by the file's ETag or date (``If-Range``), and otherwise sends it anew. Web servers are
    asked with the standard library alone, so that published checkpoints need no further package; other stores through
    fsspec. The caller holds a lock: see `locked`.

    Args:
        url: A URL of a store that `tfpt.io.addresses` lists.
        target: The file to write; replaced at the end, in one step.
        progress: Told from time to time how far it is.

    Raises:
        SourceError: There is no such file, the store cannot be reached, or what it sends is shorter than it says.
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
        _to_disk(
            part
        )  # else a power cut could leave a name that leads to half a file, which would be believed
        os.replace(part, target)
        mark.unlink(missing_ok=True)
    except failures.CutOffError as error:
        raise SourceError(
            "the file was cut off on its way",
            where=failures.shown(url),
            got=str(error),
            hint="run the same command again: it goes on from what is there",
        ) from error
    except TfptError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename in (str(part), str(mark), str(target)):
            raise _unwritable(target, error) from error
        raise failures.explained(error, url) from error


def _persist(once: Callable[[], None], part: Path) -> None:
    """Try anew after what passes; a line that is cut again and again is followed as long as it brings something."""
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
    """Hold the lock file `path`, waiting for another process that holds it; where there are no locks, go on."""
    try:
        import fcntl
    except ImportError:  # Windows: two processes at once are not kept apart there
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
    # Spaces and letters outside ASCII are legal in a mapping and not in a request.
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
            have = 0  # the file is another one now, or the server knows no ranges: all of it comes
            tag = _tag(answer)
            _remember(url, tag, mark)
        with _opened(part, have, total) as file:
            _copy(answer, file, part, have, total, where, told)


def _answer(request: urllib.request.Request, where: str) -> Any:
    """The head of the answer, within a time: urllib's own limit begins anew with every byte."""
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
            "the server sends the file encoded, though it was asked for the bytes as they are",
            where=where,
            expected="no Content-Encoding",
            got=f"Content-Encoding: {encoding[:100]}",
            hint="download the file by other means and name the local copy",
        )


def _tag(answer: Any) -> str:
    """What the server calls this version of the file, in words to ask by; nothing where it does not say."""
    tag = answer.headers.get("ETag") or ""
    # A weak ETag promises the same meaning, not the same bytes (RFC 9110, section 8.8.1).
    return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified") or ""


def _copy(
    answer: Any, file: BinaryIO, part: Path, have: int, total: int | None, where: str, told: Progress
) -> None:
    """Write what comes behind the `have` bytes that are there, `total` bytes at most."""
    most = limits.DOWNLOAD_UNSIZED if total is None else total
    pace, begun, looked = Pace(where), have, have
    # Not `read`, which waits until all of a piece has come, however slowly.
    while content := answer.read1(_CHUNK):
        have += len(content)
        if have > most:
            file.close()
            part.unlink(missing_ok=True)
            raise SourceError(
                "the server sends more than it said, or than one file may hold",
                where=where,
                expected=f"at most {most:,} bytes"
                + ("" if total is not None else ", as it does not say how many"),
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
        raise SourceError("the store does not say how large this file is", where=failures.shown(url))
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
    """How many bytes of the file are there already, and the tag of the file that they are of."""
    try:
        said = json.loads(mark.read_text())
        if said["url"] == url and said["tag"]:
            return part.stat().st_size, str(said["tag"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing begun, or nothing that says of what
    return 0, ""


def _remember(url: str, tag: str, mark: Path) -> None:
    mark.write_text(json.dumps({"url": url, "tag": tag}))


@contextmanager
def _opened(part: Path, have: int, total: int | None) -> Iterator[BinaryIO]:
    """The partial file, open behind its first `have` bytes."""
    _check_room(part, 0 if total is None else total - have)
    with open(part, "ab") as file:
        file.truncate(have)
        yield file


def _check_room(part: Path, wanted: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if wanted + limits.DISK_LEFT > free:
        raise TfptError(
            "there is no room for the file in the cache",
            where=str(part.parent),
            expected=f"{wanted:,} bytes, and {limits.DISK_LEFT >> 20} MB left for others",
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
