"""The members of an ``.npz`` archive, and all of its plain arrays at once."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.numpy.layout import HEADER_AT_MOST, damaged, parse_header
from tfpt.io import zips
from tfpt.io.blobs import Blob
from tfpt.io.storage import Storage, open_storage
from tfpt.tensors import format_shape

_SUFFIX = ".npy"
# The limit on the size of all members relative to the file: activations after a ReLU compress well, but less.
_MOST_UNPACKED, _UNPACKED_FREELY = 100, 1 << 30


def members(storage: Storage) -> tuple[dict[str, Blob], dict[str, str]]:
    """The arrays by name, without ``.npy``, in the archive's order; and the other members, with the reason.

    Raises:
        SourceError: It is not an archive, it is damaged (`tfpt.io.zips`), or it contains no array.
    """
    found: dict[str, Blob] = {}
    skipped: dict[str, str] = {}
    for info in zips.directory(storage):
        name = info.filename
        if name.startswith("__MACOSX/"):
            skipped[name] = "is metadata of macOS"
            continue
        if not name.endswith(_SUFFIX):
            skipped[name] = f"is not an array: its name does not end in {_SUFFIX}"
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


def plain_arrays(location: str, texts: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` archive, in order; read-only.

    Args:
        location: The file.
        texts: Members with strings, which are read as Python ``bytes``; all others must be numbers.

    Raises:
        SourceError: The file is not such an archive, is damaged, has too high a compression ratio, or has other
            elements. No pickle is run.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/a.npz"
        >>> np.savez(path, w=np.ones((2, 3)), note=np.array("hello"))
        >>> found = plain_arrays(path, texts=["note"])
        >>> found["w"].shape, found["note"].item()
        ((2, 3), b'hello')
    """
    storage = open_storage(location)
    blobs, skipped = members(storage)
    if skipped:
        name, reason = next(iter(skipped.items()))
        raise SourceError(f"member {name!r} {reason}", where=location, expected="arrays of numbers alone")
    unpacked = sum(blob.size for blob in blobs.values())
    if unpacked > max(_UNPACKED_FREELY, _MOST_UNPACKED * len(storage.data)):
        raise SourceError(
            "the arrays of the archive have too high a compression ratio",
            where=location,
            got=f"{unpacked:,} bytes out of {len(storage.data):,}",
        )
    return {
        name: _array(f"{location}, member {name}.npy", blob, is_text=name in texts)
        for name, blob in blobs.items()
    }


def _array(where: str, blob: Blob, *, is_text: bool) -> np.ndarray:
    """One member, whose header is validated before use."""
    found = parse_header(where, blob.head(HEADER_AT_MOST))
    layout = found.layout
    if layout.is_text != is_text or (layout.held is None and not is_text):
        raise SourceError(
            "the elements of the array are Python objects, which are never read"
            if layout.is_objects
            else "the elements of the array are of another kind",
            where=where,
            expected="text" if is_text else "numbers",
            got=layout.descr or "records of several fields",
        )
    size = blob.size - found.begin
    if size != layout.nbytes:
        raise damaged(
            where,
            "its data is of another size",
            f"{layout.nbytes:,} bytes for {format_shape(layout.shape)} {layout.descr}",
            f"{size:,} bytes",
        )
    return layout.decode(blob.load()[found.begin :])
