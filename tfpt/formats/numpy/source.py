"""Reads what numpy saved: ``.npz`` archives of arrays, and ``.npy`` files of one array or of a dict of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.numpy.layout import HEADER_AT_MOST, damaged, parse_header
from tfpt.formats.pickle.calls import CodeError
from tfpt.formats.pickle.contents import read_pickle
from tfpt.formats.pickle.naming import Entry, named, training_roles
from tfpt.formats.source import Role, Source, unsorted
from tfpt.io import zips
from tfpt.io.blobs import Blob, InMemory, Stored
from tfpt.io.locations import as_location, name_of
from tfpt.io.storage import Storage, open_storage
from tfpt.tensors import format_shape

_ZIP = b"PK"
_SUFFIX = ".npy"
# The limit on the size of all members relative to the file: activations after a ReLU compress well, but less.
_MOST_UNPACKED, _UNPACKED_FREELY = 100, 1 << 30


def open_numpy(location: str) -> NumpySource:
    """The arrays of an ``.npz`` or ``.npy`` file, distinguished by their first bytes.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/w.npz"
        >>> np.savez(path, **{"root/kernel": np.ones((2, 3), "<f4"), "steps": np.int64(7)})
        >>> source = open_numpy(path)
        >>> source.format, [str(spec) for spec in source.specs.values()], int(source.read("steps"))
        ('NumPy archive', ['root/kernel [2, 3] float32', 'steps [] int64'], 7)
    """
    return NumpySource(location)


class NumpySource(Source):
    """A `tfpt.formats.source.Source` over one numpy file.

    Arrays of an archive are named after its members, a single array after its file. Objects are dicts, lists and
    numbers: the names in them are joined by slashes; pickles are never run (`tfpt.formats.pickle.contents`). Strings
    have the role "constant"; arrays that are not tensors (records of several fields, dates) have the role "record":
    they are listed as `variant`, and cannot be read. Two void bytes are bfloat16 (`Layout.held`).

    Attributes:
        skipped: Members of the archive and values of dicts and lists that are not arrays, by name, with the reason.

    Raises:
        SourceError: The file cannot be read, is damaged, or would run code.
    """

    # Whether names are keys of nested dicts, from which roles follow.
    is_tree: bool = False

    def __init__(self, location: str) -> None:
        self.location = as_location(location)
        self.format = "NumPy array"
        self._skipped: dict[str, str] = {}
        self.skipped = MappingProxyType(self._skipped)
        storage = self._storage = open_storage(self.location)
        self._entries: dict[str, Entry] = {}
        self._closed = False
        self._fill(storage)
        self.specs = MappingProxyType(
            {name: entry.layout.spec(name) for name, entry in self._entries.items()}
        )
        roles: dict[str, Role] = training_roles(self._entries) if self.is_tree else {}
        for name, entry in self._entries.items():
            if (role := entry.layout.role) is not None:
                roles[name] = role
        self.roles = MappingProxyType(roles)

    @property
    def order(self) -> Sequence[str] | None:
        """That of the file, unless it is by name."""
        return unsorted(self.specs)

    def read(self, name: str) -> np.ndarray:
        """The values of one array; not writable.

        Raises:
            SourceError: There is no such array, its bytes fail their checksum, or its elements are not numbers.
        """
        entry = self._find(name)
        layout = entry.layout
        if layout.held is None and not layout.is_text:
            raise SourceError(
                f"the elements of {name!r} cannot be a tensor",
                where=self.location,
                expected="numbers, or strings",
                got=layout.descr or "records of several fields",
                hint="leave it out, or save its fields as separate arrays",
            )
        return layout.decode(entry.blob.load()[entry.begin :])

    def release(self, name: str) -> None:
        """Hint that the array is not needed again soon; arrays that were read stay valid."""
        self._find(name).blob.release()

    def fingerprint(self) -> str:
        """A hash of names, shapes and dtypes, and of the archive's checksums, or else of 64 bytes of every array."""
        digest = hashlib.sha256()
        for name, entry in self._entries.items():
            layout = entry.layout
            digest.update(
                f"{name!r} {layout.shape} {layout.descr} {layout.fortran}\n".encode(errors="replace")
            )
            digest.update(entry.blob.digest())
        return digest.hexdigest()[:32]

    def close(self) -> None:
        """Close the file. Arrays that were read stay valid."""
        self._storage.close()
        self._entries, self._closed = {}, True

    def _find(self, name: str) -> Entry:
        if self._closed:
            raise SourceError("the file was closed", where=self.location)
        if name not in self._entries:
            raise self.no_such_tensor(name)
        return self._entries[name]

    def _fill(self, storage: Storage) -> None:
        """Collect the entries of the file."""
        if storage.data[: len(_ZIP)].tobytes() == _ZIP:
            self.format = "NumPy archive"
            self._add_members(storage)
            return
        name = name_of(self.location)
        name = name[: -len(".npy")] if name.endswith(".npy") else name
        self._add(self.location, name, Stored(storage, 0, len(storage.data)), alone=True)

    def _add_members(self, storage: Storage) -> None:
        blobs, skipped = members(storage)
        self._skipped.update(skipped)
        refused = [
            error for name, blob in blobs.items() if (error := self._try_member(name, blob)) is not None
        ]
        if refused and not self._entries:
            raise refused[0]

    def _try_member(self, name: str, blob: Blob) -> CodeError | None:
        """Add a member; one that would run code is skipped, and the error returned."""
        try:
            self._add(f"{self.location}, member {name}.npy", name, blob)
        except CodeError as error:
            self._skipped[name] = error.what
            return error
        return None

    def _add(self, where: str, name: str, blob: Blob, alone: bool = False) -> None:
        """Add the array in `blob`, or the values in an array of objects."""
        found = parse_header(where, blob.head(HEADER_AT_MOST))
        layout, begin = found.layout, found.begin
        if not layout.is_objects:
            size, expected = blob.size - begin, layout.nbytes
            if expected is not None and size != expected:
                raise damaged(
                    where,
                    "its data is of another size",
                    f"{expected:,} bytes for {format_shape(layout.shape)} {layout.descr}",
                    f"{size:,} bytes",
                )
            self._insert(where, {name: Entry(layout, blob, begin)})
            return
        loaded = blob.load()
        if not isinstance(blob, Stored):
            blob = InMemory(loaded)
        content, _ = read_pickle(where, blob, begin)
        # Values of a single object need no prefix.
        is_tree = alone and not layout.shape
        if is_tree:
            self.is_tree = True
            self.format = "NumPy file of objects"
        entries, skipped = named(where, content, blob, "" if is_tree else name)
        self._insert(where, {key or name: entry for key, entry in entries.items()})
        self._skipped.update(skipped)

    def _insert(self, where: str, entries: Mapping[str, Entry]) -> None:
        for name, entry in entries.items():
            if name in self._entries:
                raise SourceError(f"two arrays have the name {name!r}", where=where)
            self._entries[name] = entry


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
