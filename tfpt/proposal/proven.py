"""What running both networks on one input showed about a proposal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfpt.verification.agreement import DEFAULT_TOLERANCE
from tfpt.verification.pairing import Agreement


@dataclass(frozen=True)
class Proof:
    """What running both networks showed.

    Attributes:
        agreements: The activations that agree, in TensorFlow's order.
        recorded: How many activations were compared.
        output: The difference of the model's output from the network's, relative to its largest value; infinite if none
            of the network's activations is like it.
        decided: What was settled for parameters, as in `propose`.
        eps: Epsilons that normalizations must have, by path.
        padding: Rules by which convolutions and pools must pad, by path; the model itself pads in another way.
        input: The layout of the input; empty if it is the same on both sides.
        departs: The first activation with variables that no module computes; empty if there is none.
    """

    agreements: tuple[Agreement, ...]
    recorded: int
    output: float
    decided: Mapping[str, str] = field(default_factory=dict)
    eps: Mapping[str, float] = field(default_factory=dict)
    padding: Mapping[str, str] = field(default_factory=dict)
    input: str = ""
    departs: str = ""

    @property
    def proven(self) -> bool:
        """Whether the model computes what the network does."""
        return self.output <= DEFAULT_TOLERANCE

    def __str__(self) -> str:
        compared = f"{len(self.agreements)} of {self.recorded} activations agree"
        if self.proven:
            adapted = " with adapt=True" if self.padding or self.eps else ""
            differ = (
                f"the outputs differ by {self.output:.1e} of the largest value"
                if self.output
                else "equal outputs"
            )
            return f"proven on one input{adapted}: {differ}; {compared}"
        if self.departs:
            return f"not proven: {compared}; the networks part at {self.departs}"
        return f"not proven: {compared}, and the outputs do not"

    def to_json(self) -> dict[str, Any]:
        """The proof as JSON values."""
        return {
            "proven": self.proven,
            "output": self.output,
            "agreements": [vars(agreement) for agreement in self.agreements],
            "recorded": self.recorded,
            "departs": self.departs,
            "decided": dict(self.decided),
            "eps": dict(self.eps),
            "padding": dict(self.padding),
            "input": self.input,
        }
