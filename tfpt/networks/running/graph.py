"""A TensorFlow graph in its own session: feeds inputs, runs it, and reads any tensor."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.networks.running.graph_import import import_graph, short_message
from tfpt.networks.running.importing import import_tensorflow
from tfpt.networks.running.lookup_tables import Table, lookup_tables
from tfpt.networks.running.network import InputSpec, Recordable, scoped_names
from tfpt.networks.running.operations import Operations, is_training_switch, resolve, shape_of
from tfpt.networks.running.restoring import SavedState, assign_averages, restore

# Names of scalars that the user must choose, such as the keep probability of a TensorFlow 1 dropout.
_HYPERPARAMETER = re.compile(r"keep|drop|prob|rate", re.IGNORECASE)
_LISTED = 8


class GraphNetwork:
    """A `tfpt.networks.running.network.TensorFlowNetwork` for a graph: frozen, or with variables in a checkpoint.

    It runs on the CPU with TensorFlow's graph optimizations disabled, so that each operation computes its documented
    result no matter which other tensors are fetched.

    Args:
        location: Path of the file.
        format: Description of the file's format.
        graph_def: A GraphDef.
        saved: Where the variables are and how to initialize the graph; ``None`` for a frozen graph.
        inputs: The inputs of a signature: tensor names by key.
        outputs: The outputs of the signature: tensor names by key.
        signature: The name of the signature; empty if there is none.
        producers: The operations as the writer's TensorFlow defined them, an ``OpList``, if the file has them.
        facts: Further facts about the network, for recordings.
        trust: Also run operations that access files, run code or contact other machines.

    Raises:
        SourceError: TensorFlow cannot read the graph.
    """

    def __init__(
        self,
        location: str,
        format: str,  # noqa: A002
        graph_def: Any,
        *,
        saved: SavedState | None = None,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        signature: str = "",
        producers: Any = None,
        facts: Mapping[str, Any] | None = None,
        trust: bool = False,
    ) -> None:
        self._tf = import_tensorflow()
        self.location, self.format = location, format
        self.runtime = f"TensorFlow {self._tf.__version__}"
        self.facts: dict[str, Any] = dict(facts or {})
        self._saved = saved
        self._graph, self._effects = import_graph(graph_def, producers, location, trust)
        self._keys = {tensor: key for key, tensor in (inputs or {}).items()}
        self._outputs = {key: tensor for key, tensor in (outputs or {}).items() if self._has(tensor)}
        self._signature = signature
        output_ops = [tensor.partition(":")[0] for tensor in self._outputs.values()]
        self._operations = Operations(self._graph, self._keys, output_ops)
        self._session: Any = None
        self._restored: set[str] = set()
        self._averages: Mapping[str, str] = {}

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint with the variables; ``None`` for a frozen graph."""
        return None if self._saved is None else self._saved.prefix

    def use_averages(self, averages: Mapping[str, str]) -> None:
        """Give variables the values of others in the checkpoint, their moving averages: variable → average.

        The number of variables that have got one is among the facts after a run.
        """
        self._averages = averages
        self.facts["averages"] = 0

    def names(self) -> list[Recordable]:
        """The operations that compute activations, in topological order; then the outputs of the signature."""
        return [
            *self._operations.recordable(),
            *(
                Recordable(
                    f"{self._signature}:{key}",
                    "output",
                    shape_of(self._graph.get_tensor_by_name(tensor)),
                    () if self._is_taken(key) else (key,),
                )
                for key, tensor in self._outputs.items()
            ),
        ]

    def resolve(self, op: str, scopes: Sequence[str] = ()) -> str:
        """The name of the tensor that `op` refers to; ``serving_default:KEY`` or ``KEY`` is an output of the signature.

        An operation or a name scope of that complete name takes precedence over a key.
        """
        signature, _, key = op.rpartition(":")
        if signature == self._signature and key in self._outputs:
            return self._outputs[key]
        if op in self._outputs and not self._is_taken(op, scopes):
            return self._outputs[op]
        return resolve(self._operations, op, scopes, self.location)

    def _is_taken(self, name: str, scopes: Sequence[str] = ()) -> bool:
        """Whether an operation or a name scope is called so."""
        return any(
            one in self._operations.by_name or one in self._operations.scopes
            for one in scoped_names(name, scopes)
        )

    def inputs(self, wanted: Sequence[str], fed: Collection[str] = ()) -> Mapping[str, InputSpec]:
        """The placeholders that `wanted` needs, except training switches (fed ``False``) and those with defaults."""
        tensors = {self._tensor(name).name for name in fed}
        stops = {*tensors, *self._keys}
        self._refuse(wanted, lambda tensor: tensor.name in stops or self._is_open(tensor.op))
        specs: dict[str, InputSpec] = {}
        for tensor in self._needed(wanted, tensors):
            if not is_training_switch(tensor.op):
                name = self._keys.get(tensor.name, tensor.name.removesuffix(":0"))
                specs[name] = InputSpec(name, shape_of(tensor), tensor.dtype.name)
        scalars = [name for name, spec in specs.items() if _is_hyperparameter(spec)]
        if scalars and len(scalars) < len(specs):
            raise SourceError(
                f"the network needs a value for {', '.join(scalars)}, which has no default",
                where=self.location,
                expected="1.0 for a dropout's keep probability, as in inference",
                hint=" ".join(f"--feed {name}=1.0" for name in scalars),
            )
        return specs

    def tables(self, inputs: Collection[str]) -> Mapping[str, Table]:
        """The tables that these inputs index."""
        return lookup_tables({name: self._tensor(name) for name in inputs}, self._operations.computed)

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """The values of `wanted`, fetched in a single run."""
        feeds = {self._tensor(name): self._converted(name, array) for name, array in inputs.items()}
        fed = {tensor.name for tensor in feeds}
        for tensor in self._needed(wanted, fed):
            if is_training_switch(tensor.op):
                # In the switch's own dtype: some are integers.
                feeds[tensor] = np.zeros((), tensor.dtype.as_numpy_dtype)
        self._refuse(wanted, lambda tensor: tensor.name in fed)
        self._restore(wanted, fed)
        try:
            values = self._session.run({name: self._graph.get_tensor_by_name(name) for name in wanted}, feeds)
        except self._tf.errors.OpError as error:
            raise SourceError(
                "TensorFlow cannot run the network", where=self.location, got=short_message(error)
            ) from None
        return {name: np.asarray(value) for name, value in values.items()}

    def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _has(self, tensor: str) -> bool:
        try:
            self._graph.get_tensor_by_name(tensor)
        except (KeyError, ValueError):  # an output of several tensors, or of another graph
            return False
        return True

    @cached_property
    def _tensors(self) -> dict[str, str]:
        """Tensor names by signature key."""
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
        """The tensors that have to be fed to compute `wanted`: inputs of the signature, and placeholders.

        If the graph has a signature, whatever computes the signature's inputs is ignored.
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

    def _converted(self, name: str, array: np.ndarray) -> np.ndarray:
        """The array in the dtype of the tensor it is fed to, after checking its shape."""
        tensor = self._tensor(name)
        spec = InputSpec(name, shape_of(tensor), tensor.dtype.name)
        array = np.asarray(array)
        if not spec.accepts(tuple(array.shape)):
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
                self._saved.initialize(self._session, self._initializer_feeds)
        needed = self._upstream(wanted, fed) - self._restored
        restore(
            self._session,
            [self._operations.by_name[name] for name in sorted(needed)],
            self.checkpoint,
            self.location,
        )
        if self._averages and self.checkpoint is not None:
            ops = [self._operations.by_name[name] for name in sorted(needed)]
            self.facts["averages"] += assign_averages(
                self._session, ops, self._averages, self.checkpoint, self.location
            )
        self._restored |= needed

    def _upstream(self, wanted: Sequence[str], fed: Collection[str]) -> set[str]:
        """The operations that run to compute `wanted`."""
        starts = [self._graph.get_tensor_by_name(name).op for name in wanted if name not in fed]
        return self._operations.upstream(starts, lambda tensor: tensor.name in fed)

    def _refuse(self, wanted: Sequence[str], stop: Callable[[Any], bool]) -> None:
        if self._effects is not None:
            tensors = [self._graph.get_tensor_by_name(name) for name in wanted]
            ops = [tensor.op for tensor in tensors if not stop(tensor)]
            self._effects.refuse(self._operations.upstream(ops, stop), "running the network")

    def _is_open(self, op: Any) -> bool:
        """Whether data have to be fed here; placeholders in place of forbidden operations do not count."""
        replaced = self._effects is not None and op.name in self._effects and op.type == "Placeholder"
        return self._operations.is_source(op) and not replaced

    def _initializer_feeds(self, operation: str, feeds: Mapping[str, str]) -> Mapping[str, Any] | None:
        """What to feed to an initializer so that it reads only the files in `feeds`.

        ``None`` if it would read other files or have other side effects.
        """
        op = self._operations.by_name.get(operation.partition(":")[0])
        if self._effects is None or op is None:
            return feeds
        tensors = self._effects.file_names(self._running([op], feeds))
        if tensors is None:
            return None
        unknown = [tensor for tensor in tensors if tensor.name not in feeds]
        if self._effects.file_names(self._running([tensor.op for tensor in unknown], feeds)) != []:
            return None
        try:
            values = self._session.run(unknown, dict(feeds))
        except (self._tf.errors.OpError, ValueError, TypeError):
            return None
        known = {file.encode() for file in feeds.values()}
        if not all(name in known for value in values for name in np.asarray(value, object).ravel()):
            return None
        # Feed the values that were checked.
        return {**feeds, **{tensor.name: value for tensor, value in zip(unknown, values, strict=True)}}

    def _running(self, ops: Sequence[Any], fed: Collection[str]) -> list[Any]:
        needed = self._operations.upstream(ops, lambda tensor: tensor.name in fed)
        return [self._operations.by_name[name] for name in needed]


def _is_hyperparameter(spec: InputSpec) -> bool:
    """Whether an input is a number that the user has to choose, such as a dropout rate, rather than data."""
    if spec.dtype not in ("float16", "float32", "float64", "bfloat16"):
        return False
    return spec.shape == () or (spec.shape is None and _HYPERPARAMETER.search(spec.name) is not None)
