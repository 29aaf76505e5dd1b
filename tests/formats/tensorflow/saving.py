"""Bundles for tests, as TensorFlow writes them, and indexes changed by hand with their checksums made right again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfpt.execution.sinks.sstable import write_table
from tfpt.formats.tensorflow.sstable import Table
from tfpt.formats.tensorflow.tensorflow_pb2 import BundleEntryProto

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "real"


def save(prefix: Path, tensors: Mapping[str, object], pieces: Sequence[str] | None = None) -> Path:
    """Saved by TensorFlow; `pieces` are its ``shape_and_slices``."""
    import tensorflow as tf

    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=pieces or [""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return prefix


def merge(prefix: Path, parts: Sequence[Path]) -> Path:
    """Several bundles as one of several data files, merged by TensorFlow."""
    import tensorflow as tf

    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(part) for part in parts],
        destination_prefix=str(prefix),
        delete_old_dirs=False,
    )
    return prefix


def rows(index: Path) -> list[tuple[bytes, bytes]]:
    return list(Table(np.frombuffer(index.read_bytes(), np.uint8), index))


def rewrite(index: Path, change: Callable[[bytes, bytes], bytes]) -> None:
    changed = [(key, change(key, value)) for key, value in rows(index)]
    with open(index, "wb") as file:
        write_table(file, changed)


def change_entry(index: Path, name: bytes, change: Callable[[BundleEntryProto], None]) -> None:
    def changed(key: bytes, value: bytes) -> bytes:
        if key != name:
            return value
        entry = BundleEntryProto.FromString(value)
        change(entry)
        return entry.SerializeToString()

    rewrite(index, changed)


def assert_same(ours: np.ndarray, theirs: object) -> None:
    """Bit for bit, and of one dtype and shape."""
    expected = np.asarray(theirs)
    if expected.dtype.kind in "OS":
        assert ours.dtype == np.object_
        assert ours.shape == expected.shape
        assert ours.tolist() == expected.tolist()
        return
    assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape)
    assert ours.tobytes() == expected.tobytes()
    assert ours.flags.c_contiguous
    assert ours.flags.aligned
    assert not ours.flags.writeable
