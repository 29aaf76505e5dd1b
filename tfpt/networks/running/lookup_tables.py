"""Finds the tables that a graph looks up with its inputs (such as embeddings), and how many rows they have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Operations that rearrange indices without changing their values.
_PASS_THROUGH = frozenset(
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
_INDEX_INPUT = {"Gather": 1, "GatherV2": 1, "ResourceGather": 1, "OneHot": 0}
_READS = ("Identity", "ReadVariableOp", "Cast", "Enter")


@dataclass(frozen=True)
class Table:
    """A table that a network looks up by row, such as an embedding.

    Attributes:
        name: The variable or constant.
        rows: The number of rows; valid indices are below it.
    """

    name: str
    rows: int


def lookup_tables(inputs: Mapping[str, Any], computed: Iterable[str] = ()) -> dict[str, Table]:
    """The smallest table that each input indexes; inputs that index no table are left out.

    Args:
        inputs: Tensors of one graph, by input name.
        computed: Operations whose values depend on the inputs; these are not tables.
    """
    depends = frozenset(computed)
    found = {}
    for name, tensor in inputs.items():
        tables = [table for each in _lookups(tensor) if (table := _table(each, depends)) is not None]
        if tables:
            found[name] = min(tables, key=lambda table: table.rows)
    return found


def _lookups(tensor: Any) -> Iterator[Any]:
    """The operations that use a tensor's values as indices."""
    seen: set[str] = set()
    work = [tensor]
    while work:
        each = work.pop()
        if each.name in seen:
            continue
        seen.add(each.name)
        for op in each.consumers():
            if op.type in _PASS_THROUGH:
                work += op.outputs
            elif op.type in _INDEX_INPUT and op.inputs[_INDEX_INPUT[op.type]] is each:
                yield op


def _table(op: Any, computed: frozenset[str]) -> Table | None:
    from tensorflow.python.framework import tensor_util

    if op.type == "OneHot":
        depth = tensor_util.constant_value(op.inputs[1])
        return None if depth is None else Table(op.name, int(depth))
    values = op.inputs[0]
    if values.op.name in computed:
        return None
    axis = 0
    if op.type == "GatherV2":
        axis = tensor_util.constant_value(op.inputs[2])
        if axis is None or op.get_attr("batch_dims"):
            return None
    source = values.op
    while source.type in _READS and source.inputs:
        source = source.inputs[0].op
    shape = _shape(values) if op.type != "ResourceGather" else _variable_shape(values)
    if shape is None or not -len(shape) <= int(axis) < len(shape):
        return None
    rows = shape[int(axis)]
    return None if rows is None else Table(source.name, rows)


def _shape(tensor: Any) -> list[int | None] | None:
    return None if tensor.shape.rank is None else tensor.shape.as_list()


def _variable_shape(handle: Any) -> list[int | None] | None:
    """The shape of the variable behind a handle: from its operation, or from what the graph knows of the handle."""
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
