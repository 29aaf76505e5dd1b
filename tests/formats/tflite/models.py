"""Small models for tests, converted by TensorFlow, and flatbuffers changed through its own schema."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("float", "float16", "dynamic", "int8", "int16")


def convert(path: Path, kind: str) -> Path:
    """A convolution, a dense layer and a reshape: 3 x 5 x 2 numbers in, 7 out."""
    import tensorflow as tf

    random = np.random.default_rng(7)

    class Net(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(random.normal(size=(3, 3, 2, 11)).astype(np.float32))
            self.bias = tf.Variable(random.normal(size=11).astype(np.float32))
            # More than 1024 elements: smaller ones the converter does not quantize for dynamic range.
            self.dense = tf.Variable(random.normal(size=(3 * 5 * 11, 7)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([1, 3, 5, 2], tf.float32, "x")])
        def __call__(self, x: Any) -> Any:
            y = tf.nn.relu(tf.nn.conv2d(x, self.kernel, 1, "SAME") + self.bias)
            return tf.reshape(y, [1, 3 * 5 * 11]) @ self.dense

    net = Net()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.__call__.get_concrete_function()], net)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "int16"):
        converter.representative_dataset = lambda: (
            [random.normal(size=(1, 3, 5, 2)).astype(np.float32)] for _ in range(8)
        )
        operators = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        if kind == "int16":
            operators = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [operators]
    path.write_bytes(converter.convert())
    return path


def build(path: Path, change: Callable[[Any], None]) -> Path:
    """A model of one float tensor `w` [2, 3] in buffer 1, changed as objects of TensorFlow's generated schema."""
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model, graph, tensor = schema.ModelT(), schema.SubGraphT(), schema.TensorT()
    model.version, model.description = 3, b"made by a test"
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.frombuffer(np.arange(6, dtype="<f4").tobytes(), np.uint8)
    tensor.name, tensor.shape, tensor.buffer, tensor.type = b"w", [2, 3], 1, 0
    graph.name, graph.tensors, graph.inputs, graph.outputs, graph.operators = b"main", [tensor], [], [], []
    model.subgraphs = [graph]
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def add_tensor(
    model: Any, name: bytes, shape: list[int], type_name: str, data: bytes, subgraph: int = 0
) -> Any:
    """One more constant; `type_name` as in the schema's TensorType."""
    from tensorflow.lite.python import schema_py_generated as schema

    tensor, buffer = schema.TensorT(), schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    model.buffers.append(buffer)
    tensor.name, tensor.shape, tensor.buffer = name, shape, len(model.buffers) - 1
    tensor.type = getattr(schema.TensorType, type_name)
    while len(model.subgraphs) <= subgraph:
        added = schema.SubGraphT()
        added.name, added.tensors, added.inputs, added.outputs, added.operators = b"body", [], [], [], []
        model.subgraphs.append(added)
    model.subgraphs[subgraph].tensors.append(tensor)
    return tensor
