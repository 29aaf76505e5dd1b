"""What runs a network: Keras on torch where TensorFlow is missing, Keras 2 for its own files, and no Keras at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import tfpt
from tfpt.errors import SourceError
from tfpt.networks.running.open_network import open_network

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")
layers = keras.layers

# Runs with the packages named first made impossible to import.
PROGRAM = """
import json, sys
for name in filter(None, sys.argv[1].split(",")):
    sys.modules[name] = None
import tfpt
try:
    found = tfpt.record(None, sys.argv[2], sys.argv[3], all_layers=True, whole=True, trust="trust" in sys.argv[4:])
    print(json.dumps(found.facts))
except tfpt.TfptError as error:
    print(json.dumps(error.to_json()))
"""


def recorded_without(packages: str, network: Path, out: Path, *more: str) -> dict:
    words = [sys.executable, "-c", PROGRAM, packages, str(network), str(out), *more]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=network.parent)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    keras.utils.set_random_seed(5)
    x = inputs = keras.Input((11, 9, 3), name="image")
    x = layers.Conv2D(7, 3, 2, "same", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("gelu", name="act")(x)
    x = layers.MaxPooling2D(3, 2, "same", name="pool")(x)
    x = layers.Dropout(0.5, name="drop")(layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, layers.Dense(5, activation="softmax", name="head")(x))
    random = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(random.uniform(0.1, 0.5, weight.shape))
    path = tmp_path_factory.mktemp("keras") / "net.keras"
    model.save(path)
    return path


@pytest.mark.slow
def test_keras_runs_on_torch_where_tensorflow_is_missing(network, tmp_path):
    facts = recorded_without("tensorflow", network, tmp_path / "torch.npz")
    assert facts["runtime"].startswith("Keras 3.")
    assert " on torch " in facts["runtime"]
    assert facts["tensorflow"] is None
    # TensorFlow computes the same, layer by layer.
    truth = tfpt.record(None, network, all_layers=True, whole=True)
    assert truth.facts["runtime"].startswith("TensorFlow ")
    found = tfpt.networks.recording.read_recording(tmp_path / "torch.npz")
    assert list(found.endpoints) == list(truth.endpoints)
    assert np.array_equal(found.inputs["input"], truth.inputs["input"])
    for name, endpoint in truth.endpoints.items():
        np.testing.assert_allclose(found.endpoints[name].values, endpoint.values, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_ids_are_drawn_from_the_whole_table_on_torch_too(tmp_path):
    ids = keras.Input((16,), dtype="int32", name="ids")
    hidden = layers.Embedding(101, 3, name="words")(ids)
    keras.Model(ids, layers.Dense(2, name="head")(hidden)).save(tmp_path / "net.keras")
    facts = recorded_without("tensorflow", tmp_path / "net.keras", tmp_path / "r.npz")
    assert facts["inputs"]["input"]["range"] == [0, 100]
    assert facts["inputs"]["input"]["table"] == "words"


CUSTOM = """
import keras
from keras import ops

@keras.saving.register_keras_serializable("mine")
class Cube(keras.layers.Layer):
    def call(self, x):
        return ops.power(x, 3)
"""


@pytest.mark.slow
def test_a_layer_of_ones_own_runs_on_torch_if_trusted(tmp_path, monkeypatch):
    (tmp_path / "cube.py").write_text(CUSTOM)
    monkeypatch.syspath_prepend(tmp_path)
    from cube import Cube

    x = keras.Input((3,), name="x")
    keras.Model(x, Cube(name="cube")(x)).save(tmp_path / "net.keras")
    refused = recorded_without("tensorflow", tmp_path / "net.keras", tmp_path / "r.npz")
    assert "without code from elsewhere" in refused["what"]
    recorded_without("tensorflow", tmp_path / "net.keras", tmp_path / "r.npz", "trust")
    found = np.load(tmp_path / "r.npz")
    np.testing.assert_allclose(found["cube"], found["input"].astype(np.float64) ** 3, rtol=1e-6)


@pytest.mark.slow
def test_without_keras_one_error_says_what_to_install(network, tmp_path):
    error = recorded_without("tensorflow,keras", network, tmp_path / "r.npz")
    assert error["what"] == "running a Keras model needs Keras, which is not installed"
    assert error["next"] == 'pip install keras, which then runs on torch; or pip install "tfpt[tensorflow]"'


# -- Keras 2 -------------------------------------------------------------------------------------------


@pytest.fixture
def of_keras_2(tmp_path) -> Path:
    """A depthwise convolution as Keras 2 writes it, with a key that Keras 3 refuses."""
    x = keras.Input((7, 5, 3), name="x")
    model = keras.Model(x, layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depth")(x))
    path = tmp_path / "old.h5"
    model.save(path)
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        first, second = config["config"]["layers"]
        for layer in (first, second):
            for key in ("module", "registered_name", "build_config"):
                layer.pop(key, None)
        first["config"] = {"batch_input_shape": [None, 7, 5, 3], "dtype": "float32", "name": "x"}
        plain = {name: second["config"][name] for name in ("kernel_size", "padding", "activation", "name")}
        second["config"] = {**plain, "dtype": "float32", "groups": 1}
        second["inbound_nodes"] = [[["x", 0, 0, {}]]]
        config["config"]["input_layers"], config["config"]["output_layers"] = [["x", 0, 0]], [["depth", 0, 0]]
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config["config"]})
        file.attrs["keras_version"] = "2.11.0"
    return path


def test_what_only_keras_2_reads_says_so(of_keras_2, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(SourceError, match="Keras cannot rebuild the model") as caught:
        open_network(of_keras_2)
    assert caught.value.hint.startswith("pip install tf_keras, if Keras 2 wrote the file")


def test_keras_2_runs_what_keras_3_refuses(of_keras_2):
    pytest.importorskip("tf_keras")
    found = tfpt.record(None, of_keras_2, all_layers=True, whole=True)
    assert "tf_keras" in found.facts["runtime"]
    with h5py.File(of_keras_2) as file:
        (kernel, bias) = (
            file[f"model_weights/depth/depth/{name}"][()] for name in _weights(file["model_weights/depth"])
        )
    padded = np.pad(found.inputs["input"].astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    expected = np.maximum(np.einsum("bhwcij,ijc->bhwc", windows, kernel[..., 0]) + bias, 0)
    np.testing.assert_allclose(found.endpoints["depth"].values, expected, rtol=1e-5, atol=1e-6)


def _weights(group: h5py.Group) -> list[str]:
    names = list(group["depth"])
    return sorted(names, key=lambda name: "bias" in name)


def test_a_function_by_name_is_refused_in_keras_2(of_keras_2):
    pytest.importorskip("tf_keras")
    with h5py.File(of_keras_2, "a") as file:
        config = json.loads(file.attrs["model_config"])
        second = config["config"]["layers"][1]
        second["class_name"] = "TFOpLambda"
        second["config"] = {"name": "depth", "dtype": "float32", "function": "io.write_file"}
        second["inbound_nodes"] = [["x", 0, 0, {"contents": "x"}]]
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(SourceError, match="it has a layer TFOpLambda"):
        open_network(of_keras_2)
