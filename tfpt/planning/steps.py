"""The steps of a plan: copy variables into parameters, fill a parameter with a constant, keep the model's own value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tfpt.language.tree import Position, row_location
from tfpt.operations.bound_transform import BoundTransform
from tfpt.operations.casting import holds
from tfpt.operations.transform import Transform
from tfpt.planning.serialization import damaged, decode, encode, read_kind
from tfpt.planning.symmetry import Alike, exchangeable
from tfpt.tensors import TensorSpec, dtype, format_shape


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One unit of work: variables that are read, parameters that are written. It is all data; see its three kinds.

    Attributes:
        reads: The variables, in the order in which they are joined; only `Copy` has any.
        writes: The parameters, with the shapes and dtypes that they have in the output.
        position: The position of the row.
        scopes: The positions of the scopes that the row is in, outermost first.
    """

    reads: tuple[TensorSpec, ...] = field(default=(), init=False)
    writes: tuple[TensorSpec, ...]
    position: Position
    scopes: tuple[Position, ...] = ()

    @property
    def where(self) -> str:
        """File and line of the row, and of its scopes."""
        return row_location(self.position, self.scopes)

    @property
    @abstractmethod
    def work(self) -> str:
        """The work in a few words."""

    @property
    def memory(self) -> int:
        """Roughly how many bytes the work needs, besides the variables that are read."""
        return sum(spec.nbytes for spec in self.writes)

    def to_json(self) -> dict[str, Any]:
        """The step as plain JSON values. `work` and `row` are for readers; `from_json` does not need them."""
        kind = next(name for name, kind in _KINDS.items() if isinstance(self, kind))
        return {"kind": kind, "reads": [], **encode(self), "work": self.work, "row": self.where}

    @staticmethod
    def from_json(values: object, where: str = "step") -> Step:
        """The step that `to_json` wrote.

        Args:
            values: JSON values.
            where: Their location in the document, for errors.

        Raises:
            PlanFormatError: They are not a step, or one that cannot be carried out.

        Example:
            >>> spec = TensorSpec("bias", (3,), "float32")
            >>> step = Fill(writes=(spec,), position=Position("m.yaml", 4, 5), value=0)
            >>> Step.from_json(step.to_json()) == step
            True
        """
        kind = _KINDS[read_kind(values, where, _KINDS)]
        assert isinstance(values, Mapping)
        entry = {key: value for key, value in values.items() if key not in ("kind", "work", "row")}
        if kind is not Copy and entry.get("reads") == []:
            del entry["reads"]
        step = decode(kind, entry, where)
        step.check(where)
        return step

    def check(self, where: str) -> None:
        """Check that the step can be carried out, whatever wrote it.

        Raises:
            PlanFormatError: It cannot.
        """
        if not self.writes:
            raise damaged("the step writes nothing", where)
        for spec in (*self.reads, *self.writes):
            held = dtype(spec.dtype).numpy
            if held is None or held.kind == "O":
                raise damaged("not a tensor of numbers", where, got=spec)


@dataclass(frozen=True, kw_only=True)
class Copy(Step):
    """Variables, transformed and written as parameters.

    Attributes:
        transform: What happens to the values.
    """

    reads: tuple[TensorSpec, ...]
    transform: Transform

    @cached_property
    def bound(self) -> BoundTransform:
        """The transform for the shapes of these variables."""
        return self.transform.bind([spec.shape for spec in self.reads], len(self.writes))

    @cached_property
    def alike(self) -> tuple[Alike, ...]:
        """Sets of axes that could have been exchanged without changing a shape: see `tfpt.planning.symmetry`."""
        return exchangeable(self.bound)

    @property
    def work(self) -> str:
        return self.transform.describe()

    @property
    def memory(self) -> int:
        if not self.transform.computes:
            return super().memory
        # Computed in float64, several variables all at once.
        several = self.reads if len(self.reads) > 1 else ()
        return super().memory + 8 * sum(spec.size for spec in (*several, *self.writes))

    def check(self, where: str) -> None:
        super().check(where)
        if not self.reads:
            raise damaged("the step reads nothing", where)
        try:
            shapes = self.bound.shapes
            carrier = self.bound.carrier([np.dtype(dtype(spec.dtype).numpy) for spec in self.reads])
        except Exception as error:  # whatever operations raise that no mapping could contain
            raise damaged(
                f"the operations do not fit the variables ({error})", f"{where}.transform"
            ) from error
        if shapes != tuple(spec.shape for spec in self.writes):
            raise damaged(
                "the operations give other shapes than the step writes",
                where,
                expected=", ".join(format_shape(spec.shape) for spec in self.writes),
                got=", ".join(map(format_shape, shapes)),
            )
        if carrier is None:
            raise damaged("the variables have no dtype in common", where)


@dataclass(frozen=True, kw_only=True)
class Fill(Step):
    """A constant, written to a parameter.

    Attributes:
        value: The constant.
    """

    value: bool | int | float

    @property
    def work(self) -> str:
        return f"fill {self.value}"

    def check(self, where: str) -> None:
        super().check(where)
        for spec in self.writes:
            if not holds(spec.dtype, self.value):
                raise damaged(f"{spec.dtype} cannot represent the constant", where, got=self.value)


@dataclass(frozen=True, kw_only=True)
class Keep(Step):
    """The value that the model itself generates, written to the same parameter.

    Attributes:
        random: Whether it may be random.
    """

    random: bool = False

    @property
    def work(self) -> str:
        return "keep random" if self.random else "keep"


_KINDS: dict[str, type[Step]] = {"copy": Copy, "fill": Fill, "keep": Keep}
