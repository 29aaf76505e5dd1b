"""The nodes of a graph that have to do with weights, found by walking the message: constants are not copied.

The messages: tensorflow/core/framework/graph.proto, function.proto and node_def.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfpt.formats.tensorflow.wire import LENGTH, spans, walk
from tfpt.io.cached_blocks import View

CONSTANT = "Const"
DEQUANTIZE = "Dequantize"
# What hands on a tensor as it is; freezing turns a variable's read operation into an Identity.
PASSING = frozenset({"Identity", "ReadVariableOp", "Snapshot", "StopGradient"})
VARIABLES = frozenset({"Variable", "VariableV2", "AutoReloadVariable", "VarHandleOp"})

_WANTED = {op.encode(): op for op in (CONSTANT, DEQUANTIZE, *sorted(PASSING), *sorted(VARIABLES))}


@dataclass(frozen=True)
class Node:
    """A node.

    Attributes:
        name: Its name; below the name of the function for a node of one.
        op: The operation.
        inputs: The names of the nodes whose outputs it takes, without the numbers of the outputs.
        attributes: Where the value of each attribute lies.
        function: The name of the function that it is in; empty for a node of the graph itself.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, tuple[int, int]]
    function: str = ""


def nodes(data: View, begin: int, end: int) -> Iterator[Node]:
    """The nodes of the GraphDef in ``data[begin:end]``, and those of its functions, that may matter for weights.

    Raises:
        ValueError: The bytes are no graph.
    """
    for field in walk(data, begin, end):
        if field.kind != LENGTH:
            continue
        if field.number == 1:
            yield from _node(data, field.begin, field.end, "")
        elif field.number == 2:
            for function in spans(data, field.begin, field.end, 1):
                yield from _function(data, *function)


def _function(data: View, begin: int, end: int) -> Iterator[Node]:
    name = ""
    for at, to in spans(data, begin, end, 1):
        name = _text(data, *(spans(data, at, to, 1) or [(at, at)])[-1])
    for at, to in spans(data, begin, end, 3):
        yield from _node(data, at, to, f"{name}/")


def _node(data: View, begin: int, end: int, prefix: str) -> Iterator[Node]:
    """The node, if it is of an operation that matters."""
    name = op = b""
    inputs = []
    attributes = []
    for field in walk(data, begin, end):
        if field.kind != LENGTH:
            continue
        if field.number == 1:
            name = bytes(data[field.begin : field.end])
        elif field.number == 2:
            op = bytes(data[field.begin : field.end])
            if op not in _WANTED:
                return
        elif field.number == 3:
            inputs.append((field.begin, field.end))
        elif field.number == 5:
            attributes.append((field.begin, field.end))
    if op in _WANTED:
        taken = [_text(data, *span) for span in inputs]
        yield Node(
            prefix + name.decode(),
            _WANTED[op],
            tuple([prefix + text.partition(":")[0] for text in taken if not text.startswith("^")]),
            {_text(data, *key): value for key, value in [_entry(data, *span) for span in attributes]},
            prefix[:-1],
        )


def _entry(data: View, begin: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where key and value of an entry of a map lie."""
    key = value = (begin, begin)
    for field in walk(data, begin, end):
        if field.number == 1 and field.kind == LENGTH:
            key = (field.begin, field.end)
        elif field.number == 2 and field.kind == LENGTH:
            value = (field.begin, field.end)
    return key, value


def _text(data: View, begin: int, end: int) -> str:
    return bytes(data[begin:end]).decode()
