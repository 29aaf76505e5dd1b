"""Graphs that TensorFlow writes here and now: frozen, as text, with their variables elsewhere, quantized."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.tensorflow.saving import assert_same
from tfpt.errors import SourceError
from tfpt.formats import open_source
from tfpt.formats.tensorflow.graph import GraphSource
from tfpt.formats.tensorflow.tensorflow_pb2 import GraphDef
from tfpt.tensors import DTYPES

tf = pytest.importorskip("tensorflow")
v1 = tf.compat.v1

KERNEL = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)


def frozen() -> Any:
    """A graph of two variables, frozen as people froze them in TensorFlow 1."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 5), name="x")
        w = v1.Variable(KERNEL, name="net/w", use_resource=False)
        b = v1.Variable(np.zeros(7, np.float32), name="net/b", use_resource=True)
        tf.reshape(tf.matmul(x, w) + b, [-1, 7], name="y")
        session.run(v1.global_variables_initializer())
        return v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["y"])


def write(path: Path, message: Any) -> Path:
    path.write_bytes(message.SerializeToString())
    return path


def constants(message: Any) -> dict[str, np.ndarray]:
    return {n.name: tf.make_ndarray(n.attr["value"].tensor) for n in message.node if n.op == "Const"}


@pytest.mark.parametrize("as_text", [False, True])
def test_a_frozen_graph_has_its_variables_as_weights(tmp_path: Path, as_text: bool) -> None:
    graph = frozen()
    name = v1.train.write_graph(graph, str(tmp_path), "any.name", as_text=as_text)
    source = open_source(name)
    expected = constants(graph)
    assert list(source.specs) == list(expected)
    for constant, value in expected.items():
        assert_same(source.read(constant), value)
        source.release(constant)
    assert {n for n in source.specs if n not in source.roles} == {"net/w", "net/b"}
    assert source.aliases["net/w/read"] == "net/w"
    (read,) = [node.name for node in graph.node if node.op == "Identity" and "net/b" in node.input]
    assert source.aliases[read] == "net/b"
    assert_same(source.read("net/w/read"), KERNEL)


def test_values_are_a_view_of_the_file_and_outlive_the_source(tmp_path: Path) -> None:
    path = write(tmp_path / "g.pb", frozen())
    source = open_source(path)
    read = source.read("net/w")
    source.close()
    del source
    assert_same(read, KERNEL)


def every_constant() -> dict[str, Any]:
    held: dict[str, Any] = {}
    for dtype in DTYPES.values():
        if dtype.itemsize and dtype.tensorflow and dtype.tensorflow <= 23:
            bits = np.random.default_rng(dtype.tensorflow).integers(0, 2, (3, 5, dtype.itemsize))
            value = np.ascontiguousarray(bits.astype(np.uint8)).view(dtype.numpy).reshape(3, 5)
            held[dtype.name] = value
    return held


@pytest.mark.parametrize("name", [*every_constant(), "string"])
@pytest.mark.parametrize("shape", [(3, 5), (1,), (), (0, 2)])
def test_constants_of_every_dtype_are_read(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    kind = tf.dtypes.as_dtype(DTYPES[name].tensorflow)
    if name == "string":
        value = np.array([f"s{at}\0".encode() for at in range(15)], np.object_)
    else:
        value = every_constant()[name].reshape(-1).view(kind.as_numpy_dtype)
    value = np.resize(value, shape) if 0 not in shape else value[:0].reshape(shape)
    message = v1.GraphDef()
    # As `tensor_content` where TensorFlow's own function does so, and, by hand, as lists of values.
    packed = tf.make_tensor_proto(value, kind, shape)
    node = message.node.add(name="packed", op="Const")
    node.attr["dtype"].type = kind.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(packed)
    source = open_source(write(tmp_path / "g.pb", message))
    assert source.specs["packed"].dtype == name
    expected = tf.make_ndarray(packed)
    read = source.read("packed")
    assert_same(read, expected if name == "string" else expected.view(read.dtype))


@pytest.mark.parametrize(
    ("field", "values", "dtype"),
    [
        ("float_val", [1.5], tf.float32),
        ("float_val", [1.5, -2.0], tf.float32),
        ("double_val", [], tf.float64),
        ("int_val", [-3, 7], tf.int8),
        ("half_val", [0x3C00, 0xBC00], tf.float16),
        ("half_val", [0x3F80], tf.bfloat16),
        ("int64_val", [-(1 << 60)], tf.int64),
        ("uint64_val", [1 << 63], tf.uint64),
        ("bool_val", [False, True], tf.bool),
        ("scomplex_val", [1.0, 2.0], tf.complex64),
        ("dcomplex_val", [1.0, 2.0, 3.0, 4.0], tf.complex128),
        ("string_val", [b"a", b"b"], tf.string),
    ],
)
def test_the_last_of_too_few_values_fills_the_rest(
    tmp_path: Path, field: str, values: list, dtype: Any
) -> None:
    message = v1.GraphDef()
    node = message.node.add(name="c", op="Const")
    tensor = node.attr["value"].tensor
    tensor.dtype = node.attr["dtype"].type = dtype.as_datatype_enum
    for size in (3, 5):
        tensor.tensor_shape.dim.add(size=size)
    getattr(tensor, field).extend(values)
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.import_graph_def(message, name="")
        expected = session.run("c:0")
    assert_same(open_source(write(tmp_path / "g", message)).read("c"), expected)


def test_constants_in_functions_are_below_the_functions_name(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec((5,))])
    def scaled(x: Any) -> Any:
        return tf.identity(tf.constant([1.0, 2.0, 3.0, 4.0, 5.0], name="factor"), name="copy") * x

    @tf.function(input_signature=[tf.TensorSpec((5,))])
    def outer(x: Any) -> Any:
        return scaled(x)

    message = outer.get_concrete_function().graph.as_graph_def()
    source = open_source(write(tmp_path / "g", message))
    (function,) = [f.signature.name for f in message.library.function if "scaled" in f.signature.name]
    assert_same(source.read(f"{function}/factor"), np.float32([1, 2, 3, 4, 5]))
    assert source.aliases[f"{function}/copy"] == f"{function}/factor"


def test_a_meta_graph_means_its_checkpoint_or_says_what_is_missing(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        v1.Variable(KERNEL, name="w", use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "m"))
        v1.train.export_meta_graph(str(tmp_path / "text"), as_text=True)
    assert open_source(tmp_path / "m.meta").format == "TensorFlow V2 checkpoint"
    assert_same(open_source(tmp_path / "m.meta").read("w"), KERNEL)
    assert open_source(tmp_path / "text").format == "TensorFlow meta graph"
    (tmp_path / "m.index").unlink()
    source = open_source(tmp_path / "m.meta")
    assert source.format == "TensorFlow meta graph"
    assert "w" not in source.specs
    with pytest.raises(SourceError, match="'w' is a variable") as caught:
        source.read("w")
    assert "checkpoint" in str(caught.value.hint)


def test_nodes_that_hand_on_in_circles_are_no_aliases(tmp_path: Path) -> None:
    message = v1.GraphDef()
    for name, taken in (
        ("a", "b"),
        ("b", "a"),
        ("c", "c"),
        ("d", "nowhere:1"),
        ("e", "^w"),
        ("f", "g"),
        ("g", "w:0"),
    ):
        message.node.add(name=name, op="Identity", input=[taken])
    node = message.node.add(name="w", op="Const")
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(KERNEL))
    source = open_source(write(tmp_path / "g", message))
    assert dict(source.aliases) == {"f": "w", "g": "w"}


MODES = [
    (mode, dtype, -1, narrow)
    for mode in ("MIN_COMBINED", "MIN_FIRST", "SCALED")
    for dtype in ("qint8", "quint8", "qint16", "quint16", "qint32")
    for narrow in (False, True)
    if not (dtype == "qint32" and mode != "SCALED") and (mode == "SCALED" or not narrow)
] + [("SCALED", "qint8", 1, False), ("SCALED", "qint8", 0, True)]


@pytest.mark.parametrize(("mode", "dtype", "axis", "narrow"), MODES)
def test_quantized_constants_are_dequantized_as_tensorflow_does(
    tmp_path: Path, mode: str, dtype: str, axis: int, narrow: bool
) -> None:
    kind = DTYPES[dtype]
    limits = np.iinfo(kind.numpy)
    stored = (
        np.random.default_rng(1).integers(limits.min, limits.max, (5, 7), endpoint=True).astype(kind.numpy)
    )
    if dtype != "qint32":  # whose largest value TensorFlow, going by float32, takes for the smallest
        stored.flat[:2] = limits.min, limits.max
    low, high = np.float32(-0.7), np.float32(1.3)
    if axis >= 0:
        low, high = (np.linspace(1, 2, stored.shape[axis], dtype=np.float32) * bound for bound in (low, high))
    with tf.Graph().as_default() as graph, v1.Session() as session:
        held = tf.bitcast(tf.constant(stored), tf.dtypes.as_dtype(kind.tensorflow))
        held = tf.constant(session.run(held), tf.dtypes.as_dtype(kind.tensorflow), name="w")
        out = tf.raw_ops.Dequantize(
            input=tf.identity(held),
            min_range=tf.constant(low, name="low"),
            max_range=tf.constant(high, name="high"),
            mode=mode,
            axis=axis,
            narrow_range=narrow,
        )
        expected = session.run(out)
        write(tmp_path / "g", graph.as_graph_def())
    source = GraphSource(str(tmp_path / "g"), dequantize=True)
    assert source.specs["w"].dtype == "float32"
    np.testing.assert_allclose(source.read("w"), expected, rtol=3e-6, atol=3e-7)
    plain = open_source(tmp_path / "g")
    assert plain.specs["w"].dtype == dtype
    assert "w" not in plain.roles
    assert_same(plain.read("w"), stored)


def test_the_fingerprint_changes_with_one_value(tmp_path: Path) -> None:
    message = frozen()
    first = open_source(write(tmp_path / "a", message)).fingerprint()
    assert first == open_source(write(tmp_path / "b", message)).fingerprint()
    changed = message.SerializeToString().replace(KERNEL.tobytes(), (KERNEL + 1).tobytes())
    (tmp_path / "b").write_bytes(changed)
    assert len(first) == 32
    assert open_source(tmp_path / "b").fingerprint() != first


def test_our_messages_are_tensorflows(tmp_path: Path) -> None:
    graph = frozen()
    ours = GraphDef.FromString(graph.SerializeToString())
    assert [n.name for n in ours.node] == [n.name for n in graph.node]
    assert v1.GraphDef.FromString(ours.SerializeToString()) == graph
