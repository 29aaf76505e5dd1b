"""Findings: everything that planning and checking report, whether it stops a conversion or is worth knowing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfpt.errors import Problem
from tfpt.planning.serialization import decode, encode, read_kind
from tfpt.tensors import TensorSpec

# Every kind, and whether it stops a conversion.
KINDS = {
    "scope": True,  # no scope of the mapping fits the checkpoint, or several do
    "absent": True,  # a variable that a row needs is not in the checkpoint
    "missing": True,  # a parameter of the model that no row writes
    "extra": True,  # a row writes a parameter that the model does not have
    "unused": True,  # a variable that no row claims
    "overlap": True,  # two rows claim one variable, or write one parameter
    "shape": True,  # shapes that do not fit
    "dtype": True,  # a dtype that would lose values
    "quantized": True,  # integers that encode real numbers, written as if they were these numbers
    "random": True,  # a kept value that the model draws at random: every run would write a different one
    "ambiguous-ema": True,  # raw and averaged variables, and a mapping that does not choose
    "behavior": True,  # a module that does not compute what TensorFlow computes
    "drift": True,  # the manifest and the model do not list the same parameters
    "arguments": True,  # the model's factory does not accept an argument, or lacks one
    "unknown-model": True,  # the model's parameters are unknown, so no row was checked
    "unconfirmed-layout": False,  # axes of equal size: the shapes cannot confirm the layout
    "dead-row": False,  # a row that matched no name
    "shadowed-row": False,  # a row that has no effect because of another one
    "single-value": False,  # a field that has one value in the whole model
    "unused-param": False,  # a parameter under `params` that nothing uses
    "unused-layer": False,  # a layer that no scope places
    "default": False,  # a parameter that the configuration does not set
    "unchecked": False,  # something that could not be checked here, and why
}


@dataclass(frozen=True)
class Finding(Problem):
    """A problem of one of `KINDS`.

    Attributes:
        variables: The variables of the checkpoint that it concerns.
        parameters: The parameters of the model that it concerns, as the model has them.
        wanted: The variables that a row would read for them, which the checkpoint does not have.
        made: The shape that the row makes, if the model has another.
    """

    variables: tuple[TensorSpec, ...] = ()
    parameters: tuple[TensorSpec, ...] = ()
    wanted: tuple[str, ...] = ()
    made: tuple[int, ...] | None = None

    @property
    def stops(self) -> bool:
        """Whether it stops a conversion."""
        return KINDS[self.kind]

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values, without empty ones. `severity` follows from the kind."""
        values = encode(self)
        if "hint" in values:
            values["next"] = values.pop("hint")
        severity = "error" if self.stops else "note"
        return {"kind": values.pop("kind"), "severity": severity, **values}

    @classmethod
    def from_json(cls, values: object, where: str = "finding") -> Finding:
        """The finding that `to_json` wrote.

        Raises:
            PlanFormatError: They are not a finding.
        """
        read_kind(values, where, KINDS)
        assert isinstance(values, Mapping)
        names = {"next": "hint"}
        return decode(
            cls, {names.get(key, key): each for key, each in values.items() if key != "severity"}, where
        )
