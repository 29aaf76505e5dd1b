"""Locations of files: local paths and URLs, handled by the same functions."""

from __future__ import annotations

import os
import posixpath
import re
from urllib.parse import unquote

from tfpt.errors import SourceError

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LOCAL = re.compile(r"file://(?:localhost(?=/))?", re.IGNORECASE)
_WEB = re.compile(r"https?://", re.IGNORECASE)


def as_location(path: str | os.PathLike[str]) -> str:
    """A location as text; ``~`` is expanded, a trailing slash is dropped, a ``file://`` URL becomes a path.

    Example:
        >>> as_location("models/bert/"), as_location("https://example.org/m.ckpt")
        ('models/bert', 'https://example.org/m.ckpt')
        >>> as_location("file:///data/my%20model.ckpt")
        '/data/my model.ckpt'
    """
    text = os.fspath(path)
    if local := _LOCAL.match(text):
        text = unquote(text[local.end() :])
    if is_remote(text):
        return text.rstrip("/")
    text = os.path.expanduser(text)
    return text.rstrip("/") or text[:1] or "."


def is_remote(location: str) -> bool:
    """Whether a location is a URL.

    Example:
        >>> is_remote("gs://bucket/model.ckpt"), is_remote("model.ckpt")
        (True, False)
    """
    return _URL.match(location) is not None


def name_of(location: str) -> str:
    """The last component of a location, without the query of a web address.

    Example:
        >>> name_of("models/model.ckpt"), name_of("hf://user/repo/model.h5"), name_of("https://host/m.h5?raw=1")
        ('model.ckpt', 'model.h5', 'm.h5')
    """
    return posixpath.basename(_address(location)) if is_remote(location) else os.path.basename(location)


def folder_of(location: str) -> str:
    """The folder of a location."""
    if is_remote(location):
        return posixpath.dirname(_address(location))
    return os.path.dirname(location) or "."


def inside(folder: str, *names: str) -> str:
    """The location of a name in a folder.

    Example:
        >>> inside("gs://bucket/bert", "variables", "variables.index")
        'gs://bucket/bert/variables/variables.index'
    """
    # Not posixpath.join: a name that begins with a slash would leave the store.
    return "/".join([folder.rstrip("/"), *names]) if is_remote(folder) else os.path.join(folder, *names)


def _address(location: str) -> str:
    # A signature may contain slashes; it is valid for one file, not for its siblings.
    return location.partition("?")[0] if _WEB.match(location) else location


def is_file(location: str) -> bool:
    """Whether a location is a file.

    Raises:
        SourceError: A store cannot be reached, or denies access.
    """
    if is_remote(location):
        from tfpt.io import stores

        found = stores.info(location)
        return found is not None and found.get("type") == "file"
    return os.path.isfile(location)


def is_folder(location: str) -> bool:
    """Whether a location is a folder. Web servers have only files.

    Raises:
        SourceError: A store cannot be reached, or denies access.
    """
    if _WEB.match(location):
        return False
    if is_remote(location):
        from tfpt.io import stores

        found = stores.info(location)
        return found is not None and found.get("type") == "directory"
    return os.path.isdir(location)


def names_in(folder: str) -> list[str]:
    """The names in a folder, sorted; those of folders end in a slash.

    Raises:
        SourceError: The folder cannot be listed.
    """
    if is_remote(folder):
        from tfpt.io import stores

        return stores.names_in(folder)
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name + ("/" if entry.is_dir() else "") for entry in entries)
    except OSError as error:
        raise SourceError(f"cannot list the folder: {error.strerror}", where=folder) from None


def modified(location: str) -> float:
    """When a file was last written, in seconds; 0 if unknown."""
    if is_remote(location):
        from tfpt.io import stores

        found = stores.info(location)
        return 0.0 if found is None else stores.modified(found)
    try:
        return os.stat(location).st_mtime
    except OSError:
        return 0.0
