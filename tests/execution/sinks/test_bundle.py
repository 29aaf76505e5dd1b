"""Bundles that tfpt writes, against TensorFlow's reader and against what TensorFlow writes itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.formats.tensorflow.saving import assert_same, save
from tfpt.errors import SinkError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats.tensorflow.bundle import BundleSource
from tfpt.tensors import BY_NUMPY, DTYPES, TensorSpec

PLAIN = [d for d in BY_NUMPY.values() if d.itemsize and d.tensorflow]


def some_tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    tensors = {
        f"block{at}/{d.name}": rng.integers(0, 2, (at + 1, 5, 7)).astype(np.int8).astype(d.numpy)
        for at, d in enumerate(PLAIN)
    }
    tensors["scalar"] = np.array(3.5, np.float32)
    tensors["empty"] = np.zeros((0, 3), np.float64)
    tensors["strings"] = np.array([[b"a", b""], ["höhe".encode(), b"z" * 300]], np.object_)
    return tensors


@pytest.mark.parametrize("shards", [1, 4])
def test_tensorflow_reads_back_every_dtype(tmp_path: Path, shards: int) -> None:
    tf = pytest.importorskip("tensorflow")
    tensors = some_tensors()
    write_bundle(tmp_path / "b", tensors, num_shards=shards)
    assert len(list(tmp_path.glob("b.data-*"))) == shards
    dtypes = [DTYPES["string"] if v.dtype == object else BY_NUMPY[v.dtype] for v in tensors.values()]
    kinds = [tf.dtypes.as_dtype(d.tensorflow) for d in dtypes]
    read = tf.raw_ops.RestoreV2(
        prefix=str(tmp_path / "b"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        dtypes=kinds,
    )
    for (name, value), theirs in zip(tensors.items(), read, strict=True):
        assert theirs.shape == value.shape, name
        assert theirs.numpy().tobytes() == value.tobytes() if value.dtype != object else True, name
        assert value.dtype != object or theirs.numpy().tolist() == value.tolist()
        assert_same(BundleSource(tmp_path / "b").read(name), value)


def test_the_files_are_those_tensorflow_writes_byte_for_byte(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    tensors: dict[str, np.ndarray] = {
        # Enough names for several blocks in the index.
        f"layer_{at:05d}/kernel": np.full((at % 5, 3), at, np.float32)
        for at in range(9001)
    }
    tensors |= {
        "Zoë/w": np.arange(7),
        "strings": np.array([b"a", b"b" * 200], np.object_),
        "step": np.array(3),
    }
    tensors = dict(sorted(tensors.items(), key=lambda row: row[0].encode()))
    save(tmp_path / "theirs", {name: tf.constant(value) for name, value in tensors.items()})
    write_bundle(tmp_path / "ours", tensors)
    for suffix in (".index", ".data-00000-of-00001"):
        assert (tmp_path / f"ours{suffix}").read_bytes() == (tmp_path / f"theirs{suffix}").read_bytes()


def test_the_folder_knows_its_latest_checkpoint(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    write_bundle(tmp_path / "new" / "model.ckpt-7", {"w": np.zeros(3)})
    assert tf.train.latest_checkpoint(str(tmp_path / "new")) == str(tmp_path / "new" / "model.ckpt-7")
    write_bundle(tmp_path / "quiet" / "model.ckpt-7", {"w": np.zeros(3)}, write_state=False)
    assert not (tmp_path / "quiet" / "checkpoint").exists()


def test_arrays_are_asked_for_one_at_a_time(tmp_path: Path) -> None:
    alive: list[str] = []

    def rows() -> Iterator[tuple[TensorSpec, object]]:
        for at in (3, 1, 2):
            alive.append(f"asked {at}")
            yield (
                TensorSpec(f"w{at}", (5,), "qint8"),
                lambda at=at: alive.append(f"made {at}") or np.full(5, at, np.int8),
            )

    write_bundle(tmp_path / "b", rows(), num_shards=2)
    assert alive == ["asked 3", "made 3", "asked 1", "made 1", "asked 2", "made 2"]
    source = BundleSource(tmp_path / "b")
    assert [str(spec) for spec in source.specs.values()] == [f"w{at} [5] qint8" for at in (1, 2, 3)]
    assert source.read("w2").tolist() == [2] * 5


@pytest.mark.parametrize(
    "array",
    [
        np.arange(35).reshape(5, 7).T,
        np.arange(70).reshape(7, 10)[:, ::2],
        np.arange(35, dtype=">i8").reshape(7, 5),
        np.asfortranarray(np.arange(35).reshape(7, 5)),
    ],
)
def test_arrays_of_any_layout_are_stored_in_order(tmp_path: Path, array: np.ndarray) -> None:
    write_bundle(tmp_path / "b", {"w": array})
    assert BundleSource(tmp_path / "b").read("w").tolist() == array.tolist()


def test_text_is_stored_as_utf8(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"w": np.array(["höhe", ""]), "s": np.array("π")})
    source = BundleSource(tmp_path / "b")
    assert source.read("w").tolist() == ["höhe".encode(), b""]
    assert source.read("s").item() == "π".encode()


def _fails() -> np.ndarray:
    raise KeyError("nothing to write")


REFUSED = {
    "an empty name": ([(TensorSpec("", (), "int64"), np.array(1))], SinkError),
    "a name kept by the format": ([(TensorSpec("\0w", (), "int64"), np.array(1))], SinkError),
    "a name twice": ([(TensorSpec("w", (), "int64"), np.array(1))] * 2, SinkError),
    "another shape than announced": ([(TensorSpec("w", (2,), "int64"), np.array(1))], SinkError),
    "another dtype than announced": ([(TensorSpec("w", (), "int32"), np.array(1))], SinkError),
    "a variant": ([(TensorSpec("w", (), "variant"), np.array(1))], SinkError),
    "a dtype of no one": ([(TensorSpec("w", (), "int128"), np.array(1))], SinkError),
    "a string that is a number": ({"w": np.array([b"a", 3], object)}, SinkError),
    "a dtype TensorFlow has not": ({"w": np.array(1, "datetime64[s]")}, SinkError),
    "an error of the caller's": ([(TensorSpec("w", (), "int64"), _fails)], KeyError),
}


@pytest.mark.parametrize(("tensors", "error"), REFUSED.values(), ids=REFUSED)
def test_an_error_leaves_nothing_behind(tmp_path: Path, tensors: object, error: type[Exception]) -> None:
    rows: object = [(TensorSpec("first", (), "int64"), np.array(0)), *tensors]
    if isinstance(tensors, dict):
        rows = {"first": np.zeros(1000), **tensors}
    with pytest.raises(error):
        write_bundle(tmp_path / "b", rows, num_shards=3)
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_checkpoint_of_before(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"w": np.arange(3)})
    with pytest.raises(SinkError):
        write_bundle(tmp_path / "b", [(TensorSpec("w", (2,), "int64"), np.array(1))])
    assert BundleSource(tmp_path / "b").read("w").tolist() == [0, 1, 2]


def test_the_systems_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=r"cannot write the checkpoint: .*(directory|exists)"):
        write_bundle(tmp_path / "file" / "b", {"w": np.zeros(3)})
    with pytest.raises(SinkError, match="one data file"):
        write_bundle(tmp_path / "b", {}, num_shards=0)


def test_a_bundle_of_nothing_is_a_bundle(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {})
    assert dict(BundleSource(tmp_path / "b").specs) == {}
