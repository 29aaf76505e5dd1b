"""Remote stores through fsspec: what is at a URL.

fsspec and its clients are imported when the first URL is asked for, never for a file on this machine.
"""

from __future__ import annotations

import json
import posixpath
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from tfpt.errors import SourceError
from tfpt.io import limits
from tfpt.io.addresses import refuse_unknown_store
from tfpt.io.remote_errors import (
    MissingError,
    explained,
    is_http,
    is_missing,
    is_passing,
    missing,
    scheme_of,
    shown,
)

T = TypeVar("T")


# Seconds to wait before each new attempt at something that failed as a busy server or a shaken line makes it fail.
DELAYS = (0.2, 0.6, 1.8)


# Locating one checkpoint asks for the same few names again and again. What is remembered is so short-lived that a
# checkpoint which is being written is seen when it is there.
_REMEMBERED_FOR = 5.0
_REMEMBERED = 256
_known: OrderedDict[str, tuple[float, Mapping[str, Any] | None]] = OrderedDict()
_lock = threading.Lock()


def store_of(location: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and what the file is called there.

    Raises:
        SourceError: The scheme is none of a store that tfpt opens, fsspec or the client for it is not installed, or
            the client refuses to start, mostly for want of credentials.
    """
    refuse_unknown_store(location)
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise SourceError(
            "remote files need the package fsspec, which is not installed",
            where=shown(location),
            hint='pip install "tfpt[remote]"',
        ) from None
    try:
        store, path = url_to_fs(location, **_options(location))
    except Exception as error:
        raise explained(error, location) from error
    return store, path


def _options(location: str) -> dict[str, Any]:
    """What a client is to do differently from its habit; fsspec's own configuration has the last word."""
    if not is_http(location):
        return {}
    from fsspec.config import conf

    # Proxies from the environment and passwords from ~/.netrc, as every other tool takes them.
    said = conf.get(scheme_of(location), {}).get("client_kwargs", {})
    ours: dict[str, Any] = {"trust_env": True, "auto_decompress": False}
    with suppress(ImportError):  # said by fsspec, in its own words, when it wants it
        from aiohttp import ClientTimeout

        ours["timeout"] = ClientTimeout(total=limits.WEB_ANSWER)
    return {"client_kwargs": {**ours, **said}}


def info(location: str) -> Mapping[str, Any] | None:
    """What the store knows of a file or a folder: ``type``, ``size`` and more; ``None`` if there is none.

    Raises:
        SourceError: The store cannot be asked, or does not let us.
    """
    with _lock:
        when, found = _known.get(location, (float("-inf"), None))
    if time.monotonic() - when < _REMEMBERED_FOR:
        return found
    store, path = store_of(location)
    try:
        found = attempted(lambda: store.info(path))
    except Exception as error:
        if not is_missing(error):
            raise explained(error, location) from error
        found = None
    # A web server that sends us on to a name with a slash at the end shows a folder's listing there.
    if found is not None and is_http(location) and str(found.get("url", "")).partition("?")[0].endswith("/"):
        found = None
    with _lock:
        _known[location] = (time.monotonic(), found)
        while len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    return found


def forget() -> None:
    """Ask the stores anew: drop what `info` remembers."""
    with _lock:
        _known.clear()


def names_in(folder: str) -> list[str]:
    """The names in a folder of a store, sorted; those of folders end in a slash.

    Raises:
        SourceError: It cannot be listed: a web server has no listings, or the store refuses.
    """
    if is_http(folder):
        raise SourceError(
            "a web server does not list its folders",
            where=shown(folder),
            hint="name the checkpoint by its prefix or by one of its files",
        )
    store, path = store_of(folder)
    try:
        entries = attempted(lambda: store.ls(path, detail=True))
    except Exception as error:
        raise explained(error, folder) from error
    names = set()
    for entry in entries:
        name = posixpath.basename(entry["name"].rstrip("/"))
        # An object store may list the folder itself, as an empty object.
        if name and entry["name"].rstrip("/") != path.rstrip("/"):
            names.add(name + ("/" if entry["type"] == "directory" else ""))
    return sorted(names)


def version(entry: Mapping[str, Any]) -> str:
    """What tells a file from the one that replaces it, as far as its store knows: size, tags and dates.

    Example:
        >>> version({"size": 3, "etag": "a", "name": "b"})
        '[3, "a"]'
    """
    return json.dumps([entry.get("size"), *(str(entry[key]) for key in (*_TAGS, *_DATES) if key in entry)])


def is_certain(location: str, entry: Mapping[str, Any]) -> bool:
    """Whether two files of one `version` are the same bytes; the dates of web servers are of whole seconds.

    Example:
        >>> is_certain("http://a/b", {"ETag": "x"}), is_certain("http://a/b", {"Last-Modified": "today"})
        (True, False)
    """
    tags = [str(entry[key]) for key in _TAGS if entry.get(key)]
    if is_http(location):
        return any(not tag.startswith("W/") for tag in tags)
    return bool(tags) or any(entry.get(key) for key in _DATES)


_TAGS = ("ETag", "etag", "md5Hash", "generation", "oid")
_DATES = ("mtime", "LastModified", "last_modified", "updated", "Last-Modified", "created")


def modified(entry: Mapping[str, Any]) -> float:
    """When a file was last written, in seconds, from what its store knows; 0 where it does not say.

    Example:
        >>> modified({"Last-Modified": "Thu, 01 Jan 1970 00:01:00 GMT"}), modified({})
        (60.0, 0.0)
    """
    for key in _DATES:
        value = entry.get(key)
        if isinstance(value, str):
            value = _date(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 knows no Z
    except ValueError:
        return None


def attempted(action: Callable[[], T]) -> T:
    """The result of `action`, tried anew a few times while it fails in a way that passes."""
    for delay in DELAYS:
        try:
            return action()
        except Exception as error:
            if not is_passing(error):
                raise
        time.sleep(delay)
    return action()


def absent(location: str) -> MissingError:
    """There is no file of this name: with the names that come near, where the store can list them."""
    names: list[str] = []
    if not is_http(location):
        # The folder may not be there either, or may not be listed.
        with suppress(SourceError):
            names = names_in(posixpath.dirname(location))
    return missing(location, names)
