"""HDF5 files that other people published, and transformers' own, against h5py."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

import tfpt
from tests.formats.keras.building import GOLD, REAL, assert_same, datasets_in

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real files are not at {REAL}")

FILES = sorted([*REAL.glob("*/*.h5"), *REAL.glob("*/*.hdf5"), *GOLD.glob("*/tf/*.h5")])
TABLES = sorted(GOLD.glob("*/h5_datasets.tsv"))


@pytest.mark.parametrize("path", FILES, ids=[path.parent.name + "/" + path.name for path in FILES])
def test_names_and_values_are_those_in_the_file(path: Path) -> None:
    expected = {name.removeprefix("model_weights/"): value for name, value in datasets_in(path).items()}
    source = tfpt.open_source(path)
    assert set(source.specs) == set(expected)
    for name, value in expected.items():
        assert_same(source.read(name), value)
        assert source.specs[name].shape == value.shape
        assert source.specs[name].dtype == value.dtype.name
    source.close()


@pytest.mark.parametrize("table", TABLES, ids=[path.parent.name for path in TABLES])
def test_the_names_of_transformers_files_are_the_recorded_ones(table: Path) -> None:
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    source = tfpt.open_source(table.parent / "tf" / "tf_model.h5")
    assert {s.name: (str(list(s.shape)), s.dtype) for s in source.specs.values()} == {
        name: (shape, dtype) for name, shape, dtype in rows
    }
    traced = [line.split("\t") for line in (table.parent / "trace.tsv").read_text().splitlines()[1:]]
    # A key that nothing feeds has no name; one that several feed has them joined.
    names = {name for _, _, name, *_ in traced if "/" in name and " " not in name and "|" not in name}
    assert names
    assert names <= set(source.specs)


def test_the_state_of_the_optimizer_is_told_from_the_weights() -> None:
    source = tfpt.open_source(REAL / "h5-mlperf-resnet8/pretrainedResnet.h5")
    assert source.roles["optimizer_weights/Adam/iter:0"] == "counter"
    assert source.roles["optimizer_weights/Adam/dense/bias/m:0"] == "slot"
    assert all((name in source.roles) == name.startswith("optimizer_weights/") for name in source.specs)
    older = tfpt.open_source(REAL / "h5-mini-xception-fer/fer2013_mini_XCEPTION.102-0.66.hdf5")
    assert [name for name, role in older.roles.items() if role == "counter"] == [
        "optimizer_weights/iterations_1:0"
    ]


def test_the_order_is_the_models() -> None:
    path = REAL / "h5-crepe-tiny/model-tiny.h5"
    names = list(tfpt.open_source(path).specs)
    assert names[:3] == ["conv1/conv1_3/kernel:0", "conv1/conv1_3/bias:0", "conv1-BN/conv1-BN_3/gamma:0"]
    assert names[-1] == "classifier/classifier_3/bias:0"
    with h5py.File(path, "r") as file:
        layers = [name.decode() for name in file.attrs["layer_names"]]
    assert sorted({n.split("/")[0] for n in names}, key=layers.index) == list(
        dict.fromkeys(n.split("/")[0] for n in names)
    )


def test_what_the_file_says_of_itself_is_at_hand() -> None:
    source = tfpt.open_source(REAL / "h5-mlperf-resnet8/pretrainedResnet.h5")
    assert (source.reader.keras_version, source.reader.backend) == ("2.4.0", "tensorflow")
    assert source.config["class_name"] == "Functional"
    weights = tfpt.open_source(REAL / "h5-crepe-tiny/model-tiny.h5")
    assert (weights.config, weights.reader.keras_version) == (None, "2.1.5")


def test_keras_3_weights_of_other_people() -> None:
    source = tfpt.open_source(REAL / "wh5-digits/model.weights.h5")
    assert source.format == "Keras 3 weights (HDF5)"
    assert source.specs["layers/dense/vars/0"].shape == (784, 128)
    assert source.roles["optimizer/vars/0"] == "counter"
    assert {name for name in source.specs if name not in source.roles} == {
        f"layers/{layer}/vars/{n}" for layer in ("dense", "dense_1", "dense_2") for n in (0, 1)
    }
    numbers = [int(n.rpartition("/")[2]) for n in source.specs if n.startswith("optimizer/")]
    assert numbers == sorted(numbers)
