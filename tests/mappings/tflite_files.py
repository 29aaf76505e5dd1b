"""Files of TensorFlow Lite: converted by TensorFlow, with the names of published files, and run by its interpreter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# The operation, the shape of its kernel, and the bytes of its last weight: the names of its weights.
Rename = Callable[[str, list[int], bytes], tuple[str, ...]]
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "PRELU")


class RandomLayers:
    """Layers of TensorFlow with random weights, as networks of MediaPipe have them: (1, height, width, channels).

    Attributes:
        names: The name of each weight, by its bytes as float16.
    """

    def __init__(self) -> None:
        self.random = np.random.default_rng(7)
        self.names: dict[bytes, str] = {}

    def weight(self, name: str, value: np.ndarray) -> np.ndarray:
        """The value, rounded to float16."""
        rounded = value.astype(np.float16)
        self.names[rounded.tobytes()] = name
        return rounded.astype(np.float32)

    def conv(self, x: Any, name: str, kernel: tuple[int, ...], stride: int = 1, padding: str = "SAME") -> Any:
        """A convolution with a kernel (height, width, in, out); depthwise if it is (height, width, in)."""
        import tensorflow as tf

        depthwise = len(kernel) == 3
        inputs = np.prod(kernel[:2]) if depthwise else np.prod(kernel[:3])
        weight = self.random.normal(size=kernel) * inputs**-0.5
        # Kernels have another layout in the file: it is by their biases that layers are recognized.
        bias = self.weight(name, self.random.normal(size=kernel[-1]) * 0.1)
        weight = weight.astype(np.float16).astype(np.float32)
        if depthwise:
            return tf.nn.depthwise_conv2d(x, weight[..., None], [1, stride, stride, 1], padding) + bias
        return tf.nn.conv2d(x, weight, stride, padding) + bias

    def prelu(self, x: Any, name: str) -> Any:
        """A PReLU with a slope for each channel."""
        import tensorflow as tf

        slope = self.weight(name, self.random.uniform(0.1, 0.4, (1, 1, x.shape[-1])))
        return tf.nn.relu(x) + -slope * tf.nn.relu(-x)

    def block(self, x: Any, names: tuple[str, str], channels: int, stride: int = 1) -> Any:
        """A separable convolution, added to the input; without the activation function."""
        import tensorflow as tf

        before = x.shape[-1]
        y = self.conv(x, names[0], (3, 3, before), stride)
        y = self.conv(y, names[1], (1, 1, before, channels))
        if stride > 1:
            x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        return tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, channels - before]]) + y

    def write(self, network: Any, path: Path) -> Path:
        """The tf.function as a file with weights of float16, named as MediaPipe names them."""
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [network.get_concrete_function()], network
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]

        def rename(operation: str, kernel: list[int], last: bytes) -> tuple[str, ...]:
            name = self.names[last]
            return (f"{name}/Alpha",) if operation == "PRELU" else (f"{name}/Kernel", f"{name}/Bias")

        return write(converter.convert(), path, rename)


def write(content: bytes, path: Path, rename: Rename) -> Path:
    """A file of TensorFlow Lite, in which kernels and biases have other names.

    Args:
        content: What a tf.lite.TFLiteConverter made.
        path: Where to write.
        rename: Gives the names of the weights of an operation: ``"CONV_2D"``, ``"DEPTHWISE_CONV_2D"``,
            ``"FULLY_CONNECTED"``, ``"PRELU"``. Called for each in the order of the file.

    Returns:
        The path.
    """
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    [graph] = model.subgraphs
    kinds = {number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}

    def kind(operation: Any) -> str:
        return kinds[model.operatorCodes[operation.opcodeIndex].builtinCode]

    # float16 weights are operands of DEQUANTIZE.
    stored = {
        operation.outputs[0]: operation.inputs[0]
        for operation in graph.operators
        if kind(operation) == "DEQUANTIZE"
    }
    for operation in graph.operators:
        if kind(operation) in WEIGHTED:
            weights = [graph.tensors[stored.get(at, at)] for at in operation.inputs[1:3]]
            last = bytes(model.buffers[weights[-1].buffer].data)
            names = rename(kind(operation), [int(size) for size in weights[0].shape], last)
            for tensor, name in zip(weights, names, strict=True):
                tensor.name = name.encode()
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def interpreted(path: Path, inputs: np.ndarray) -> list[np.ndarray]:
    """The outputs of the interpreter, in order of their last axes, largest first; `inputs` one by one."""
    import tensorflow as tf

    # Without XNNPACK, which may compute in float16.
    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    [given] = interpreter.get_input_details()
    results = []
    for one in inputs:
        interpreter.set_tensor(given["index"], one[None])
        interpreter.invoke()
        results.append(
            [interpreter.get_tensor(wanted["index"]) for wanted in interpreter.get_output_details()]
        )
    outputs = [np.concatenate(each) for each in zip(*results, strict=True)]
    return sorted(outputs, key=lambda output: -output.shape[-1])
