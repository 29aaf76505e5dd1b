"""A proposed mapping: its text, what it does, and the questions that names and shapes leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tfpt.planning.plan import Plan
from tfpt.proposal.evidence import Weights
from tfpt.proposal.matches import Match
from tfpt.proposal.proven import Proof
from tfpt.proposal.search import Found
from tfpt.proposal.sides import Side


@dataclass(frozen=True)
class Shown:
    """What running both networks has shown, for the mapping to say.

    Attributes:
        eps: Epsilons that modules must have, by path.
        padding: Rules by which modules must pad, by path.
        endpoints: The activations that both compute: TensorFlow's name, module, other keys.
        input: The layout of the input.
        lines: What was proven, for people.
    """

    eps: Mapping[str, float] = field(default_factory=dict)
    padding: Mapping[str, str] = field(default_factory=dict)
    endpoints: Sequence[tuple[str, str, str]] = ()
    input: str = ""
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Option:
    """A possible answer.

    Attributes:
        text: What it says.
        decisions: What follows for each parameter, as in `propose`.
    """

    text: str
    decisions: Mapping[str, str]


@dataclass(frozen=True)
class Question:
    """Something that names and shapes leave open, for all parameters of a series at once.

    Attributes:
        text: What it is about.
        options: The answers; the first is what is proposed.
    """

    text: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Proposal:
    """A proposed mapping.

    Attributes:
        text: The mapping, as YAML.
        plan: What it does with the checkpoint.
        found: The matches it was made from.
        variables, parameters: Both sides.
        rows: How many scopes and rows it has.
        differs: Parameters for which the plan is not what was found.
        averaged: Variables that have a moving average, which the mapping reads instead, unless that was decided.
        proof: What running both networks showed, if they were run.
    """

    text: str
    plan: Plan
    found: Found
    variables: Side
    parameters: Side
    rows: int
    differs: tuple[str, ...]
    averaged: frozenset[str] = frozenset()
    proof: Proof | None = None

    @property
    def unsure(self) -> dict[str, str]:
        """Parameters that could come from elsewhere, with the reason."""
        return {
            self.parameters.specs[p].name: match.unsure or "or the variable itself, not its moving average"
            for match in self.found.matches
            if match.unsure or any(self.variables.specs[v].name in self.averaged for v in match.variables)
            for p in match.parameters
        }

    @property
    def choices(self) -> dict[str, str]:
        """What is proposed for the parameters that are unsure, as for `propose`."""
        return {
            self.parameters.specs[p].name: match.layout or self._choice(match)
            for match in self.found.matches
            if match.unsure
            for p in match.parameters
        }

    @property
    def open(self) -> tuple[str, ...]:
        """Parameters that nothing in the checkpoint fits."""
        return tuple(self.parameters.specs[p].name for p in self.found.open)

    @property
    def unused(self) -> tuple[str, ...]:
        """Variables that nothing in the model fits."""
        return tuple(self.variables.specs[v].name for v in self.found.unused)

    @property
    def settled(self) -> bool:
        """Whether the mapping can be used as it is: nothing is unsure or open, and a proof has not failed."""
        unproven = self.proof is not None and not self.proof.proven
        return not (self.unsure or self.open or self.plan.findings or unproven)

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """What is unsure, one question for each series of parameters."""
        groups: dict[tuple[object, ...], list[Match]] = {}
        for match in self.found.matches:
            if match.unsure and len(match.parameters) == 1 and len(match.variables) <= 1:
                v, p = match.variables[:1], match.parameters[0]
                pattern = self.variables.names[v[0]].pattern if v else ()
                kinds = tuple("layout" if isinstance(other, str) else "variable" for other in match.instead)
                groups.setdefault((self.parameters.names[p].pattern, pattern, kinds), []).append(match)
        return tuple(self._question(members) for members in groups.values())

    def _question(self, members: Sequence[Match]) -> Question:
        first = members[0]
        parameter = self.parameters.specs[first.parameters[0]]
        more = f" and {len(members) - 1} more like it" if len(members) > 1 else ""
        names = {match.parameters[0]: self._choice(match) for match in members}
        text = f"{parameter.name} {list(parameter.shape)}{more}"
        options = [
            Option(
                f"from {self._choice(first) or 'no variable'}"
                + (f', layout "{first.layout}"' if first.layout else ", filled with a constant"),
                {self.parameters.specs[p].name: first.layout or name for p, name in names.items()},
            )
        ]
        for place, other in enumerate(first.instead):
            decisions = {}
            for match in members:
                if place < len(match.instead):
                    instead = match.instead[place]
                    name = self.parameters.specs[match.parameters[0]].name
                    decisions[name] = self._named(instead)
            said = (
                f'layout "{other}"'
                if isinstance(other, str)
                else f"from {self._named(other) or 'no variable'}"
            )
            options.append(Option(f"or {said}", decisions))
        if not first.instead:
            text = f"{text}: {first.unsure}"
        return Question(text, tuple(options))

    def _choice(self, match: Match) -> str:
        return self.variables.specs[match.variables[0]].name if match.variables else ""

    def _named(self, other: int | str) -> str:
        return other if isinstance(other, str) else self.variables.specs[other].name if other >= 0 else ""

    @property
    def evidence_weights(self) -> dict[str, float]:
        """How much each kind of evidence counts."""
        return Weights().explained()

    @property
    def evidence(self) -> list[tuple[str, str, dict[str, float]]]:
        """Parameter, variable and evidence of each pair that was chosen; of a series the first."""
        assignment = self.found.assignment
        chosen = {
            (match.variables[0], match.parameters[0])
            for match in self.found.matches
            if len(match.variables) == len(match.parameters) == 1
        }
        found: dict[tuple[object, object], tuple[str, str, dict[str, float]]] = {}
        pairs = zip(assignment.pairs.variable, assignment.pairs.parameter, strict=True)
        for index, (v, p) in enumerate(pairs):
            if (int(v), int(p)) in chosen:
                values = {name: float(array[index]) for name, array in assignment.evidence.items()}
                key = (self.variables.names[v].pattern, self.parameters.names[p].pattern)
                found.setdefault(key, (self.parameters.specs[p].name, self.variables.specs[v].name, values))
        return list(found.values())

    def to_json(self, *, explain: bool = False) -> dict[str, Any]:
        """The proposal as JSON values."""
        values: dict[str, Any] = {
            "mapping": self.text,
            "settled": self.settled,
            "rows": self.rows,
            "parameters": len(self.parameters),
            "variables": len(self.variables),
            "unsure": self.unsure,
            "open": list(self.open),
            "unused": list(self.unused),
            "proof": None if self.proof is None else self.proof.to_json(),
            "findings": [finding.to_json() for finding in self.plan.findings],
        }
        if explain:
            values["weights"] = self.evidence_weights
            values["evidence"] = [
                {"parameter": parameter, "variable": variable, **evidence}
                for parameter, variable, evidence in self.evidence
            ]
        return values
