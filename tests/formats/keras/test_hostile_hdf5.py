"""HDF5 files that are cut off, that lead elsewhere, or that claim what they do not hold."""

from __future__ import annotations

import contextlib
import importlib.util
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

import tfpt
from tests.growth import cpu_budget
from tfpt.errors import SourceError


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that no other may lead to."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["key"] = np.arange(10)
    return path


def read_all(path: Path, name: str | None = None) -> None:
    source = tfpt.open_source(path)
    for each in source.specs if name is None else [name]:
        source.read(each)


def refused(path: Path, name: str | None = None) -> SourceError:
    """The error of opening a file, or of reading a tensor of it; in bounded processor time."""
    with cpu_budget(5), pytest.raises(SourceError) as caught:
        read_all(path, name) if name else tfpt.open_source(path)
    assert caught.value.where
    return caught.value


def test_links_are_left_out_with_a_reason(tmp_path: Path, secret: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(secret), "/key")
        file["layers/dense/vars/1"] = h5py.SoftLink("/layers/dense/vars/2")
        file["layers/dense/vars/2"] = np.ones(3)
    source = tfpt.open_source(tmp_path / "m.h5")
    assert list(source.specs) == ["layers/dense/vars/2"]
    assert set(source.skipped) == {"layers/dense/vars/0", "layers/dense/vars/1"}
    error = refused(tmp_path / "m.h5", "layers/dense/vars/0")
    assert error.got == "a link to another file"
    source.close()


def test_groups_that_hold_themselves_are_listed_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/b/x"] = np.ones(3)
        file["a/b/again"] = file["a"]
    source = tfpt.open_source(tmp_path / "m.h5")
    assert list(source.specs) == ["a/b/x"]
    assert source.skipped == {"a/b/again": "the group /a again"}


def test_groups_that_multiply_are_listed_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("start")
        for number in range(60):  # 2 ** 60 paths
            inner = file.create_group(f"level{number}")
            group["left"] = group["right"] = inner
            group = inner
        group["x"] = np.ones(3)
    source = tfpt.open_source(tmp_path / "m.h5")
    assert len(source.specs) == 1
    assert len(source.skipped) == 120


def test_groups_without_end_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["/".join("a" * 2000)] = np.ones(3)
    assert "deep" in refused(tmp_path / "m.h5").what


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (1 << 20,), "compression": "gzip"}, {"chunks": (1 << 29,)}]
)
def test_a_size_that_no_bytes_fill_is_refused(tmp_path: Path, options: dict) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("w", (1 << 44,), "f4", **options)
    source = tfpt.open_source(tmp_path / "m.h5")
    assert source.specs["w"].shape == (1 << 44,)
    assert "cannot fill" in refused(tmp_path / "m.h5", "w").what
    assert len(source.fingerprint()) == 32


def test_a_chunk_larger_than_its_dataset_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("w", (3,), "f4", maxshape=(None,), chunks=(1 << 29,))
    assert "cannot fill" in refused(tmp_path / "m.h5", "w").what


def test_zeros_that_pack_well_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("w", data=np.zeros(1 << 20, np.float32), chunks=(1 << 18,), compression="gzip")
        file.create_dataset("unwritten", (5, 7), "f4")
    source = tfpt.open_source(tmp_path / "m.h5")
    assert not source.read("w").any()
    assert source.read("unwritten").shape == (5, 7)


def test_a_long_text_that_many_share_is_bounded(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("words", (1 << 21,), h5py.string_dtype())
    assert "more texts" in refused(tmp_path / "m.h5", "words").what


def test_attributes_that_claim_too_much_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a"] = np.ones(3)
        file.attrs["layer_names"] = np.zeros(8000, "S8")
    content = (tmp_path / "m.h5").read_bytes()
    count = (8000).to_bytes(8, "little")
    assert content.count(count) >= 1
    (tmp_path / "m.h5").write_bytes(content.replace(count, (8000 << 30).to_bytes(8, "little")))
    refused(tmp_path / "m.h5")


def test_a_file_that_is_cut_off_is_refused_at_any_length(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["layers/dense/vars/0"] = np.arange(3000.0)
        file.create_dataset(
            "layers/dense/vars/1", data=np.random.default_rng(0).random(2000), compression="gzip"
        )
    content = (tmp_path / "whole.h5").read_bytes()
    for size in range(8, len(content), len(content) // 40):
        (tmp_path / "m.h5").write_bytes(content[:size])
        with pytest.raises(SourceError):
            read_all(tmp_path / "m.h5")


def test_bytes_that_are_changed_raise_source_errors_or_nothing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["layers/dense/vars/0"] = np.arange(30.0)
        file.attrs["layer_names"] = [b"layers"]
        file["layers"].attrs["weight_names"] = [b"dense/vars/0"]
    content = (tmp_path / "whole.h5").read_bytes()
    random = np.random.default_rng(7)
    read = 0
    for _ in range(150):
        changed = bytearray(content)
        for place in random.integers(8, len(content), 3):
            changed[place] = random.integers(256)
        (tmp_path / "m.h5").write_bytes(changed)
        with contextlib.suppress(SourceError):
            read_all(tmp_path / "m.h5")
            read += 1
    assert 0 < read < 150


@pytest.mark.parametrize("size", [0, 1, 2**63])
def test_a_heap_that_the_library_would_walk_forever_is_refused(tmp_path: Path, size: int) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones(3)
        file.attrs["layer_names"] = "a text of any length"
    content = bytearray((tmp_path / "m.h5").read_bytes())
    heap = content.find(b"GCOL")
    place = heap + 16 + 16 + 24  # behind the heap's header and its only object: the free space
    assert content[place : place + 2] == b"\0\0"
    content[place + 8 : place + 16] = size.to_bytes(8, "little")
    (tmp_path / "m.h5").write_bytes(content)
    assert "heap" in refused(tmp_path / "m.h5").what


def test_a_user_block_in_front_shifts_nothing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w", userblock_size=1024) as file:
        file["w"] = np.arange(100, dtype=np.float32)
    assert tfpt.open_source(tmp_path / "m.h5").read("w").tolist() == list(range(100))


def test_without_h5py_the_command_to_install_it_is_named(tmp_path: Path, monkeypatch) -> None:
    with h5py.File(tmp_path / "usual.h5", "w") as file:
        file["w"] = np.ones(3)
    with h5py.File(tmp_path / "newer.h5", "w", libver="latest") as file:
        file["w"] = np.ones(3)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "h5py" else real(name))
    assert tfpt.open_source(tmp_path / "usual.h5").read("w").tolist() == [1, 1, 1]
    with pytest.raises(SourceError, match="h5py") as caught:
        tfpt.open_source(tmp_path / "newer.h5")
    assert caught.value.hint == "pip install tfpt[keras]"


def test_a_name_that_is_not_there_brings_the_nearest(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["dense/kernel"] = np.ones(3)
    assert refused(tmp_path / "m.h5", "dense/kernle").nearest == ("dense/kernel",)


def test_an_attribute_of_runs_of_numbers_in_place_of_text_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["layer/w"] = np.ones(3)
        runs = np.empty(1, object)
        runs[0] = np.arange(3, dtype=np.int32)
        file.attrs.create("layer_names", runs, dtype=h5py.vlen_dtype(np.int32))
    assert "is not text" in refused(tmp_path / "m.h5").what


def test_a_text_that_claims_more_than_its_heap_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file["layer/w"] = np.ones(3)
        file.attrs["layer_names"] = ["layer"]
    content = bytearray(path.read_bytes())
    # The reference: a length, the heap's address, the first object of it.
    heap = content.index(b"GCOL")
    at = content.index(struct.pack("<IQI", len("layer"), heap, 1))
    content[at : at + 4] = (1 << 20).to_bytes(4, "little")
    path.write_bytes(content)
    assert "longer than its heap object" in refused(path).what


def test_a_chunk_that_is_smaller_than_it_must_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layer/w", data=np.arange(7.0), chunks=(7,), fletcher32=True)
    content = path.read_bytes()
    # The chunk's own size, with its checksum, in the tree of chunks: the only 60 with the chunk's filters behind it.
    size = (60).to_bytes(4, "little") + bytes(4)
    assert content.count(size) == 1
    path.write_bytes(content.replace(size, (2).to_bytes(4, "little") + bytes(4)))
    with pytest.raises(SourceError, match="a chunk of 'layer/w' is damaged"):
        tfpt.open_source(path).read("layer/w")
