"""Restores the variables of a graph: with the graph's own restore operation, or by name from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.networks.running.importing import import_tensorflow
from tfpt.networks.running.operations import is_variable

_LISTED = 6


@dataclass(frozen=True)
class SavedState:
    """How the variables and tables of a graph are initialized.

    Attributes:
        prefix: The checkpoint; ``None`` if there is none.
        operation: The graph's operation that restores it; empty if there is none.
        filename: The tensor that takes the prefix.
        initializers: Operations that initialize the graph otherwise, such as those that fill lookup tables.
        assets: The files that the initializers read, by the tensors that take their names.
    """

    prefix: str | None
    operation: str = ""
    filename: str = ""
    initializers: Sequence[str] = ()
    assets: Mapping[str, str] = field(default_factory=dict)

    def initialize(
        self, session: Any, feeds_for: Callable[[str, Mapping[str, str]], Mapping[str, Any] | None]
    ) -> None:
        """Restore the variables, then run the initializers.

        Failures are ignored: they may concern something that no activation needs, such as an optimizer's variables that
        the checkpoint lacks. `restore` checks what is needed.

        Args:
            session: A session of the graph.
            feeds_for: What to feed to an operation, given its name and file names by tensor; ``None`` if it must not
                run.
        """
        tf = import_tensorflow()
        work: list[tuple[str, Mapping[str, str]]] = [(name, self.assets) for name in self.initializers]
        if self.prefix is not None and self.operation:
            work.insert(0, (self.operation, {self.filename: self.prefix}))
        for name, files in work:
            feeds = feeds_for(name, files)
            if feeds is not None:
                _try(session, name, feeds, tf)


def restore(session: Any, ops: Sequence[Any], prefix: str | None, where: str) -> None:
    """Assign values from the checkpoint, by name, to the variables in `ops` that are not initialized.

    Raises:
        SourceError: There is no checkpoint, or it lacks variables; the message lists them.
    """
    tf = import_tensorflow()
    empty = _uninitialized(session, [op for op in ops if is_variable(op)], tf)
    if not empty:
        return
    listed = ", ".join(op.name for op in empty[:_LISTED]) + (", …" if len(empty) > _LISTED else "")
    if prefix is None:
        raise SourceError(
            "the graph has variables, whose values are in a checkpoint",
            where=where,
            expected="the checkpoint that belongs to the graph",
            got=listed,
            hint="--checkpoint PREFIX",
        )
    reader = _reader(prefix, tf)
    shapes = reader.get_variable_to_shape_map()
    missing = []
    for op in empty:
        name = next((each for each in _names(op) if each in shapes), None)
        if name is None:
            missing.append(op.name)
        else:
            _assign(session, op, _read(reader, name, prefix, tf), where, tf)
    if missing:
        raise SourceError(
            "the checkpoint does not have variables of the graph",
            where=prefix,
            expected=", ".join(missing[:_LISTED]) + (", …" if len(missing) > _LISTED else ""),
            nearest=nearest(missing[0], shapes),
            hint=f"tfpt inspect {prefix}",
        )


def assign_averages(
    session: Any, ops: Sequence[Any], averages: Mapping[str, str], prefix: str, where: str
) -> int:
    """Assign moving averages from the checkpoint to the variables in `ops`.

    Args:
        averages: The name of the average in the checkpoint, by that of the variable.

    Returns:
        How many variables have one.

    Raises:
        SourceError: An average cannot be read, or has another shape than its variable.
    """
    tf = import_tensorflow()
    reader = _reader(prefix, tf)
    shapes = reader.get_variable_to_shape_map()
    number = 0
    for op in ops:
        if not is_variable(op):
            continue
        average = next((averages[each] for each in _names(op) if each in averages), None)
        if average is not None and average in shapes:
            _assign(session, op, _read(reader, average, prefix, tf), where, tf)
            number += 1
    return number


def _names(op: Any) -> list[str]:
    """The names that a variable may have in a checkpoint."""
    shared = op.get_attr("shared_name").decode() if "shared_name" in op.node_def.attr else ""
    return [op.name, shared]


def _try(session: Any, operation: str, feeds: Mapping[str, Any], tf: Any) -> None:
    try:
        session.run(operation, dict(feeds))
    except (tf.errors.OpError, ValueError, KeyError):
        return


def _reader(prefix: str, tf: Any) -> Any:
    try:
        return tf.train.load_checkpoint(prefix)
    except (tf.errors.OpError, ValueError) as error:
        raise SourceError(
            "TensorFlow cannot read the checkpoint", where=prefix, got=str(error)[:300]
        ) from None


def _read(reader: Any, name: str, prefix: str, tf: Any) -> np.ndarray:
    try:
        return np.asarray(reader.get_tensor(name))
    except (tf.errors.OpError, RuntimeError) as error:  # a data file is missing or damaged
        raise SourceError(
            f"TensorFlow cannot read the variable {name}",
            where=prefix,
            got=str(getattr(error, "message", error))[:300],
            hint="download all files of the checkpoint again",
        ) from None


def _uninitialized(session: Any, variables: Sequence[Any], tf: Any) -> list[Any]:
    with session.graph.as_default():
        checks = [
            tf.raw_ops.VarIsInitializedOp(resource=op.outputs[0])
            if op.type == "VarHandleOp"
            else tf.compat.v1.is_variable_initialized(op.outputs[0])
            for op in variables
        ]
    return [op for op, known in zip(variables, session.run(checks), strict=True) if not known]


def _assign(session: Any, op: Any, value: np.ndarray, where: str, tf: Any) -> None:
    expected = op.get_attr("shape") if "shape" in op.node_def.attr else None
    known = None if expected is None or expected.unknown_rank else [dim.size for dim in expected.dim]
    if known is not None and -1 not in known and known != list(value.shape):
        raise SourceError(
            f"the variable {op.name} has another shape in the checkpoint",
            where=where,
            expected=str(known),
            got=str(list(value.shape)),
        )
    with session.graph.as_default():
        given = tf.compat.v1.placeholder(value.dtype, value.shape)
        if op.type == "VarHandleOp":
            step = tf.raw_ops.AssignVariableOp(resource=op.outputs[0], value=given)
        else:
            step = tf.compat.v1.assign(op.outputs[0], given, validate_shape=False).op
        session.run(step, {given: value})
