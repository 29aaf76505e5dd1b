"""Files of TensorFlow Lite: converted by TensorFlow, with the names of published files, and run by its interpreter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# The operation and the shape of its kernel: the names of kernel and bias.
Rename = Callable[[str, list[int]], tuple[str, str]]


def write(converter: Any, path: Path, rename: Rename) -> Path:
    """The converter's file, in which kernels and biases have other names.

    Args:
        converter: A tf.lite.TFLiteConverter.
        path: Where to write.
        rename: Gives the names of kernel and bias, of the operation (``"CONV_2D"``, ``"DEPTHWISE_CONV_2D"``,
            ``"FULLY_CONNECTED"``) and the shape of the kernel. Called for each operation in the order of the file.

    Returns:
        The path.
    """
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(converter.convert(), 0))
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
        if kind(operation) in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            kernel, bias = (graph.tensors[stored.get(at, at)] for at in operation.inputs[1:3])
            names = rename(kind(operation), [int(size) for size in kernel.shape])
            kernel.name, bias.name = (name.encode() for name in names)
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
