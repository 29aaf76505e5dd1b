"""The user's cache of published checkpoints: where it is, and the copies in it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from tfpt.errors import TfptError

# May name further files: a model of TensorFlow.js, or an index of sharded weights.
JSON = re.compile(r"\.json$", re.IGNORECASE)


@dataclass(frozen=True)
class Fetched:
    """A published checkpoint on this machine.

    Attributes:
        location: The location to open.
        url: The published URL.
        root: The path in the cache of the file that the URL names; for a prefix, the prefix of the paths.
        files: Its files in the cache; for an archive, the folder that it was unpacked to.
    """

    location: str
    url: str
    root: Path
    files: tuple[Path, ...]

    def discard(self, where: str = "") -> list[Path]:
        """Remove the damaged copy, so that the next run downloads it again.

        Args:
            where: The location in the error. If it names one of several data files, the others stay.

        Returns:
            The removed paths.
        """
        named = [path for path in self.files if str(path) in where and ".data-" in path.name]
        # The index always goes with a data file: the two may be of different versions.
        gone = [path for path in self.files if not named or path in named or path.name.endswith(".index")]
        for path in gone:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return gone


def cache_folder() -> Path:
    """The cache of published checkpoints: ``$TFPT_CACHE``, else ``$XDG_CACHE_HOME/tfpt``, else ``~/.cache/tfpt``."""
    if named := os.environ.get("TFPT_CACHE"):
        return Path(os.path.expanduser(named))
    # The XDG base directory specification: relative paths must be ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "tfpt"


def cache_path(url: str) -> Path:
    """The path in the cache for the file at `url`: its host and path, below `cache_folder`.

    Raises:
        TfptError: The URL's path leads upwards, or is empty.

    Example:
        >>> cache_path("https://example.org/bert/model.ckpt").relative_to(cache_folder()).as_posix()
        'https/example.org/bert/model.ckpt'
    """
    parts = urlsplit(url)
    names = [name for name in parts.path.split("/") if name]
    host = parts.netloc.rpartition("@")[2]
    if ".." in names or "." in names or not names:
        from tfpt.io.remote_errors import shown  # imports much

        raise TfptError("the published location names no file", where=shown(url))
    if parts.query:
        digest = hashlib.sha256(parts.query.encode()).hexdigest()[:12]
        # The files that an index names are found by their own names: separate folders keep versions apart.
        names[-1:] = [digest, names[-1]] if JSON.search(names[-1]) else [f"{digest},{names[-1]}"]
    # File names are limited to 255 bytes; the longest suffix is .data-00000-of-00001.part.json.
    kept = [quote(name, safe=" @+,=~()[]%") for name in [parts.scheme.lower(), host or "-", *names]]
    short = [
        name
        if len(name) < 200
        else f"{name[:100]}{hashlib.sha256(name.encode()).hexdigest()[:12]}{name[-60:]}"
        for name in kept
    ]
    return cache_folder().joinpath(*short)
