"""What numpy saved is read as numpy reads it."""

from __future__ import annotations

import collections
import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.conftest import SHARED
from tfpt import open_source
from tfpt.errors import SourceError
from tfpt.formats.numpy.source import open_numpy

DET = SHARED / "real" / "npy-facenet-mtcnn"
BIT = SHARED / "gold" / "converters" / "bit_npz" / "tf" / "BiT-tiny.npz"

DTYPES = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 c8 c16 b1".split()  # noqa: SIM905


def assert_same(values: np.ndarray, expected: np.ndarray) -> None:
    assert values.shape == expected.shape
    assert values.dtype == expected.dtype.newbyteorder("=")
    assert values.flags.c_contiguous
    assert not values.flags.writeable
    assert values.tobytes() == np.ascontiguousarray(expected).astype(values.dtype).tobytes()


def save_object(path: Path, content: object, protocol: int = 4) -> Path:
    """An `.npy` file of one object, as numpy writes it, with the pickle's protocol of choice."""
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(pickle.dumps(_as_objects(content), protocol))
    return path


def _as_objects(content: object) -> np.ndarray:
    array = np.empty((), object)
    array[()] = content
    return array


@pytest.mark.skipif(not DET.is_dir(), reason=f"the real files are not at {DET}")
@pytest.mark.parametrize("name", ["det1", "det2", "det3"])
def test_a_dict_of_dicts_that_python_2_pickled(name: str) -> None:
    path = DET / f"{name}.npy"
    expected = np.load(path, allow_pickle=True, encoding="latin1").item()
    source = open_numpy(str(path))
    names = [f"{layer}/{part}" for layer, parts in expected.items() for part in parts]
    assert list(source.specs) == names
    assert "conv1/weights" in names
    for layer, parts in expected.items():
        for part, array in parts.items():
            values = source.read(f"{layer}/{part}")
            assert_same(values, array)
            assert str(source.specs[f"{layer}/{part}"]) == (
                f"{layer}/{part} {list(array.shape)} {array.dtype.name}"
            )
    assert not source.skipped
    assert not source.roles


@pytest.mark.skipif(not BIT.is_file(), reason=f"the gold file is not at {BIT}")
def test_a_published_archive_is_read_without_copies() -> None:
    source = open_numpy(str(BIT))
    with np.load(BIT) as archive:
        assert list(source.specs) == archive.files
        for name in archive.files:
            assert_same(source.read(name), archive[name])
    assert "resnet/root_block/standardized_conv2d/kernel" in source.specs
    assert source.format == "NumPy archive"


@pytest.mark.parametrize("packed", [False, True])
def test_every_dtype_order_and_rank(tmp_path: Path, packed: bool) -> None:
    random = np.random.default_rng(11)
    arrays = {}
    for code in DTYPES:
        for order in "<>":
            for shape in ((), (0,), (5,), (3, 5, 7)):
                values = (random.normal(size=shape) * 50).astype(order + code)
                arrays[f"{code}/{order}{len(shape)}"] = values
                arrays[f"{code}/{order}{len(shape)}/{sum(shape)}/F"] = np.asfortranarray(values)
    (np.savez_compressed if packed else np.savez)(tmp_path / "w.npz", **arrays)
    source = open_numpy(str(tmp_path / "w.npz"))
    assert len(source.specs) == len(arrays)
    for name, values in arrays.items():
        assert source.specs[name].shape == values.shape
        assert source.specs[name].dtype == values.dtype.name
        assert_same(source.read(name), values)


def test_stored_arrays_outlive_the_source(tmp_path: Path) -> None:
    values = np.arange(100_003, dtype="<i4")
    np.save(tmp_path / "w.npy", values)
    source = open_numpy(str(tmp_path / "w.npy"))
    assert list(source.specs) == ["w"]
    read = source.read("w")
    source.release("w")
    source.close()
    assert np.array_equal(read, values)
    with pytest.raises(SourceError, match="was closed"):
        source.read("w")


def test_bfloat16_comes_back_from_two_bytes_of_nothing(tmp_path: Path) -> None:
    values = np.arange(15).reshape(3, 5).astype(ml_dtypes.bfloat16)
    np.savez(tmp_path / "w.npz", w=values)
    save_object(tmp_path / "w.npy", {"w": values})
    for name in ("w.npz", "w.npy"):
        source = open_numpy(str(tmp_path / name))
        assert source.specs["w"].dtype == "bfloat16"
        assert np.array_equal(source.read("w"), values)
    np.save(tmp_path / "f8.npy", values.astype(ml_dtypes.float8_e4m3fn))
    with pytest.raises(SourceError, match="cannot be a tensor"):
        open_numpy(str(tmp_path / "f8.npy")).read("f8")


def test_strings_are_constants_of_bytes(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", s=np.array([b"ab", b""]), u=np.array([["ä", "€uro"]], ">U4"))
    source = open_numpy(str(tmp_path / "w.npz"))
    assert source.read("s").tolist() == [b"ab", b""]
    assert source.read("u").tolist() == [["ä".encode(), "€uro".encode()]]
    assert source.roles == {"s": "constant", "u": "constant"}
    assert {spec.dtype for spec in source.specs.values()} == {"string"}
    assert len(source.fingerprint()) == 32


@pytest.mark.parametrize(
    "values", [np.zeros(3, [("a", "<f4"), ("b", "<i8")]), np.zeros(3, "M8[s]"), np.zeros(3, "V7")]
)
def test_what_no_tensor_can_hold_is_a_record_beside_the_others(tmp_path: Path, values: np.ndarray) -> None:
    np.savez(tmp_path / "w.npz", odd=values, even=np.ones(2))
    source = open_numpy(str(tmp_path / "w.npz"))
    assert source.roles == {"odd": "record"}
    assert source.specs["odd"].shape == (3,)
    assert source.read("even").tolist() == [1, 1]
    with pytest.raises(SourceError, match="cannot be a tensor"):
        source.read("odd")


TREE = {
    "conv": {"w": np.arange(6, dtype=">f4").reshape(2, 3), "b": np.float32(2.5)},
    "blocks": [np.arange(300), (np.asfortranarray(np.arange(6).reshape(2, 3)), None)],
    "step": 7,
    "rate": 0.5,
    "on": True,
    "z": 1 + 2j,
    "name": "äbc",
    "big": 2**70,
    3: collections.OrderedDict(a=np.array(True)),
    "default": collections.defaultdict(list, x=np.ones(2)),
    "objects": np.array([np.ones(2), "x"], dtype=object),
    "sets": {5},
    "empty": {},
}


@pytest.mark.parametrize("protocol", range(6))
def test_dicts_and_lists_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    source = open_numpy(str(save_object(tmp_path / "tree.npy", TREE, protocol)))
    expected = {
        "conv/w": TREE["conv"]["w"],  # type: ignore[index]
        "conv/b": np.float32(2.5),
        "blocks/0": np.arange(300),
        "blocks/1/0": np.arange(6).reshape(2, 3),
        "step": np.int64(7),
        "rate": np.float64(0.5),
        "on": np.bool_(True),
        "z": np.complex128(1 + 2j),
        "3/a": np.bool_(True),
        "default/x": np.ones(2),
        "objects/0": np.ones(2),
        "sets/0": np.int64(5),
    }
    for name, values in expected.items():
        assert_same(source.read(name), np.asarray(values))
    assert source.read("name").item() == "äbc".encode()
    assert source.read("objects/1").item() == b"x"
    assert set(source.specs) == {*expected, "name", "objects/1"}
    assert source.skipped == {"blocks/1/1": "None", "big": "an integer of more than 64 bits"}


def test_objects_in_an_archive_are_named_after_their_member(tmp_path: Path) -> None:
    lists = np.empty((2, 1), object)
    lists[:, 0] = [np.ones(2), {"k": np.zeros(3)}]
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "w.npz", tree=_as_objects({"a": np.arange(500)}), lists=lists, plain=np.ones(1))
        source = open_numpy(str(tmp_path / "w.npz"))
        assert list(source.specs) == ["tree/a", "lists/0/0", "lists/1/0/k", "plain"]
        assert np.array_equal(source.read("tree/a"), np.arange(500))
        assert np.array_equal(source.read("lists/1/0/k"), np.zeros(3))


def test_names_that_come_twice_are_refused(tmp_path: Path) -> None:
    save_object(tmp_path / "w.npy", {"a/b": np.ones(1), "a": {"b": np.zeros(1)}})
    with pytest.raises(SourceError, match="two values have the name 'a/b'"):
        open_numpy(str(tmp_path / "w.npy"))


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{"conv/kernel": np.ones(1), "conv/bias": np.ones(1)})
    with pytest.raises(SourceError, match="no tensor called 'conv/kernle'") as caught:
        open_numpy(str(tmp_path / "w.npz")).read("conv/kernle")
    assert caught.value.nearest[0] == "conv/kernel"


@pytest.mark.parametrize("kind", ["npz", "packed", "npy", "objects"])
def test_the_fingerprint_follows_the_content_and_not_the_date(tmp_path: Path, kind: str) -> None:
    prints = []
    for fill in (1.0, 1.0, 2.0):
        values = np.full((101, 7), fill)
        if kind == "npy":
            np.save(tmp_path / "w", values)
        elif kind == "objects":
            save_object(tmp_path / "w.npy", {"a": values, "b": 3})
        else:
            (np.savez if kind == "npz" else np.savez_compressed)(tmp_path / "w.npy", a=values)
            (tmp_path / "w.npy.npz").rename(tmp_path / "w.npy")
        prints.append(open_numpy(str(tmp_path / "w.npy")).fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_headers_of_python_2_and_of_later_versions(tmp_path: Path) -> None:
    text = b"{'descr': '<i2', 'fortran_order': False, 'shape': (2L, 3L), }"
    values = np.arange(6, dtype="<i2").reshape(2, 3)
    (tmp_path / "w.npy").write_bytes(b"\x93NUMPY\1\0" + bytes([len(text), 0]) + text + values.tobytes())
    assert np.array_equal(open_numpy(str(tmp_path / "w.npy")).read("w"), values)
    for version in ((2, 0), (3, 0)):
        with open(tmp_path / "w.npy", "wb") as file:
            np.lib.format.write_array(file, values, version)
        assert np.array_equal(open_numpy(str(tmp_path / "w.npy")).read("w"), values)


def test_an_archive_of_archives_order_and_an_empty_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz")
    assert not open_numpy(str(tmp_path / "w.npz")).specs
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    with (
        zipfile.ZipFile(tmp_path / "big.npz", "w") as archive,
        archive.open("b.npy", "w", force_zip64=True) as f,
    ):
        f.write(buffer.getvalue())
    assert open_numpy(str(tmp_path / "big.npz")).read("b").tolist() == [1, 1, 1]


def test_a_foreign_member_is_skipped_and_not_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.arange(3))
    with zipfile.ZipFile(tmp_path / "w.npz", "a") as archive:
        archive.writestr("README.txt", "hello")
        archive.writestr("b.npy", (tmp_path / "w.npz").read_bytes()[:40], zipfile.ZIP_BZIP2)
        buffer = io.BytesIO()
        np.save(buffer, np.array([print], object))
        archive.writestr("c.npy", buffer.getvalue())
    for source in (open_numpy(str(tmp_path / "w.npz")), open_source(tmp_path / "w.npz")):
        assert source.read("a").tolist() == [0, 1, 2]
        assert source.skipped == {
            "README.txt": "is not an array: its name does not end in .npy",
            "b": "is compressed by method 12, neither stored nor deflated",
            "c": "the pickle would run code: builtins.print",
        }


def test_importing_the_reader_imports_no_framework() -> None:
    frameworks = "{'torch', 'tensorflow'}"
    code = f"import sys, tfpt.formats.numpy.source; print({frameworks} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
