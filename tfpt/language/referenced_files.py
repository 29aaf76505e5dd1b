"""The files that a mapping names: they lie beside it, so that a stranger's mapping opens nothing else of a person's."""

from __future__ import annotations

import os
from pathlib import Path

from tfpt.errors import MappingError


def plain_name(name: str) -> bool:
    """Whether a text is the name of a file, with no folder in it.

    Example:
        >>> plain_name("labels.txt"), plain_name("../labels.txt"), plain_name("/etc/passwd")
        (True, False, False)
    """
    return name not in ("", ".", "..") and not any(character in name for character in "/\\:\0")


def stays_beside(path: Path) -> bool:
    """Whether a file, links followed, lies in its own folder or below."""
    try:
        return path.resolve().is_relative_to(path.parent.resolve())
    except (OSError, RuntimeError):  # links that lead in a circle
        return False


def file_beside(folder: Path, name: str, key: str, where: str) -> Path | None:
    """The file of this name in `folder`; ``None`` if there is none.

    Args:
        folder: The folder of the mapping.
        name: What the mapping says.
        key: The key under which it says so, for errors.
        where: The place in the mapping, for errors.

    Raises:
        MappingError: `name` is no plain name of a file, or a link that leads out of the folder.
    """
    if not plain_name(name):
        raise MappingError(
            f"{key}: names a file that does not lie beside the mapping",
            where=where,
            expected="the name of a file in the same folder, or of one that comes with tfpt",
            got=name,
            hint="put the file beside the mapping",
        )
    path = folder / name
    if not os.path.isfile(path):  # not Path.is_file, which raises where a name is too long
        return None
    if not stays_beside(path):
        raise MappingError(
            f"{key}: names a link that leads out of the mapping's folder",
            where=where,
            expected="a file in the same folder",
            got=f"{name}, a link to {path.resolve()}",
            hint="put the file itself beside the mapping",
        )
    return path
