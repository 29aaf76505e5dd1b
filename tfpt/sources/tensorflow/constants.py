"""The constants of graphs: where each lies, and under which other names it is known."""

from __future__ import annotations

from dataclasses import dataclass, field

from tfpt.sources.source import Role
from tfpt.sources.tensorflow.dequantise import Scale
from tfpt.sources.tensorflow.nodes import CONSTANT, DEQUANTIZE, PASSING, VARIABLES, Node, nodes
from tfpt.sources.tensorflow.tensor_proto import Stored, describe
from tfpt.sources.tensorflow.tensorflow_pb2 import AttrValue
from tfpt.sources.tensorflow.wire import spans
from tfpt.tensors import TensorSpec

# The field of an AttrValue that holds a tensor.
_TENSOR = 8

_WEIGHTS = ("float", "bfloat", "complex", "q")
_BYTES = ("int8", "uint8", "int4", "uint4")


@dataclass
class Constants:
    """What graphs hold.

    Attributes:
        stored: Each constant by name, in the order of the graph.
        aliases: Names of nodes that hand on a constant as it is, such as ``w/read``, and the constant's.
        scales: How quantised constants are to be understood, by name.
        variables: Names of variables, whose values are not in the graph.
    """

    stored: dict[str, Stored] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)

    def add_graph(self, data: memoryview, begin: int, end: int, scope: str) -> None:
        """Take in the GraphDef in ``data[begin:end]``.

        Args:
            data: The file.
            begin: Where the graph starts.
            end: Where it ends.
            scope: What goes before the name of a constant that another graph has with other values.

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

    def _add_constant(self, data: memoryview, node: Node, scope: str) -> str:
        at, to = node.attributes.get("value", (0, 0))
        tensors = spans(data, at, to, _TENSOR)
        if len(tensors) != 1:
            raise ValueError(f"the constant {node.name!r} has {len(tensors)} values")
        begin, end = tensors[0]
        name = node.name
        before = self.stored.get(name)
        if before is not None:
            if data[before.begin : before.end] == data[begin:end]:
                return name
            name = f"{scope}/{name}"
            while name in self.stored:
                name += "_"
        self.aliases.pop(name, None)
        self.stored[name] = describe(data, begin, end, name)
        return name


def role_of(spec: TensorSpec) -> Role | None:
    """What a constant is for, by what it is: numbers with a fraction along an axis are weights.

    So are quantised ones, and matrices of bytes, as which quantised weights are stored too; whole numbers otherwise are
    shapes, axes and the like, strings the names of files, and scalars a factor or a bound.

    Example:
        >>> role_of(TensorSpec("w", (3, 5), "float32")), role_of(TensorSpec("shape", (2,), "int32"))
        (None, 'constant')
    """
    if not spec.shape:
        return "constant"
    if spec.dtype.startswith(_WEIGHTS) or (spec.dtype in _BYTES and len(spec.shape) > 1):
        return None
    return "constant"


def _resolved(passing: dict[str, str], constants: dict[str, str]) -> dict[str, str]:
    """The constant that each node hands on, through as many others as there are between; some go in circles."""
    resolved: dict[str, str] = {}
    for start in passing:
        chain = []
        name = start
        seen = set()
        while name in passing and name not in resolved and name not in seen and name not in constants:
            seen.add(name)
            chain.append(name)
            name = passing[name]
        found = constants.get(name, resolved.get(name))
        if found is not None:
            resolved |= dict.fromkeys(chain, found)
    return resolved


def _scale(data: memoryview, node: Node, low: str, high: str) -> Scale:
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
