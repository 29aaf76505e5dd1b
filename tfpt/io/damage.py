"""Files that are not what they should be: damaged, or a pointer of Git LFS in place of the file."""

from __future__ import annotations

from tfpt.errors import SourceError
from tfpt.io.storage import Bytes

DOWNLOAD_AGAIN = "the file is damaged or incomplete: download it again, and compare its size and hash"

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
