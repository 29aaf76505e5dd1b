"""Constants of graphs and SavedModels: which are weights, which are without values, and what looking for them costs."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.tensorflow.saving import assert_same
from tests.growth import assert_linear
from tests.opened import open_files
from tfpt.errors import SourceError
from tfpt.formats import open_source
from tfpt.formats.tensorflow.constants import Constants
from tfpt.formats.tensorflow.graph import GraphSource
from tfpt.formats.tensorflow.tensorflow_pb2 import DT_FLOAT, GraphDef, MetaGraphDef, SavedModel

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1

KERNEL = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)
BIAS = np.random.default_rng(4).normal(size=7).astype(np.float32)
TABLE = np.random.default_rng(5).normal(size=(11, 7)).astype(np.float32)


def save_net(folder: Path, with_variable: bool) -> None:
    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.constant(KERNEL)
            self.many = [tf.constant(BIAS)]
            self.v = tf.Variable(BIAS, name="v") if with_variable else None

        def _run(self, x: Any) -> Any:
            y = x @ self.w + self.many[0] + tf.constant(TABLE, name="table")[0]
            return y if self.v is None else y + self.v

        @tf.function(input_signature=[tf.TensorSpec((None, 5), name="x")])
        def first(self, x: Any) -> Any:
            return {"y": self._run(x)}

        @tf.function(input_signature=[tf.TensorSpec((None, 5), name="x")])
        def second(self, x: Any) -> Any:
            return {"y": 2 * self._run(x)}

    net = Net()
    tf.saved_model.save(net, str(folder), signatures={"a": net.first, "b": net.second})


@pytest.mark.parametrize("with_variable", [True, False])
def test_constants_that_are_weights_are_shown_beside_variables(tmp_path: Path, with_variable: bool) -> None:
    save_net(tmp_path / "m", with_variable)
    source = open_source(tmp_path / "m")
    weights = {name: source.read(name) for name in source.specs if name not in source.roles}
    # The table is in each of the functions, and listed once.
    (table,) = [name for name in weights if name.endswith("/table")]
    assert table.startswith("__inference_")
    assert_same(weights.pop(table), TABLE)
    if with_variable:
        assert_same(weights.pop("v"), BIAS)
    assert {value.tobytes() for value in weights.values()} == {KERNEL.tobytes(), BIAS.tobytes()}
    assert all(name.startswith("Const") for name in weights)


def test_what_variables_of_tensorflow_1_began_with_is_not_listed(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph, v1.Session() as session:
        w = v1.get_variable("w", initializer=KERNEL, use_resource=False)
        session.run(v1.global_variables_initializer())
        x = v1.placeholder(tf.float32, (None, 5), name="x")
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"x": x}, {"y": x @ w})
        assert any(operation.type == "Const" for operation in graph.get_operations())
    assert list(open_source(tmp_path / "m").specs) == ["w"]


def stripped(keep: tuple[str, ...] = ()) -> Any:
    """A frozen network as the converter of TensorFlow.js left it in 2018: `tensor_content` cleared."""
    message = v1.GraphDef()
    message.node.add(name="x", op="Placeholder")
    for name, value in {"a/w": KERNEL, "a/b": BIAS, "b/w": TABLE, "shape": np.int32([-1, 7])}.items():
        node = message.node.add(name=name, op="Const")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        if name not in keep:
            node.attr["value"].tensor.ClearField("tensor_content")
    return message


def write(path: Path, message: Any) -> Path:
    path.write_bytes(message.SerializeToString())
    return path


@pytest.mark.parametrize("keep", [(), ("a/b",)])
def test_a_graph_whose_kernels_are_elsewhere_is_refused(tmp_path: Path, keep: tuple[str, ...]) -> None:
    path = write(tmp_path / "tensorflowjs_model.pb", stripped(keep))
    with pytest.raises(SourceError, match="values of this graph's constants are in other files") as caught:
        open_source(path)
    assert "weights_manifest.json" in str(caught.value.hint)


@pytest.mark.parametrize("form", ["weights_manifest.json", "model.json"])
def test_a_manifest_beside_the_graph_tells_of_one_constant(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "g.pb", stripped(("a/w", "a/b")))
    # Without the manifest b/w is what TensorFlow takes it for.
    assert_same(open_source(path).read("b/w"), np.zeros((11, 7), np.float32))
    groups: Any = [{"paths": ["s"], "weights": [{"name": "b/w", "shape": [11, 7], "dtype": "float32"}]}]
    (tmp_path / form).write_text(json.dumps(groups if form[0] == "w" else {"weightsManifest": groups}))
    with pytest.raises(SourceError, match="in other files") as caught:
        open_source(path)
    assert str(caught.value.hint).endswith(f"inspect {tmp_path / form}")
    (tmp_path / form).write_text(json.dumps([{"weights": [{"name": "another"}]}]))
    assert len(open_source(path).specs) == 4


def test_zeros_that_tensorflows_optimizer_wrote_are_zeros(tmp_path: Path) -> None:
    from tensorflow.core.protobuf import config_pb2
    from tensorflow.python.grappler import tf_optimizer

    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, (5, 7), name="x")
        zeros = tf.constant(np.zeros((5, 7), np.float32)) * tf.constant(KERNEL)
        tf.identity(x @ tf.constant(BIAS[:, None]) + (x + zeros) @ tf.constant(TABLE.T), name="out")
        message = v1.train.export_meta_graph()
    message.collection_def["train_op"].node_list.value.append("out")
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1
    # Only folding: what adds zeros would be taken out altogether.
    config.graph_options.rewrite_options.arithmetic_optimization = 2
    optimized = tf_optimizer.OptimizeGraph(config, message)
    values = {n.name: n.attr["value"].tensor for n in optimized.node if n.op == "Const"}
    source = open_source(write(tmp_path / "g", optimized))
    for name, value in values.items():
        assert_same(source.read(name), tf.make_ndarray(value))


def test_a_bias_of_zeros_without_content_is_zeros(tmp_path: Path) -> None:
    message = stripped(("a/w", "b/w", "shape"))
    node = next(node for node in message.node if node.name == "a/b")
    assert not tf.make_ndarray(node.attr["value"].tensor).any()  # so TensorFlow reads it
    assert not open_source(write(tmp_path / "g", message)).read("a/b").any()


def test_an_unfrozen_graph_says_that_values_are_elsewhere(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        v1.get_variable("w", initializer=KERNEL, use_resource=False)
        v1.get_variable("r", initializer=KERNEL, use_resource=True)
    source = open_source(write(tmp_path / "g", graph.as_graph_def()))
    assert set(source.skipped) == {"w", "r"}
    assert "checkpoint" in source.skipped["w"]


def test_closing_lets_go_of_the_file(tmp_path: Path) -> None:
    big = v1.GraphDef()
    big.node.add(name="w", op="Const").attr["value"].tensor.CopyFrom(tf.make_tensor_proto(KERNEL))
    path = write(tmp_path / "graph-to-close.pb", big)
    source = GraphSource(str(path))
    source.read("w").sum()
    assert str(path) in open_files()
    source.close()
    assert str(path) not in open_files()
    with pytest.raises(SourceError, match="closed"):
        source.read("w")


def _identities(count: int) -> bytes:
    message = GraphDef()
    for at in range(count):
        message.node.add(name=f"n{at}", op="Identity", input=[f"n{at + 1}"])
    return message.SerializeToString()


def test_a_chain_that_leads_to_no_constant_is_walked_once() -> None:
    few, many = _identities(2_000), _identities(8_000)
    assert_linear(
        lambda: Constants().add_graph(memoryview(few), 0, len(few), ""),
        lambda: Constants().add_graph(memoryview(many), 0, len(many), ""),
    )


def _sharing(count: int) -> bytes:
    model = SavedModel(saved_model_schema_version=1)
    for at in range(count):
        graph = MetaGraphDef()
        graph.meta_info_def.tags.append("serve")
        tensor = graph.graph_def.node.add(name="w", op="Const").attr["value"].tensor
        tensor.dtype = DT_FLOAT
        tensor.tensor_shape.dim.add(size=1)
        tensor.float_val.append(at)
        model.meta_graphs.append(graph)
    return model.SerializeToString()


def test_graphs_that_share_names_and_tags_cost_as_many_as_they_are(tmp_path: Path) -> None:
    for count in (500, 2_000):
        (tmp_path / str(count)).write_bytes(_sharing(count))
    source = GraphSource(str(tmp_path / "500"))
    assert len(source.specs) == 500
    assert sorted(float(source.read(name)[0]) for name in source.specs) == list(range(500))
    assert_linear(lambda: GraphSource(str(tmp_path / "500")), lambda: GraphSource(str(tmp_path / "2000")))


@pytest.mark.parametrize(
    "value", [np.zeros(500_009, np.float32), KERNEL.repeat(14_293)], ids=["zeros", "any"]
)
def test_text_takes_no_more_than_twenty_times_its_size(tmp_path: Path, value: np.ndarray) -> None:
    message = v1.GraphDef()
    message.node.add(name="w", op="Const").attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    message.node.add(name="b", op="Const").attr["value"].tensor.CopyFrom(tf.make_tensor_proto(KERNEL))
    path = v1.train.write_graph(message, str(tmp_path), "g.pbtxt")
    size = Path(path).stat().st_size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source = open_source(path)
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert used < 20 * size
    assert_same(source.read("w"), value)
    assert_same(source.read("b"), KERNEL)


ODD = [
    r'tensor_content: "' + r"\000\\\"\'\n\t\x41\377" * 900 + '"',
    'tensor_content: "' + "\\101" * 5000 + '"\n  "' + "\\102" * 5000 + '"',
    'tensor_content: "' + "ab\\\\" * 30_000 + '"',
    'tensor_content: "' + "\\1" * 5000 + '"',
    "tensor_content: '" + "\\101" * 5000 + "'",
    'string_val: "' + "\\303\\244" * 50_000 + '" string_val: "short" string_val: "' + "\\000" * 40_000 + '"',
    'tensor_content: "' + "\\101" * 40_000,  # no end
]


@pytest.mark.parametrize("literal", ODD, ids=range(len(ODD)))
def test_literals_of_every_kind_are_those_of_protobufs_parser(literal: str) -> None:
    from google.protobuf import text_format

    from tfpt.formats.tensorflow.text import parse_text

    text = 'node { name: "w" op: "Const" attr { key: "value" value { tensor { ' + literal + " } } } }"
    data = np.frombuffer(text.encode(), np.uint8)
    expected = v1.GraphDef()
    try:
        text_format.Parse(text, expected)
    except text_format.ParseError:
        with pytest.raises(ValueError, match=r"\d:\d"):
            parse_text(data, "graph")
        return
    assert v1.GraphDef.FromString(parse_text(data, "graph")) == expected


MODES = [("MIN_FIRST", "quint8"), ("SCALED", "qint8"), ("MIN_COMBINED", "quint8"), ("MIN_COMBINED", "qint8")]


@pytest.mark.parametrize(("mode", "dtype"), MODES)
@pytest.mark.parametrize("low", [-1.0, -0.7])
def test_scale_and_zero_point_of_a_quantized_constant_give_tensorflows_numbers(
    tmp_path: Path, mode: str, dtype: str, low: float
) -> None:
    plain = np.random.default_rng(1).integers(0, 256, (5, 7)) - (128 if dtype == "qint8" else 0)
    high = 1.0 if low == -1.0 else 1.3
    with tf.Graph().as_default() as graph, v1.Session() as session:
        held = tf.constant(plain, tf.dtypes.as_dtype(dtype), name="w")
        bounds = {"min_range": tf.constant(low, name="low"), "max_range": tf.constant(high, name="high")}
        real = session.run(tf.raw_ops.Dequantize(input=held, mode=mode, **bounds))
        path = write(tmp_path / "g", graph.as_graph_def())
    how = open_source(path).quantized["w"]
    assert np.array_equal(open_source(path).read("w"), plain)
    if how.scheme == "affine":
        np.testing.assert_allclose((plain - how.zero_points[0]) * how.scales[0], real, rtol=1e-4, atol=1e-5)
    else:
        # What no whole zero point can say is told by its bounds.
        assert mode == "MIN_COMBINED"
        assert how.scheme == f"MIN_COMBINED from {low:g} to {high:g}"
    assert not open_source(path, dequantize=True).quantized


def test_integers_of_another_operation_are_said_to_be_quantized(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.constant(np.arange(6).reshape(2, 3), tf.qint8, name="w")
    how = open_source(write(tmp_path / "g", graph.as_graph_def())).quantized["w"]
    assert how.scheme != "affine"
