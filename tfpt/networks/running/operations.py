"""The operations of a TensorFlow graph: which compute activations, in which order, and how users name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.networks.running.network import Recordable, Shape, scoped_names, split_output

# Scopes of training and saving: tf.gradients, tf.train.Saver, tf.report_uninitialized_variables.
_TRAINING_SCOPE = re.compile(r"(?:gradients|save|report_uninitialized_\w+|init|train)(?:_\d+)?")
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable", "TemporaryVariable")
_SHAPES = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "BroadcastGradientArgs")
_STATE = re.compile(r"Assign\w*|(?:Resource|Sparse)*(?:Apply|Scatter)\w+")
_EFFECTS = re.compile(rf"{_STATE.pattern}|\w+Summary\w*|Assert|Print\w*|NoOp|Save\w*")
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2")
_INPUTS = (*_PLACEHOLDERS, "PlaceholderWithDefault")
# Operations that bring data into a graph by themselves: queues, readers, iterators.
_DATA_SOURCES = re.compile(
    r"QueueDequeue(?:Many|UpTo)?(?:V2)?|ReaderRead(?:UpTo)?(?:V2)?|Iterator\w*GetNext\w*"
)
# Operations whose first output is the activation; the other outputs are for training.
_FIRST_OUTPUT_ONLY = re.compile(r"FusedBatchNorm\w*|_?FusedConv\w*|CudnnRNN\w*|Dropout|MaxPoolWithArgmax|LRN")
_LISTED = 8


class Operations:
    """The operations of a graph.

    Args:
        graph: A ``tf.Graph`` with its function calls inlined.
        inputs: Names of tensors; whatever computes them is irrelevant. The inputs of a signature.
        outputs: Names of operations; only these and what they need are relevant. The outputs of a signature; if there
            are none, everything is relevant.
    """

    def __init__(self, graph: Any, inputs: Collection[str] = (), outputs: Iterable[str] = ()) -> None:
        self.graph = graph
        self.by_name: dict[str, Any] = {op.name: op for op in graph.get_operations()}
        last = [self.by_name[name] for name in outputs if name in self.by_name]
        self.relevant = self.upstream(last, lambda tensor: tensor.name in inputs)

    def upstream(self, ops: Iterable[Any], stop: Callable[[Any], bool] = lambda tensor: False) -> set[str]:
        """The names of these operations and all they depend on, not followed beyond tensors where `stop` is true."""
        found: set[str] = set()
        work = list(ops)
        while work:
            op = work.pop()
            if op.name in found:
                continue
            found.add(op.name)
            work += [tensor.op for tensor in op.inputs if not stop(tensor)]
            work += op.control_inputs
        return found

    @cached_property
    def computed(self) -> frozenset[str]:
        """The operations whose values depend on the network's inputs, not only on the shapes of the inputs."""
        starts = [op for op in self.by_name.values() if self.is_input(op) and not is_training_switch(op)]
        found: set[str] = set()
        work = list(starts)
        while work:
            op = work.pop()
            if op.name in found:
                continue
            found.add(op.name)
            if op.type not in _SHAPES:
                work += [consumer for output in op.outputs for consumer in output.consumers()]
        if not starts:  # the graph generates its own input
            return frozenset(name for name, op in self.by_name.items() if not self._is_weight(op))
        return frozenset(found)

    def is_input(self, op: Any) -> bool:
        """Whether data enter the graph here."""
        return self.is_source(op) or op.type == "PlaceholderWithDefault"

    def is_source(self, op: Any) -> bool:
        """Whether data enter the graph here and have to be fed: there is no default."""
        return op.type in _PLACEHOLDERS or _DATA_SOURCES.fullmatch(op.type) is not None

    def in_order(self) -> Iterator[Any]:
        """The operations in topological order."""
        done: set[str] = set()
        for root in self.by_name.values():
            stack = [(root, iter(root.inputs))]
            if root.name in done:
                continue
            done.add(root.name)
            while stack:
                op, rest = stack[-1]
                for tensor in rest:
                    if tensor.op.name not in done:
                        done.add(tensor.op.name)
                        stack.append((tensor.op, iter(tensor.op.inputs)))
                        break
                else:
                    stack.pop()
                    yield op

    def recordable(self) -> list[Recordable]:
        """The activations in topological order, each with the name scopes that identify it."""
        # An IdentityN is what remains of an inlined function call; its value also has a name inside.
        chosen = [op for op in self.in_order() if op.name in self.activations and op.type != "IdentityN"]
        scopes_of: dict[str, list[str]] = {op.name: [] for op in chosen}
        for scope in sorted(self.scopes, key=len):
            # Where a scope and an operation have the same name, the name means the operation.
            leaving = [] if scope in self.by_name else self.leaving(scope)
            if len(leaving) == 1 and leaving[0].op.name in scopes_of:
                scopes_of[leaving[0].op.name].append(scope)
        return [
            Recordable(op.name, op.type, shape_of(op.outputs[0]), tuple(scopes_of[op.name])) for op in chosen
        ]

    @cached_property
    def activations(self) -> dict[str, Any]:
        """The operations whose value can be recorded, by name."""
        return {name: op for name, op in self.by_name.items() if self._is_activation(op)}

    @cached_property
    def scopes(self) -> dict[str, list[Any]]:
        """The name scopes, each with the activations inside it."""
        found: dict[str, list[Any]] = {}
        for name, op in self.activations.items():
            for scope in _enclosing_scopes(name):
                found.setdefault(scope, []).append(op)
        return found

    def leaving(self, scope: str) -> list[Any]:
        """The tensors computed in a name scope that are read outside of it, or by nothing at all.

        If everything that leaves the scope goes only to summaries and the like, those tensors.
        """
        inside = self.scopes.get(scope, [])
        main = [
            tensor
            for op in inside
            if op.name not in self._auxiliary
            for tensor in self._leaving_outputs(op, scope)
        ]
        return main or [
            op.outputs[0]
            for op in inside
            if any(
                _EFFECTS.fullmatch(each.type) and not _STATE.fullmatch(each.type) for each in _consumers(op)
            )
        ]

    def _leaving_outputs(self, op: Any, scope: str) -> list[Any]:
        """The outputs of an operation that are read outside of a scope."""
        readers = [
            (output, consumer.name)
            for output in op.outputs
            for consumer in output.consumers()
            if self._reads(consumer)
        ]
        if not readers:
            return [op.outputs[0]]
        outside = {output.name: output for output, reader in readers if not reader.startswith(f"{scope}/")}
        first = op.outputs[0]
        if _FIRST_OUTPUT_ONLY.fullmatch(op.type) and first.name in outside:
            return [first]
        return list(outside.values())

    @cached_property
    def _auxiliary(self) -> frozenset[str]:
        """The operations that only serve summaries, moving averages or training."""
        found: set[str] = set()
        for op in reversed(list(self.in_order())):
            consumers = _consumers(op)
            auxiliary = [
                _EFFECTS.fullmatch(each.type) or is_training_op(each.name) or each.name in found
                for each in consumers
                if each.type not in _SHAPES
            ]
            if auxiliary and all(auxiliary):
                found.add(op.name)
        return frozenset(found)

    def _is_activation(self, op: Any) -> bool:
        return (
            op.name in self.computed
            and (not self.relevant or op.name in self.relevant)
            and bool(op.outputs)
            and op.outputs[0].dtype.is_numpy_compatible
            and op.outputs[0].dtype.name not in ("string", "resource", "variant")
            and not is_training_op(op.name)
            and op.type not in _SHAPES
            and op.type not in _INPUTS
            and not _EFFECTS.fullmatch(op.type)
            and not op.outputs[0].dtype._is_ref_dtype
        )

    def _reads(self, consumer: Any) -> bool:
        """Whether an operation uses a value to compute the network's output."""
        return (
            not is_training_op(consumer.name)
            and consumer.type not in _SHAPES
            and consumer.name not in self._auxiliary
            and not _EFFECTS.fullmatch(consumer.type)
            and (not self.relevant or consumer.name in self.relevant)
        )

    def _is_weight(self, op: Any) -> bool:
        return (
            op.type == "Const"
            or is_variable(op)
            or (op.type in ("Identity", "ReadVariableOp") and is_variable(op.inputs[0].op))
        )


def _consumers(op: Any) -> list[Any]:
    return [consumer for output in op.outputs for consumer in output.consumers()]


def is_variable(op: Any) -> bool:
    """Whether an operation is a variable or a variable handle."""
    return op.type in _VARIABLES


def is_training_op(name: str) -> bool:
    """Whether an operation belongs to training or saving, judging by the first component of its name.

    Example:
        >>> is_training_op("gradients_1/AddN"), is_training_op("save/RestoreV2"), is_training_op("saved/Relu")
        (True, True, False)
    """
    first, slash, _ = name.partition("/")
    return bool(slash) and _TRAINING_SCOPE.fullmatch(first) is not None


def is_training_switch(op: Any) -> bool:
    """Whether a placeholder selects training or inference mode, such as ``is_training``."""
    if op.type not in _INPUTS:
        return False
    dtype = op.outputs[0].dtype
    if dtype.name == "bool":
        return shape_of(op.outputs[0]) in (None, ())
    return dtype.is_integer and re.search(r"learning_phase|is_training|phase_train", op.name) is not None


def shape_of(tensor: Any) -> Shape | None:
    """The static shape of a tensor; unknown sizes are ``None``."""
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())


def _enclosing_scopes(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]


def resolve(operations: Operations, op: str, scopes: Sequence[str], where: str) -> str:
    """The name of the tensor that `op` refers to; see `tfpt.networks.running.network.TensorFlowNetwork.resolve`.

    Operations take precedence over name scopes, complete names over the ends of names, and what the chosen signature
    computes over everything else.
    """
    name, number = split_output(op.strip("/"))
    for candidate in scoped_names(name, scopes):
        if candidate in operations.by_name:
            return _output(operations.by_name[candidate], number, where)
        if operations.leaving(candidate):
            return _only_output(operations, candidate, where)
    ends = [known for known in operations.by_name if _ends(known, name) and not is_training_op(known)]
    ends = [known for known in ends if known in operations.relevant] or ends
    if len(ends) > 1:
        raise _ambiguous(f"several operations end in {name}", where, ends)
    if ends:
        return _output(operations.by_name[ends[0]], number, where)
    outer = _outermost([scope for scope in operations.scopes if _ends(scope, name)])
    if len(outer) > 1:
        raise _ambiguous(f"several name scopes end in {name}", where, outer)
    if outer:
        return _only_output(operations, outer[0], where)
    raise SourceError(
        f"the network has no operation and no name scope {name}",
        where=where,
        expected=" or ".join(scoped_names(name, scopes)) + ", or a name with that ending",
        nearest=_nearest(name, [*operations.activations, *operations.scopes]),
        hint=f"tfpt record --list {where}",
    )


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """The nearest endings of known names, with as many components as `name`."""
    length = name.count("/") + 1
    ends = dict.fromkeys("/".join(each.split("/")[-length:]) for each in known)
    return nearest(name, ends)


def _ends(known: str, name: str) -> bool:
    return known.endswith(f"/{name}")


def _outermost(scopes: Iterable[str]) -> list[str]:
    """The scopes that are not inside another one."""
    found: list[str] = []
    for scope in sorted(scopes, key=len):
        if not any(scope.startswith(f"{outer}/") for outer in found):
            found.append(scope)
    return found


def _output(op: Any, number: int, where: str) -> str:
    if number >= len(op.outputs):
        raise SourceError(
            f"the operation {op.name} has no output {number}",
            where=where,
            expected=f"{op.name}:0 to :{len(op.outputs) - 1}"
            if op.outputs
            else "an operation with an output",
            got=f"{op.type} with {len(op.outputs)} outputs",
        )
    return str(op.outputs[number].name)


def _only_output(operations: Operations, scope: str, where: str) -> str:
    """The single tensor that leaves a scope."""
    leaving = [tensor.name for tensor in operations.leaving(scope)]
    if len(leaving) != 1:
        raise _ambiguous(f"several tensors leave the name scope {scope}", where, leaving)
    return str(leaving[0])


def _ambiguous(what: str, where: str, names: Sequence[str]) -> SourceError:
    shown = list(names[:_LISTED])
    more = f", and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return SourceError(
        what,
        where=where,
        expected="one",
        got=", ".join(shown) + more,
        hint="name one of them: op: in the mapping, or --endpoint",
    )
