"""Imports a GraphDef: checks that TensorFlow knows its operations, and inlines its function calls.

Inlining gives everything that functions compute a name. A SavedModel of TensorFlow 2 is a graph of a few calls; the
network is in its function library. TensorFlow's own way begins with `tf.saved_model.load`, which rebuilds the saved
objects: TensorFlow 2.21 fails at that for every old Keras model that was saved with its optimizer ("'_UserObject'
object has no attribute 'add_slot'"). A graph does not need these objects: inlined here and run in a session, it
computes what the signature computes, lookup tables included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tfpt.errors import SourceError, TfptError
from tfpt.networks.running.allowed_operations import SideEffects
from tfpt.networks.running.importing import import_tensorflow

_LISTED = 8
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_DEEPEST, _MOST_NODES = 100, 2_000_000
# Attributes that a copied node must not keep: colocation and gradients refer to the function it came from.
_DROPPED_ATTRIBUTES = ("_class", "_gradient_op_type")


def import_graph(graph_def: Any, producers: Any, where: str, trust: bool) -> tuple[Any, SideEffects | None]:
    """Import a GraphDef with its calls inlined and its device placement removed.

    Args:
        graph_def: A GraphDef; it is not changed.
        producers: The operations as the writer's TensorFlow defined them, an ``OpList``; ``None`` if not known.
        where: The file, for error messages.
        trust: Allow all operations.

    Returns:
        The ``tf.Graph``, and its operations with side effects, or ``None`` with `trust`.

    Raises:
        SourceError: TensorFlow cannot read the graph, or does not know one of its operations.
    """
    tf = import_tensorflow()
    refuse_unknown(graph_def, producers, where)
    inlined = inline_calls(graph_def, where)
    effects = None if trust else SideEffects(inlined, where)
    if effects is not None:
        inlined = effects.without_early_evaluation(inlined)
    elif inlined is graph_def:
        inlined = tf.compat.v1.GraphDef()
        inlined.CopyFrom(graph_def)
    for node in inlined.node:
        node.device = ""
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.graph_util.import_graph_def(inlined, name="", producer_op_list=producers)
    except TfptError:
        raise
    except Exception as error:  # ValueError, TypeError, OpError or others, depending on the damage
        raise SourceError(
            "TensorFlow cannot read the graph",
            where=where,
            expected=f"a graph that TensorFlow {tf.__version__} can import",
            got=short_message(error),
        ) from None
    return graph, effects


def short_message(error: Exception) -> str:
    """The first lines of TensorFlow's message, without its stack trace."""
    text = str(getattr(error, "message", "") or error)
    lines = [line for line in text.splitlines() if line.strip() and "Original stack trace" not in line]
    return "\n".join(lines[:4])[:600] or type(error).__name__


def refuse_unknown(graph_def: Any, producers: Any, where: str) -> None:
    """Refuse a graph with operations or attributes that this TensorFlow does not have, and name all of them.

    TensorFlow itself reports unknown operations one at a time and silently ignores unknown attributes: it would compute
    something else. An attribute with the default value of the writer's TensorFlow is harmless.

    Args:
        graph_def: A GraphDef.
        producers: The operations as the writer's TensorFlow defined them, an ``OpList``; ``None`` if not known.
        where: The file, for error messages.

    Raises:
        SourceError: There are unknown operations or attributes.
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
            # Attributes that begin with an underscore are annotations; any operation may have them.
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
                hint="from an extension, a newer version, or removed: export the network for inference only",
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


def inline_calls(graph_def: Any, where: str) -> Any:
    """The graph with its function calls inlined: node ``g`` in a function called by ``f`` becomes node ``f/g``.

    The call itself becomes an identity of its results, so references to it remain valid. Branches and loops (`If`,
    `While`) remain functions: their contents run any number of times and have no single value.

    Args:
        graph_def: A GraphDef; it is not changed.
        where: The file, for error messages.

    Raises:
        SourceError: A function is missing or calls itself.
    """
    functions = {function.signature.name: function for function in graph_def.library.function}
    calls = {*_CALLS, *functions}
    if not any(node.op in calls for node in graph_def.node):
        return graph_def
    tf = import_tensorflow()
    result = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    work: list[tuple[Any, int]] = [(node, 0) for node in reversed(graph_def.node)]
    while work:
        node, depth = work.pop()
        if node.op not in calls:
            result.node.append(node)
            continue
        name = node.attr["f"].func.name if node.op in _CALLS else node.op
        if name not in functions:
            raise SourceError(f"the graph calls a function that it does not have: {name}", where=where)
        if depth > _DEEPEST or len(result.node) > _MOST_NODES:
            raise SourceError("the graph's functions call each other endlessly", where=where, got=name)
        inside = list(_expand(node, functions[name], functions))
        work += [(each, depth + 1) for each in reversed(inside)]
    return result


def _expand(call: Any, function: Any, functions: Mapping[str, Any]) -> Iterator[Any]:
    """The function's nodes with names below the call's name, then the call as an identity of its results."""
    tf = import_tensorflow()
    body = _body(function, functions)
    data = [each for each in call.input if not each.startswith("^")]
    control = [each for each in call.input if each.startswith("^")]
    arguments = dict(zip([arg.name for arg in function.signature.input_arg], data, strict=True))

    def outside(tensor: str) -> str:
        is_control = tensor.startswith("^")
        name, colon, index = tensor.removeprefix("^").partition(":")
        if name in arguments:
            given = arguments[name]
            return f"^{given.partition(':')[0]}" if is_control else given
        return f"{'^' * is_control}{call.name}/{name}{colon}{index}"

    for node in body.node:
        if node.name in arguments:
            continue
        copy = tf.compat.v1.NodeDef(name=f"{call.name}/{node.name}", op=node.op, device=node.device)
        copy.input.extend(outside(each) for each in node.input)
        if not node.input:
            copy.input.extend(control)
        for key, value in node.attr.items():
            if key not in _DROPPED_ATTRIBUTES:
                copy.attr[key].CopyFrom(call.attr[value.placeholder] if value.placeholder else value)
        yield copy
    results = [outside(each) for each in body.results]
    ends = [outside(f"^{name}") for name in function.control_ret.values()]
    end = tf.compat.v1.NodeDef(name=call.name, op="IdentityN" if results else "NoOp")
    end.input.extend([*results, *ends, *control])
    if results:
        kinds = [_kind(arg, call) for arg in function.signature.output_arg]
        end.attr["T"].list.type.extend(kinds)
    yield end


class _Body:
    """The nodes of a function and its results, with inputs in the notation of a graph."""

    def __init__(self, node: list[Any], results: list[str]) -> None:
        self.node = node
        self.results = results


def _body(function: Any, functions: Mapping[str, Any]) -> _Body:
    """In a function an input is written ``node:result:number``, in a graph ``node:number``."""
    tf = import_tensorflow()
    arguments = {arg.name for arg in function.signature.input_arg}
    nodes = {node.name: node for node in function.node_def}
    offsets: dict[str, dict[str, int]] = {}

    def flat(tensor: str) -> str:
        name, _, rest = tensor.partition(":")
        if tensor.startswith("^") or name in arguments or not rest:
            return tensor if tensor.startswith("^") else name
        result, _, index = rest.partition(":")
        if name not in offsets:
            offsets[name] = _offsets(nodes[name], functions)
        return f"{name}:{offsets[name][result] + int(index or 0)}"

    flattened = []
    for node in function.node_def:
        copy = tf.compat.v1.NodeDef()
        copy.CopyFrom(node)
        del copy.input[:]
        copy.input.extend(flat(each) for each in node.input)
        flattened.append(copy)
    return _Body(flattened, [flat(function.ret[arg.name]) for arg in function.signature.output_arg])


def _offsets(node: Any, functions: Mapping[str, Any]) -> dict[str, int]:
    """The index of the first output of each named result of a node."""
    from tensorflow.python.framework import op_def_registry

    signature = functions[node.op].signature if node.op in functions else op_def_registry.get(node.op)
    if signature is None:
        # Reported with all others of its kind when the graph is imported.
        return _Unknown()
    offsets, at = {}, 0
    for arg in signature.output_arg:
        offsets[arg.name] = at
        if arg.number_attr:
            at += node.attr[arg.number_attr].i
        elif arg.type_list_attr:
            at += len(node.attr[arg.type_list_attr].list.type)
        else:
            at += 1
    return offsets


class _Unknown(dict[str, int]):
    def __missing__(self, key: str) -> int:
        return 0


def _kind(arg: Any, call: Any) -> int:
    return int(call.attr[arg.type_attr].type if arg.type_attr else arg.type)
