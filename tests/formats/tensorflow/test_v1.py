"""V1 checkpoints that TensorFlow writes here and now, in one file and in several, whole and damaged."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.tensorflow.saving import assert_same
from tfpt.errors import SourceError
from tfpt.execution.sinks.sstable import write_table
from tfpt.formats import open_source
from tfpt.formats.tensorflow.location import locate
from tfpt.formats.tensorflow.slices import Piece, piece_key
from tfpt.formats.tensorflow.sstable import Table
from tfpt.formats.tensorflow.tensorflow_pb2 import SavedTensorSlices
from tfpt.formats.tensorflow.v1 import V1Source
from tfpt.tensors import DTYPES

# What tensor_slice_writer.cc of TensorFlow 2.21 saves in this format.
SAVED = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint16", "uint8", "bool"]
SAVED += ["complex64", "complex128", "string", "qint8", "quint8", "qint32"]


def device_of_piece(operation: Any) -> str:
    _, _, behind = operation.name.rpartition("part_")
    return f"/cpu:{int(behind[0]) % 2}" if behind[:1].isdigit() else "/cpu:0"


def save(prefix: Path, values: dict[str, Any], sharded: bool = False, pieces: int = 0) -> dict[str, Any]:
    """Saved by TensorFlow; variables alternate between two devices. What it holds, partitioned variable included."""
    tf = pytest.importorskip("tensorflow")
    v1 = tf.compat.v1
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default():
        config = v1.ConfigProto(device_count={"CPU": 2})
        saved = []
        for at, (name, value) in enumerate(values.items()):
            with tf.device(f"/cpu:{at % 2}"):
                saved.append(v1.Variable(value, name=name, use_resource=False))
        if pieces:
            maker = v1.random_normal_initializer(seed=1)
            partitioner = v1.fixed_size_partitioner(pieces)
            with v1.device(device_of_piece):
                whole = v1.get_variable(
                    "p", (7, 5), initializer=maker, partitioner=partitioner, use_resource=False
                )
            saved += list(whole)
        with v1.Session(config=config) as session:
            session.run(v1.global_variables_initializer())
            saver = v1.train.Saver(saved, write_version=v1.train.SaverDef.V1, sharded=sharded)
            saver.save(session, str(prefix))
            held = dict(zip(values, session.run(saved[: len(values)]), strict=True))
            if pieces:
                held["p"] = session.run(whole.as_tensor())
    return held


def constant(dtype: str) -> Any:
    tf = pytest.importorskip("tensorflow")
    if dtype == "string":
        return tf.constant([[b"a", b""], [b"b\x00", b"c" * 300], [b"", b"d"]])
    numbers = np.array([[1, 0], [3, 100], [0, 1]])
    kind = DTYPES[dtype]
    array = (numbers + (2j * numbers if dtype.startswith("complex") else 0)).astype(kind.numpy)
    if dtype.startswith("q"):
        return tf.bitcast(tf.constant(array), tf.dtypes.as_dtype(kind.tensorflow))
    return tf.constant(array)


@pytest.mark.parametrize("sharded", [False, True])
def test_every_dtype_that_tensorflow_saves_is_read_as_it_was(tmp_path: Path, sharded: bool) -> None:
    tf = pytest.importorskip("tensorflow")
    with tf.Graph().as_default():
        values = {name: (lambda n=name: constant(n)) for name in SAVED}
        held = save(tmp_path / "m.ckpt", values, sharded, pieces=3)
    source = open_source(tmp_path / "m.ckpt")
    assert source.format == "TensorFlow V1 checkpoint"
    assert set(source.specs) == set(held)
    for name, value in held.items():
        expected = np.asarray(value)
        assert source.specs[name].dtype == (name if name in SAVED else "float32")
        assert_same(
            source.read(name), expected if name == "string" else expected.view(source.read(name).dtype)
        )
        source.release(name)


def test_a_checkpoint_in_several_files_is_named_in_every_way(tmp_path: Path) -> None:
    held = save(tmp_path / "run/m.ckpt-7", {"a": np.float32([1, 2, 3]), "b": np.int64(5)}, sharded=True)
    files = sorted(path.name for path in (tmp_path / "run").glob("*-of-*"))
    assert files == ["m.ckpt-7-00000-of-00002", "m.ckpt-7-00001-of-00002"]
    assert "?????" in (tmp_path / "run/checkpoint").read_text()
    prints = set()
    for named in ["", "/", "/checkpoint", "/m.ckpt-7", "/m.ckpt-7.meta", "/m.ckpt-7-?????-of-00002"] + [
        f"/{name}" for name in files
    ]:
        source = open_source(f"{tmp_path}/run{named}")
        assert source.location == str(tmp_path / "run/m.ckpt-7"), named
        assert {name: source.read(name).tolist() for name in source.specs} == {
            name: value.tolist() for name, value in held.items()
        }
        prints.add(source.fingerprint())
    assert len(prints) == 1
    (tmp_path / "run/checkpoint").unlink()
    assert locate(tmp_path / "run").prefix == str(tmp_path / "run/m.ckpt-7")
    (tmp_path / "run" / files[1]).unlink()
    with pytest.raises(SourceError, match="a file of this V1 checkpoint is missing") as caught:
        open_source(tmp_path / "run" / "m.ckpt-7")
    assert str(caught.value.where).endswith(files[1])


def test_data_files_of_a_bundle_and_records_are_no_v1_checkpoint(tmp_path: Path) -> None:
    for name in ("m.data-00000-of-00001", "m.data-00001-of-00002"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(SourceError, match="the index of this checkpoint is missing"):
            locate(tmp_path / name)


def test_names_and_one_tensor_take_no_more_than_their_blocks(tmp_path: Path) -> None:
    held = save(tmp_path / "m.ckpt", {f"w{at}": np.full(100_003, at, np.float64) for at in range(7)})

    class Counting:
        def __init__(self, data: np.ndarray) -> None:
            self.data, self.taken = data, 0

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, key: slice) -> np.ndarray:
            found = self.data[key]
            self.taken += len(found)
            return found

    data = Counting(np.fromfile(tmp_path / "m.ckpt", np.uint8))
    table = Table(data, "m.ckpt")
    assert table.find(b"")
    assert data.taken < 20_000
    assert table.find(piece_key("w3", Piece((0,), (-1,))))
    assert data.taken < 2_000_000 < len(data)
    assert_same(V1Source(tmp_path / "m.ckpt").read("w3"), held["w3"])


def test_keys_are_found_in_every_block_and_between_them(tmp_path: Path) -> None:
    rows = [(b"" if at == 0 else f"k{at:05d}".encode(), bytes([at % 251]) * 97) for at in range(0, 4000, 2)]
    with open(tmp_path / "t", "wb") as file:
        write_table(file, rows)
    table = Table(np.fromfile(tmp_path / "t", np.uint8), "t")
    for key, value in [*rows[::7], rows[-1]]:
        assert table.find(key) == value
        assert table.find(key + b"\x00") is None
    assert table.find(b"z") is None


def _rewritten(path: Path, to: Path, change: Any) -> Path:
    rows = list(Table(np.fromfile(path, np.uint8), str(path)))
    with open(to, "wb") as file:
        write_table(file, [(key, change(key, SavedTensorSlices.FromString(value))) for key, value in rows])
    return to


def test_lists_and_values_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "m", {"w": np.arange(35, dtype=np.float32).reshape(7, 5)})

    def resized(*sizes: int) -> Any:
        def change(key: bytes, message: SavedTensorSlices) -> bytes:
            if not key:
                del message.meta.tensor[0].shape.dim[:]
                for size in sizes:
                    message.meta.tensor[0].shape.dim.add(size=size)
            return message.SerializeToString()

        return change

    def cut(key: bytes, message: SavedTensorSlices) -> bytes:
        return message.SerializeToString()[: -3 if key else None]

    def unnamed(key: bytes, message: SavedTensorSlices) -> bytes:
        return b"" if key else message.SerializeToString()

    changes = [resized(*s) for s in [(7, 6), (1 << 40, 1 << 40), (-7, -5), (1 << 31, 1), (7,), (0, 5)]]
    for at, change in enumerate([*changes, cut, unnamed]):
        path = _rewritten(tmp_path / "m", tmp_path / f"bad{at}", change)
        with pytest.raises(SourceError):
            V1Source(path).read("w")
    with pytest.raises(SourceError, match="no tensor called 'v'"):
        V1Source(tmp_path / "m").read("v")


def test_pieces_without_end_are_refused_soon(tmp_path: Path) -> None:
    save(tmp_path / "m", {"w": np.zeros((7, 5), np.float32)})

    def many(key: bytes, message: SavedTensorSlices) -> bytes:
        if not key:
            tensor = message.meta.tensor[0]
            del tensor.shape.dim[:], tensor.slice[:]
            for _ in range(8):
                tensor.shape.dim.add(size=40)
            for at in range(40):
                piece = tensor.slice.add()
                for _ in range(8):
                    piece.extent.add(start=at, length=1)
            for _ in range(100_000):
                tensor.slice.add().CopyFrom(tensor.slice[0])
        return message.SerializeToString()

    source = V1Source(_rewritten(tmp_path / "m", tmp_path / "many", many))
    with pytest.raises(SourceError, match="leave gaps, or overlap"):
        source.read("w")


def test_a_flipped_byte_anywhere_is_refused_or_means_nothing(tmp_path: Path) -> None:
    save(tmp_path / "m", {"w": np.arange(7, dtype=np.float32), "names": [b"a", b"bc"]})
    whole = (tmp_path / "m").read_bytes()

    def outcome() -> Any:
        try:
            source = V1Source(tmp_path / "m")
            return {name: source.read(name).tolist() for name in source.specs}
        except SourceError:
            return None

    expected = outcome()
    for at, mask in itertools.product(range(len(whole)), (0x01, 0xFF)):
        (tmp_path / "m").write_bytes(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
        assert outcome() in (None, expected)
    for length in range(len(whole)):
        (tmp_path / "m").write_bytes(whole[:length])
        assert outcome() is None
