"""Writing TensorFlow's V2 checkpoints without TensorFlow.

The format is described in `tfpt.formats.tensorflow.bundle`. This follows BundleWriter in
tensorflow/core/util/tensor_bundle/tensor_bundle.cc, byte for byte where there is one data file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from tfpt.errors import SinkError
from tfpt.execution.sinks.sstable import write_table
from tfpt.formats.tensorflow.bundle import encode_strings
from tfpt.formats.tensorflow.location import Location
from tfpt.formats.tensorflow.slices import KEY_PREFIX
from tfpt.formats.tensorflow.sstable import crc32c, masked
from tfpt.formats.tensorflow.tensorflow_pb2 import BundleEntryProto, BundleHeaderProto
from tfpt.io.output_file import AtomicFile
from tfpt.io.publishing import publish
from tfpt.tensors import BY_NUMPY, DTYPES, TensorSpec, format_shape

Array: TypeAlias = npt.NDArray[np.generic]
Rows: TypeAlias = Iterable[tuple[TensorSpec, Array | Callable[[], Array]]]

_CHUNK = 1 << 23


def write_bundle(
    prefix: str | os.PathLike[str],
    tensors: Mapping[str, Array] | Rows,
    num_shards: int = 1,
    write_state: bool = True,
    overwrite: bool = True,
) -> None:
    """Write a checkpoint that TensorFlow restores.

    Its files appear together or not at all; after an error the previous files are restored.

    Args:
        prefix: The prefix of the files' names; its folder is created if necessary.
        tensors: Arrays by name; or pairs of a spec and its array, or a function that returns it, in any order; from
            pairs, one array at a time is in memory. Strings are arrays of `bytes` or `str` (stored as UTF-8).
        num_shards: The number of data files; each tensor goes to the one with the fewest bytes so far.
        write_state: Whether to record this checkpoint as the latest in the folder's ``checkpoint`` file.
        overwrite: Whether an existing checkpoint may be replaced.

    Raises:
        SinkError: A file exists and may not be replaced, or cannot be written; or a name, a dtype or a shape cannot be
            stored.

    Example:
        >>> import tempfile
        >>> from tfpt.formats.tensorflow.bundle import BundleSource
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_bundle(f"{folder}/model.ckpt", {"step": np.array(7)})
        ...     source = BundleSource(folder)
        ...     print(source.specs["step"], source.read("step"))
        step [] int64 7
    """
    if num_shards < 1:
        raise SinkError("a checkpoint has at least one data file", expected="1 or more", got=str(num_shards))
    target = Path(os.path.expanduser(os.fspath(prefix)))
    names = Location(str(target), f"{target}.index")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"cannot write the checkpoint: {error.strerror}", where=str(target.parent)) from error
    with ExitStack() as stack:
        shards = [
            stack.enter_context(AtomicFile(names.shard(number, num_shards), overwrite))
            for number in range(num_shards)
        ]
        index = stack.enter_context(AtomicFile(names.index, overwrite))
        entries = _write_data(shards, _rows(tensors))
        with _opened(index) as file:
            write_table(file, _table(entries, num_shards))
        files = [*shards, index]
        if write_state:
            state = stack.enter_context(AtomicFile(target.parent / "checkpoint", overwrite=True))
            state.write_at(0, np.frombuffer(_state(target.name).encode(), np.uint8))
            files.append(state)
        publish(files)


@contextmanager
def _opened(output: AtomicFile) -> Iterator[BinaryIO]:
    """The file, opened for writing from its start; operating system errors become readable messages."""
    try:
        with os.fdopen(os.dup(output.descriptor), "wb") as file:
            yield file
    except OSError as error:
        raise output.explain(error) from None


def _rows(tensors: Mapping[str, Array] | Rows) -> Iterator[tuple[TensorSpec, Array | Callable[[], Array]]]:
    if not isinstance(tensors, Mapping):
        yield from tensors
        return
    for name, array in tensors.items():
        array = np.asarray(array)
        kind = DTYPES["string"] if array.dtype.kind in "OSU" else BY_NUMPY.get(array.dtype.newbyteorder("="))
        if kind is None:
            raise SinkError(f"TensorFlow has no dtype for tensor {name!r}", got=str(array.dtype))
        yield TensorSpec(name, array.shape, kind.name), array


def _write_data(shards: list[AtomicFile], rows: Rows) -> dict[bytes, BundleEntryProto]:
    entries: dict[bytes, BundleEntryProto] = {}
    with ExitStack() as stack:
        files = [stack.enter_context(_opened(shard)) for shard in shards]
        sizes = [0] * len(files)
        for spec, given in rows:
            key = _key(spec.name)
            if key in entries:
                raise SinkError(f"two tensors are called {spec.name!r}")
            shard = sizes.index(min(sizes))
            size, crc = _write_values(files[shard], spec, given() if callable(given) else given)
            entry = BundleEntryProto(
                dtype=DTYPES[spec.dtype].tensorflow or 0,
                shard_id=shard,
                offset=sizes[shard],
                size=size,
                crc32c=masked(crc),
            )
            # Written even without axes, as TensorFlow does for scalars.
            entry.shape.SetInParent()
            for axis in spec.shape:
                entry.shape.dim.add(size=axis)
            entries[key] = entry
            sizes[shard] += size
    return entries


def _key(name: str) -> bytes:
    key = name.encode()
    if not key or key.startswith(KEY_PREFIX):
        raise SinkError(
            "the format reserves this tensor name",
            expected="a name that is not empty and does not start with a zero byte",
            got=repr(name),
        )
    return key


def _write_values(file: BinaryIO, spec: TensorSpec, array: Array) -> tuple[int, int]:
    """Write the values; returns the number of bytes and their checksum."""
    array = np.asarray(array)
    held = DTYPES[spec.dtype].numpy if spec.dtype in DTYPES else None
    if held is None or DTYPES[spec.dtype].tensorflow is None:
        raise SinkError(f"tensor {spec.name!r} has a dtype that cannot be stored", got=spec.dtype)
    strings = spec.dtype == "string" and array.dtype.kind in "OSU"
    if array.shape != spec.shape or not (strings or array.dtype.newbyteorder("=") == held):
        raise SinkError(
            f"the array for tensor {spec.name!r} does not match its spec",
            expected=f"{format_shape(spec.shape)} {spec.dtype}",
            got=f"{format_shape(array.shape)} {array.dtype}",
        )
    if strings:
        data, crc = encode_strings([_as_bytes(spec.name, item) for item in array.reshape(-1).tolist()])
        file.write(data)
        return len(data), crc
    raw = array.astype(held, order="C", copy=False).reshape(-1).view(np.uint8)
    crc = 0
    for begin in range(0, len(raw), _CHUNK):
        chunk = raw[begin : begin + _CHUNK]
        crc = crc32c(chunk, crc)
        file.write(chunk.data)
    return len(raw), crc


def _as_bytes(name: str, item: object) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        return item
    raise SinkError(
        f"tensor {name!r} contains a value that is not a string", expected="bytes or str", got=repr(item)
    )


def _table(entries: Mapping[bytes, BundleEntryProto], num_shards: int) -> Iterator[tuple[bytes, bytes]]:
    header = BundleHeaderProto(num_shards=num_shards)
    header.version.producer = 1
    yield b"", header.SerializeToString()
    for key in sorted(entries):
        yield key, entries[key].SerializeToString()


def _state(name: str) -> str:
    from google.protobuf import text_format

    from tfpt.formats.tensorflow.tensorflow_pb2 import CheckpointState

    message = CheckpointState(model_checkpoint_path=name, all_model_checkpoint_paths=[name])
    return text_format.MessageToString(message)
