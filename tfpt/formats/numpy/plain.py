"""Archives of plain arrays, all of them at once: numbers, and no objects."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.numpy import header
from tfpt.formats.numpy.archive import members
from tfpt.io.blobs import Blob
from tfpt.io.storage import open_storage
from tfpt.tensors import format_shape

# What all members may unpack to, in proportion to the file: activations after a ReLU pack well, yet not so well.
_MOST_UNPACKED, _UNPACKED_FREELY = 100, 1 << 30


def plain_arrays(location: str, texts: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` archive in its order: read-only, views of the file where they are stored plainly.

    Args:
        location: The file.
        texts: Members that hold strings, which come as Python ``bytes``; all others hold numbers.

    Raises:
        SourceError: The file is no such archive, is damaged, unpacks without measure, or holds other elements. No
            pickle is run.

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
            "the arrays of the archive are packed too tightly",
            where=location,
            got=f"{unpacked:,} bytes out of {len(storage.data):,}",
        )
    return {
        name: _array(f"{location}, member {name}.npy", blob, is_text=name in texts)
        for name, blob in blobs.items()
    }


def _array(where: str, blob: Blob, *, is_text: bool) -> np.ndarray:
    """One member, whose header is believed in nothing before it is checked."""
    found = header.parse(where, blob.head(header.READ_AT_MOST))
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
        raise header.damaged(
            where,
            "its data is of another size",
            f"{layout.nbytes:,} bytes for {format_shape(layout.shape)} {layout.descr}",
            f"{size:,} bytes",
        )
    return layout.decode(blob.load()[found.begin :])
