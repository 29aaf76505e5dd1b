"""A TensorFlow graph in a session of its own: fed, run, and read at any tensor."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tfpt.errors import SourceError, TfptError
from tfpt.nearest import nearest
from tfpt.networks.running.effects import Effects
from tfpt.networks.running.importing import import_tensorflow
from tfpt.networks.running.inlining import inline_calls
from tfpt.networks.running.network import InputSpec, Recordable
from tfpt.networks.running.operations import Operations, is_switch, shape_of
from tfpt.networks.running.resolution import resolve
from tfpt.networks.running.restoring import Saved, restore
from tfpt.networks.running.support import refuse_unknown
from tfpt.networks.running.tables import Table, tables_behind

# What a person has to choose: the probability of keeping a value in a dropout of TensorFlow 1.
_CHOSEN = re.compile(r"keep|drop|prob|rate", re.IGNORECASE)
_LISTED = 8


class GraphNetwork:
    """A `tfpt.networks.running.network.TensorFlowNetwork` over a graph: frozen, or with variables in a checkpoint.

    It runs on the processor, without TensorFlow's rewriting of graphs: each operation computes what it says, whichever
    tensors are asked for beside it.

    Args:
        location: Where it is.
        format: What its file is.
        graph_def: A GraphDef.
        saved: Where its variables are, and how to start; ``None`` for a frozen graph.
        inputs: Of a signature: the tensors that are fed, by their keys.
        outputs: Of a signature: the tensors that come out.
        producers: The operations as the writer's TensorFlow knew them, where the file says; an ``OpList``.
        facts: What else is known.
        trust: Also run operations that read files, run code or reach other machines.

    Raises:
        SourceError: TensorFlow cannot read the graph.
    """

    def __init__(
        self,
        location: str,
        format: str,  # noqa: A002
        graph_def: Any,
        *,
        saved: Saved | None = None,
        inputs: Mapping[str, str] | None = None,
        outputs: Collection[str] = (),
        producers: Any = None,
        facts: Mapping[str, Any] | None = None,
        trust: bool = False,
    ) -> None:
        self._tf = import_tensorflow()
        self.location, self.format = location, format
        self.facts: dict[str, Any] = dict(facts or {})
        self._saved = saved
        self._graph, self._effects = _imported(graph_def, producers, location, trust)
        self._keys = {tensor: key for key, tensor in (inputs or {}).items()}
        ends = [tensor.partition(":")[0] for tensor in outputs]
        self._operations = Operations(self._graph, self._keys, ends)
        self._session: Any = None
        self._restored: set[str] = set()

    def names(self) -> list[Recordable]:
        """The operations that compute something, each behind those that it needs."""
        return self._operations.recordable()

    def resolve(self, op: str, scopes: Sequence[str] = ()) -> str:
        """The tensor that `op` means."""
        return resolve(self._operations, op, scopes, self.location)

    def inputs(self, wanted: Sequence[str], fed: Collection[str] = ()) -> Mapping[str, InputSpec]:
        """The placeholders behind `wanted`, but for switches of training, which are fed False, and defaults."""
        tensors = {self._tensor(name).name for name in fed}
        stops = {*tensors, *self._keys}
        self._refuse(wanted, lambda tensor: tensor.name in stops or self._is_open(tensor.op))
        specs: dict[str, InputSpec] = {}
        for tensor in self._needed(wanted, tensors):
            if not is_switch(tensor.op):
                name = self._keys.get(tensor.name, tensor.name.removesuffix(":0"))
                specs[name] = InputSpec(name, shape_of(tensor), tensor.dtype.name)
        scalars = [name for name, spec in specs.items() if _is_chosen(spec)]
        if scalars and len(scalars) < len(specs):
            raise SourceError(
                f"the network needs a value for {', '.join(scalars)}, which has no default",
                where=self.location,
                expected="for a dropout that keeps everything, as outside training: 1.0",
                hint=" ".join(f"--feed {name}=1.0" for name in scalars),
            )
        return specs

    def tables(self, inputs: Collection[str]) -> Mapping[str, Table]:
        """The tables that are looked up with the values of these inputs."""
        return tables_behind({name: self._tensor(name) for name in inputs}, self._operations.computed)

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of `wanted`, fetched in one run."""
        feeds = {self._tensor(name): self._fitted(name, array) for name, array in inputs.items()}
        fed = {tensor.name for tensor in feeds}
        for tensor in self._needed(wanted, fed):
            if is_switch(tensor.op):
                # Of the dtype that the switch has: some are integers.
                feeds[tensor] = np.zeros((), tensor.dtype.as_numpy_dtype)
        self._refuse(wanted, lambda tensor: tensor.name in fed)
        self._restore(wanted, fed)
        try:
            values = self._session.run({name: self._graph.get_tensor_by_name(name) for name in wanted}, feeds)
        except self._tf.errors.OpError as error:
            raise SourceError(
                "TensorFlow cannot run the network", where=self.location, got=_reason(error)
            ) from None
        return {name: np.asarray(value) for name, value in values.items()}

    def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    @cached_property
    def _tensors(self) -> dict[str, str]:
        """Tensor names by what a person may call an input: the key of a signature, or the operation."""
        return {key: tensor for tensor, key in self._keys.items()}

    def _tensor(self, name: str) -> Any:
        full = self._tensors.get(name, name)
        full = full if re.search(r":\d+$", full) else f"{full}:0"
        try:
            return self._graph.get_tensor_by_name(full)
        except (KeyError, ValueError):
            known = [op.name for op in self._operations.by_name.values() if self._operations.is_input(op)]
            raise SourceError(
                f"the network has no tensor {name} to feed",
                where=self.location,
                expected=", ".join([*self._tensors, *known][:_LISTED]) or None,
                nearest=nearest(name, self._operations.by_name),
            ) from None

    def _needed(self, wanted: Sequence[str], fed: Collection[str]) -> list[Any]:
        """The tensors that `wanted` depend on and somebody has to feed: a signature's inputs, and what stands open.

        Where the graph has a signature, what comes before the signature's inputs does not matter.
        """
        stops = {*fed, *self._keys}

        def is_open(tensor: Any) -> bool:
            return tensor.name in stops or self._operations.is_source(tensor.op)

        starts = [self._graph.get_tensor_by_name(name) for name in wanted]
        needed = self._operations.upstream([each.op for each in starts if not is_open(each)], is_open)
        reached = {each.name for name in needed for each in self._operations.by_name[name].inputs}
        reached |= {each.name for each in starts}
        tensors = [each for op in self._operations.by_name.values() for each in op.outputs]
        return [each for each in tensors if each.name in reached and is_open(each) and each.name not in fed]

    def _fitted(self, name: str, array: np.ndarray) -> np.ndarray:
        """The array in the dtype of the tensor it is fed to, its shape compared."""
        tensor = self._tensor(name)
        spec = InputSpec(name, shape_of(tensor), tensor.dtype.name)
        array = np.asarray(array)
        if not spec.takes(tuple(array.shape)):
            raise SourceError(
                f"the input {name} has another shape than the network's",
                where=self.location,
                expected=str(spec),
                got=f"[{', '.join(map(str, array.shape))}] {array.dtype}",
            )
        wanted = tensor.dtype.as_numpy_dtype
        if wanted is object or np.can_cast(array.dtype, wanted, "same_kind") or array.dtype.kind in "bui":
            return array.astype(wanted, copy=False)
        raise SourceError(
            f"the input {name} has another dtype than the network's",
            where=self.location,
            expected=str(spec),
            got=str(array.dtype),
        )

    def _restore(self, wanted: Sequence[str], fed: Collection[str]) -> None:
        if self._session is None:
            config = self._tf.compat.v1.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)
            options = config.graph_options
            options.optimizer_options.opt_level = self._tf.compat.v1.OptimizerOptions.L0
            options.rewrite_options.disable_meta_optimizer = True
            self._session = self._tf.compat.v1.Session(graph=self._graph, config=config)
            if self._saved is not None:
                self._saved.start(self._session, self._ready_feeds)
        needed = self._upstream(wanted, fed) - self._restored
        restore(
            self._session,
            [self._operations.by_name[name] for name in sorted(needed)],
            None if self._saved is None else self._saved.prefix,
            self.location,
        )
        self._restored |= needed

    def _upstream(self, wanted: Sequence[str], fed: Collection[str]) -> set[str]:
        """The operations that run for `wanted`."""
        starts = [self._graph.get_tensor_by_name(name).op for name in wanted if name not in fed]
        return self._operations.upstream(starts, lambda tensor: tensor.name in fed)

    def _refuse(self, wanted: Sequence[str], stop: Callable[[Any], bool]) -> None:
        if self._effects is not None:
            tensors = [self._graph.get_tensor_by_name(name) for name in wanted]
            ops = [tensor.op for tensor in tensors if not stop(tensor)]
            self._effects.refuse(self._operations.upstream(ops, stop), "running the network")

    def _is_open(self, op: Any) -> bool:
        """Whether somebody brings the data that come in here: not what stands for an operation that was taken out."""
        taken_out = self._effects is not None and self._effects.holds(op.name) and op.type == "Placeholder"
        return self._operations.is_source(op) and not taken_out

    def _ready_feeds(self, operation: str, feeds: Mapping[str, str]) -> Mapping[str, Any] | None:
        """What to feed to an operation that makes the graph ready, so that it reads the files of `feeds` alone.

        ``None`` where it would read others, or do anything else but compute.
        """
        op = self._operations.by_name.get(operation.partition(":")[0])
        if self._effects is None or op is None:
            return feeds
        named = self._effects.files(self._running([op], feeds))
        if named is None:
            return None
        asked = [tensor for tensor in named if tensor.name not in feeds]
        if self._effects.files(self._running([tensor.op for tensor in asked], feeds)) != []:
            return None
        try:
            values = self._session.run(asked, dict(feeds))
        except (self._tf.errors.OpError, ValueError, TypeError):
            return None
        known = {file.encode() for file in feeds.values()}
        if not all(name in known for value in values for name in np.asarray(value, object).ravel()):
            return None
        # What was looked at is what it gets.
        return {**feeds, **{tensor.name: value for tensor, value in zip(asked, values, strict=True)}}

    def _running(self, ops: Sequence[Any], fed: Collection[str]) -> list[Any]:
        needed = self._operations.upstream(ops, lambda tensor: tensor.name in fed)
        return [self._operations.by_name[name] for name in needed]


def _is_chosen(spec: InputSpec) -> bool:
    """Whether an input is a number that a person has to choose, not data."""
    if spec.dtype not in ("float16", "float32", "float64", "bfloat16"):
        return False
    return spec.shape == () or (spec.shape is None and _CHOSEN.search(spec.name) is not None)


def _imported(graph_def: Any, producers: Any, where: str, trust: bool) -> tuple[Any, Effects | None]:
    """The graph without places, calls or the rest of what only another machine can run; what of it does more."""
    tf = import_tensorflow()
    refuse_unknown(graph_def, producers, where)
    inlined = inline_calls(graph_def, where)
    effects = None if trust else Effects(inlined, where)
    if effects is not None:
        inlined = effects.taken_out(inlined)
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
    except Exception as error:  # ValueError, TypeError, OpError and others, as the damage is
        raise SourceError(
            "TensorFlow cannot read the graph",
            where=where,
            expected=f"a graph that TensorFlow {tf.__version__} knows",
            got=_reason(error),
        ) from None
    return graph, effects


def _reason(error: Exception) -> str:
    """The first lines of what TensorFlow says, without its stack."""
    text = str(getattr(error, "message", "") or error)
    lines = [line for line in text.splitlines() if line.strip() and "Original stack trace" not in line]
    return "\n".join(lines[:4])[:600] or type(error).__name__
