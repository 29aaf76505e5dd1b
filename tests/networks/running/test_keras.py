"""Models of Keras: every layer's value, whatever kind of model it is in, and no code from a file."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.formats.keras.building import fill
from tfpt.errors import SourceError
from tfpt.networks.running.keras import KerasNetwork
from tfpt.networks.running.open_network import open_network

keras = pytest.importorskip("keras")
layers = keras.layers


def nested():
    """A functional model with another, a Sequential, a shared layer, a dropout, and two outputs of one layer."""
    inside = keras.Input((4,))
    inner = keras.Model(inside, layers.Dense(3, activation="tanh", name="dense")(inside), name="inner")
    shared = layers.Dense(3, activation="tanh", name="shared")
    x = keras.Input((7,), name="x")
    h = layers.Dense(4, activation="tanh", name="first")(x)
    h = layers.BatchNormalization(name="norm")(h)
    h = inner(layers.Dropout(0.5, name="dropout")(h))
    h = keras.Sequential([layers.Dense(3, activation="tanh", name="dense")], name="stack")(h)
    h = shared(shared(h))
    return keras.Model(x, layers.Reshape((3, 1), name="last")(h), name="outer")


def dense(layer, x):
    kernel, bias = map(np.asarray, layer.weights)
    return np.tanh(x.astype(np.float64) @ kernel + bias)


def values_by_hand(model, x):
    """What every layer of `nested` gives, in double precision."""
    found = {"first": dense(model.get_layer("first"), x)}
    norm = model.get_layer("norm")
    gamma, beta, mean, variance = map(np.asarray, norm.weights)
    found["norm"] = (found["first"] - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta
    found["inner/dense"] = dense(model.get_layer("inner").get_layer("dense"), found["norm"])
    found["stack/dense"] = dense(model.get_layer("stack").get_layer("dense"), found["inner/dense"])
    found["shared"] = dense(model.get_layer("shared"), found["stack/dense"])
    found["shared:1"] = dense(model.get_layer("shared"), found["shared"])
    found["last"] = found["shared:1"].reshape(-1, 3, 1)
    return found


@pytest.fixture(scope="module")
def model():
    built = nested()
    random = np.random.default_rng(7)
    for variable in built.variables:
        if np.asarray(variable).dtype == np.float32:
            variable.assign(random.uniform(0.1, 0.9, variable.shape))
    return built


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_every_layer_gives_what_numpy_computes(model, tmp_path, suffix):
    model.save(tmp_path / f"m{suffix}")
    network = open_network(tmp_path / f"m{suffix}")
    assert network.format == "Keras Functional model"
    x = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)
    expected = values_by_hand(model, x)
    wanted = {name: network.resolve(name) for name in expected}
    assert [str(spec) for spec in network.inputs(list(wanted.values())).values()] == ["x [?, 7] float32"]
    found = network.run({"x": x}, list(wanted.values()))
    for name, array in expected.items():
        assert found[wanted[name]].shape == array.shape
        np.testing.assert_allclose(found[wanted[name]], array, atol=2e-6, err_msg=name)


def test_the_list_has_the_layers_inside_of_others(model):
    names = [each.name for each in KerasNetwork(model).names()]
    assert names == [
        "first", "norm", "dropout", "inner", "inner/dense", "stack", "stack/dense", "shared", "last",
    ]  # fmt: skip


def test_names_that_several_layers_have_are_refused_and_ends_found(model):
    network = KerasNetwork(model)
    with pytest.raises(SourceError, match="several layers are called dense") as caught:
        network.resolve("dense")
    assert caught.value.got == "inner/dense, stack/dense"
    assert network.resolve("dense", ["inner"]) == "inner/dense:0"
    with pytest.raises(SourceError, match="no layer frist") as caught:
        network.resolve("frist")
    assert caught.value.nearest[0] == "first"


def test_a_layer_is_left_as_it_was(model):
    network = KerasNetwork(model)
    before = model.get_layer("first").call
    network.run({"x": np.ones((1, 7), np.float32)}, ["first:0"])
    assert model.get_layer("first").call == before
    assert "call" not in vars(model.get_layer("first"))


def test_an_input_of_another_shape_is_refused(model):
    with pytest.raises(SourceError, match="another shape") as caught:
        KerasNetwork(model).run({"x": np.ones((1, 6), np.float32)}, ["first:0"])
    assert caught.value.expected == "x [?, 7] float32"


def test_several_inputs_go_where_they_belong():
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    model = keras.Model({"right": right, "left": left}, layers.Subtract(name="difference")([left, right]))
    network = KerasNetwork(model)
    assert sorted(network.inputs(["difference:0"])) == ["left", "right"]
    fed = {"left": np.full((1, 3), 5, np.float32), "right": np.full((1, 3), 2, np.float32)}
    np.testing.assert_array_equal(network.run(fed, ["difference:0"])["difference:0"], [[3, 3, 3]])


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A model whose layers have no symbolic outputs."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first = layers.Dense(5, activation="tanh", name="first")
        self.second = layers.Dense(2, activation="tanh", name="second")
        self.never = layers.Dense(2, name="never")

    def call(self, x, training=False):
        return self.second(self.first(x) + (1.0 if training else 0.0))


def test_a_subclassed_model_is_seen_inside(tmp_path):
    model = Subclassed()
    x = np.random.default_rng(3).normal(size=(2, 3)).astype(np.float32)
    model(x)
    model.never.build((None, 5))
    model.save(tmp_path / "m.keras")
    network = open_network(tmp_path / "m.keras")
    assert [str(spec) for spec in network.inputs(["first:0"]).values()] == ["input [?, 3] float32"]
    found = network.run({"input": x}, ["first:0", "second:0", "never:0"])
    first = dense(model.first, x)
    np.testing.assert_allclose(found["first:0"], first, atol=1e-6)
    np.testing.assert_allclose(found["second:0"], dense(model.second, first), atol=1e-6)
    assert "never:0" not in found


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_refused_without_leave(tmp_path, suffix):
    x = keras.Input((3,))
    keras.Model(x, layers.Lambda(lambda x: x * 3, name="triple")(x)).save(tmp_path / f"m{suffix}")
    with pytest.raises(SourceError, match="code of its own: it has a layer Lambda") as caught:
        open_network(tmp_path / f"m{suffix}")
    assert caught.value.hint.startswith("--trust")
    network = open_network(tmp_path / f"m{suffix}", trust=True)
    (name,) = network.inputs([])
    found = network.run({name: np.ones((1, 3), np.float32)}, ["triple:0"])
    np.testing.assert_array_equal(found["triple:0"], [[3, 3, 3]])


OWN = """
import keras

class Half(keras.layers.Layer):
    def call(self, x):
        return x / 2
"""


def test_a_class_from_elsewhere_needs_leave_and_its_module(tmp_path, monkeypatch):
    (tmp_path / "own_layers.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_layers  # type: ignore[import-not-found]

    x = keras.Input((3,))
    keras.Model(x, own_layers.Half(name="half")(x)).save(tmp_path / "m.keras")
    monkeypatch.undo()
    del sys.modules["own_layers"]
    with pytest.raises(SourceError, match="without code from elsewhere") as caught:
        open_network(tmp_path / "m.keras")
    assert caught.value.hint == "put the module of own_layers.Half beside the file, and --trust"
    network = open_network(tmp_path / "m.keras", trust=True)
    (name,) = network.inputs([])
    found = network.run({name: np.full((1, 3), 5, np.float32)}, ["half:0"])
    np.testing.assert_array_equal(found["half:0"], [[2.5, 2.5, 2.5]])


def test_weights_alone_are_no_network(model, tmp_path):
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(SourceError, match="weights only"):
        open_network(tmp_path / "m.weights.h5")


def test_a_damaged_archive_is_refused(model, tmp_path):
    model.save(tmp_path / "m.keras")
    raw = (tmp_path / "m.keras").read_bytes()
    (tmp_path / "m.keras").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(SourceError):
        open_network(tmp_path / "m.keras")


def test_small_floats_come_as_they_are():
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(5, dtype="bfloat16", name="low")(x))
    fill(model)
    network = KerasNetwork(model)
    (name,) = network.inputs([])
    assert network.run({name: np.ones((1, 3), np.float32)}, ["low:0"])["low:0"].dtype.name == "bfloat16"
