"""The files that a mapping names: in its own folder, so that an untrusted mapping cannot open other files."""

from __future__ import annotations

import os
from pathlib import Path

from tfpt.errors import MappingError


def plain_name(name: str) -> bool:
    """Whether a text is a file name without a folder.

    Example:
        >>> plain_name("labels.txt"), plain_name("../labels.txt"), plain_name("/etc/passwd")
        (True, False, False)
    """
    return name not in ("", ".", "..") and not any(character in name for character in "/\\:\0")


def stays_beside(path: Path) -> bool:
    """Whether a file, links resolved, is in its own folder or below."""
    try:
        return path.resolve().is_relative_to(path.parent.resolve())
    except (OSError, RuntimeError):  # circular links
        return False


def file_beside(folder: Path, name: str, key: str, where: str) -> Path | None:
    """The file of this name in `folder`; ``None`` if it does not exist.

    Args:
        folder: The folder of the mapping.
        name: The name in the mapping.
        key: The key whose value it is, for errors.
        where: The position in the mapping, for errors.

    Raises:
        MappingError: `name` is not a plain file name, or is a link out of the folder.
    """
    if not plain_name(name):
        raise MappingError(
            f"{key}: names a file outside the mapping's folder",
            where=where,
            expected="the name of a file in the same folder, or of a bundled one",
            got=name,
            hint="put the file beside the mapping",
        )
    path = folder / name
    if not os.path.isfile(path):  # not Path.is_file, which raises where a name is too long
        return None
    if not stays_beside(path):
        raise MappingError(
            f"{key}: names a link out of the mapping's folder",
            where=where,
            expected="a file in the same folder",
            got=f"{name}, a link to {path.resolve()}",
            hint="put the file itself beside the mapping",
        )
    return path
