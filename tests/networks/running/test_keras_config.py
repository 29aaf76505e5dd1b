"""What a stranger's model of Keras may name: no code, no functions beside those of layers, no files of this machine."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfpt.errors import SourceError
from tfpt.networks.running.open_network import open_network

keras = pytest.importorskip("keras")


@pytest.fixture
def archive(tmp_path):
    """Writes a ``.keras`` archive of a small model, its configuration changed."""

    def write(change, path: Path = tmp_path / "m.keras", twice: bool = False) -> Path:
        x = keras.Input((3,), name="x")
        keras.Model(x, keras.layers.Dense(5, activation="relu", name="dense")(x)).save(
            tmp_path / "plain.keras"
        )
        with zipfile.ZipFile(tmp_path / "plain.keras") as plain, zipfile.ZipFile(path, "w") as changed:
            for name in plain.namelist():
                content = plain.read(name)
                if name == "config.json":
                    config = json.loads(content)
                    change(config["config"]["layers"][1])
                    if twice:
                        changed.writestr(name, content)
                    content = json.dumps(config).encode()
                changed.writestr(name, content)
        return path

    return write


def function(module: str, name: str):
    def change(layer) -> None:
        told = {"module": module, "class_name": "function", "config": name, "registered_name": name}
        layer["config"]["activation"] = told

    return change


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("keras.utils", "get_file"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.saving", "load_model"),
        ("keras", "get_file"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.src.layers", "Dense"),
        ("kerasx.activations", "relu"),
        ("subprocess", "run"),
    ],
)
def test_a_function_from_elsewhere_is_refused(archive, module, name):
    with pytest.raises(SourceError, match="without code from elsewhere") as caught:
        open_network(archive(function(module, name)))
    assert f"{module}.{name}" in caught.value.got
    assert "--trust" in caught.value.hint


@pytest.mark.parametrize("twice", [False, True])
def test_code_written_out_is_refused(archive, twice):
    def change(layer) -> None:
        layer["config"]["activation"] = {
            "class_name": "__lambda__",
            "config": {"value": ["4wAAAA==", None, None]},
        }

    with pytest.raises(SourceError, match=r"code of its own|twice|several|two members"):
        open_network(archive(change, twice=twice))


@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "x>Lambda"])
def test_a_layer_that_brings_code_is_refused_at_any_depth(archive, name):
    def change(layer) -> None:
        inner = {"class_name": name, "module": "keras.layers", "config": {}, "registered_name": None}
        layer["config"]["inner"] = [{"layer": inner}]

    with pytest.raises(SourceError, match=f"has a layer {name}"):
        open_network(archive(change))


@pytest.mark.parametrize(
    "module", ["antigravity", "tests.networks.running.graphs", "keras.src.callbacks", "keras_hub.models"]
)
def test_a_class_from_elsewhere_is_not_imported(archive, module):
    def change(layer) -> None:
        layer.update(module=module, class_name="Small", registered_name=None)

    with pytest.raises(SourceError, match="without code from elsewhere"):
        open_network(archive(change))


def test_what_the_person_registered_is_their_own(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    x = keras.Input((3,), name="x")
    keras.Model(x, Twice(name="twice")(x)).save(tmp_path / "m.keras")
    try:
        network = open_network(tmp_path / "m.keras")
        found = network.run({"x": np.ones((1, 3), np.float32)}, ["twice:0"])
        np.testing.assert_array_equal(found["twice:0"], [[2, 2, 2]])
    finally:
        del keras.saving.get_custom_objects()["tests>Twice"]
    with pytest.raises(SourceError, match="without code from elsewhere"):
        open_network(tmp_path / "m.keras")


def test_a_vocabulary_on_this_machine_is_not_read(archive, tmp_path):
    (tmp_path / "secret").write_text("a\nb\n")

    def change(layer) -> None:
        config = {"name": "dense", "vocabulary": str(tmp_path / "secret")}
        layer.update(class_name="StringLookup", config=config, build_config=None)

    with pytest.raises(SourceError, match="would read a file of this machine: vocabulary"):
        open_network(archive(change))


def test_a_file_is_what_its_name_says(archive, tmp_path):
    """Keras reads `.keras` as an archive and `.h5` as HDF5: a file may be both."""
    path = archive(lambda layer: None, tmp_path / "m.h5")
    with pytest.raises(SourceError, match="indicates another format than the content"):
        open_network(path)
    x = keras.Input((3,))
    keras.Model(x, keras.layers.Dense(5)(x)).save(tmp_path / "both.h5")
    both = (tmp_path / "both.h5").read_bytes() + archive(function("os", "system")).read_bytes()
    (tmp_path / "both.keras").write_bytes(both)
    with pytest.raises(SourceError, match="indicates another format than the content"):
        open_network(tmp_path / "both.keras")
