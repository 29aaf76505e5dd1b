"""Which rows of a model's lookup tables an input reaches: agreement says nothing about the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tfpt.networks.endpoints import Inputs
from tfpt.networks.recording.generated import is_mask

# The operators of ATen that look up rows, and the position of the indices among their arguments.
_INDICES_AT = {
    "embedding": 1,
    "_embedding_bag": 1,
    "_embedding_bag_forward_only": 1,
    "index": 1,
    "index_select": 2,
}


@dataclass(frozen=True)
class TableCoverage:
    """A lookup table, and how many of its rows an input reaches.

    Attributes:
        table: The module that has it, or the parameter if that is not called ``weight``.
        reached: How many different rows were looked up.
        rows: How many rows it has.
    """

    table: str
    reached: int
    rows: int

    def __str__(self) -> str:
        return f"{self.reached:,} of {self.rows:,} rows of {self.table}"

    def to_json(self) -> dict[str, Any]:
        return {"table": self.table, "reached": self.reached, "rows": self.rows}


@dataclass
class Lookups:
    """The rows looked up while a model ran.

    Attributes:
        reached: The rows looked up, by the name of the parameter.
        sizes: The number of rows, by the name of the parameter.
    """

    reached: dict[str, set[int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def coverage(self) -> tuple[TableCoverage, ...]:
        """The coverage of each table, in the order in which they were first used."""
        return tuple(
            TableCoverage(name.removesuffix(".weight"), len(rows), self.sizes[name])
            for name, rows in self.reached.items()
        )


@contextmanager
def recording_lookups(model: nn.Module, inputs: Inputs) -> Iterator[Lookups]:
    """Record which rows of its parameters a model looks up, except at positions that an input mask excludes.

    Example:
        >>> model = nn.Sequential(nn.Embedding(101, 3))
        >>> ids = torch.tensor([[0, 7, 7]])
        >>> with recording_lookups(model, ids) as seen:
        ...     _ = model(ids)
        >>> [str(each) for each in seen.coverage()]
        ['2 of 101 rows of 0']
    """
    found = Lookups()
    with _LookupRecorder(model, _masks(inputs), found):
        yield found


class _LookupRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, model: nn.Module, masks: Sequence[Tensor], found: Lookups) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._masks, self._found = masks, found
        # By storage: a view of a table, or a tied parameter, is the same table.
        self._tables: dict[int, tuple[str, Tensor]] = {}
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and not parameter.is_meta:
                self._tables.setdefault(parameter.untyped_storage().data_ptr(), (name, parameter))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """FunctionCall by torch in place of each operator."""
        name = func.__name__.partition(".")[0]
        if name in _INDICES_AT and len(args) > _INDICES_AT[name] and isinstance(args[0], Tensor):
            self._note(name, args[0], args[_INDICES_AT[name]])
        return func(*args, **(kwargs or {}))

    def _note(self, name: str, table: Tensor, indices: Any) -> None:
        known = self._tables.get(table.untyped_storage().data_ptr())
        if name == "index":
            indices = indices[0] if indices else None
        if known is None or table.shape != known[1].shape or not isinstance(indices, Tensor):
            return
        if indices.dtype not in (torch.int32, torch.int64):
            return
        counted = indices
        for mask in self._masks:
            if mask.shape == indices.shape:
                counted = counted[mask]
        rows = self._found.reached.setdefault(known[0], set())
        rows.update(torch.unique(counted).tolist())
        self._found.sizes[known[0]] = table.shape[0]


def _masks(inputs: Inputs) -> list[Tensor]:
    """The inputs that are masks."""
    if not isinstance(inputs, Mapping):
        return []
    return [
        value.bool()
        for name, value in inputs.items()
        if is_mask(name, str(value.dtype).removeprefix("torch."))
        and bool(((value == 0) | (value == 1)).all())
    ]
