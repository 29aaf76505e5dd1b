"""What HDF5 files hold, in the eyes of h5py and in ours: files of all kinds that h5py writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from tests.formats.keras.building import assert_same
from tfpt.errors import SourceError
from tfpt.formats.hdf5.classic import ClassicTree
from tfpt.formats.hdf5.open_file import HDF5File
from tfpt.formats.hdf5.subprocess_reader import SubprocessTree
from tfpt.io.storage import open_storage

RANDOM = np.random.default_rng(11)
# What h5py.File takes: the usual kind, behind a user block, and those that only the library reads.
KINDS: dict[str, dict[str, Any]] = {
    "usual": {},
    "user block": {"userblock_size": 2048},
    "latest": {"libver": "latest"},
    "order kept": {"track_order": True},
}
USUAL = ("usual", "user block")


def opened(path: Path) -> HDF5File:
    return HDF5File(open_storage(str(path)))


def compare(path: Path) -> HDF5File:
    """Every dataset and attribute, bit for bit as h5py reads it."""
    ours = opened(path)
    with h5py.File(path, "r") as file:
        seen = list(_compare(ours, "", file))
    assert sorted(seen) == sorted(ours.datasets)
    return ours


def _compare(ours: HDF5File, name: str, item: Any) -> Iterator[str]:
    for key, value in item.attrs.items():
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in np.ravel(np.asarray(value, object))]
        assert ours.texts(name, key) == texts, key
    if not isinstance(item, h5py.Dataset):
        assert name in ours.groups
        for inner in item:
            yield from _compare(ours, f"{name}/{inner}" if name else inner, item[inner])
        return
    yield name
    values = np.asarray(item[()])
    read = ours.read(ours.datasets[name])
    if ours.datasets[name].spec.dtype == "string":
        assert read.shape == values.shape
        assert read.ravel().tolist() == [v if isinstance(v, bytes) else v.encode() for v in values.ravel()]
    else:
        assert_same(read, values.astype(values.dtype.newbyteorder("=")))


@pytest.mark.parametrize("kind", KINDS)
def test_dtypes(tmp_path: Path, kind: str) -> None:
    with h5py.File(tmp_path / "m.h5", "w", **KINDS[kind]) as file:
        for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"):
            for order in "<>":
                values = RANDOM.integers(0, 100, (3, 5, 7)).astype(order + code)
                file[f"{order}{code}"] = values * (2 - 3j) if code[0] == "c" else values
        file["flags"] = np.array([True, False, True])
        file["scalar"] = np.float32(5)
        file["none of them"] = np.zeros((0, 3), np.int16)
        file["enum"] = np.array([1, 0, 2], h5py.enum_dtype({"a": 0, "b": 1, "c": 2}, "i4"))
    ours = compare(tmp_path / "m.h5")
    assert (ours._confined is None) == (kind in USUAL)
    ours.close()


@pytest.mark.parametrize("kind", KINDS)
def test_texts(tmp_path: Path, kind: str) -> None:
    with h5py.File(tmp_path / "m.h5", "w", **KINDS[kind]) as file:
        file["any length"] = ["ab", "", "größer", "x" * 5000]
        file["one"] = "one"
        file["fixed"] = np.array([[b"ab", b"c\0d", b""], [b"abcd", b" a ", b"\0"]])
        file.create_dataset("blanks", data=np.array([b"ab  ", b"    "]), dtype=h5py.string_dtype("ascii", 4))
        file.create_dataset("chunks", data=np.array([b"ab", b"c", b"defg"]), chunks=(2,), compression="gzip")
        file.create_dataset("unwritten", (3,), h5py.string_dtype())
        file.attrs["one"] = "a text"
        file.attrs["bytes"] = b"bytes"
        file.attrs["list"] = ["a", "größer", ""]
        file.attrs["fixed"] = [b"abc", b"d"]
        file.attrs["numbers"] = [1.5, 2.0]
        file.attrs["none"] = np.zeros(0)
        file.attrs["long"] = "x" * 200_000
        for number in range(40):
            file.attrs[f"more {number}"] = f"{number}"
    compare(tmp_path / "m.h5").close()


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_and_filters(tmp_path: Path, kind: str) -> None:
    with h5py.File(tmp_path / "m.h5", "w", **KINDS[kind]) as file:
        values = RANDOM.integers(0, 9, (11, 13, 5)).astype(np.float32)
        filters: dict[str, dict[str, Any]] = {
            "plain": {},
            "gzip": {"compression": "gzip", "compression_opts": 9},
            "shuffle": {"shuffle": True},
            "checksum": {"fletcher32": True},
            "all": {"compression": "gzip", "shuffle": True, "fletcher32": True},
            "lzf": {"compression": "lzf", "shuffle": True},
        }
        for name, options in filters.items():
            for chunks in ((11, 13, 5), (4, 3, 5), (1, 7, 2)):
                file.create_dataset(f"{name} {chunks}", data=values, chunks=chunks, **options)
        file.create_dataset(
            "bytes", data=RANDOM.integers(0, 255, 20_011, np.uint8), chunks=(997,), fletcher32=True
        )
        file.create_dataset("zeros", data=np.zeros(1000, "i2"), chunks=(100,), fletcher32=True, shuffle=True)
        file.create_dataset("scaled", data=np.arange(500), chunks=(100,), scaleoffset=0)
        holes = file.create_dataset("holes", (20, 30), "i2", chunks=(7, 7), fillvalue=-3)
        holes[8:10, 15:25] = 5
        grown = file.create_dataset(
            "grown", (3, 4), "f8", chunks=(2, 3), maxshape=(None, 9), compression="gzip"
        )
        grown[...] = 7
        grown.resize((5, 8))
        grown.resize((4, 6))
        file.create_dataset("unwritten", (3, 5), "f4", fillvalue=2.5)
        file.create_dataset("unwritten in chunks", (3, 5), "f4", chunks=(2, 2))
        big = file.create_dataset("many chunks", (700,), ">i4", chunks=(1,))
        big[:] = np.arange(700)
    ours = compare(tmp_path / "m.h5")
    if kind in USUAL:
        assert ours._classic is not None
        unknown = [name for name, dataset in ours.datasets.items() if not ours._classic.is_read_here(dataset)]
        assert {name.partition(" ")[0] for name in unknown} == {"lzf", "scaled"}
    ours.close()


@pytest.mark.parametrize("kind", KINDS)
def test_names_in_any_number_and_of_any_kind(tmp_path: Path, kind: str) -> None:
    with h5py.File(tmp_path / "m.h5", "w", **KINDS[kind]) as file:
        for number in RANDOM.permutation(250):
            file[f"layer_{number}/vars/{number % 3}"] = np.float32(number)
        file["größer/ : *"] = np.ones(2)
        file["n" * 3000] = np.ones(3)
        for number in range(0, 250, 3):
            del file[f"layer_{number}"]
        file["again"] = file["layer_1/vars/1"]
    ours = compare(tmp_path / "m.h5")
    layers = [name for name in ours.datasets if name.startswith("layer")]
    assert layers == sorted(layers, key=lambda name: int(name.split("/")[0][6:]))
    ours.close()


@pytest.mark.parametrize("kind", KINDS)
def test_opaque_pairs_of_bytes_are_bfloat16(tmp_path: Path, kind: str) -> None:
    values = np.arange(7).astype(ml_dtypes.bfloat16)
    with h5py.File(tmp_path / "m.h5", "w", **KINDS[kind]) as file:
        file["old"] = values.view("V2")
        file["new"] = values.view("V2")
        file["new"].attrs["dtype"] = "bfloat16"
        file["other"] = values.view("V2")
        file["other"].attrs["dtype"] = "something"
        file["triples"] = np.zeros(3, "V3")
    ours = opened(tmp_path / "m.h5")
    assert {name: d.spec.dtype for name, d in ours.datasets.items()} == {"old": "bfloat16", "new": "bfloat16"}
    assert set(ours.skipped) == {"other", "triples"}
    for dataset in ours.datasets.values():
        assert_same(ours.read(dataset), values)
    ours.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_is_left_out_with_a_reason(tmp_path: Path, kind: str) -> None:
    (tmp_path / "passwords").write_bytes(b"0123456789abcdef")
    with h5py.File(tmp_path / "m.h5", "w", **KINDS[kind]) as file:
        file["w"] = np.ones(3)
        file["records"] = np.zeros(2, [("x", "f4"), ("n", "i4")])
        file["references"] = np.array([file["w"].ref], h5py.ref_dtype)
        file["regions"] = np.array([file["w"].regionref[:2]], h5py.regionref_dtype)
        file.create_dataset("runs", (2,), h5py.vlen_dtype("i4"))
        file.create_dataset("arrays", (2,), np.dtype("(3,)f4"))
        file["opaque"] = np.zeros(2, "V5")
        file["empty"] = h5py.Empty("f4")
        file.create_dataset("texts", (20,), h5py.string_dtype(), chunks=(10,))
        file.create_dataset("external", (4,), "f4", external=[(str(tmp_path / "passwords"), 0, 16)])
        file["type"] = np.dtype("f4")
        file["soft"] = h5py.SoftLink("/w")
        file["group/inner"] = np.ones(2)
        file["loop"] = file["/"]
        file["group/again"] = file["group"]
    ours = opened(tmp_path / "m.h5")
    assert set(ours.datasets) == {"w", "group/inner"}
    assert ours.skipped == {
        "records": "records of several fields",
        "references": "references to other objects",
        "regions": "references to other objects",
        "runs": "variable-length arrays",
        "arrays": "elements that are arrays",
        "opaque": "opaque elements of 5 bytes",
        "empty": "a dataset without elements",
        "texts": "variable-length texts in chunks",
        "external": "values in other files",
        "type": "neither a group nor a dataset",
        "soft": "a soft link to /w",
        "loop": "the group / again",
        "group/again": "the group /group again",
    }
    ours.close()


def test_links_to_other_files_and_virtual_datasets_are_left_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["key"] = np.arange(10)
    layout = h5py.VirtualLayout((10,), "i8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "key", (10,))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["w"] = np.ones(3)
        file["link"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/key")
        file.create_virtual_dataset("virtual", layout)
    ours = opened(tmp_path / "m.h5")
    assert set(ours.datasets) == {"w"}
    assert ours.skipped == {"link": "a link to another file", "virtual": "values in other datasets"}
    ours.close()


def test_both_readers_agree_on_one_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/b"] = np.arange(6.0).reshape(2, 3)
        file["c"] = ["x", "y"]
        file["d"] = h5py.SoftLink("/a")
        file["a"].attrs["weight_names"] = [b"b"]
    here, there = (kind(open_storage(str(tmp_path / "m.h5"))) for kind in (ClassicTree, SubprocessTree))
    assert here.datasets == there.datasets
    assert here.skipped == there.skipped
    assert here.groups == there.groups
    assert here.texts("a", "weight_names") == there.texts("a", "weight_names") == ["b"]
    for dataset in here.datasets.values():
        assert here.read(dataset).tolist() == there.read(dataset).tolist()
    there.close()


def test_a_file_that_is_closed_is_held_by_nothing(tmp_path: Path) -> None:
    for name, options in (("a.h5", {}), ("b.h5", {"libver": "latest"})):
        path = tmp_path / name
        with h5py.File(path, "w", **options) as file:
            file["w"] = np.arange(5)
            file.create_dataset("packed", data=np.arange(5), chunks=(5,), compression="lzf")
        ours = opened(path)
        kept = [ours.read(each) for each in ours.datasets.values()]
        ours.close()
        held = [f"/proc/self/fd/{number}" for number in Path("/proc/self/fd").iterdir()]
        assert str(path) not in {str(Path(each).resolve()) for each in held}
        assert str(path) not in Path("/proc/self/maps").read_text()
        with h5py.File(path, "r+") as file:
            file["w"][:] = 7
        assert kept[1].tolist() == list(range(5))


def test_a_file_that_is_cut_off_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(100_000.0)
    ours = opened(path)
    with path.open("r+b") as raw:
        raw.truncate(10_000)
    with pytest.raises(SourceError, match="was truncated"):
        ours.read(ours.datasets["w"])
    ours.close()
