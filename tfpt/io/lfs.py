"""Pointers of Git LFS: small texts that lie in a clone in place of the large files that they name."""

from __future__ import annotations

from tfpt.errors import SourceError
from tfpt.io.storage import Bytes

# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: this line first, less than 1024 bytes in all.
_BEGINS = b"version https://git-lfs"
_LONGEST = 1024


def is_pointer(data: Bytes) -> bool:
    """Whether the bytes of a file are those of a pointer."""
    return len(data) < _LONGEST and data[: len(_BEGINS)].tobytes() == _BEGINS


def refuse_pointer(data: Bytes, location: str) -> None:
    """Refuse a pointer, whatever the file was looked at for.

    Raises:
        SourceError: The file is a pointer.
    """
    if is_pointer(data):
        raise SourceError(
            "this is a pointer of Git LFS, not the file itself", where=location, hint="git lfs pull"
        )
