"""Graphs in a session: inputs, switches of training, variables, and values that numpy confirms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.networks.running.graphs import Small
from tfpt.errors import SourceError
from tfpt.networks.running.open_network import open_network

ENDPOINTS = ["unit", "Mixed", "Mean", "Softmax"]


def values(network, x, **feeds):
    """The small network's endpoints, by name."""
    tensors = {name: network.resolve(name, ["net"]) for name in ENDPOINTS}
    specs = network.inputs(list(tensors.values()), list(feeds))
    found = network.run({next(iter(specs)): x, **feeds}, list(tensors.values()))
    return {name: found[tensor] for name, tensor in tensors.items()}


def assert_close(found, expected):
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        np.testing.assert_allclose(found[name], array, rtol=0, atol=2e-6 * np.abs(array).max(), err_msg=name)


@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_a_meta_graph_with_its_checkpoint_computes_what_numpy_computes(small, x, tmp_path, version, resource):
    meta = small.save(tmp_path / "model.ckpt", version=version, resource=resource)
    assert_close(values(open_network(meta), x), small.expected(x))


def test_a_frozen_graph_computes_what_numpy_computes(small, frozen, x):
    network = open_network(frozen)
    assert network.format == "TensorFlow frozen graph"
    assert_close(values(network, x), small.expected(x))


def test_a_graph_is_found_from_its_checkpoint(small, meta, x):
    for place in (str(meta).removesuffix(".meta"), str(meta).replace(".meta", ".index"), meta.parent):
        assert_close(values(open_network(place), x), small.expected(x))


def test_a_switch_of_training_is_off_unless_it_is_fed(small, meta, x):
    network = open_network(meta)
    assert list(network.inputs([network.resolve("net/unit")])) == ["clip"]
    expected = small.expected(x)["unit"]
    trained = values(network, x, is_training=np.True_)["unit"]
    assert np.abs(trained - expected).max() > 0.01


def test_a_switch_that_is_an_integer_is_off_too(tmp_path, x):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        phase = v1.placeholder(tf.int32, (), "keras_learning_phase")
        v1.add(v1.placeholder(tf.float32, (None, 3), "x"), 5.0 * v1.cast(phase, tf.float32), name="y")
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    network = open_network(tmp_path / "g.pb")
    assert list(network.inputs(["y:0"])) == ["x"]
    np.testing.assert_array_equal(network.run({"x": x}, ["y:0"])["y:0"], x)


def test_a_placeholder_with_a_default_keeps_it_unless_it_is_fed(tmp_path, x):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        scale = v1.placeholder_with_default(3.0, (), "scale")
        v1.multiply(v1.placeholder(tf.float32, (None, 3), "x"), scale, name="y")
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    network = open_network(tmp_path / "g.pb")
    np.testing.assert_array_equal(network.run({"x": x}, ["y:0"])["y:0"], 3 * x)
    np.testing.assert_array_equal(network.run({"x": x, "scale": np.float64(7)}, ["y:0"])["y:0"], 7 * x)


def test_the_keep_probability_of_a_dropout_is_asked_for(tmp_path, x):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        keep = v1.placeholder(tf.float32, None, "keep_prob")
        v1.multiply(v1.placeholder(tf.float32, (None, 3), "x"), keep, name="y")
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    network = open_network(tmp_path / "g.pb")
    with pytest.raises(SourceError, match="a value for keep_prob") as caught:
        network.inputs(["y:0"])
    assert caught.value.hint == "--feed keep_prob=1.0"
    assert list(network.inputs(["y:0"], ["keep_prob"])) == ["x"]
    np.testing.assert_array_equal(network.run({"x": x, "keep_prob": np.array(1.0)}, ["y:0"])["y:0"], x)


def test_a_queue_is_fed_in_its_place(tmp_path, x):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        names = v1.train.string_input_producer(["a.tfrecord"])
        _, raw = v1.TFRecordReader().read(names)
        clip, label = v1.train.batch(
            [v1.reshape(v1.decode_raw(raw, tf.float32), (3,)), v1.constant(1)], 7, name="batch"
        )
        v1.add(clip, 5.0, name="y")
        assert label.name == "batch:1"
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    network = open_network(tmp_path / "g.pb")
    specs = network.inputs(["y:0"])
    assert [str(spec) for spec in specs.values()] == ["batch […] float32"]
    np.testing.assert_array_equal(network.run({"batch": x}, ["y:0"])["y:0"], x + 5)


def test_any_tensor_can_be_fed(small, frozen):
    unit = np.random.default_rng(3).uniform(size=(2, 5)).astype(np.float32)
    network = open_network(frozen)
    wanted = network.resolve("Mixed", ["net"])
    assert not network.inputs([wanted], ["net/unit/Relu"])
    expected = np.concatenate([unit @ small.values[f"net/Mixed/Branch_{n}/w"] for n in (0, 1)], 1)
    np.testing.assert_allclose(network.run({"net/unit/Relu": unit}, [wanted])[wanted], expected, rtol=1e-5)
    with pytest.raises(SourceError, match="no tensor net/unit/Rleu to feed") as caught:
        network.inputs([wanted], ["net/unit/Rleu"])
    assert "net/unit/Relu" in caught.value.nearest


def test_an_input_of_another_shape_or_dtype_is_refused(frozen, x):
    network = open_network(frozen)
    wanted = [network.resolve("net/Mean")]
    with pytest.raises(SourceError, match="another shape") as caught:
        network.run({"clip": x[:, :2]}, wanted)
    assert caught.value.expected == "clip [?, 3] float32"
    assert caught.value.got == "[7, 2] float32"
    with pytest.raises(SourceError, match="another dtype"):
        network.run({"clip": x.astype(np.complex64)}, wanted)


def test_what_is_asked_beside_does_not_change_a_value(frozen, x):
    """Rewritten graphs fuse what nobody looks at; these are run as they are written."""
    network = open_network(frozen)
    everything = network.run({"clip": x}, [f"{each.name}:0" for each in network.names()])
    alone = network.run({"clip": x}, ["net/Softmax:0"])
    assert alone["net/Softmax:0"].tobytes() == everything["net/Softmax:0"].tobytes()


def test_variables_are_found_by_name_where_the_graphs_own_restore_fails(small, x, tmp_path):
    """A checkpoint without the optimizer's variables, which the saver of the graph asks for."""
    import tensorflow as tf

    meta = small.save(tmp_path / "model.ckpt")
    reader = tf.train.load_checkpoint(str(tmp_path / "model.ckpt"))
    names = [name for name in reader.get_variable_to_shape_map() if "Momentum" not in name]
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "slim"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[reader.get_tensor(name) for name in names],
    )
    assert_close(values(open_network(meta, checkpoint=tmp_path / "slim"), x), small.expected(x))


def test_variables_that_the_checkpoint_lacks_are_named(small, x, tmp_path):
    import tensorflow as tf

    meta = small.save(tmp_path / "model.ckpt")
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "other"),
        tensor_names=["net/unit/ww"],
        shape_and_slices=[""],
        tensors=[np.zeros((3, 5), np.float32)],
    )
    with pytest.raises(SourceError, match="does not have variables of the graph") as caught:
        values(open_network(meta, checkpoint=tmp_path / "other"), x)
    assert "net/unit/w" in caught.value.expected
    assert caught.value.nearest == ("net/unit/ww",)


def test_a_checkpoint_without_its_data_or_with_damaged_data_is_refused(small, x, tmp_path):
    meta = small.save(tmp_path / "model.ckpt")
    data = tmp_path / "model.ckpt.data-00000-of-00001"
    good = data.read_bytes()
    data.write_bytes(bytes(len(good)))
    with pytest.raises(SourceError, match="cannot read the variable net/") as caught:
        values(open_network(meta), x)
    assert "download all files of the checkpoint again" in caught.value.hint
    data.unlink()
    with pytest.raises(SourceError, match="cannot read the variable net/"):
        values(open_network(meta), x)


def test_a_graph_with_variables_and_no_checkpoint_asks_for_one(small, meta, x, tmp_path):
    alone = tmp_path / "graph.meta"
    alone.write_bytes(meta.read_bytes())
    with pytest.raises(SourceError, match="is not beside it") as caught:
        open_network(alone)
    assert caught.value.hint == "--checkpoint PREFIX"
    assert_close(values(open_network(alone, checkpoint=str(meta)), x), small.expected(x))


def test_an_operation_that_tensorflow_does_not_have_is_named(frozen, tmp_path):
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(frozen.read_bytes())
    for node in graph.node:
        if node.op == "Softmax":
            node.op = "AcmeSoftmax"
    (tmp_path / "acme.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(SourceError, match="does not know") as caught:
        open_network(tmp_path / "acme.pb")
    assert caught.value.got == "AcmeSoftmax (at net/Softmax)"


def test_an_attribute_that_tensorflow_does_not_have_is_named(frozen, tmp_path):
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(frozen.read_bytes())
    next(node for node in graph.node if node.op == "Softmax").attr["sharpness"].f = 2.0
    (tmp_path / "new.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(SourceError, match="attributes that TensorFlow does not know") as caught:
        open_network(tmp_path / "new.pb")
    assert caught.value.got == "Softmax.sharpness (at net/Softmax)"


def test_a_text_graph_is_read(small, frozen, x, tmp_path):
    import tensorflow as tf
    from google.protobuf import text_format

    graph = tf.compat.v1.GraphDef.FromString(frozen.read_bytes())
    (tmp_path / "g.pbtxt").write_text(text_format.MessageToString(graph))
    assert_close(values(open_network(tmp_path / "g.pbtxt"), x), small.expected(x))


def test_a_damaged_graph_is_refused(frozen, tmp_path):
    raw = frozen.read_bytes()
    (tmp_path / "cut.pb").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(SourceError, match="does not know the format") as caught:
        open_network(tmp_path / "cut.pb")
    assert "incomplete" in caught.value.hint


def test_lookup_tables_are_filled(tmp_path):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        table = v1.lookup.StaticHashTable(
            v1.lookup.KeyValueTensorInitializer(v1.constant([2, 3], tf.int64), v1.constant([0.5, 0.25])), -1.0
        )
        keys = v1.placeholder(tf.int64, (None,), "keys")
        v1.identity(table.lookup(keys), name="y")
        v1.get_variable("unused", ())
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "m.ckpt"))
    network = open_network(tmp_path / "m.ckpt")
    found = network.run({"keys": np.array([3, 2, 5])}, [network.resolve("y")])
    np.testing.assert_array_equal(found["y:0"], [0.25, 0.5, -1])


def test_files_that_are_no_network_are_refused(tmp_path: Path, sampled_rgb: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    with pytest.raises(SourceError, match="contains no TensorFlow network"):
        open_network(tmp_path / "a.npz")
    with pytest.raises(SourceError, match="a checkpoint has weights, but not the network"):
        open_network(sampled_rgb)
    with pytest.raises(SourceError, match="no TensorFlow network of this name"):
        open_network(tmp_path / "nothing")
    with pytest.raises(SourceError, match="from this machine's files"):
        open_network("https://example.org/model.pb")


def test_only_saved_models_have_signatures(frozen: Path) -> None:
    with pytest.raises(SourceError, match="only a SavedModel has signatures"):
        open_network(frozen, signature="serving_default")


def test_the_small_network_is_worth_its_tests(small: Small, x: np.ndarray) -> None:
    """A ReLU that cuts, and branches that cannot be exchanged."""
    unit = small.expected(x)["unit"]
    assert 0 < (unit == 0).mean() < 1
    assert small.expected(x)["Mixed"].shape == (7, 9)


def test_a_network_that_is_not_there_is_not_called_a_checkpoint(tmp_path):
    for name in ("nowhere.meta", "nowhere.pb", "nowhere"):
        with pytest.raises(SourceError, match="there is no") as caught:
            open_network(tmp_path / name)
        assert "checkpoint of this name" not in str(caught.value)
