"""Bundles that TensorFlow writes here and now, against the values it was given."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.formats.tensorflow.saving import assert_same, change_entry, merge, rewrite, save
from tfpt.errors import SourceError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats import open_source
from tfpt.formats.tensorflow.bundle import BundleSource
from tfpt.formats.tensorflow.tensorflow_pb2 import BundleHeaderProto
from tfpt.tensors import DTYPES

NUMBERS = [d for d in DTYPES.values() if d.itemsize and d.tensorflow]


def some_values(dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    count = int(np.prod(shape))
    rng = np.random.default_rng(7)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(-2, 2, count).astype(np.int8).astype(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda d: d.name)
def test_every_dtype_of_numbers_is_read_as_it_was_written(tmp_path: Path, dtype) -> None:
    tf = pytest.importorskip("tensorflow")
    values = {"cube": some_values(dtype.numpy, (3, 5, 7)), "scalar": some_values(dtype.numpy, ())}
    values["empty"] = some_values(dtype.numpy, (0, 5))
    plain = {name: tf.constant(value) for name, value in values.items()}
    if dtype.name.startswith("q"):
        kind = tf.dtypes.as_dtype(dtype.tensorflow)
        plain = {name: tf.bitcast(tensor, kind) for name, tensor in plain.items()}
    source = BundleSource(save(tmp_path / "b", plain))
    for name, value in values.items():
        assert source.specs[name].dtype == dtype.name
        assert_same(source.read(name), value)


def test_random_bits_of_floats_survive_nans_included(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    bits = np.random.default_rng(1).integers(0, 1 << 32, 997, dtype=np.uint32)
    source = BundleSource(save(tmp_path / "b", {"x": tf.constant(bits.view(np.float32))}))
    assert_same(source.read("x").view(np.uint32), bits)


def test_strings_of_every_length_are_read(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    strings = np.array(
        [b"", "höhe π".encode(), b"a\x00b\x00", b"x" * 127, b"y" * 128, b"z" * 70001], np.object_
    )
    tensors = {"list": strings, "grid": strings.reshape(3, 2), "empty": np.empty((0, 3), np.object_)}
    source = BundleSource(
        save(
            tmp_path / "b",
            {n: tf.constant(v, tf.string) for n, v in tensors.items()} | {"one": tf.constant(b"k\x00")},
        )
    )
    for name, value in tensors.items():
        assert source.specs[name].dtype == "string"
        assert_same(source.read(name), value)
    assert source.read("one").item() == b"k\x00"


def test_numbers_after_an_odd_number_of_bytes_come_aligned(tmp_path: Path) -> None:
    values = {"a": np.arange(3, dtype=np.int8), "b": np.arange(11, dtype=np.complex128)}
    write_bundle(tmp_path / "b", values)
    source = BundleSource(tmp_path / "b")
    for name, value in values.items():
        assert_same(source.read(name), value)


def test_reading_takes_the_memory_of_the_tensor_once(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a": np.arange(1_000_003.0)})
    source = BundleSource(tmp_path / "b")
    tracemalloc.start()
    values = source.read("a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values.nbytes <= peak < 1.2 * values.nbytes


def test_arrays_outlive_the_source_and_a_release(tmp_path: Path) -> None:
    value = np.arange(100_003, dtype=np.float32)
    write_bundle(tmp_path / "b", {"a": value, "c": value + 1})
    source = BundleSource(tmp_path / "b")
    read = source.read("a")
    source.release("a")
    source.release("no such tensor")
    source.close()
    assert_same(read, value)
    assert_same(source.read("c"), value + 1)


def test_variants_and_resources_are_named_but_not_read(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    shape = tf.constant([], tf.int32)
    held = tf.raw_ops.EmptyTensorList(element_shape=shape, max_num_elements=3, element_dtype=tf.float32)
    source = BundleSource(save(tmp_path / "b", {"list": held, "w": tf.constant(1.0)}))
    assert source.specs["list"].dtype == "variant"
    with pytest.raises(SourceError, match="only TensorFlow can represent"):
        source.read("list")
    assert source.read("w").item() == 1.0


def test_four_data_files_are_read_each_for_its_tensors(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    values = {f"w{i}": some_values(np.dtype(np.float32), (i + 2, 5)) for i in range(4)}
    parts = [save(tmp_path / f"part{i}", {n: tf.constant(v)}) for i, (n, v) in enumerate(values.items())]
    source = BundleSource(merge(tmp_path / "b", parts))
    assert (tmp_path / "b.data-00003-of-00004").is_file()
    with ThreadPoolExecutor(8) as pool:
        for name, read in zip(list(values) * 8, pool.map(source.read, list(values) * 8), strict=True):
            assert_same(read, values[name])


SPLITS = {
    "rows": ((7, 5), ["0,3:-", "3,4:-"]),
    "columns": ((7, 5), ["-:0,2", "-:2,3"]),
    "both axes": ((7, 5), ["0,3:0,2", "0,3:2,3", "3,4:0,2", "3,4:2,3"]),
    "one axis, 13 pieces": ((13,), [f"{i},1" for i in range(13)]),
    "far starts": ((20011, 2), ["0,63:-", "63,1:-", "64,8128:-", "8192,11819:-"]),
    "three axes, uneven": ((5, 3, 2), ["0,2:-:-", "2,3:0,1:-", "2,3:1,2:0,1", "2,3:1,2:1,1"]),
    "the whole as one": ((7, 5), ["0,7:-"]),
}


def cut(value: np.ndarray, piece: str) -> np.ndarray:
    spans = [None if s == "-" else [int(n) for n in s.split(",")] for s in piece.split(":")]
    return value[tuple(slice(None) if s is None else slice(s[0], sum(s)) for s in spans)]


@pytest.mark.parametrize("name", ["w", "scope/w_1:0", "ÿ\u0101"])
@pytest.mark.parametrize("split", SPLITS)
def test_a_partitioned_variable_is_put_together_from_several_files(
    tmp_path: Path, split: str, name: str
) -> None:
    tf = pytest.importorskip("tensorflow")
    shape, pieces = SPLITS[split]
    value = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    whole = " ".join(map(str, shape))
    parts = [
        save(
            tmp_path / f"part{i}",
            {name: tf.constant(cut(value, p)), f"own{i}": tf.constant(i)},
            [f"{whole} {p}", ""],
        )
        for i, p in enumerate(pieces)
    ]
    prefix = merge(tmp_path / "b", parts)
    source = BundleSource(prefix)
    reader = tf.train.load_checkpoint(str(prefix))
    assert set(source.specs) == set(reader.get_variable_to_shape_map())
    assert_same(source.read(name), reader.get_tensor(name))
    assert_same(source.read(name), value)
    source.release(name)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "bool", "complex64", "int64"])
def test_pieces_of_several_dtypes_within_one_file(tmp_path: Path, dtype: str) -> None:
    tf = pytest.importorskip("tensorflow")
    value = some_values(DTYPES[dtype].numpy, (7, 5))
    # One save takes each name once: a list of pieces of one variable needs names given twice.
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "b"),
        tensor_names=["w", "w"],
        shape_and_slices=["7 5 0,3:-", "7 5 3,4:-"],
        tensors=[tf.constant(value[:3]), tf.constant(value[3:])],
    )
    assert_same(BundleSource(tmp_path / "b").read("w"), value)


def test_pieces_with_a_gap_are_refused(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    parts = [save(tmp_path / "p0", {"w": tf.zeros((3, 5))}, ["7 5 0,3:-"])]
    parts += [save(tmp_path / "p1", {"w": tf.zeros((3, 5))}, ["7 5 4,3:-"])]
    source = BundleSource(merge(tmp_path / "b", parts))
    assert source.specs["w"].shape == (7, 5)
    with pytest.raises(SourceError, match="leave gaps"):
        source.read("w")


def test_a_bool_stored_as_another_byte_than_one_is_true(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"flags": np.array([0, 1, 2, 255], np.uint8)})
    change_entry(tmp_path / "b.index", b"flags", lambda entry: setattr(entry, "dtype", 10))
    assert_same(BundleSource(tmp_path / "b").read("flags"), np.array([False, True, True, True]))


def test_a_big_endian_bundle_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"w": np.zeros(3)})
    header = BundleHeaderProto(num_shards=1, endianness=BundleHeaderProto.BIG)
    rewrite(tmp_path / "b.index", lambda key, value: value if key else header.SerializeToString())
    with pytest.raises(SourceError, match="big-endian"):
        BundleSource(tmp_path / "b")


def test_a_bundle_for_newer_readers_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"w": np.zeros(3)})
    header = BundleHeaderProto(num_shards=1)
    header.version.min_consumer = 2
    rewrite(tmp_path / "b.index", lambda key, value: value if key else header.SerializeToString())
    with pytest.raises(SourceError, match="newer reader"):
        BundleSource(tmp_path / "b")


def test_a_name_that_is_not_there_brings_the_nearest(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"conv/kernel": np.zeros(3), "conv/bias": np.zeros(3)})
    with pytest.raises(SourceError) as caught:
        BundleSource(tmp_path / "b").read("conv/kernels")
    assert caught.value.nearest[0] == "conv/kernel"


def test_the_fingerprint_changes_with_one_value(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", {"w": np.zeros(3)})
    write_bundle(tmp_path / "b", {"w": np.zeros(3)})
    write_bundle(tmp_path / "c", {"w": np.array([0.0, 0.0, 1.0])})
    prints = [BundleSource(tmp_path / name).fingerprint() for name in "abc"]
    assert prints[0] == prints[1] != prints[2]
    assert len(prints[0]) == 32


def test_importing_the_reader_brings_in_neither_torch_nor_tensorflow() -> None:
    code = "import sys, tfpt.formats.tensorflow.bundle; print([m for m in ('torch', 'tensorflow') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_pointers_of_git_lfs_are_said_to_be_some(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    write_bundle(tmp_path / "m", {"w": np.arange(999, dtype=np.float32)})
    (tmp_path / "m.data-00000-of-00001").write_bytes(pointer)
    source = open_source(tmp_path / "m")
    with pytest.raises(SourceError, match="pointer of Git LFS") as caught:
        source.read("w")
    assert "m.data-00000-of-00001" in str(caught.value.where)
    (tmp_path / "m.index").write_bytes(pointer)
    for place in (tmp_path, tmp_path / "m", tmp_path / "m.index"):
        with pytest.raises(SourceError, match="pointer of Git LFS"):
            open_source(place)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(pointer)
    with pytest.raises(SourceError, match="pointer of Git LFS"):
        open_source(tmp_path / "saved")
