"""Parses an HDF5 file of the usual kind without the HDF5 library.

Every object is read once, however many links lead to it, and every size is validated against the file's before use:
time and memory grow with the file, not with what it claims.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.hdf5.attributes import Heaps, attribute_texts
from tfpt.formats.hdf5.dataset import Dataset
from tfpt.formats.hdf5.messages import Datatype, datatype_of, layout_of, opaque_number, shape_of
from tfpt.formats.hdf5.structure import (
    DATASPACE,
    DATATYPE,
    EXTERNAL,
    LAYOUT,
    SYMBOL_TABLE,
    Groups,
    Header,
    Headers,
    Link,
    superblock_of,
)
from tfpt.formats.hdf5.values import KNOWN, Place, read_place, sample_of
from tfpt.io.limits import HDF5_DEPTH
from tfpt.io.storage import Storage
from tfpt.nearest import natural_key
from tfpt.tensors import TensorSpec


class ClassicTree:
    """A `tfpt.formats.hdf5.dataset.Tree` of a file as HDF5 before version 1.8 wrote it, and h5py still does by default.

    Values packed by filters other than deflate, shuffle and the checksum are not read here: see `is_read_here`.

    Raises:
        SourceError: The file is damaged.
        UnfamiliarError: It uses a newer or rare feature.
    """

    def __init__(self, storage: Storage) -> None:
        self.location = storage.location
        self.storage = storage
        self._blocks, root = superblock_of(storage)
        self._headers, self._groups = Headers(self._blocks), Groups(self._blocks)
        self._heaps = Heaps(self._blocks)
        self._lock = threading.Lock()
        self._places: dict[str, Place] = {}
        self._held: dict[str, Header] = {}
        self._seen: dict[int, str] = {}
        self.datasets: dict[str, Dataset] = {}
        self.skipped: dict[str, str] = {}
        with self._checked(root):
            self._walk(root, "", 0)
        self.groups = frozenset(self._seen.values())

    def texts(self, path: str, attribute: str) -> list[str] | None:
        """An attribute as a list of texts."""
        header = self._held.get(path)
        if header is None or not header.attributes:
            return None
        with self._lock, self._checked(header.address):
            return attribute_texts(
                self._blocks, self._heaps, header.attributes, attribute, f"{self.location}, /{path}"
            )

    def is_read_here(self, dataset: Dataset) -> bool:
        """Whether `read` knows all filters of the dataset."""
        filters = self._places[dataset.path].layout.filters
        return all(number in KNOWN for number, _ in filters)

    def read(self, dataset: Dataset) -> np.ndarray:
        """The values of a dataset for which `is_read_here` is true."""
        with self._checked(self._held[dataset.path].address):
            return read_place(self._blocks, self._heaps, self._lock, self._places[dataset.path])

    def sample(self, dataset: Dataset) -> bytes:
        """A few stored bytes of the values."""
        with self._lock, self._checked(self._held[dataset.path].address):
            return sample_of(self._blocks, self._places[dataset.path])

    def release(self, dataset: Dataset) -> None:
        """Say that the values will not be needed again soon."""
        layout = self._places[dataset.path].layout
        if layout.address is not None and layout.chunk is None:
            self.storage.release(self._blocks.base + layout.address, dataset.claimed)

    def close(self) -> None:
        """Close the file."""
        self.storage.close()

    def _walk(self, address: int, path: str, depth: int) -> None:
        """List a group; `Headers` and `Groups` ensure that this ends."""
        if depth > HDF5_DEPTH:
            raise SourceError(
                f"the file is damaged: groups are nested {HDF5_DEPTH} deep",
                where=f"{self.location}, group /{path[:200]}",
                hint="tfpt reads plain trees of groups, which is what Keras writes",
            )
        self._seen[address] = path
        header = self._headers.at(address)
        self._held[path] = header
        for link in sorted(
            self._groups.links(header.messages[SYMBOL_TABLE]), key=lambda link: natural_key(link.name)
        ):
            inner = f"{path}/{link.name}" if path else link.name
            if not link.name or "/" in link.name or link.name == ".":
                raise self._blocks.damaged("a name is empty, or contains a slash", link.address)
            if inner in self.datasets or inner in self.skipped or inner in self._held:
                raise self._blocks.damaged(f"two objects are called /{inner}", link.address)
            reason = self._listed(link, inner, depth)
            if reason is not None:
                self.skipped[inner] = reason

    def _listed(self, link: Link, path: str, depth: int) -> str | None:
        """List the target of a link; returns the reason if it is skipped."""
        if link.target is not None:
            return f"a soft link to {link.target}"
        header = self._headers.at(link.address)
        if SYMBOL_TABLE in header.messages:
            if link.address in self._seen:
                return f"the group /{self._seen[link.address]} again"
            self._walk(link.address, path, depth + 1)
            return None
        if DATASPACE not in header.messages or LAYOUT not in header.messages:
            return "neither a group nor a dataset"
        return self._dataset(header, path)

    def _dataset(self, header: Header, path: str) -> str | None:
        """List a dataset; returns the reason if it is skipped."""
        self._held[path] = header
        shape = shape_of(header.messages[DATASPACE])
        if shape is None:
            return "a dataset without elements"
        kind = self._datatype(header, path)
        if kind.dtype is None:
            return kind.reason
        layout = layout_of(header, len(shape))
        if EXTERNAL in header.messages:
            return "values in other files"
        if layout.virtual:
            return "values in other datasets"
        if kind.held is None and kind.padding is None and layout.chunk is not None:
            return "variable-length texts in chunks"
        dataset = Dataset(path, TensorSpec(path, shape, kind.dtype), kind.held, kind.size)
        self.datasets[path] = dataset
        self._places[path] = Place(f"{self.location}, /{path}", dataset, kind, layout)
        return None

    def _datatype(self, header: Header, path: str) -> Datatype:
        kind = datatype_of(header.messages[DATATYPE])
        if not kind.reason.startswith("opaque"):
            return kind
        named = attribute_texts(
            self._blocks, self._heaps, header.attributes, "dtype", f"{self.location}, /{path}"
        )
        # Keras 3 records bfloat16 in its own format, but not in the older one.
        return opaque_number(kind, named[0] if named else "bfloat16")

    @contextmanager
    def _checked(self, address: int) -> Iterator[None]:
        """Turn errors of parsing into that of a damaged file."""
        try:
            yield
        except (struct.error, IndexError, KeyError, ValueError, OverflowError) as error:
            raise self._blocks.damaged(f"a description cannot be read ({error})", address) from None
