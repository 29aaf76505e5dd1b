"""Finds the constants of graphs: where each is in the file, and its aliases. Values are not copied.

The messages: tensorflow/core/framework/graph.proto, function.proto and node_def.proto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tfpt.formats.source import Role
from tfpt.formats.tensorflow.dequantize import Scale
from tfpt.formats.tensorflow.tensor_proto import Stored, describe
from tfpt.formats.tensorflow.tensorflow_pb2 import AttrValue
from tfpt.formats.tensorflow.wire import LENGTH, spans, walk
from tfpt.io.cached_blocks import View
from tfpt.tensors import TensorSpec

CONSTANT = "Const"
DEQUANTIZE = "Dequantize"
# Operations that pass on a tensor unchanged; freezing turns a variable's read operation into an Identity.
PASSING = frozenset({"Identity", "ReadVariableOp", "Snapshot", "StopGradient"})
VARIABLES = frozenset({"Variable", "VariableV2", "AutoReloadVariable", "VarHandleOp"})

_WANTED = {op.encode(): op for op in (CONSTANT, DEQUANTIZE, *sorted(PASSING), *sorted(VARIABLES))}


@dataclass(frozen=True)
class Node:
    """A node of a graph.

    Attributes:
        name: Its name, below the function's name for a node in a function.
        op: The operation.
        inputs: The names of its input nodes, without output numbers.
        attributes: Where the value of each attribute is.
        function: The name of its function; empty for a node of the graph itself.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, tuple[int, int]]
    function: str = ""


def nodes(data: View, begin: int, end: int) -> Iterator[Node]:
    """The nodes of the GraphDef in ``data[begin:end]``, and those of its functions, that are relevant to weights.

    Raises:
        ValueError: The bytes are not a graph.
    """
    for part in walk(data, begin, end):
        if part.kind != LENGTH:
            continue
        if part.number == 1:
            yield from _node(data, part.begin, part.end, "")
        elif part.number == 2:
            for function in spans(data, part.begin, part.end, 1):
                yield from _function(data, *function)


def _function(data: View, begin: int, end: int) -> Iterator[Node]:
    name = ""
    for at, to in spans(data, begin, end, 1):
        name = _text(data, *(spans(data, at, to, 1) or [(at, at)])[-1])
    for at, to in spans(data, begin, end, 3):
        yield from _node(data, at, to, f"{name}/")


def _node(data: View, begin: int, end: int, prefix: str) -> Iterator[Node]:
    """The node, if its operation is relevant."""
    name = op = b""
    inputs = []
    attributes = []
    for part in walk(data, begin, end):
        if part.kind != LENGTH:
            continue
        if part.number == 1:
            name = bytes(data[part.begin : part.end])
        elif part.number == 2:
            op = bytes(data[part.begin : part.end])
            if op not in _WANTED:
                return
        elif part.number == 3:
            inputs.append((part.begin, part.end))
        elif part.number == 5:
            attributes.append((part.begin, part.end))
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
    """Where key and value of a map entry are."""
    key = value = (begin, begin)
    for part in walk(data, begin, end):
        if part.number == 1 and part.kind == LENGTH:
            key = (part.begin, part.end)
        elif part.number == 2 and part.kind == LENGTH:
            value = (part.begin, part.end)
    return key, value


def _text(data: View, begin: int, end: int) -> str:
    return bytes(data[begin:end]).decode()


# The field of an AttrValue that holds a tensor.
_TENSOR = 8

# With how many constants of other functions each is compared; layers are traced a few times.
_MOST_COMPARED = 4

_WEIGHTS = ("float", "bfloat", "complex", "q")
_BYTES = ("int8", "uint8", "int4", "uint4")


@dataclass
class Constants:
    """The constants of one or more graphs.

    Attributes:
        stored: Each constant by name, in the order of the graph.
        aliases: Names of nodes that pass on a constant unchanged, such as ``w/read``, and the constant's.
        scales: How quantized constants are dequantized, by name.
        variables: Names of variables, whose values are not in the graph.
        functions: The function of each constant that is in one, by the constant's name.
        repeated: Names of constants that another function has too, under the same name and with equal values.
        spans: Where the message of each constant is, including those that several graphs share.
    """

    stored: dict[str, Stored] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)
    functions: dict[str, str] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)
    repeated: set[str] = field(default_factory=set)
    _firsts: dict[tuple[object, ...], list[str]] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)

    def add_graph(self, data: View, begin: int, end: int, scope: str) -> None:
        """Add the GraphDef in ``data[begin:end]``.

        Args:
            data: The file.
            begin: Where the graph starts.
            end: Where it ends.
            scope: The prefix for a constant whose name another graph has for other values.

        Raises:
            ValueError: It is damaged.
        """
        passing: dict[str, str] = {}
        scaling: list[Node] = []
        own: dict[str, str] = {}
        for node in nodes(data, begin, end):
            if node.op == CONSTANT:
                if node.name in own:
                    raise ValueError(f"two constants of one graph are called {node.name!r}")
                own[node.name] = self._add_constant(data, node, scope)
            elif node.op in VARIABLES:
                self.variables.add(node.name)
            elif node.op in PASSING and node.inputs:
                passing[node.name] = node.inputs[0]
            elif node.op == DEQUANTIZE:
                scaling.append(node)
        own |= _resolved(passing, own)
        self.aliases |= {
            alias: name for alias, name in own.items() if alias != name and alias not in self.stored
        }
        for node in scaling:
            bounds = [own.get(name) for name in node.inputs]
            if len(bounds) == 3 and None not in bounds:
                name, low, high = (str(bound) for bound in bounds)
                self.scales.setdefault(name, _scale(data, node, low, high))

    def _add_constant(self, data: View, node: Node, scope: str) -> str:
        at, to = node.attributes.get("value", (0, 0))
        tensors = spans(data, at, to, _TENSOR)
        if len(tensors) != 1:
            raise ValueError(f"the constant {node.name!r} has {len(tensors)} values")
        begin, end = tensors[0]
        self.spans.append((begin, end))
        name = node.name
        before = self.stored.get(name)
        if before is not None:
            if _equal(data, (before.begin, before.end), (begin, end)):
                return name
            scoped = name = f"{scope}/{name}"
            while name in self.stored:
                self._numbers[scoped] += 1
                name = f"{scoped}_{self._numbers[scoped]}"
        self.aliases.pop(name, None)
        self.stored[name] = describe(data, begin, end, name)
        if node.function:
            self.functions[name] = node.function
            self._note_repeated(data, node, self.stored[name])
        return name

    def _note_repeated(self, data: View, node: Node, stored: Stored) -> None:
        own = node.name[len(node.function) + 1 :]
        firsts = self._firsts.setdefault((own, stored.spec.shape, stored.spec.dtype, stored.held), [])
        for first in firsts[:_MOST_COMPARED]:
            other = self.stored[first]
            if _equal(data, (other.begin, other.end), (stored.begin, stored.end)):
                self.repeated.add(stored.spec.name)
                return
        firsts.append(stored.spec.name)


def role_of(spec: TensorSpec) -> Role | None:
    """The role of a constant, judged by shape and dtype: floating-point arrays are weights.

    So are quantized arrays, and matrices of bytes, which may be quantized weights. Other integers are shapes, axes and
    the like, strings are file names, and scalars are factors or bounds.

    Example:
        >>> role_of(TensorSpec("w", (3, 5), "float32")), role_of(TensorSpec("shape", (2,), "int32"))
        (None, 'constant')
    """
    if not spec.shape:
        return "constant"
    if spec.dtype.startswith(_WEIGHTS) or (spec.dtype in _BYTES and len(spec.shape) > 1):
        return None
    return "constant"


def _equal(data: View, first: tuple[int, int], second: tuple[int, int]) -> bool:
    if first[1] - first[0] != second[1] - second[0]:
        return False
    return bool(
        np.array_equal(
            np.frombuffer(data[first[0] : first[1]], np.uint8),
            np.frombuffer(data[second[0] : second[1]], np.uint8),
        )
    )


def _resolved(passing: dict[str, str], constants: dict[str, str]) -> dict[str, str]:
    """The constant that each node passes on, directly or through others; there may be cycles."""
    resolved: dict[str, str | None] = {}
    for start in passing:
        visited: dict[str, None] = {}
        name = start
        while name in passing and name not in resolved and name not in visited and name not in constants:
            visited[name] = None
            name = passing[name]
        # Nodes that lead to no constant are remembered too: each node is visited once.
        resolved |= dict.fromkeys(visited, constants.get(name, resolved.get(name)))
    return {name: found for name, found in resolved.items() if found is not None}


def _scale(data: View, node: Node, low: str, high: str) -> Scale:
    values = {}
    for key in ("mode", "axis", "narrow_range"):
        if key in node.attributes:
            at, to = node.attributes[key]
            values[key] = AttrValue.FromString(bytes(data[at:to]))
    return Scale(
        low,
        high,
        values["mode"].s.decode() if "mode" in values else "MIN_COMBINED",
        values["axis"].i if "axis" in values else -1,
        values["narrow_range"].b if "narrow_range" in values else False,
    )
