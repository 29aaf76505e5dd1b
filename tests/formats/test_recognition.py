"""A folder with one file of weights is that file; with several they are listed."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tests.conftest import DATA
from tfpt import open_source
from tfpt.errors import SourceError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats.recognition import KERAS_ARCHIVE, recognize, weights_in

VALUES = np.arange(15, dtype=np.float32).reshape(3, 5)
BESIDE = (
    "config.json",
    "README.md",
    "training_args.bin",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state_0.pth",
    "vocab.txt",
)


def save(path: Path) -> None:
    if path.suffix == ".safetensors":
        save_file({"w": VALUES}, path)
    elif path.suffix == ".npz":
        np.savez(path, w=VALUES)
    elif path.suffix == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["w"] = VALUES
    elif path.suffix == ".msgpack":
        path.write_bytes((DATA / "jax" / "chunked.msgpack").read_bytes())
    else:
        torch.save({"w": torch.from_numpy(VALUES)}, path)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "pytorch_model.bin",
        "epoch=3.ckpt",
        "a.pth",
        "w.npz",
        "tf_model.h5",
        "flax_model.msgpack",
    ],
)
def test_a_folder_of_one_file_is_that_file(tmp_path: Path, name: str) -> None:
    for other in BESIDE:
        (tmp_path / other).write_text("{}")
    save(tmp_path / name)
    source = open_source(tmp_path)
    assert source.location == str(tmp_path / name)
    expected = np.arange(77, dtype=np.float32).reshape(7, 11) if name.endswith("msgpack") else VALUES
    assert np.array_equal(source.read("w"), expected)


def test_of_several_files_none_is_chosen(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "model.safetensors", "w.npz"):
        save(tmp_path / name)
    with pytest.raises(SourceError, match="more than one file of weights") as caught:
        open_source(tmp_path)
    assert caught.value.got == "model.safetensors, pytorch_model.bin, w.npz"
    assert caught.value.hint == f"name it: {tmp_path}/model.safetensors"


def test_a_checkpoint_comes_before_what_is_beside_it(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model.ckpt", {"kernel": VALUES})
    save(tmp_path / "w.npz")
    assert open_source(tmp_path).format == "TensorFlow V2 checkpoint"
    assert weights_in(str(tmp_path)) == str(tmp_path)


def test_a_folder_without_weights_is_looked_for_as_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SourceError, match="checkpoint"):
        open_source(tmp_path)


def packed(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "w.npz")
        shutil.make_archive(str(path.parent / path.name.partition(".")[0]), KINDS[path.name], folder)


KINDS = {"model.zip": "zip", "model.tar.gz": "gztar"}


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_of_one_archive_is_that_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / "README.md").write_text("a model")
    packed(tmp_path / name)
    source = open_source(tmp_path)
    assert source.location == str(tmp_path / name)
    assert np.array_equal(source.read("w"), VALUES)


def test_of_several_archives_and_beside_weights_none_is_chosen(tmp_path: Path) -> None:
    for name in KINDS:
        packed(tmp_path / name)
    assert weights_in(str(tmp_path)) == str(tmp_path)
    save(tmp_path / "w.npz")
    assert weights_in(str(tmp_path)) == str(tmp_path / "w.npz")


@pytest.mark.parametrize("place", [512, 1024, 2048])
def test_an_archive_with_an_hdf5_member_where_hdf5_may_begin_is_an_archive(
    place: int, tmp_path: Path
) -> None:
    """HDF5 may begin after a block of the user; in a .keras archive the weights are there by chance."""
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("metadata.json", "{}")
        before = len("metadata.json") + len("config.json") + len("model.weights.h5") + 3 * 30 + 2
        archive.writestr("config.json", " " * (place - before))
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(64))
    assert (tmp_path / "m.keras").read_bytes()[place : place + 4] == b"\x89HDF"
    assert recognize(str(tmp_path / "m.keras")) is KERAS_ARCHIVE
