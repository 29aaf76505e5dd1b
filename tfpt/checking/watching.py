"""Notices changes of a mapping and of the files that it depends on, by looking at them now and then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tfpt.errors import MappingError
from tfpt.language.loader import files_of
from tfpt.language.mapping_files import find_mapping

# Seconds between two looks.
_PAUSE = 0.5

State = dict[Path, tuple[int, int] | None]


def changes(mapping: str | os.PathLike[str], wait: Callable[[float], None] = time.sleep) -> Iterator[int]:
    """Yield 0 at once, and 1, 2, … each time that a file of the mapping has changed.

    The files are the mapping, those that it extends, and its manifest. A mapping that cannot be read, because it is
    being written or has a mistake, is watched on its own.

    Args:
        mapping: A path, or the name of a mapping.
        wait: Waits for some seconds.

    Raises:
        MappingError: There is no such mapping at the start.
    """
    path = find_mapping(os.fspath(mapping))
    number = 0
    while True:
        state = _state(path)
        yield number
        number += 1
        while _state(path) == state:
            wait(_PAUSE)


def _state(path: Path) -> State:
    """Time and size of each file; None for one that does not exist."""
    try:
        files = files_of(path)
    except MappingError:
        files = (path,)
    return {file: _status(file) for file in (*files, path.with_name(f"{path.stem}.manifest.json"))}


def _status(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
