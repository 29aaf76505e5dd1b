"""Tables behind the inputs of a graph: those that are looked up with an input's values, and how many rows they have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# What hands ids on as they are, as far as their values are concerned.
_HANDS_ON = frozenset(
    (
        *(
            "Identity",
            "IdentityN",
            "Cast",
            "Reshape",
            "ExpandDims",
            "Squeeze",
            "Transpose",
            "StridedSlice",
            "Slice",
        ),
        *(
            "Pack",
            "Unpack",
            "Split",
            "SplitV",
            "ConcatV2",
            "Select",
            "SelectV2",
            "Unique",
            "UniqueV2",
            "Tile",
        ),
        *("StopGradient", "PlaceholderWithDefault", "EnsureShape", "BroadcastTo"),
    )
)
_INDICES_AT = {"Gather": 1, "GatherV2": 1, "ResourceGather": 1, "OneHot": 0}
_READS = ("Identity", "ReadVariableOp", "Cast", "Enter")


@dataclass(frozen=True)
class Table:
    """A table of a network.

    Attributes:
        name: Of the variable or the constant that holds it.
        rows: How many it has.
    """

    name: str
    rows: int


def tables_behind(inputs: Mapping[str, Any], computed: Iterable[str] = ()) -> dict[str, Table]:
    """For each input the smallest table that is looked up with its values; inputs of none are left out.

    Args:
        inputs: Tensors of one graph, by the names of the inputs.
        computed: Operations whose values depend on the inputs: no tables.
    """
    depends = frozenset(computed)
    found = {}
    for name, tensor in inputs.items():
        tables = [table for each in _looked_up(tensor) if (table := _table(each, depends)) is not None]
        if tables:
            found[name] = min(tables, key=lambda table: table.rows)
    return found


def _looked_up(tensor: Any) -> Iterator[Any]:
    """The operations that look something up with a tensor's values."""
    seen: set[str] = set()
    work = [tensor]
    while work:
        each = work.pop()
        if each.name in seen:
            continue
        seen.add(each.name)
        for op in each.consumers():
            if op.type in _HANDS_ON:
                work += op.outputs
            elif op.type in _INDICES_AT and op.inputs[_INDICES_AT[op.type]] is each:
                yield op


def _table(op: Any, computed: frozenset[str]) -> Table | None:
    from tensorflow.python.framework import tensor_util

    if op.type == "OneHot":
        depth = tensor_util.constant_value(op.inputs[1])
        return None if depth is None else Table(op.name, int(depth))
    held = op.inputs[0]
    if held.op.name in computed:
        return None
    axis = 0
    if op.type == "GatherV2":
        axis = tensor_util.constant_value(op.inputs[2])
        if axis is None or op.get_attr("batch_dims"):
            return None
    source = held.op
    while source.type in _READS and source.inputs:
        source = source.inputs[0].op
    shape = _shape(held) if op.type != "ResourceGather" else _variable_shape(held)
    if shape is None or not -len(shape) <= int(axis) < len(shape):
        return None
    rows = shape[int(axis)]
    return None if rows is None else Table(source.name, rows)


def _shape(tensor: Any) -> list[int | None] | None:
    return None if tensor.shape.rank is None else tensor.shape.as_list()


def _variable_shape(handle: Any) -> list[int | None] | None:
    """The shape of what a resource holds: as its operation says, or what the graph knows of the handle."""
    source = handle.op
    while source.type in _READS and source.inputs:
        source = source.inputs[0].op
    if source.type == "VarHandleOp":
        sizes = [size.size for size in source.get_attr("shape").dim]
        return [None if size < 0 else size for size in sizes]
    known = getattr(handle, "_handle_data", None)
    if known is None or not known.is_set or not known.shape_and_type:
        return None
    return [None if size.size < 0 else size.size for size in known.shape_and_type[0].shape.dim]
