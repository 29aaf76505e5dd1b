"""Remote stores through fsspec: information about URLs.

fsspec and its clients are imported on the first use of a URL, never for local files.
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


# Seconds to wait before each retry after a temporary failure.
DELAYS = (0.2, 0.6, 1.8)


# Locating a checkpoint asks for the same few names repeatedly. Entries expire soon, so that a checkpoint which is being
# written is found once it is complete.
_REMEMBERED_FOR = 5.0
_REMEMBERED = 256
_known: OrderedDict[str, tuple[float, Mapping[str, Any] | None]] = OrderedDict()
_lock = threading.Lock()


def store_of(location: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it.

    Raises:
        SourceError: tfpt does not open this scheme, fsspec or the client for it is not installed, or the client fails
            to start, mostly because of missing credentials.
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
    """Non-default options of a client; fsspec's own configuration takes precedence."""
    if not is_http(location):
        return {}
    from fsspec.config import conf

    # Proxies from the environment and passwords from ~/.netrc, as in other tools.
    said = conf.get(scheme_of(location), {}).get("client_kwargs", {})
    ours: dict[str, Any] = {"trust_env": True, "auto_decompress": False}
    with suppress(ImportError):  # fsspec reports it when it needs the package
        from aiohttp import ClientTimeout

        ours["timeout"] = ClientTimeout(total=limits.WEB_ANSWER)
    return {"client_kwargs": {**ours, **said}}


def info(location: str) -> Mapping[str, Any] | None:
    """The store's information about a file or folder: ``type``, ``size`` and more; ``None`` if it does not exist.

    Raises:
        SourceError: The store cannot be reached, or denies access.
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
    # A redirect to a name with a trailing slash leads to the listing of a folder.
    if found is not None and is_http(location) and str(found.get("url", "")).partition("?")[0].endswith("/"):
        found = None
    with _lock:
        _known[location] = (time.monotonic(), found)
        while len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    return found


def forget() -> None:
    """Drop the cache of `info`."""
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
    """The version of a file, as far as its store reports one: size, tags and dates.

    Example:
        >>> version({"size": 3, "etag": "a", "name": "b"})
        '[3, "a"]'
    """
    return json.dumps([entry.get("size"), *(str(entry[key]) for key in (*_TAGS, *_DATES) if key in entry)])


def is_certain(location: str, entry: Mapping[str, Any]) -> bool:
    """Whether equal versions mean equal bytes; the dates of web servers have a resolution of a second.

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
    """When a file was last written, in seconds, from its store's information; 0 if unknown.

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
    """The result of `action`, retried a few times after temporary failures."""
    for delay in DELAYS:
        try:
            return action()
        except Exception as error:
            if not is_passing(error):
                raise
        time.sleep(delay)
    return action()


def absent(location: str) -> MissingError:
    """The error for a missing file, with similar names if the store can list them."""
    names: list[str] = []
    if not is_http(location):
        # The folder may be missing too, or not listable.
        with suppress(SourceError):
            names = names_in(posixpath.dirname(location))
    return missing(location, names)
