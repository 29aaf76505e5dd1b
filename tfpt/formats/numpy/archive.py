"""The members of an ``.npz`` archive: where in the file the bytes of each are."""

from __future__ import annotations

from tfpt.io import zips
from tfpt.io.blobs import Blob
from tfpt.io.storage import Storage

_SUFFIX = ".npy"


def members(storage: Storage) -> tuple[dict[str, Blob], dict[str, str]]:
    """The arrays by name, without ``.npy``, in the archive's order; and what is beside them, with the reason.

    Raises:
        SourceError: It is no archive, it is damaged (`tfpt.io.zips`), or no array is in it.
    """
    found: dict[str, Blob] = {}
    skipped: dict[str, str] = {}
    for info in zips.directory(storage):
        name = info.filename
        if name.startswith("__MACOSX/"):
            skipped[name] = "is what macOS leaves beside files"
            continue
        if not name.endswith(_SUFFIX):
            skipped[name] = f"is no array: its name does not end in {_SUFFIX}"
            continue
        try:
            found[name[: -len(_SUFFIX)]] = zips.blob(storage, info)
        except zips.UnreadableError as error:
            skipped[name[: -len(_SUFFIX)]] = str(error)
    if skipped and not found:
        name, reason = next(iter(skipped.items()))
        raise zips.damaged(
            storage.location, f"member {name!r} {reason}", "a numpy archive: members that end in .npy"
        )
    return found, skipped
