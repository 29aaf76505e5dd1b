"""Whether this TensorFlow knows what a graph asks of it: every operation, and every attribute of one."""

from __future__ import annotations

from typing import Any

from tfpt.errors import SourceError
from tfpt.networks.running.importing import import_tensorflow

_LISTED = 8


def refuse_unknown(graph_def: Any, producers: Any, where: str) -> None:
    """Refuse a graph with operations or attributes that this TensorFlow does not have, all of them named.

    TensorFlow itself refuses the operations one at a time, and passes over the attributes: it would compute something
    else without a word. An attribute at what its writer's TensorFlow had as its default changes nothing.

    Args:
        graph_def: A GraphDef.
        producers: The operations as the writer's TensorFlow knew them, an ``OpList``; ``None`` where not known.
        where: The file, for errors.

    Raises:
        SourceError: There are some.
    """
    from tensorflow.python.framework import op_def_registry

    functions = {function.signature.name for function in graph_def.library.function}
    nodes = [
        *graph_def.node,
        *(node for function in graph_def.library.function for node in function.node_def),
    ]
    defaults = _defaults(producers)
    operations: dict[str, str] = {}
    attributes: dict[str, str] = {}
    known: dict[str, set[str]] = {}
    for node in nodes:
        if node.op in functions or node.op in operations:
            continue
        if node.op not in known:
            found = op_def_registry.get(node.op)
            if found is None:
                operations[node.op] = node.name
                continue
            known[node.op] = {attr.name for attr in found.attr}
        for name, value in node.attr.items():
            # Those with an underscore are notes, which any operation may carry.
            if name.startswith("_") or name in known[node.op] or defaults.get((node.op, name)) == value:
                continue
            attributes.setdefault(f"{node.op}.{name}", node.name)
    for kind, unknown in (("operations", operations), ("attributes", attributes)):
        if unknown:
            listed = ", ".join(f"{what} (at {name})" for what, name in list(unknown.items())[:_LISTED])
            more = f" and {len(unknown) - _LISTED} more" if len(unknown) > _LISTED else ""
            raise SourceError(
                f"the graph has {kind} that TensorFlow does not know",
                where=where,
                expected=f"{kind} of TensorFlow {import_tensorflow().__version__}",
                got=listed + more,
                hint="they are an extension's, newer, or were dropped: export the network for inference alone",
            )


def _defaults(producers: Any) -> dict[tuple[str, str], Any]:
    if producers is None:
        return {}
    return {
        (op.name, attr.name): attr.default_value
        for op in producers.op
        for attr in op.attr
        if attr.HasField("default_value")
    }
