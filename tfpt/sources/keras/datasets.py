"""What lies in an HDF5 file: every dataset's path, shape, dtype and place, without following a link anywhere.

Keras writes groups and datasets, each at one place. What leads elsewhere is refused before anything is read: links
(soft ones and those to other files), virtual datasets, datasets kept in files beside, groups that hold themselves.
The format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from tfpt.errors import SourceError
from tfpt.sources.keras.heaps import check_heaps
from tfpt.sources.keras.opening import Opened, damage, import_h5py
from tfpt.tensors import BY_NUMPY, TensorSpec

# Deeper than any model nests; bounds the recursion.
_DEEPEST = 100
_REFUSED = "tfpt reads no file that leads elsewhere, and Keras writes none: save the model again from Keras"


@dataclass(frozen=True)
class Entry:
    """One dataset.

    Attributes:
        path: Where it lies in the file, without a slash in front.
        spec: Its shape and dtype, under the path as its name; dtype ``string`` for text, ``variant`` for what is
            neither numbers nor text.
        held: How numbers are held in the file, in the file's byte order; `None` for what is no number.
        offset: The byte where the values begin, if they lie in one plain piece.
        stored: How many bytes the values take in the file.
        chunk: How many bytes one chunk takes when it is unpacked; 0 where there are no chunks.
    """

    path: str
    spec: TensorSpec
    held: np.dtype | None
    offset: int | None
    stored: int
    chunk: int


def list_datasets(opened: Opened) -> dict[str, Entry]:
    """All datasets by path, groups in natural order (``vars/2`` before ``vars/10``).

    Raises:
        SourceError: The file is damaged, or something in it leads elsewhere.
    """
    h5py = import_h5py(opened.storage.location)
    found: dict[str, Entry] = {}
    check_heaps(opened)
    with opened.lock, damage(opened.storage.location, "the file's content cannot be listed"):
        _walk(h5py, opened, opened.file, "", set(), found, 0)
    return found


def _walk(
    h5py: Any, opened: Opened, group: Any, prefix: str, seen: set[int], found: dict[str, Entry], depth: int
) -> None:
    where = f"{opened.storage.location}, group /{prefix}"
    # By the object's address: two paths to one group could make a file of a few kilobytes a tree without end.
    place = int(h5py.h5o.get_info(group.id).addr)
    if place in seen or depth > _DEEPEST:
        what = "a group lies in several places" if place in seen else f"groups lie {_DEEPEST} deep"
        raise SourceError(what, where=where, expected="a plain tree of groups", hint=_REFUSED)
    seen.add(place)
    for name in sorted(group, key=natural):
        path = f"{prefix}/{name}" if prefix else name
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise SourceError(
                "the file holds a link",
                where=f"{opened.storage.location}, /{path}",
                expected="a group or a dataset",
                got=f"{type(link).__name__} to {getattr(link, 'filename', '')}{getattr(link, 'path', '')}",
                hint=_REFUSED,
            )
        item = group[name]
        if isinstance(item, h5py.Group):
            _walk(h5py, opened, item, path, seen, found, depth + 1)
        elif isinstance(item, h5py.Dataset):
            found[path] = _entry(h5py, opened, item, path)


def _entry(h5py: Any, opened: Opened, dataset: Any, path: str) -> Entry:
    where = f"{opened.storage.location}, /{path}"
    layout = dataset.id.get_create_plist()
    if layout.get_external_count() or layout.get_layout() == h5py.h5d.VIRTUAL:
        kind = "other files" if layout.get_external_count() else "other datasets (a virtual dataset)"
        raise SourceError(
            f"the values of a dataset lie in {kind}",
            where=where,
            expected="values in the file itself",
            hint=_REFUSED,
        )
    if dataset.shape is None:  # an empty dataspace, which is not a scalar: h5py.Empty
        return Entry(path, TensorSpec(path, (0,), "variant"), None, None, 0, 0)
    shape = tuple(int(size) for size in dataset.shape)
    kind, held = _dtype(h5py, dataset)
    chunks = dataset.chunks
    chunk = (
        0
        if chunks is None
        else int(np.prod([float(size) for size in chunks])) * dataset.id.get_type().get_size()
    )
    plain = chunks is None and layout.get_nfilters() == 0
    return Entry(
        path,
        TensorSpec(path, shape, kind),
        held,
        dataset.id.get_offset() if plain else None,
        int(dataset.id.get_storage_size()),
        chunk,
    )


def _dtype(h5py: Any, dataset: Any) -> tuple[str, np.dtype | None]:
    """The name of a dataset's dtype, and how numpy holds it as it lies in the file."""
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return "string", None
    held = np.dtype(dataset.dtype)
    # numpy calls bfloat16 a void of two bytes, and HDF5 keeps it as opaque. Keras 3 names it in an attribute of
    # .weights.h5 (keras/src/saving/saving_lib.py, H5IOStore.__setitem__), and in its older format nowhere.
    if held == np.dtype("V2") and dataset.attrs.get("dtype", "bfloat16") in ("bfloat16", b"bfloat16"):
        return "bfloat16", np.dtype(ml_dtypes.bfloat16)
    if held.kind in "OV" or h5py.check_dtype(ref=held) or h5py.check_dtype(vlen=held):
        return "variant", None
    known = BY_NUMPY.get(held.newbyteorder("="))
    return ("variant", None) if known is None else (known.name, held)


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names by their value.

    Example:
        >>> sorted(["vars", "10", "9", "layer_10", "layer_9"], key=natural)
        ['9', '10', 'layer_9', 'layer_10', 'vars']
    """
    # At most 18 digits are a number: Python refuses to parse very long ones.
    parts = re.findall(r"[0-9]{1,18}|[^0-9]+", name)
    return [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts]
