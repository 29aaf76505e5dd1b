"""Object-based checkpoints that TensorFlow and Keras write here and now, and graphs of objects changed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.tensorflow.saving import assert_same
from tfpt.errors import SourceError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats import open_source
from tfpt.formats.tensorflow.bundle import BundleSource
from tfpt.formats.tensorflow.checkpoint import ObjectSource
from tfpt.formats.tensorflow.object_graph import GRAPH_KEY
from tfpt.formats.tensorflow.tensorflow_pb2 import TrackableObjectGraph
from tfpt.tensors import string_array

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def opened(prefix: object) -> ObjectSource:
    """Open, with every tensor compared with TensorFlow's by its key and by its name."""
    import tensorflow as tf

    source = open_source(str(prefix))
    reader = tf.train.load_checkpoint(str(prefix))
    keys = reader.get_variable_to_shape_map()
    assert {source.aliases.get(key, key) for key in keys} == set(source.specs)
    for key in keys:
        expected = reader.get_tensor(key)
        expected = string_array([expected], ()) if isinstance(expected, bytes) else expected
        assert_same(source.read(key), expected)
        assert_same(source.read(source.aliases.get(key, key)), expected)
        if key.endswith(VALUE):
            assert_same(source.read(key.removesuffix(VALUE)), expected)
        source.release(key)
    return source


def weights(source: Any) -> set[str]:
    return {name for name in source.specs if name not in source.roles}


def test_a_module_of_lists_and_dicts_with_a_shared_variable_has_each_once(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")

    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.named = tf.Variable(np.arange(6.0).reshape(2, 3), name="embedding/table")
            self.blocks = [tf.Variable([1.0 * at, 2.0], name="same") for at in range(3)]
            self.by_name = {"a/b": tf.Variable(3.0, name="in.dict"), "list": [tf.Variable(4, name="n")]}
            self.tied = self.named
            self.parent = self

    prefix = tf.train.Checkpoint(net=Net()).save(str(tmp_path / "ck"))
    source = opened(prefix)
    assert weights(source) == {
        "embedding/table",
        "net/blocks/0",
        "net/blocks/1",
        "net/blocks/2",
        "in.dict",
        "n",
    }
    assert source.roles == {"save_counter": "counter", GRAPH_KEY: "record"}
    assert source.aliases[f"net/blocks/1{VALUE}"] == "net/blocks/1"
    assert source.aliases["net/named"] == "embedding/table"
    with pytest.raises(SourceError, match="no tensor called 'embedding/tabl'") as caught:
        source.read("embedding/tabl")
    assert caught.value.nearest[0] == "embedding/table"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Any]]:
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras runs on another backend")

    def train(**options: Any) -> tuple[Any, Any]:
        keras.utils.clear_session()
        layers = [keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
        model = keras.Sequential([keras.Input((5,)), *layers], name="net")
        optimizer = keras.optimizers.Adam(**options)
        model.compile(optimizer, "mse")
        model.train_on_batch(np.ones((7, 5)), np.zeros((7, 2)))
        return model, optimizer

    return train


def test_keras_names_its_weights_and_its_optimizer_keeps_slots(tmp_path: Path, trained: Any) -> None:
    tf = pytest.importorskip("tensorflow")
    model, optimizer = trained(use_ema=True)
    source = opened(tf.train.Checkpoint(model=model, optimizer=optimizer).save(str(tmp_path / "ck")))
    assert weights(source) == {variable.path for variable in model.variables}
    for variable in model.variables:
        assert_same(source.read(variable.path), variable.numpy())
    roles = list(source.roles.values())
    trainable = len(model.trainable_variables)
    assert roles.count("average") == trainable
    assert roles.count("slot") == 2 * trainable + 1
    assert source.roles["adam/iteration"] == "counter"
    assert source.roles["adam/learning_rate"] == "slot"


def test_a_model_that_keras_exported_has_each_variable_once(tmp_path: Path, trained: Any) -> None:
    pytest.importorskip("tensorflow")
    model, _ = trained()
    model.export(tmp_path / "export", verbose=False)
    source = open_source(tmp_path / "export")
    assert source.format == "TensorFlow SavedModel (TF2)"
    assert weights(source) == {variable.path for variable in model.variables}
    opened(tmp_path / "export/variables/variables")


def test_slots_of_older_optimizers_are_named_after_their_variable(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    model = tf.Module()
    model.w = tf.Variable([1.0, 2.0], name="dense/kernel")
    model.u, model.v = (tf.Variable([0.5], name="twin") for _ in range(2))
    optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(x * x) for x in (model.w, model.u, model.v))
    variables = [model.w, model.u, model.v]
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    source = opened(tf.train.Checkpoint(model=model, opt=optimizer).save(str(tmp_path / "ck")))
    assert weights(source) == {"dense/kernel", "model/u", "model/v"}
    slots = {name for name, role in source.roles.items() if role == "slot"}
    assert slots >= {"dense/kernel/opt/m", "dense/kernel/opt/v", "model/u/opt/m", "model/v/opt/v"}


def write(
    prefix: Path, change: Callable[[TrackableObjectGraph], None], keys: tuple[str, ...] = ("a", "b")
) -> Path:
    """A checkpoint of variables ``a`` and ``b``, and a graph of them, of which `change` makes something else."""
    graph = TrackableObjectGraph()
    root = graph.nodes.add()
    for at, key in enumerate(keys):
        root.children.add(node_id=at + 1, local_name=key)
        node = graph.nodes.add()
        node.attributes.add(name="VARIABLE_VALUE", full_name=f"full_{key}", checkpoint_key=f"{key}{VALUE}")
    change(graph)
    tensors: dict[str, Any] = {f"{key}{VALUE}": np.float32([at]) for at, key in enumerate(keys)}
    tensors[GRAPH_KEY] = string_array([graph.SerializeToString()], ())
    write_bundle(prefix, tensors, write_state=False)
    return prefix


def test_a_full_name_that_is_another_variables_path_is_not_used(tmp_path: Path) -> None:
    def change(graph: TrackableObjectGraph) -> None:
        graph.nodes[1].attributes[0].full_name = "b"
        graph.nodes[2].attributes[0].full_name = ""

    source = ObjectSource(BundleSource(write(tmp_path / "ck", change)))
    assert {name: source.read(name).item() for name in ("a", "b")} == {"a": 0, "b": 1}


def test_a_graph_of_cycles_and_of_objects_that_nothing_leads_to_is_read(tmp_path: Path) -> None:
    def change(graph: TrackableObjectGraph) -> None:
        graph.nodes[1].children.add(node_id=0, local_name="up")
        graph.nodes[2].children.add(node_id=2, local_name="self")
        slot = graph.nodes.add().slot_variables.add()
        slot.original_variable_node_id, slot.slot_name, slot.slot_variable_node_id = 1, "m", 2
        for at in range(2000):
            graph.nodes.add().children.add(node_id=4 + at, local_name="x" * 99)

    source = ObjectSource(BundleSource(write(tmp_path / "ck", change)))
    assert set(source.specs) == {"full_a", "full_a/m", GRAPH_KEY}
    assert source.roles["full_a/m"] == "slot"


@pytest.mark.parametrize("node", [-1, 99])
def test_a_graph_that_refers_to_no_object_is_refused(tmp_path: Path, node: int) -> None:
    prefix = write(tmp_path / "ck", lambda graph: setattr(graph.nodes[0].children[0], "node_id", node))
    with pytest.raises(SourceError, match="refers to an object that does not exist"):
        open_source(prefix)


@pytest.mark.parametrize("content", [b"\x0a\xff\xff\xff\xff\x07", b"\xff" * 40, b"\x0b" * 5000])
def test_a_graph_that_cannot_be_parsed_is_refused(tmp_path: Path, content: bytes) -> None:
    write_bundle(tmp_path / "ck", {GRAPH_KEY: string_array([content], ()), f"a{VALUE}": np.zeros(3)})
    with pytest.raises(SourceError, match="graph of the checkpoint's objects is damaged"):
        open_source(tmp_path / "ck")


def test_without_its_data_a_checkpoint_has_its_paths_as_names(tmp_path: Path) -> None:
    prefix = write(tmp_path / "ck", lambda graph: None)
    Path(f"{prefix}.data-00000-of-00001").unlink()
    source = open_source(prefix)
    assert set(source.specs) == {"a", "b", GRAPH_KEY}
    assert source.aliases == {f"a{VALUE}": "a", f"b{VALUE}": "b"}
    with pytest.raises(SourceError, match="missing"):
        source.read("a")


def test_a_checkpoint_of_names_is_as_it_was(tmp_path: Path) -> None:
    write_bundle(tmp_path / "ck", {"a": np.zeros(3)})
    assert open_source(tmp_path / "ck").format == "TensorFlow V2 checkpoint"
