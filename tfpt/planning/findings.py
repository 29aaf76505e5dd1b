"""What a plan found: each thing that is wrong, or worth knowing, in the words a person can act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Every kind, and whether it stops a conversion.
KINDS = {
    "scope": True,  # no scope of the mapping fits the checkpoint, or several do
    "absent": True,  # a variable that a row needs is not in the checkpoint
    "missing": True,  # a parameter of the model that nothing writes
    "extra": True,  # a row writes a parameter that the model does not have
    "unused": True,  # a variable that nothing claims
    "overlap": True,  # two rows claim one variable, or write one parameter
    "shape": True,  # shapes that do not fit
    "dtype": True,  # a dtype that would lose values
    "quantized": True,  # integers that stand for real numbers, written as if they were these numbers
    "random": True,  # a value that the model draws at random, kept: every run would write another
    "ambiguous-ema": True,  # raw and averaged variables, and a mapping that does not choose
    "behavior": True,  # a module that does not compute what TensorFlow computes
    "drift": True,  # the manifest and the model do not list the same parameters
    "unknown-model": True,  # nothing says which parameters there are, so no row was checked
    "unconfirmed-layout": False,  # axes of equal size: the shapes cannot confirm the layout
    "dead-row": False,  # a row that matched nothing
    "default": False,  # a parameter that a configuration says nothing of
    "unchecked": False,  # something that could not be looked at here, and why
}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: One of `KINDS`.
        what: A sentence, with the name of the variable or parameter in it.
        name: That name.
        where: File and line of the row.
        row: The row as text.
        expected, got: What was to be there, and what was.
        nearest: The closest names.
        hint: The next command, or the next thing to do.
    """

    kind: str
    what: str
    name: str = ""
    where: str = ""
    row: str = ""
    expected: str = ""
    got: str = ""
    nearest: tuple[str, ...] = ()
    hint: str = ""

    @property
    def stops(self) -> bool:
        """Whether it stops a conversion."""
        return KINDS[self.kind]

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values, empty ones left out."""
        values = {
            "kind": self.kind,
            "severity": "error" if self.stops else "note",
            "what": self.what,
            "name": self.name,
            "where": self.where,
            "row": self.row,
            "expected": self.expected,
            "got": self.got,
            "nearest": list(self.nearest),
            "next": self.hint,
        }
        return {key: value for key, value in values.items() if value}
