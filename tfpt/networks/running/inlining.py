"""Function calls of a GraphDef replaced by what the functions do, so that what they compute inside has a name.

A SavedModel of TensorFlow 2 is a graph of a few calls; the network is in its library of functions. What TensorFlow has
for this begins with `tf.saved_model.load`, which makes the saved objects again: TensorFlow 2.21 fails at that wherever
an old Keras model was saved with its optimizer ("'_UserObject' object has no attribute 'add_slot'"). A graph needs no
objects: inlined here and run in a session, it computes what the signature does, lookup tables included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tfpt.errors import SourceError
from tfpt.networks.running.importing import import_tensorflow

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_DEEPEST, _MOST_NODES = 100, 2_000_000
# What a copied node must not keep: places and groups of the function that it stood in.
_LEFT_OUT = ("_class", "_gradient_op_type")


def inline_calls(graph_def: Any, where: str) -> Any:
    """The graph without calls: what a call ``f`` does inside as ``g`` is the node ``f/g``.

    The call itself stays as an identity of its results, so whatever names it finds what it found before. Branches and
    loops (`If`, `While`) stay functions: what is inside them runs any number of times, and has no one value.

    Args:
        graph_def: A GraphDef; it is not changed.
        where: The file, for errors.

    Raises:
        SourceError: A function is missing, or calls itself.
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
            raise SourceError("the graph's functions call each other without end", where=where, got=name)
        inside = list(_expand(node, functions[name], functions))
        work += [(each, depth + 1) for each in reversed(inside)]
    return result


def _expand(call: Any, function: Any, functions: Mapping[str, Any]) -> Iterator[Any]:
    """The function's nodes below the call's name, then the call as an identity of its results."""
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
            if key not in _LEFT_OUT:
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
    """A function's nodes, their inputs as a graph writes them, and its results likewise."""

    def __init__(self, node: list[Any], results: list[str]) -> None:
        self.node = node
        self.results = results


def _body(function: Any, functions: Mapping[str, Any]) -> _Body:
    """In a function an input is ``node:result:number``, with the result's name; in a graph ``node:number``."""
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
    """Where each named result of a node begins among its outputs."""
    from tensorflow.python.framework import op_def_registry

    signature = functions[node.op].signature if node.op in functions else op_def_registry.get(node.op)
    if signature is None:
        # Named with all others of its kind when the graph is imported.
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
