"""One file fetched whole into a folder of ours: resumed where it was cut off, and under its name only when complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from tfpt._version import __version__
from tfpt.errors import SourceError, TfptError
from tfpt.sources import failures, stores

# Called with the file's name, the bytes that are there, and the size of the whole where that is known.
Progress = Callable[[str, int, "int | None"], None]

_CHUNK = 1 << 18
_PIECE = 8 << 20
_TIMEOUT = 60.0

# What an attempt must bring for the next ones to be counted anew.
_STEP = 1 << 20


class _ChangedError(Exception):
    """What is there of the file is no part of what the store has now."""


def download(url: str, target: Path, progress: Progress | None = None) -> None:
    """Fetch the file at `url` to `target`, whose folder exists.

    What has come is kept in ``NAME.part`` until it is whole. A later call goes on from there if the store still has
    the same file: it is asked by the file's ETag or date (``If-Range``), and otherwise sends it anew. Web servers are
    asked with the standard library alone, so that published checkpoints need no further package; other stores through
    fsspec. The caller holds a lock: see `locked`.

    Args:
        url: A URL of a store that `tfpt.addresses` lists.
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
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            raise _ChangedError from None
        raise
    with answer:
        length = answer.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        if answer.status == 206:
            span = re.match(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
            if span is None or int(span[1]) != have:
                raise _ChangedError
            total = int(span[2])
        else:
            have = 0  # the file is another one now, or the server knows no ranges: all of it comes
            # A weak ETag promises the same meaning, not the same bytes (RFC 9110, section 8.8.1).
            tag = answer.headers.get("ETag", "")
            tag = answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
            _remember(url, tag, mark)
        with _opened(part, have, total) as file:
            while content := answer.read(_CHUNK):
                _write(file, content, part)
                have += len(content)
                told(part.name.removesuffix(".part"), have, total)
    _check_size(have, total)


def _from_store(url: str, part: Path, mark: Path, told: Progress) -> None:
    stores.forget()
    known = stores.info(url)
    if known is None or known.get("type") == "directory":
        raise stores.absent(url)
    store, path = stores.store_of(url)
    total = int(known["size"])
    keys = ("ETag", "etag", "md5Hash", "oid", "LastModified", "last_modified", "updated", "mtime", "created")
    now = json.dumps([total, *(str(known[key]) for key in keys if key in known)])
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
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise TfptError(
            "there is no room for the file in the cache",
            where=str(part.parent),
            expected=f"{total - have:,} bytes",
            got=f"{free:,} bytes free",
            hint="TFPT_CACHE names another folder for it",
        )
    with open(part, "ab") as file:
        file.truncate(have)
        yield file


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
