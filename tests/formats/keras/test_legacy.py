"""Keras' older HDF5 format: written by Keras 3, and by hand as Keras 1 and 2 wrote it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import tfpt
from tests.formats.keras.building import assert_same, datasets_in, weights_of
from tfpt.errors import SourceError


@pytest.mark.parametrize("name", ["plain", "sequences", "images", "deep", "bfloat16"])
def test_models_that_keras_saves_are_read_bit_for_bit(model, name, tmp_path: Path) -> None:
    built = model(name)
    built.save(tmp_path / "m.h5")
    source = tfpt.open_source(tmp_path / "m.h5")
    assert source.format == "Keras model (HDF5)"
    assert source.config["class_name"]
    expected = weights_of(built)
    assert len(source.specs) == len(expected)
    for read, spec in ((source.read(s.name), s) for s in source.specs.values()):
        path = spec.name.partition("/")[2]  # behind the group of the layer stands the variable's path
        assert_same(read, expected[path])
        assert spec.dtype == expected[path].dtype.name


def test_a_trained_model_keeps_its_optimizer_apart(trained, tmp_path: Path) -> None:
    trained.save(tmp_path / "m.h5")
    source = tfpt.open_source(tmp_path / "m.h5")
    assert source.roles["optimizer_weights/adam/iteration"] == "counter"
    assert sum(name not in source.roles for name in source.specs) == len(trained.weights)
    assert set(source.roles.values()) == {"counter", "slot"}


def write(path: Path, group: str, layers: dict[str, dict[str, np.ndarray]], text: type = bytes) -> None:
    """As Keras 1 and 2 wrote it; layers of more than two weights have their list of names split."""
    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file

        def plain(names):
            return [name.encode() if text is bytes else name for name in names]

        root.attrs["layer_names"] = plain(layers)
        root.attrs["keras_version"] = plain(["1.2.2"])[0]
        for layer, weights in layers.items():
            inner = root.create_group(layer)
            names = list(weights)
            if len(names) > 2:
                for number, start in enumerate(range(0, len(names), 2)):
                    inner.attrs[f"weight_names{number}"] = plain(names[start : start + 2])
            else:
                inner.attrs["weight_names"] = plain(names)
            for name, values in weights.items():
                inner.create_dataset(name, data=values)


LAYERS = {
    "zeta": {"zeta_W": np.arange(6, dtype=np.float32).reshape(2, 3), "zeta_b": np.ones(3, np.float32)},
    "flatten_1": {},
    "alpha": {f"alpha_{n}/w:0": np.full((n + 1,), n, np.float32) for n in (4, 3, 2, 1, 0)},
    "model_1": {"dense/kernel:0": np.ones((5, 2), np.float16), "conv/kernel:0": np.zeros(3, ">f8")},
}


@pytest.mark.parametrize("group", ["", "model_weights"])
@pytest.mark.parametrize("text", [bytes, str])
def test_files_of_the_old_convention(tmp_path: Path, group: str, text: type) -> None:
    write(tmp_path / "w.h5", group, LAYERS, text)
    source = tfpt.open_source(tmp_path / "w.h5")
    assert list(source.specs) == [f"{layer}/{name}" for layer, weights in LAYERS.items() for name in weights]
    assert source.reader.keras_version == "1.2.2"
    for layer, weights in LAYERS.items():
        for name, values in weights.items():
            assert_same(source.read(f"{layer}/{name}"), values.astype(values.dtype.newbyteorder("=")))
    assert source.roles == {}


def test_datasets_that_no_list_names_are_listed_last(tmp_path: Path) -> None:
    write(tmp_path / "w.h5", "model_weights", LAYERS)
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file["model_weights/alpha/alpha_0/extra"] = np.ones(2, np.int32)
        file["elsewhere/table"] = np.ones(2, np.int8)
        file["elsewhere/words"] = ["ab", "c"]
    source = tfpt.open_source(tmp_path / "w.h5")
    assert list(source.specs)[-3:] == ["elsewhere/table", "elsewhere/words", "alpha/alpha_0/extra"]
    assert source.roles == {"elsewhere/words": "record"}
    assert source.read("elsewhere/words").tolist() == [b"ab", b"c"]


def test_a_shared_weight_is_one_tensor_at_each_path(tmp_path: Path) -> None:
    write(tmp_path / "w.h5", "", {"a": {"w:0": np.ones(3, np.float32)}, "b": {}})
    with h5py.File(tmp_path / "w.h5", "a") as file:
        file["b/w:0"] = file["a/w:0"]  # a hard link
        file["b"].attrs["weight_names"] = [b"w:0", b"w:0"]
    source = tfpt.open_source(tmp_path / "w.h5")
    assert list(source.specs) == ["a/w:0", "b/w:0"]
    assert source.read("b/w:0").tolist() == [1, 1, 1]


def test_a_weight_that_is_named_and_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "w.h5", "", LAYERS)
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["zeta/zeta_b"]
    with pytest.raises(SourceError, match="lists a weight that it does not contain") as caught:
        tfpt.open_source(tmp_path / "w.h5")
    assert caught.value.expected == "a dataset at /zeta/zeta_b"


def test_an_hdf5_file_of_anything_else_is_read_by_paths(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "any.h5", "w") as file:
        file["a/b"] = np.ones((2, 3))
        file.create_dataset("packed", data=np.arange(1000), chunks=(100,), compression="gzip", shuffle=True)
        file["flags"] = np.array([True, False])
        file["pairs"] = np.zeros(2, [("x", "f4"), ("n", "i4")])
        file["complex"] = np.ones(2, np.complex64)
        file["scalar"] = np.float32(5)
        file["none"] = h5py.Empty("f4")
        file["zero"] = np.zeros((0, 3), np.float32)
    source = tfpt.open_source(tmp_path / "any.h5")
    assert source.format == "HDF5"
    expected = datasets_in(tmp_path / "any.h5")
    for name in ("a/b", "packed", "flags", "complex", "scalar", "zero"):
        assert_same(source.read(name), expected[name])
    assert source.skipped == {"none": "a dataset without elements", "pairs": "records of several fields"}
    with pytest.raises(SourceError, match="cannot be read") as caught:
        source.read("pairs")
    assert caught.value.got == "records of several fields"
    assert len(source.fingerprint()) == 32
