"""What running a graph does beside computing: the operations that read files, run Python or reach other machines.

TensorFlow runs what is needed for a value, and nothing else; so a graph may hold such operations (a saver, a pipeline
of pictures for training), and is refused where they would run. One thing runs earlier: while a graph is imported,
TensorFlow works out shapes, and for that computes what depends on constants alone, `ReadFile` among them. These are
taken out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfpt.errors import SourceError
from tfpt.networks.running.importing import import_tensorflow
from tfpt.networks.running.in_memory import computes_in_memory

_LISTED = 6
# What makes a graph ready, and which of its inputs names the file that it reads.
_READS = {
    "RestoreV2": 0,
    "Restore": 0,
    "RestoreSlice": 0,
    "InitializeTableFromTextFileV2": 1,
    "InitializeTableFromTextFile": 1,
}


class Effects:
    """The operations of a graph that do more than compute.

    Args:
        graph_def: A GraphDef, its calls inlined.
        where: The file, for errors.
    """

    def __init__(self, graph_def: Any, where: str) -> None:
        self._where = where
        self._functions = {each.signature.name: each for each in graph_def.library.function}
        self._inside: dict[str, str | None] = {}
        self._found = {node.name: kind for node in graph_def.node if (kind := self._kind(node)) is not None}

    def holds(self, name: str) -> bool:
        """Whether the operation of this name does more than compute."""
        return name in self._found

    def refuse(self, names: Iterable[str], what: str) -> None:
        """Refuse to run these operations where one of them does more than compute.

        Raises:
            SourceError: One does.
        """
        found = sorted((name, self._found[name]) for name in names if name in self._found)
        if found:
            listed = ", ".join(f"{kind} (at {name})" for name, kind in found[:_LISTED])
            more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
            raise SourceError(
                f"{what} would do more than compute: it reads or writes files, runs code, or reaches other machines",
                where=self._where,
                expected="operations that compute in memory",
                got=listed + more,
                hint=f"--feed {found[0][0]}=… gives its value; or --trust, if you know where the graph comes from",
            )

    def files(self, ops: Iterable[Any]) -> list[Any] | None:
        """The tensors that name the files which these operations read; ``None`` where they do anything else.

        Args:
            ops: Operations of the imported graph, all that would run.
        """
        doing = [op for op in ops if self.holds(op.name)]
        if any(op.type not in _READS for op in doing):
            return None
        return [op.inputs[_READS[op.type]] for op in doing]

    def taken_out(self, graph_def: Any) -> Any:
        """The graph without what TensorFlow would run while it imports it; in its place stand open inputs."""
        from tensorflow.python.framework import op_def_registry

        tf = import_tensorflow()
        result = tf.compat.v1.GraphDef()
        result.CopyFrom(graph_def)
        bodies = [result.node, *(function.node_def for function in result.library.function)]
        for node in (node for body in bodies for node in body):
            definition = None if computes_in_memory(node) else op_def_registry.get(node.op)
            # One with a state is never computed early, and neither is one that depends on it.
            if (
                definition is None
                or definition.is_stateful
                or any(arg.is_ref for arg in definition.input_arg)
            ):
                continue
            kinds = list(_results(node, definition))
            control = [each for each in node.input if each.startswith("^")]
            name = node.name
            node.Clear()
            node.name = name
            node.input.extend(control)
            if not kinds:
                node.op = "NoOp"
            elif len(kinds) == 1:
                node.op = "Placeholder"
                node.attr["dtype"].type = kinds[0]
            else:
                node.op = "InfeedDequeueTuple"  # any number of outputs, no inputs, and nothing runs it here
                node.attr["dtypes"].list.type.extend(kinds)
                node.attr["shapes"].list.shape.extend([tf.TensorShape(None).as_proto() for _ in kinds])
        return result

    def _kind(self, node: Any) -> str | None:
        """The kind of operation that does more than compute: the node's, or that of one in a function it calls."""
        if node.op not in self._functions and not computes_in_memory(node):
            return str(node.op)
        for name in _called(node, self._functions):
            if name not in self._inside:
                self._inside[name] = None  # a function that calls itself
                body = self._functions[name].node_def
                self._inside[name] = next((k for each in body if (k := self._kind(each)) is not None), None)
            if self._inside[name] is not None:
                return self._inside[name]
        return None


def _called(node: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    if not functions:
        return
    if node.op in functions:
        yield node.op
    for value in node.attr.values():
        for function in [value.func, *value.list.func]:
            if function.name in functions:
                yield function.name


def _results(node: Any, definition: Any) -> Iterator[int]:
    """The dtypes of a node's outputs."""
    for arg in definition.output_arg:
        if arg.type_list_attr:
            yield from node.attr[arg.type_list_attr].list.type
            continue
        kind = node.attr[arg.type_attr].type if arg.type_attr else arg.type
        yield from [kind] * (node.attr[arg.number_attr].i if arg.number_attr else 1)
