"""TensorFlow's V1 checkpoint format: tables of names and values, in one file or several.

The empty key of each file has a list of its tensors, with shapes, dtypes and pieces (SavedTensorSliceMeta); the encoded
name and position of each piece has its values (SavedSlice). The format:
tensorflow/core/util/saved_tensor_slice.proto, tensor_slice_writer.cc and tensor_slice_reader.cc.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from tfpt.errors import SourceError
from tfpt.formats.source import Source
from tfpt.formats.tensorflow.bundle_index import damaged, is_v1
from tfpt.formats.tensorflow.collections import order_beside
from tfpt.formats.tensorflow.location import locate
from tfpt.formats.tensorflow.slices import Piece, covers_once, piece_key
from tfpt.formats.tensorflow.sstable import Table
from tfpt.formats.tensorflow.tensor_proto import Stored, decode, shape_of
from tfpt.formats.tensorflow.tensorflow_pb2 import SavedTensorSlices, TensorSliceProto
from tfpt.formats.tensorflow.wire import spans
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.limits import LARGEST_V1_GROWTH
from tfpt.io.locations import is_file, name_of
from tfpt.io.storage import Storage, open_storage
from tfpt.tensors import DTYPES, TensorSpec, format_shape


@dataclass(frozen=True)
class _Part:
    """A piece of a tensor: the table that contains it, and its position in the tensor."""

    table: Table
    piece: Piece
    box: tuple[slice, ...]

    @property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        return tuple([(axis.start, axis.stop) for axis in self.box])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple([axis.stop - axis.start for axis in self.box])


class V1Source(Source):
    """The tensors of a V1 checkpoint, each read on its own by its key.

    `specs` needs only the lists in the files; reading a tensor needs its block. The pieces of a partitioned variable
    are one tensor, whichever files they are in.

    Args:
        path: The checkpoint, as `tfpt.formats.tensorflow.location.locate` accepts it.
        verify_checksums: Has no effect: checksums are those of blocks, and are always verified.

    Attributes:
        location: The file, or the common prefix of the shards.

    Raises:
        SourceError: There is no checkpoint at `path`, it is of another format, one of its files is missing, or the
            list of its tensors is damaged.
    """

    format = "TensorFlow V1 checkpoint"

    def __init__(self, path: str | os.PathLike[str], verify_checksums: bool = True) -> None:
        found = locate(path)
        files = found.v1_files or (found.index,)
        missing = [file for file in files if not is_file(file)]
        if missing:
            raise SourceError(
                "a file of this V1 checkpoint is missing",
                where=missing[0],
                expected=f"{len(files)} files, {name_of(files[0])} to {name_of(files[-1])}",
                got=f"{len(missing)} of them are missing",
                hint="put it there under exactly this name",
            )
        self.location = found.prefix
        self._all_files = files
        self._tables: list[Table] = []
        self._storages: dict[str, Storage] = {}
        for file in files:
            self._storages[file] = storage = open_storage(file)
            self._tables.append(Table(storage.data, file))
        parts_of: dict[str, dict[tuple[tuple[int, int], ...], _Part]] = {}
        specs: dict[str, TensorSpec] = {}
        hashed = hashlib.sha256()
        for table in self._tables:
            listed = _list_of(table, hashed)
            for spec, pieces in _tensors(table, listed):
                known = specs.setdefault(spec.name, spec)
                if known != spec:
                    raise damaged(
                        table.location,
                        f"tensor {spec.name!r} differs between files of the checkpoint",
                        expected=f"{format_shape(known.shape)} {known.dtype}",
                        got=f"{format_shape(spec.shape)} {spec.dtype}",
                    )
                parts = parts_of.setdefault(spec.name, {})
                # Variables of a graph that ran on several devices may be in several files, as a whole in each.
                for part in pieces:
                    parts.setdefault(part.bounds, part)
        self._parts = {name: list(parts.values()) for name, parts in parts_of.items()}
        self.specs = MappingProxyType(specs)
        self._hash = hashed

    @property
    def files(self) -> Sequence[str]:
        """The file, or the shards."""
        return tuple(self._all_files)

    @property
    def order(self) -> Sequence[str] | None:
        """That of the graph in the ``.meta`` file, if it is beside the checkpoint."""
        return order_beside(self.location, self.specs)

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The values of one tensor: C-contiguous, of the shape and dtype of `specs[name]`, read-only.

        Safe to call from several threads.

        Raises:
            SourceError: There is no such tensor, its block is damaged, or the source was closed.
        """
        spec = self.specs.get(name)
        if spec is None:
            raise self.no_such_tensor(name)
        if not self._tables:
            raise SourceError("the file was closed", where=self.location)
        parts = self._parts[name]
        held = DTYPES[spec.dtype].numpy
        if held is None:
            raise SourceError(
                f"tensor {name!r} is a {spec.dtype}, whose values only TensorFlow can represent",
                where=self.location,
            )
        if len(parts) == 1 and parts[0].shape == spec.shape:
            values = _values(parts[0], spec)
        else:
            values = self._assembled(spec, parts, held)
        values.flags.writeable = False
        return values

    def _assembled(self, spec: TensorSpec, parts: list[_Part], held: np.dtype) -> npt.NDArray[np.generic]:
        if spec.size != sum(math.prod(part.shape) for part in parts) or not covers_once(
            [part.box for part in parts], spec.shape
        ):
            raise damaged(
                self.location,
                f"the pieces of tensor {spec.name!r} leave gaps, or overlap",
                expected=f"pieces that add up to {format_shape(spec.shape)}",
                got=", ".join(format_shape(part.shape) for part in parts[:16]) or "none",
            )
        # Checked before the whole is allocated: an element takes at least one byte of a file.
        room = LARGEST_V1_GROWTH * sum(table.size for table in self._tables)
        if spec.size > room:
            raise damaged(
                self.location,
                f"tensor {spec.name!r} is too large for the files",
                expected=f"at most {room:,} elements",
                got=format_shape(spec.shape),
            )
        values = np.empty(spec.shape, held)
        for part in parts:
            values[part.box] = _values(part, spec)
        return values

    def release(self, name: str) -> None:
        """Release the pages of this tensor."""
        for part in self._parts.get(name, ()):
            storage = self._storages.get(part.table.location)
            block = part.table.block_of(piece_key(name, part.piece)) if storage is not None else None
            if storage is not None and block is not None:
                storage.release(*block)

    def fingerprint(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the lists of tensors and of every block's checksum."""
        hashed = self._hash.copy()
        if not self._tables:
            raise SourceError("the file was closed", where=self.location)
        for table in self._tables:
            hashed.update(table.checksums())
        return hashed.hexdigest()[:32]

    def close(self) -> None:
        """Close the files. Arrays that were read stay valid."""
        for storage in self._storages.values():
            storage.close()
        self._tables = []
        self._storages = {}
        self._parts = {}


def _list_of(table: Table, hashed: hashlib._Hash) -> SavedTensorSlices:
    found = table.find(b"")
    value = None if found is None else bytes(found)
    if value is None or not is_v1(value):
        # A shard may have no tensors: TensorFlow still writes it, with an empty list.
        raise SourceError(
            "a TensorFlow table, but not a V1 checkpoint",
            where=table.location,
            expected="a list of tensors under the empty key",
            got="none" if value is None else f"{len(value)} bytes of something else",
        )
    hashed.update(value)
    try:
        return SavedTensorSlices.FromString(value)
    except DecodeError:
        raise damaged(table.location, "the list of the checkpoint's tensors cannot be parsed") from None


def _tensors(table: Table, listed: SavedTensorSlices) -> Iterator[tuple[TensorSpec, list[_Part]]]:
    try:
        for meta in listed.meta.tensor:
            spec = shape_of(meta.shape, meta.type, meta.name)
            pieces = [_piece(proto, spec) for proto in meta.slice]
            yield spec, [_Part(table, piece, piece.within(spec.shape)) for piece in pieces]
    except ValueError as error:
        raise damaged(table.location, f"the list of tensors is inconsistent: {error}") from None


def _piece(proto: TensorSliceProto, spec: TensorSpec) -> Piece:
    starts = tuple([extent.start for extent in proto.extent])
    lengths = tuple([extent.length if extent.HasField("length") else -1 for extent in proto.extent])
    if not starts and spec.shape:
        # A piece without a position is the whole.
        return Piece((0,) * len(spec.shape), (-1,) * len(spec.shape))
    return Piece(starts, lengths)


def _values(part: _Part, spec: TensorSpec) -> npt.NDArray[np.generic]:
    table = part.table
    value = table.find(piece_key(spec.name, part.piece))
    if value is None:
        raise damaged(
            table.location,
            f"the values of tensor {spec.name!r} are not in the file that lists it",
            expected=f"a key for the piece {format_shape(part.shape)}",
            got="none",
        )
    data = memoryview(value)
    try:
        # SavedTensorSlices.data.data; the message of values has neither shape nor dtype.
        begin, end = 0, len(data)
        for number in (2, 3):
            found = spans(data, begin, end, number)
            if len(found) != 1:
                raise ValueError(f"the entry of tensor {spec.name!r} has {len(found)} fields of values")
            begin, end = found[0]
        stored = Stored(TensorSpec(spec.name, part.shape, spec.dtype), begin, end)
        return decode(data, stored, fill=False)
    except ValueError as error:
        raise SourceError(str(error), where=table.location, hint=DOWNLOAD_AGAIN) from None
