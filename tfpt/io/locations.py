"""Places that hold files: a path on this machine or a URL, asked in the same words."""

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
    """A place as text; ``~`` is the home folder, a slash at the end is dropped, a ``file://`` URL becomes a path.

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
    """Whether a place is a URL.

    Example:
        >>> is_remote("gs://bucket/model.ckpt"), is_remote("model.ckpt")
        (True, False)
    """
    return _URL.match(location) is not None


def name_of(location: str) -> str:
    """The last part of a place; of a web address without what follows a question mark.

    Example:
        >>> name_of("models/model.ckpt"), name_of("hf://user/repo/model.h5"), name_of("https://host/m.h5?raw=1")
        ('model.ckpt', 'model.h5', 'm.h5')
    """
    return posixpath.basename(_address(location)) if is_remote(location) else os.path.basename(location)


def folder_of(location: str) -> str:
    """The place that holds a place."""
    if is_remote(location):
        return posixpath.dirname(_address(location))
    return os.path.dirname(location) or "."


def inside(folder: str, *names: str) -> str:
    """The place of a name in a folder.

    Example:
        >>> inside("gs://bucket/bert", "variables", "variables.index")
        'gs://bucket/bert/variables/variables.index'
    """
    # Not posixpath.join: a name that begins with a slash would lead from a store to this machine.
    return "/".join([folder.rstrip("/"), *names]) if is_remote(folder) else os.path.join(folder, *names)


def _address(location: str) -> str:
    # A signature may hold slashes; it belongs to one file, not to those beside it.
    return location.partition("?")[0] if _WEB.match(location) else location


def is_file(location: str) -> bool:
    """Whether there is a file.

    Raises:
        SourceError: A store cannot be reached, or does not let us look.
    """
    if is_remote(location):
        from tfpt.io import stores

        found = stores.info(location)
        return found is not None and found.get("type") == "file"
    return os.path.isfile(location)


def is_folder(location: str) -> bool:
    """Whether there is a folder. A web server has none: it answers for files by their names.

    Raises:
        SourceError: A store cannot be reached, or does not let us look.
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
        SourceError: It cannot be listed.
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
    """When a file was last written, in seconds; 0 where that is not known."""
    if is_remote(location):
        from tfpt.io import stores

        found = stores.info(location)
        return 0.0 if found is None else stores.modified(found)
    try:
        return os.stat(location).st_mtime
    except OSError:
        return 0.0
