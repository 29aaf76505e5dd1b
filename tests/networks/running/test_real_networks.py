"""Networks that others have published: recorded, and compared with TensorFlow's own call of their signature."""

from __future__ import annotations

import numpy as np
import pytest

from tfpt.errors import SourceError
from tfpt.networks.recording.generated import Sizes
from tfpt.networks.recording.inputs import seeded_inputs
from tfpt.networks.running.open_network import open_network

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1

# SavedModels, with the signature where it is not the default.
SAVED_MODELS = {
    "sm-java-python": "add",
    "sm-mlnet-cifar": None,
    "sm-mlnet-mnist-lr": None,
    "sm-mlperf-kws": None,
    "sm-rust-keras-multi-input": None,
    "sm-rust-regression-v1": None,
    "sm-serving-hp2-cpu": None,
    "sm-serving-hp3": None,
    "sm-serving-matrix-novars": None,
    "sm-tf2onnx-regression": None,
    "sm-tfjs-int64_multiply": None,
    "sm-tfjs-times_two_int": None,
}
# What cannot be recorded from a seed alone, and why.
REFUSED = {
    "sm-tfx-keras-penguin": "has dtype string, for which no values can be generated",
    "sm-rust-regression-v1": "does not say the shape of its input x",
    "sm-tf2onnx-regression": "does not say the shape of its input X",
    "v2-tf2onnx-regression/model.meta": "does not say the shape of its input X",
    "h5-crepe-tiny/model-tiny.h5": "weights only",
    "h5-keras-bert-fit/test_bert_fit.h5": "cannot rebuild the model",
    "wh5-digits/model.weights.h5": "weights only",
    "v1-har/model.ckpt": "a checkpoint has weights, but not the network",
    "v2-tfx-taxi-estimator": "a checkpoint has weights, but not the network",
    "idx-mlnet-mnist": "a checkpoint has weights, but not the network",
}
KERAS = ["mini-xception-fer/fer2013_mini_XCEPTION.102-0.66.hdf5", "mlperf-resnet8/pretrainedResnet.h5"]
KERAS += ["tiny-xception-kdef/tiny_XCEPTION_KDEF.hdf5"]


def feed_for(network, tensors, fed=()):
    """Values from a seed; two numbers where the network does not say the shape."""
    specs = network.inputs(tensors, fed)
    if any(spec.shape is None for spec in specs.values()):
        return {name: np.float32([0.5, -3]) for name in specs}
    return from_seed(network, tensors, fed)


def from_seed(network, tensors, fed=()):
    return seeded_inputs(network.inputs(tensors, fed), None, Sizes(batch=2), 7, network.location).arrays


@pytest.mark.parametrize("name", SAVED_MODELS)
def test_a_saved_model_gives_what_its_signature_gives_when_tensorflow_runs_it(shared, name):
    folder = str(shared / "real" / name)
    network = open_network(folder, signature=SAVED_MODELS[name])
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tags = ["serve", "train"] if name == "sm-rust-regression-v1" else ["serve"]
        loaded = v1.saved_model.load(session, tags, folder)
        definition = loaded.signature_def[network.facts["signature"]]
        output = next(info.name for _, info in sorted(definition.outputs.items()))
        arrays = feed_for(network, [output])
        theirs = session.run(output, {definition.inputs[name].name: array for name, array in arrays.items()})
    ours = network.run(arrays, [output])[output]
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert ours.size


@pytest.mark.parametrize("name", SAVED_MODELS)
def test_everything_that_is_listed_can_be_recorded(shared, name):
    network = open_network(shared / "real" / name, signature=SAVED_MODELS[name])
    names = [each.name for each in network.names()]
    tensors = [network.resolve(each) for each in names]
    found = network.run(feed_for(network, tensors), tensors)
    # An output of the signature has a name of its own beside that of its operation.
    assert len(found) == len(set(tensors))
    for each in network.names():
        tensor = network.resolve(each.name)
        assert tensor in found
        for scope in each.scopes:
            assert network.resolve(scope).rpartition(":")[0] == tensor.rpartition(":")[0]


def test_the_meta_graph_and_the_frozen_graph_of_one_network_agree(shared):
    """The frozen graph was folded: the input normalized, the last bias left out."""
    folder = shared / "real" / "v2-mlnet-cifar"
    network = open_network(folder)
    assert network.facts == {"checkpoint": str(folder / "model.ckpt")}
    clip = np.random.default_rng(5).uniform(0, 1, (2, 32, 32, 3)).astype(np.float32)
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        saver = v1.train.import_meta_graph(str(folder / "model.ckpt.meta"), clear_devices=True)
        saver.restore(session, str(folder / "model.ckpt"))
        theirs = session.run("Output:0", {"Input:0": clip})
    np.testing.assert_allclose(network.run({"Input": clip}, ["Output:0"])["Output:0"], theirs, rtol=1e-5)
    frozen = open_network(folder / "frozen_model.pb")
    graph_def = v1.GraphDef.FromString((folder / "frozen_model.pb").read_bytes())
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(graph_def, name="")
        theirs = session.run("Output:0", {"Input:0": clip})
    np.testing.assert_allclose(frozen.run({"Input": clip}, ["Output:0"])["Output:0"], theirs, rtol=1e-5)


def test_a_frozen_recurrent_network_needs_its_dropout_and_runs(shared):
    path = shared / "real" / "pb-tf2onnx-lstm" / "frozen.pb"
    network = open_network(path)
    tensor = network.resolve("output")
    with pytest.raises(SourceError, match="a value for keep_prob"):
        network.inputs([tensor])
    arrays = {**feed_for(network, [tensor], ["keep_prob"]), "keep_prob": np.float32(1)}
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(v1.GraphDef.FromString(path.read_bytes()), name="")
        theirs = session.run("output:0", {f"{name}:0": array for name, array in arrays.items()})
    np.testing.assert_allclose(network.run(arrays, [tensor])[tensor], theirs, rtol=1e-4, atol=1e-6)


def test_a_graph_without_weights_runs(shared):
    network = open_network(shared / "real" / "pb-mlnet-matmul" / "frozen_saved_model.pb")
    arrays = feed_for(network, ["c:0"])
    expected = arrays["a"].astype(np.float64) @ arrays["b"]
    np.testing.assert_allclose(network.run(arrays, ["c:0"])["c:0"], expected, rtol=1e-5)


@pytest.mark.parametrize("name", KERAS)
def test_a_model_of_an_old_keras_gives_what_keras_gives(shared, name):
    keras = pytest.importorskip("keras")
    path = shared / "real" / f"h5-{name}"
    network = open_network(path)
    names = [network.resolve(each.name) for each in network.names()]
    arrays = feed_for(network, names)
    found = network.run(arrays, names)
    assert set(found) == set(names)
    model = keras.saving.load_model(path, compile=False)
    both = keras.Model(model.inputs, [layer.output for layer in model.layers[1:]])
    for name, theirs in zip(names, both(list(arrays.values()), training=False), strict=True):
        np.testing.assert_allclose(found[name], np.asarray(theirs), rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_says_why(shared, name):
    def attempt():
        network = open_network(shared / "real" / name)
        return from_seed(network, [network.resolve(network.names()[-1].name)])

    with pytest.raises(SourceError, match=REFUSED[name]):
        attempt()
