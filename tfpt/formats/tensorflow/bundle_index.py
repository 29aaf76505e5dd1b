"""Reads and validates the index of a V2 checkpoint: its tensors, and where their values are.

The format: tensorflow/core/util/tensor_bundle/tensor_bundle.cc and tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from tfpt.errors import SourceError
from tfpt.formats.tensorflow.slices import KEY_PREFIX, Piece, piece_key
from tfpt.formats.tensorflow.sstable import Table
from tfpt.formats.tensorflow.tensorflow_pb2 import BundleEntryProto, BundleHeaderProto
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.limits import LARGEST_FETCHED_INDEX
from tfpt.io.locations import is_remote
from tfpt.io.storage import Bytes, open_storage
from tfpt.tensors import BY_TENSORFLOW, DTYPES, TensorSpec, format_shape

# kTensorBundleVersion in tensor_bundle.cc: a bundle may refuse older readers.
_VERSION = 1

# numpy before 2.0 supports 32 axes; TensorFlow allows 254 and uses 8.
_MOST_AXES = 32
_MOST_BYTES = 1 << 62


@dataclass(frozen=True)
class Part:
    """A contiguous range of a data file, and what it contains.

    Attributes:
        box: Its position in the whole tensor.
        entry: Its data file, offset, size and checksum.
        spec: Its shape and dtype, under the name of the whole tensor.
    """

    box: tuple[slice, ...]
    entry: BundleEntryProto
    spec: TensorSpec


@dataclass(frozen=True)
class BundleIndex:
    """The content of an index file.

    Attributes:
        location: The index file.
        shards: The number of data files.
        specs: Name, shape and dtype by name, in the file's order.
        entries: The entry of each.
        pieces: The entries of pieces of partitioned variables, as bytes, by encoded key.
        sha256: The hash of the whole file, in hexadecimal.
    """

    location: str
    shards: int
    specs: Mapping[str, TensorSpec]
    entries: Mapping[str, BundleEntryProto]
    pieces: Mapping[bytes, bytes]
    sha256: str

    def parts(self, name: str) -> list[Part]:
        """The parts of a tensor: one, or as many as a partitioned variable has pieces.

        Raises:
            SourceError: A piece is not in the index, or does not fit its position.
        """
        entry, spec = self.entries[name], self.specs[name]
        if not entry.slices:
            return [Part(tuple(slice(0, size) for size in spec.shape), entry, spec)]
        parts = []
        for proto in entry.slices:
            piece = Piece(
                tuple([extent.start for extent in proto.extent]),
                tuple([extent.length if extent.HasField("length") else -1 for extent in proto.extent]),
            )
            try:
                box = piece.within(spec.shape)
            except ValueError as error:
                raise damaged(self.location, f"the pieces of tensor {name!r} do not fit: {error}") from None
            if piece.is_whole:
                # TensorFlow then stores the values under the tensor's own name.
                value = entry.SerializeToString()
            elif (key := piece_key(name, piece)) in self.pieces:
                value = self.pieces[key]
            else:
                raise damaged(
                    self.location, f"a piece of tensor {name!r} has no entry", got=f"no key {key!r}"
                )
            part, part_spec = _entry(self.location, self.shards, name.encode(), value, alone=True)
            shape = tuple([axis.stop - axis.start for axis in box])
            if (part_spec.shape, part_spec.dtype) != (shape, spec.dtype):
                raise damaged(
                    self.location,
                    f"a piece of tensor {name!r} does not fit its position",
                    expected=f"{format_shape(shape)} {spec.dtype}",
                    got=f"{format_shape(part_spec.shape)} {part_spec.dtype}",
                )
            parts.append(Part(box, part, part_spec))
        return parts


def index_bytes(location: str) -> Bytes:
    """The bytes of an index; a remote one is fetched in one request, since all of it is read and hashed.

    Raises:
        SourceError: It cannot be read.
    """
    data = open_storage(location).data
    if is_remote(location) and location.endswith(".index") and len(data) <= LARGEST_FETCHED_INDEX:
        return data[:]
    return data


def read_index(location: str, data: Bytes | None = None) -> BundleIndex:
    """The index in the file `location`.

    Args:
        location: The file.
        data: Its bytes, if they were fetched already.

    Raises:
        SourceError: It is not the index of a V2 checkpoint, or it is damaged.
    """
    data = index_bytes(location) if data is None else data
    rows = iter(Table(data, location))
    key, value = next(rows, (b"?", b""))
    if key:
        raise SourceError(
            "a TensorFlow table, but not the index of a checkpoint",
            where=location,
            expected="a header under the empty key",
            got="none",
        )
    shards = _shards(location, value)
    specs: dict[str, TensorSpec] = {}
    entries: dict[str, BundleEntryProto] = {}
    pieces: dict[bytes, bytes] = {}
    for key, value in rows:
        if key.startswith(KEY_PREFIX):
            pieces[key] = value
            continue
        entry, spec = _entry(location, shards, key, value)
        entries[spec.name] = entry
        specs[spec.name] = spec
    return BundleIndex(
        location, shards, specs, entries, pieces, hashlib.sha256(data[:].tobytes()).hexdigest()
    )


def is_v1(header: bytes) -> bool:
    """Whether the value under the empty key is that of a V1 checkpoint.

    V1 has a SavedTensorSlices there, whose field 1 is a message (tag 0x0a); in V2's header field 1 is a number.
    """
    return header.startswith(b"\x0a")


def damaged(
    location: str, what: str, expected: str | None = None, got: str | None = None, hint: str = DOWNLOAD_AGAIN
) -> SourceError:
    """The error for an inconsistent file."""
    return SourceError(what, where=location, expected=expected, got=got, hint=hint)


def _shards(location: str, value: bytes) -> int:
    if is_v1(value):
        raise SourceError(
            "a TensorFlow V1 checkpoint, where the index of a V2 checkpoint was expected",
            where=location,
            expected="a V2 checkpoint: files that end in .index and .data-00000-of-00001",
            got="one file that contains names and values",
            hint="tfpt.open_source reads checkpoints of both kinds",
        )
    try:
        header = BundleHeaderProto.FromString(value)
    except DecodeError:
        raise damaged(location, "the header of the index cannot be parsed") from None
    if header.endianness != BundleHeaderProto.LITTLE:
        raise SourceError(
            "the values of this checkpoint are big-endian, which tfpt does not read",
            where=location,
            expected="endianness 0 (little) in the header",
            got=str(header.endianness),
            hint="restore it and save it again with TensorFlow on a little-endian machine",
        )
    if header.version.min_consumer > _VERSION or _VERSION in header.version.bad_consumers:
        raise SourceError(
            "this checkpoint requires a newer reader",
            where=location,
            expected=f"version {_VERSION} of the format",
            got=f"at least {header.version.min_consumer}, not {list(header.version.bad_consumers)}",
            hint="look for a newer tfpt",
        )
    return header.num_shards


def _entry(
    location: str, shards: int, key: bytes, value: bytes, alone: bool = False
) -> tuple[BundleEntryProto, TensorSpec]:
    """An entry and what it describes. `alone` treats it as one range of bytes, even if it lists pieces."""
    try:
        name = key.decode()
        entry = BundleEntryProto.FromString(value)
    except UnicodeDecodeError:
        raise damaged(location, f"a name is not UTF-8: {key!r}") from None
    except DecodeError:
        raise damaged(location, f"the entry of {key.decode()!r} cannot be parsed") from None
    shape = tuple([dim.size for dim in entry.shape.dim])
    dtype = BY_TENSORFLOW.get(entry.dtype)
    if dtype is None:
        raise damaged(
            location,
            f"tensor {name!r} has a dtype that tfpt does not know",
            expected=", ".join(DTYPES),
            got=f"number {entry.dtype} of TensorFlow's DataType",
            hint="look for a newer tfpt",
        )
    # Zeros are not counted: numpy refuses a shape such as [0, 2**62], though it has no elements.
    most = math.prod([size or 1 for size in shape]) * max(dtype.itemsize, 1)
    if (
        len(shape) > _MOST_AXES
        or entry.shape.unknown_rank
        or (shape and min(shape) < 0)
        or most > _MOST_BYTES
    ):
        raise damaged(
            location,
            f"tensor {name!r} has an invalid shape",
            expected=f"at most {_MOST_AXES} axes, none negative, and less than {_MOST_BYTES} bytes",
            got="unknown rank" if entry.shape.unknown_rank else format_shape(shape[:_MOST_AXES]),
        )
    if alone or not entry.slices:
        _check_place(location, shards, entry, name, math.prod(shape), dtype.name, dtype.itemsize)
    return entry, TensorSpec(name, shape, dtype.name)


def _check_place(
    location: str, shards: int, entry: BundleEntryProto, name: str, count: int, dtype: str, itemsize: int
) -> None:
    if not (0 <= entry.shard_id < shards and entry.offset >= 0 and entry.size >= 0):
        raise damaged(
            location,
            f"tensor {name!r} is not in any data file",
            expected=f"a file number below {shards}, an offset and a size of at least 0",
            got=f"file {entry.shard_id}, offset {entry.offset}, size {entry.size}",
        )
    # A string takes at least one byte for its length; only TensorFlow knows the size of resources and variants.
    fits = entry.size == count * itemsize if itemsize else dtype != "string" or entry.size >= count
    if not fits:
        raise damaged(
            location,
            f"the size of tensor {name!r} does not match its shape and dtype",
            expected=f"{count * max(itemsize, 1)} bytes for {count} of {dtype}",
            got=f"{entry.size} bytes",
        )
