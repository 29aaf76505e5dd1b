"""SavedModels of both kinds: by their signatures, down to what stands inside their functions."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tfpt.errors import SourceError
from tfpt.networks.running.open_network import open_network

tf = pytest.importorskip("tensorflow")


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def save_tf1(small, folder, signatures):
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        raw = v1.placeholder(tf.string, (None,), "examples")
        clip = v1.identity(v1.io.decode_raw(raw, tf.float32), name="clip")
        clip.set_shape((None, 3))
        made = small.build(v1, clip)
        for variable, value in made.items():
            variable.load(value, session)
        outputs = {"probabilities": graph.get_tensor_by_name("net/Softmax:0")}
        definition = v1.saved_model.predict_signature_def({"clip": clip}, outputs)
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], dict.fromkeys(signatures, definition))
        builder.save()
    return folder


@pytest.fixture(scope="module")
def tf1(small, tmp_path_factory):
    return save_tf1(small, tmp_path_factory.mktemp("tf1") / "model", ["serving_default"])


class Module(tf.Module):
    """The small network with a function inside a function, and a lookup table."""

    def __init__(self, small):
        super().__init__()
        self.variables_ = {name: tf.Variable(value, name=name) for name, value in small.values.items()}
        keys, scales = tf.constant([2, 3], tf.int64), tf.constant([0.5, 0.25])
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, scales), -1.0)

    @tf.function
    def unit(self, x):
        v = self.variables_
        with tf.name_scope("unit"):
            x = x @ v["net/unit/w"]
            mean, variance, beta = (
                v[f"net/unit/batch_norm/{leaf}"] for leaf in ("moving_mean", "moving_variance", "beta")
            )
            return tf.nn.relu(tf.nn.batch_normalization(x, mean, variance, beta, None, 1e-3))

    @tf.function(
        input_signature=[tf.TensorSpec((None, 3), name="clip"), tf.TensorSpec((), tf.int64, name="key")]
    )
    def serve(self, clip, key):
        x = self.unit(clip)
        with tf.name_scope("Mixed"):
            x = tf.concat([x @ self.variables_[f"net/Mixed/Branch_{number}/w"] for number in (0, 1)], 1)
        return {"scaled": tf.nn.softmax(x) * self.table.lookup(key)}

    @tf.function(input_signature=[tf.TensorSpec((None, 3), name="clip")])
    def early(self, clip):
        return {"unit": self.unit(clip)}


@pytest.fixture(scope="module")
def tf2(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tf2") / "model"
    module = Module(small)
    tf.saved_model.save(module, str(folder), {"serving_default": module.serve, "early": module.early})
    return folder


def test_one_of_tensorflow_1_computes_what_numpy_computes(small, tf1, x):
    network = open_network(tf1)
    assert network.format == "TensorFlow SavedModel (TF1)"
    assert network.facts == {"signature": "serving_default"}
    wanted = {name: network.resolve(name, ["net"]) for name in ("unit", "Mixed", "Softmax")}
    # The signature's input, not the placeholder of text behind it.
    assert [str(spec) for spec in network.inputs(list(wanted.values())).values()] == ["clip [?, 3] float32"]
    found = network.run({"clip": x}, list(wanted.values()))
    for name, tensor in wanted.items():
        assert_close(found[tensor], small.expected(x)[name])


def test_one_of_tensorflow_2_is_seen_inside_its_functions(small, tf2, x):
    network = open_network(tf2)
    assert network.format == "TensorFlow SavedModel (TF2)"
    unit, mixed, softmax = (network.resolve(name) for name in ("unit", "Mixed", "Softmax"))
    assert unit.startswith("StatefulPartitionedCall")
    assert unit.endswith("/unit/Relu:0")
    expected = small.expected(x)
    found = network.run({"clip": x, "key": np.int64(3)}, [unit, mixed, softmax])
    assert_close(found[unit], expected["unit"])
    assert_close(found[mixed], expected["Mixed"])
    assert_close(found[softmax], expected["Softmax"])


def test_what_comes_out_is_what_the_signature_gives_with_its_tables(tf2, x):
    network = open_network(tf2)
    signature = tf.saved_model.load(str(tf2)).signatures["serving_default"]
    expected = signature(clip=tf.constant(x), key=tf.constant(3, tf.int64))["scaled"].numpy()
    # The call by its own name: what the signature returns.
    call = next(
        name for name in ("StatefulPartitionedCall", "StatefulPartitionedCall_1") if _gives(network, name, 9)
    )
    tensor = network.resolve(call)
    assert_close(network.run({"clip": x, "key": np.int64(3)}, [tensor])[tensor], expected)


@pytest.mark.parametrize("name", ["serving_default:scaled", "scaled"])
def test_an_output_of_the_signature_is_an_endpoint_under_its_key(tf2, x, name):
    network = open_network(tf2)
    expected = tf.saved_model.load(str(tf2)).signatures["serving_default"](
        clip=tf.constant(x), key=tf.constant(3, tf.int64)
    )
    tensor = network.resolve(name)
    found = network.run({"clip": x, "key": np.int64(3)}, [tensor])[tensor]
    assert_close(found, expected["scaled"].numpy())
    last = network.names()[-1]
    assert (last.name, last.kind, last.scopes) == ("serving_default:scaled", "output", ("scaled",))


def test_an_output_of_another_signature_is_not_found(tf2):
    with pytest.raises(SourceError, match="early:unit"):
        open_network(tf2).resolve("early:unit")


def test_an_operation_takes_precedence_over_a_key(small, tf2, x):
    network = open_network(tf2, signature="early")
    assert network.resolve("early:unit") != ""
    tensor = network.resolve("unit")
    assert_close(network.run({"clip": x}, [tensor])[tensor], small.expected(x)["unit"])


def _gives(network, name, width):
    try:
        tensor = network.resolve(name)
    except SourceError:
        return False
    return width in network._graph.get_tensor_by_name(tensor).shape.as_list()


def test_another_signature_is_chosen_by_name(small, tf2, x):
    network = open_network(tf2, signature="early")
    unit = network.resolve("unit")
    assert list(network.inputs([unit])) == ["clip"]
    assert_close(network.run({"clip": x}, [unit])[unit], small.expected(x)["unit"])
    with pytest.raises(SourceError, match="no signature erly") as caught:
        open_network(tf2, signature="erly")
    assert caught.value.nearest == ("early",)


def test_of_several_signatures_without_a_default_one_has_to_be_named(small, tmp_path):
    folder = save_tf1(small, tmp_path / "model", ["classify", "embed"])
    with pytest.raises(SourceError, match="several signatures") as caught:
        open_network(folder)
    assert caught.value.got == "classify, embed"
    assert open_network(folder, signature="embed").resolve("net/Mixed") == "net/Mixed/concat:0"


def test_a_saved_model_without_its_variables_says_so(tf1, x, tmp_path):
    shutil.copytree(tf1, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "variables")
    network = open_network(tmp_path / "model")
    with pytest.raises(SourceError, match="variables, whose values are in a checkpoint"):
        network.run({"clip": x}, [network.resolve("unit", ["net"])])


def test_an_export_of_keras_has_its_layers_as_scopes(tmp_path):
    keras = pytest.importorskip("keras")
    images = keras.Input((5, 7, 2))
    h = keras.layers.Conv2D(3, 2, padding="same", name="conv")(images)
    h = keras.layers.BatchNormalization(name="norm")(h)
    h = keras.layers.Activation("relu", name="act")(h)
    model = keras.Model(images, keras.layers.Dense(4, name="head")(keras.layers.Flatten()(h)))
    model.get_layer("norm").moving_mean.assign([0.1, -0.2, 0.3])
    model.export(str(tmp_path / "model"), verbose=False)
    values = np.random.default_rng(3).normal(size=(2, 5, 7, 2)).astype(np.float32)
    network = open_network(tmp_path / "model")
    # Keras calls its layers so when it exports them.
    wanted = {name: network.resolve(f"{name}_1") for name in ("conv", "norm", "act", "head")}
    (spec,) = network.inputs(list(wanted.values())).values()
    found = network.run({spec.name: values}, list(wanted.values()))
    x = values
    for name, tensor in wanted.items():
        x = x.reshape(2, -1) if name == "head" else x
        x = np.asarray(
            model.get_layer(name)(x, training=False) if name == "norm" else model.get_layer(name)(x)
        )
        assert_close(found[tensor], x)
