"""The operations of a TensorFlow graph as a recording sees them: what computes, in which order, what leaves a scope."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from typing import Any

from tfpt.networks.running.network import Recordable, Shape

# Where training and saving keep their operations: tf.gradients, tf.train.Saver, tf.report_uninitialized_variables.
_ASIDE = re.compile(r"(?:gradients|save|report_uninitialized_\w+|init|train)(?:_\d+)?")
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable", "TemporaryVariable")
_SHAPES = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "BroadcastGradientArgs")
_STATE = re.compile(r"Assign\w*|(?:Resource|Sparse)*(?:Apply|Scatter)\w+")
_EFFECTS = re.compile(rf"{_STATE.pattern}|\w+Summary\w*|Assert|Print\w*|NoOp|Save\w*")
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2")
_INPUTS = (*_PLACEHOLDERS, "PlaceholderWithDefault")
# What brings data into a graph by itself: queues, readers, iterators.
_BRINGS = re.compile(r"QueueDequeue(?:Many|UpTo)?(?:V2)?|ReaderRead(?:UpTo)?(?:V2)?|Iterator\w*GetNext\w*")
# Of these the first output is the activation, the others serve training.
_FIRST_COUNTS = re.compile(r"FusedBatchNorm\w*|_?FusedConv\w*|CudnnRNN\w*|Dropout|MaxPoolWithArgmax|LRN")


class Operations:
    """The operations of a graph.

    Args:
        graph: A ``tf.Graph``, its function calls inlined.
        begins: Tensors before which nothing matters: the inputs of a signature.
        ends: Operations behind which nothing matters: those of its outputs. All matters where none are.
    """

    def __init__(self, graph: Any, begins: Collection[str] = (), ends: Iterable[str] = ()) -> None:
        self.graph = graph
        self.by_name: dict[str, Any] = {op.name: op for op in graph.get_operations()}
        last = [self.by_name[name] for name in ends if name in self.by_name]
        self.near = self.upstream(last, lambda tensor: tensor.name in begins)

    def upstream(self, ops: Iterable[Any], stop: Callable[[Any], bool] = lambda tensor: False) -> set[str]:
        """The names of these operations and of all that they need, not through tensors at which to `stop`."""
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
        """The operations whose values depend on what the network is fed, not only on the shape of that."""
        starts = [op for op in self.by_name.values() if self.is_input(op) and not is_switch(op)]
        found: set[str] = set()
        work = list(starts)
        while work:
            op = work.pop()
            if op.name in found:
                continue
            found.add(op.name)
            if op.type not in _SHAPES:
                work += [consumer for output in op.outputs for consumer in output.consumers()]
        if not starts:  # a graph that makes its own input
            return frozenset(name for name, op in self.by_name.items() if not self._holds_weights(op))
        return frozenset(found)

    def is_input(self, op: Any) -> bool:
        """Whether data come into the graph here."""
        return self.is_source(op) or op.type == "PlaceholderWithDefault"

    def is_source(self, op: Any) -> bool:
        """Whether data come into the graph here, and somebody has to bring them."""
        return op.type in _PLACEHOLDERS or _BRINGS.fullmatch(op.type) is not None

    def in_order(self) -> Iterator[Any]:
        """The operations such that each comes behind what it needs."""
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
        """What a network computes, in order, with the name scopes that stand for it."""
        # An IdentityN is what is left of a function's call: its value has a name inside too.
        chosen = [op for op in self.in_order() if op.name in self.activations and op.type != "IdentityN"]
        places: dict[str, list[str]] = {op.name: [] for op in chosen}
        for scope in sorted(self.scopes, key=len):
            # Of a scope that is called as an operation is, the operation is meant.
            leaving = [] if scope in self.by_name else self.leaving(scope)
            if len(leaving) == 1 and leaving[0].op.name in places:
                places[leaving[0].op.name].append(scope)
        return [
            Recordable(op.name, op.type, shape_of(op.outputs[0]), tuple(places[op.name])) for op in chosen
        ]

    @cached_property
    def activations(self) -> dict[str, Any]:
        """The operations that compute something that can be recorded, by name."""
        return {name: op for name, op in self.by_name.items() if self._is_activation(op)}

    @cached_property
    def scopes(self) -> dict[str, list[Any]]:
        """The name scopes, and the operations in each that compute something."""
        found: dict[str, list[Any]] = {}
        for name, op in self.activations.items():
            for scope in _scopes_of(name):
                found.setdefault(scope, []).append(op)
        return found

    def leaving(self, scope: str) -> list[Any]:
        """The tensors that are computed in a name scope and go out of it: to operations outside, or to nobody.

        Where all that leaves it goes into summaries and the like, these.
        """
        inside = self.scopes.get(scope, [])
        main = [tensor for op in inside if op.name not in self._served for tensor in self._going(op, scope)]
        return main or [
            op.outputs[0]
            for op in inside
            if any(
                _EFFECTS.fullmatch(each.type) and not _STATE.fullmatch(each.type) for each in _consumers(op)
            )
        ]

    def _going(self, op: Any, scope: str) -> list[Any]:
        """The outputs of an operation that leave a scope."""
        readers = [
            (output, consumer.name)
            for output in op.outputs
            for consumer in output.consumers()
            if self._reads(consumer)
        ]
        if not readers:
            return [op.outputs[0]]
        going = {output.name: output for output, reader in readers if not reader.startswith(f"{scope}/")}
        first = op.outputs[0]
        return [first] if _FIRST_COUNTS.fullmatch(op.type) and first.name in going else list(going.values())

    @cached_property
    def _served(self) -> frozenset[str]:
        """The operations that are there for summaries, moving averages or training alone."""
        found: set[str] = set()
        for op in reversed(list(self.in_order())):
            consumers = _consumers(op)
            serving = [
                _EFFECTS.fullmatch(each.type) or is_aside(each.name) or each.name in found
                for each in consumers
                if each.type not in _SHAPES
            ]
            if serving and all(serving):
                found.add(op.name)
        return frozenset(found)

    def _is_activation(self, op: Any) -> bool:
        return (
            op.name in self.computed
            and (not self.near or op.name in self.near)
            and bool(op.outputs)
            and op.outputs[0].dtype.is_numpy_compatible
            and op.outputs[0].dtype.name not in ("string", "resource", "variant")
            and not is_aside(op.name)
            and op.type not in _SHAPES
            and op.type not in _INPUTS
            and not _EFFECTS.fullmatch(op.type)
            and not op.outputs[0].dtype._is_ref_dtype
        )

    def _reads(self, consumer: Any) -> bool:
        """Whether an operation uses a value for what the network computes."""
        return (
            not is_aside(consumer.name)
            and consumer.type not in _SHAPES
            and consumer.name not in self._served
            and not _EFFECTS.fullmatch(consumer.type)
            and (not self.near or consumer.name in self.near)
        )

    def _holds_weights(self, op: Any) -> bool:
        return (
            op.type == "Const"
            or is_variable(op)
            or (op.type in ("Identity", "ReadVariableOp") and is_variable(op.inputs[0].op))
        )


def _consumers(op: Any) -> list[Any]:
    return [consumer for output in op.outputs for consumer in output.consumers()]


def is_variable(op: Any) -> bool:
    """Whether an operation is a variable, or the handle of one."""
    return op.type in _VARIABLES


def is_aside(name: str) -> bool:
    """Whether an operation belongs to training or saving, by the first component of its name.

    Example:
        >>> is_aside("gradients_1/AddN"), is_aside("save/RestoreV2"), is_aside("saved/Relu")
        (True, True, False)
    """
    first, slash, _ = name.partition("/")
    return bool(slash) and _ASIDE.fullmatch(first) is not None


def is_switch(op: Any) -> bool:
    """Whether a placeholder says in which mode the network runs, such as ``is_training``."""
    if op.type not in _INPUTS:
        return False
    dtype = op.outputs[0].dtype
    if dtype.name == "bool":
        return shape_of(op.outputs[0]) in (None, ())
    return dtype.is_integer and re.search(r"learning_phase|is_training|phase_train", op.name) is not None


def shape_of(tensor: Any) -> Shape | None:
    """The static shape of a tensor, open sizes as ``None``."""
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())


def _scopes_of(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]
