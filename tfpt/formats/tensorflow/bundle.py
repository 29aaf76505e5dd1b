"""TensorFlow's V2 checkpoint, or tensor bundle: an index, and data files that are read one tensor at a time.

``X.index`` is a table (see `sstable`) from the empty key to a header and from each tensor's name to its dtype, shape,
offset and checksum (see `bundle_index`); ``X.data-00000-of-00001`` and so on contain the values, little-endian and
concatenated. The format: tensorflow/core/util/tensor_bundle/tensor_bundle.cc.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.formats.source import Source, unsorted
from tfpt.formats.tensorflow.bundle_index import Part, damaged, read_index
from tfpt.formats.tensorflow.collections import order_beside
from tfpt.formats.tensorflow.location import Location, locate
from tfpt.formats.tensorflow.slices import covers_once
from tfpt.formats.tensorflow.sstable import crc32c, masked
from tfpt.formats.tensorflow.wire import read_varint, write_varint
from tfpt.io.damage import DOWNLOAD_AGAIN, refuse_pointer
from tfpt.io.locations import folder_of, is_file, name_of
from tfpt.io.storage import Bytes, Storage, open_storage
from tfpt.tensors import DTYPES, TensorSpec, format_shape, string_array


class BundleSource(Source):
    """The tensors of a V2 checkpoint, read one at a time from its data files.

    `specs` and `fingerprint` need only the index; a data file is opened when a tensor in it is read. `specs` has the
    names and the order of the file; the pieces of a partitioned variable are one tensor. Strings are arrays of Python
    `bytes` (dtype object). Variants and resources are listed, but not read.

    Args:
        path: The checkpoint, as `tfpt.formats.tensorflow.location.locate` accepts it.
        verify_checksums: Whether `read` verifies a tensor's checksum. The index's own checksums are always verified.
        index: The bytes of the index, if they were fetched already.

    Attributes:
        location: The prefix of the checkpoint's files.
        sizes: Bytes in the data files of each tensor of strings.

    Raises:
        SourceError: There is no checkpoint at `path`, it is of another format, or its index is damaged.

    Example:
        >>> BundleSource("/nowhere/model.ckpt")
        Traceback (most recent call last):
        tfpt.errors.SourceError: there is no TensorFlow checkpoint of this name
          where     /nowhere/model.ckpt
          ...
    """

    format = "TensorFlow V2 checkpoint"

    def __init__(
        self,
        path: str | os.PathLike[str] | Location,
        verify_checksums: bool = True,
        index: Bytes | None = None,
    ) -> None:
        self._files = path if isinstance(path, Location) else locate(path)
        self._index = read_index(self._files.index, index)
        self._verify = verify_checksums
        self._lock = threading.Lock()
        self._shards: dict[int, Storage] = {}
        self.location = self._files.prefix
        self.specs = MappingProxyType(self._index.specs)
        self.sizes = {
            name: self._index.entries[name].size
            for name, spec in self._index.specs.items()
            if spec.dtype == "string"
        }

    @property
    def files(self) -> Sequence[str]:
        """The index and the data files."""
        return (
            self._files.index,
            *(self._files.shard(number, self._index.shards) for number in range(self._index.shards)),
        )

    @property
    def order(self) -> Sequence[str] | None:
        """That of the graph in the ``.meta`` file beside the checkpoint, or else that of the data, unless sorted.

        `tf.train.Saver` sorts the data by name; `tf.train.Checkpoint` writes it in the order of the objects.
        """
        found = order_beside(self._files.prefix, self.specs)
        if found is not None:
            return found
        entries = self._index.entries
        return unsorted(sorted(entries, key=lambda name: (entries[name].shard_id, entries[name].offset)))

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The values of one tensor: C-contiguous, of the shape and dtype of `specs[name]`, read-only.

        Strings are an array of Python `bytes`. Safe to call from several threads.

        Raises:
            SourceError: There is no such tensor; its data file is missing, too short or damaged; or only TensorFlow can
                represent its dtype.
        """
        spec = self.specs.get(name)
        if spec is None:
            raise self.no_such_tensor(name)
        if DTYPES[spec.dtype].numpy is None:
            raise SourceError(
                f"tensor {name!r} is a {spec.dtype}, whose values only TensorFlow can represent",
                where=self._files.index,
                hint="leave it out: a model's weights are in other tensors",
            )
        parts = self._index.parts(name)
        alone = len(parts) == 1 and parts[0].spec == spec
        values = self._values(parts[0]) if alone else self._assembled(spec, parts)
        values.flags.writeable = False
        return values

    def _values(self, part: Part) -> npt.NDArray[np.generic]:
        entry, spec = part.entry, part.spec
        shard = self._shard(entry.shard_id)
        raw = shard.data[entry.offset : entry.offset + entry.size]
        where = f"{shard.location}, byte {entry.offset}"
        if len(raw) != entry.size:
            refuse_pointer(shard.data, shard.location)
            raise SourceError(
                f"the data file ends before the values of tensor {spec.name!r} do",
                where=where,
                expected=f"a file of at least {entry.offset + entry.size} bytes",
                got=f"{len(shard.data)} bytes",
                hint=DOWNLOAD_AGAIN,
            )
        if spec.dtype == "string":
            try:
                strings = decode_strings(raw.tobytes(), spec.size, entry.crc32c if self._verify else None)
            except ValueError as error:
                what = f"the values of tensor {spec.name!r} are damaged: {error}"
                raise SourceError(what, where=where, hint=DOWNLOAD_AGAIN) from None
            return string_array(strings, spec.shape)
        if self._verify and (computed := masked(crc32c(raw))) != entry.crc32c:
            raise SourceError(
                f"the values of tensor {spec.name!r} fail their checksum",
                where=where,
                expected=f"crc32c {entry.crc32c:08x} (masked) over {entry.size} bytes",
                got=f"{computed:08x}",
                hint=DOWNLOAD_AGAIN,
            )
        return _as_array(raw, spec)

    def _assembled(self, spec: TensorSpec, parts: Sequence[Part]) -> npt.NDArray[np.generic]:
        """A partitioned variable as one array; its pieces may be in several data files."""
        # Checked before the tensor is allocated: its pieces cannot be larger than the files they are in.
        sizes: Counter[int] = Counter()
        for part in parts:
            sizes[part.entry.shard_id] += part.entry.size
        for number, size in sizes.items():
            shard = self._shard(number)
            if size > len(shard.data):
                refuse_pointer(shard.data, shard.location)
                raise damaged(
                    shard.location,
                    f"the data file is too short for the pieces of tensor {spec.name!r}",
                    expected=f"at least {size} bytes",
                    got=f"{len(shard.data)} bytes",
                )
        whole = spec.size == sum(part.spec.size for part in parts)
        if not whole or not covers_once([part.box for part in parts], spec.shape):
            raise damaged(
                self._files.index,
                f"the pieces of tensor {spec.name!r} leave gaps, or overlap",
                expected=f"pieces that add up to {format_shape(spec.shape)}",
                got=", ".join(format_shape(part.spec.shape) for part in parts[:16]),
            )
        values = np.empty(spec.shape, DTYPES[spec.dtype].numpy)
        for part in parts:
            values[part.box] = self._values(part)
        return values

    def _shard(self, number: int) -> Storage:
        with self._lock:
            if number not in self._shards:
                file = self._files.shard(number, self._index.shards)
                if not is_file(file):
                    raise SourceError(
                        "a data file of this checkpoint is missing",
                        where=file,
                        expected=f"file {number + 1} of {self._index.shards}, next to {name_of(self._files.index)}",
                        got=f"nothing called {name_of(file)} in {folder_of(file)}",
                        hint="put it there under exactly this name; names and shapes need only the index",
                    )
                self._shards[number] = open_storage(file)
            return self._shards[number]

    def is_present(self, name: str) -> bool:
        """Whether the data files of a tensor exist; names and shapes are known without them."""
        numbers = {part.entry.shard_id for part in self._index.parts(name)}
        return all(self._has_shard(number) for number in numbers)

    def _has_shard(self, number: int) -> bool:
        return is_file(self._files.shard(number, self._index.shards))

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Tensors whose data file is missing, by name, each with the reason."""
        used = {entry.shard_id for entry in self._index.entries.values()}
        missing = {number for number in used if not self._has_shard(number)}
        found: dict[str, str] = {}
        for name, entry in self._index.entries.items():
            # The values of a partitioned variable may be in other files than its entry.
            numbers = (
                [part.entry.shard_id for part in self._index.parts(name)]
                if entry.slices
                else [entry.shard_id]
            )
            for number in numbers:
                if number not in used:
                    used.add(number)
                    missing |= set() if self._has_shard(number) else {number}
                if number in missing:
                    found[name] = (
                        f"the data file {name_of(self._files.shard(number, self._index.shards))} is missing"
                    )
                    break
        return found

    def checksum(self, name: str) -> int:
        """The stored checksum of a tensor's values: equal values of one shape and dtype have equal ones."""
        return self._index.entries[name].crc32c

    def release(self, name: str) -> None:
        """Release the pages of this tensor; they are read again from the file if needed."""
        if name not in self.specs:
            return
        for part in self._index.parts(name):
            with self._lock:
                shard = self._shards.get(part.entry.shard_id)
            if shard is not None:
                shard.release(part.entry.offset, part.entry.size)

    def fingerprint(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the index file, which contains every tensor's checksum."""
        return self._index.sha256[:32]

    def close(self) -> None:
        """Close the data files. Arrays that were read stay valid; a later `read` opens the files again."""
        with self._lock:
            for shard in self._shards.values():
                shard.close()
            self._shards.clear()


def _as_array(raw: npt.NDArray[np.uint8], spec: TensorSpec) -> npt.NDArray[np.generic]:
    if spec.dtype == "bool" and raw.size and raw.max() > 1:
        # To TensorFlow any nonzero byte is true; a numpy bool must be 0 or 1.
        return np.not_equal(raw, 0).reshape(spec.shape)
    values: npt.NDArray[np.generic] = raw.view(DTYPES[spec.dtype].numpy).reshape(spec.shape)  # type: ignore[arg-type]
    return values if values.flags.aligned else values.copy()


# Tensors of strings, as WriteStringTensor in tensorflow/core/util/tensor_bundle/tensor_bundle.cc stores them:
#
#     length of each string (varints)   masked crc32c of the lengths (uint32)   the bytes of all strings
#
# Checksums cover each length as a uint32, or as a uint64 if it does not fit, rather than as a varint; the one in the
# tensor's entry covers the lengths, their stored checksum, and the bytes.


def decode_strings(raw: bytes, count: int, checksum: int | None) -> list[bytes]:
    """The `count` strings in `raw`.

    Args:
        raw: All bytes of the tensor.
        count: The number of its elements.
        checksum: The expected masked checksum; ``None`` to skip the check.

    Raises:
        ValueError: Lengths or checksums do not match the bytes.

    Example:
        >>> decode_strings(*encode_strings([b"relu", b""])[:1], 2, None)
        [b'relu', b'']
    """
    if not raw and not count:
        return []  # TensorFlow reads an absent tensor as an empty one
    if count > len(raw):
        raise ValueError(f"{count} strings do not fit into {len(raw)} bytes")
    lengths = []
    at = 0
    for _ in range(count):
        length, at = read_varint(raw, at)
        lengths.append(length)
    begin = at + 4
    if begin + sum(lengths) != len(raw):
        raise ValueError(
            f"the lengths of the strings add up to {sum(lengths)} bytes, and there are {len(raw) - begin}"
        )
    if checksum is not None:
        crc = _crc_of_lengths(lengths)
        if masked(crc) != int.from_bytes(raw[at:begin], "little"):
            raise ValueError("the lengths of the strings fail their checksum")
        if masked(crc32c(raw[at:], crc)) != checksum:
            raise ValueError("the strings fail their checksum")
    strings = []
    for length in lengths:
        strings.append(raw[begin : begin + length])
        begin += length
    return strings


def encode_strings(strings: Sequence[bytes]) -> tuple[bytes, int]:
    """The bytes to store, and their unmasked checksum."""
    lengths = [len(string) for string in strings]
    crc = _crc_of_lengths(lengths)
    tail = masked(crc).to_bytes(4, "little") + b"".join(strings)
    return b"".join(map(write_varint, lengths)) + tail, crc32c(tail, crc)


def _crc_of_lengths(lengths: Sequence[int]) -> int:
    return crc32c(b"".join(length.to_bytes(4 if length < 1 << 32 else 8, "little") for length in lengths))
