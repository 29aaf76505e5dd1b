"""Reads a MetaGraphDef: tags, signatures, and where its graph is.

The message: tensorflow/core/protobuf/meta_graph.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfpt.formats.tensorflow.tensorflow_pb2 import MetaGraphDef, SignatureDef, TensorInfo
from tfpt.formats.tensorflow.wire import LENGTH, spans, walk
from tfpt.io.cached_blocks import View
from tfpt.tensors import BY_TENSORFLOW

_INFO, _GRAPH, _SIGNATURE, _OBJECTS = 1, 2, 5, 7

# tensorflow/python/saved_model/constants.py
_OWN = "__saved_model_"


@dataclass(frozen=True)
class Argument:
    """An input or output of a signature.

    Attributes:
        tensor: The name of the tensor in the graph; empty if there are several, as for a sparse one.
        shape: Its shape; ``None`` for an axis of any size, or for any number of axes.
        dtype: Its dtype.
    """

    tensor: str
    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        if self.shape is None:
            return f"[…] {self.dtype}"
        return f"[{', '.join('?' if size is None else str(size) for size in self.shape)}] {self.dtype}"


@dataclass(frozen=True)
class Signature:
    """A way to call a model.

    Attributes:
        method: Its purpose, such as ``tensorflow/serving/predict``.
        inputs: The inputs, by name.
        outputs: The outputs, by name.
    """

    method: str
    inputs: Mapping[str, Argument]
    outputs: Mapping[str, Argument]

    def __str__(self) -> str:
        return f"{_list(self.inputs)} → {_list(self.outputs)}"


def _list(arguments: Mapping[str, Argument]) -> str:
    return ", ".join(f"{name} {argument}" for name, argument in arguments.items()) or "nothing"


@dataclass(frozen=True)
class MetaGraph:
    """A graph and its description.

    Attributes:
        tags: What distinguishes it from the other graphs of a SavedModel.
        version: The version of TensorFlow that wrote it; empty if unknown.
        signatures: The ways to call it, by name.
        graph: Where its GraphDef is.
        has_objects: Whether it was written by TensorFlow 2, from objects.
        captured: The names of the constants that its objects have, such as ``self.w = tf.constant(…)``.
    """

    tags: tuple[str, ...]
    version: str
    signatures: Mapping[str, Signature]
    graph: tuple[int, int]
    has_objects: bool
    captured: tuple[str, ...] = ()


def read_meta_graph(data: View, begin: int, end: int) -> MetaGraph:
    """The MetaGraphDef in ``data[begin:end]``; its graph is not parsed.

    Raises:
        ValueError: The bytes are not a message.
        DecodeError: A part of it cannot be parsed.
    """
    info = MetaGraphDef.MetaInfoDef()
    graph = (begin, begin)
    signatures = {}
    has_objects = False
    captured: list[str] = []
    for field in walk(data, begin, end):
        if field.kind != LENGTH:
            continue
        if field.number == _INFO:
            # Without the long list of all operations.
            for number in (4, 5):
                for at, to in spans(data, field.begin, field.end, number):
                    text = bytes(data[at:to]).decode()
                    if number == 4:
                        info.tags.append(text)
                    else:
                        info.tensorflow_version = text
        elif field.number == _GRAPH:
            graph = (field.begin, field.end)
        elif field.number == _SIGNATURE:
            name, signature = _signature(data, field.begin, field.end)
            # TensorFlow stores its own initialization operations as signatures too.
            if not name.startswith(_OWN):
                signatures[name] = signature
        elif field.number == _OBJECTS:
            has_objects = True
            captured += _captured(data, field.begin, field.end)
    return MetaGraph(
        tuple(info.tags), info.tensorflow_version, signatures, graph, has_objects, tuple(captured)
    )


def _captured(data: View, begin: int, end: int) -> Iterator[str]:
    """SavedObjectGraph.nodes.constant.operation (tensorflow/core/protobuf/saved_object_graph.proto)."""
    for node in spans(data, begin, end, 1):
        for constant in spans(data, *node, 9):
            for at, to in spans(data, *constant, 1):
                yield bytes(data[at:to]).decode()


def _signature(data: View, begin: int, end: int) -> tuple[str, Signature]:
    """An entry of the map of signatures."""
    name, message = "", SignatureDef()
    for field in walk(data, begin, end):
        if field.kind == LENGTH and field.number == 1:
            name = bytes(data[field.begin : field.end]).decode()
        elif field.kind == LENGTH and field.number == 2:
            message.MergeFromString(bytes(data[field.begin : field.end]))
    inputs = {key: _argument(info) for key, info in sorted(message.inputs.items())}
    outputs = {key: _argument(info) for key, info in sorted(message.outputs.items())}
    return name, Signature(message.method_name, inputs, outputs)


def _argument(info: TensorInfo) -> Argument:
    known = BY_TENSORFLOW.get(info.dtype % 100)
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple([dim.size if dim.size >= 0 else None for dim in info.tensor_shape.dim])
    return Argument(info.name, shape, known.name if known else f"type {info.dtype}")
