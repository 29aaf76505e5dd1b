"""A plan: every step from variables to parameters and everything found on the way, as frozen data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tfpt.errors import TfptError
from tfpt.operations.transform import BoundTransform
from tfpt.planning.findings import Finding
from tfpt.planning.symmetry import Alike
from tfpt.tensors import TensorSpec, format_shape


@dataclass(frozen=True)
class Step:
    """One piece of work: some variables read, some parameters written.

    Attributes:
        reads: The variables, in the order in which they are joined; none for `fill` and `keep`.
        writes: The parameters, with the shapes and dtypes that the file will hold.
        transform: What happens to the values; ``None`` for `fill` and `keep`.
        fill: The constant that is written.
        keep: The values are those of the model itself.
        where: File and line of the row.
        alike: Sets of axes that could have been exchanged without a shape showing it: see `tfpt.planning.symmetry`.
    """

    reads: tuple[TensorSpec, ...]
    writes: tuple[TensorSpec, ...]
    transform: BoundTransform | None
    where: str
    fill: bool | int | float | None = None
    keep: bool = False
    alike: tuple[Alike, ...] = ()

    @property
    def work(self) -> str:
        """The transform in a few words."""
        if self.transform is not None:
            return self.transform.transform.describe()
        return "keep" if self.keep else f"fill {self.fill}"

    @property
    def memory(self) -> int:
        """About how many bytes the work holds at once, beside the variables that are read."""
        written = sum(spec.nbytes for spec in self.writes)
        if self.transform is None or not self.transform.transform.computes:
            return written
        # Scaled and added to in float64.
        return written + 8 * sum(spec.size for spec in self.writes)

    def to_json(self) -> dict[str, Any]:
        return {
            "reads": [_spec_to_json(spec) for spec in self.reads],
            "writes": [_spec_to_json(spec) for spec in self.writes],
            "work": self.work,
            "row": self.where,
        }


@dataclass(frozen=True)
class Plan:
    """What a mapping makes of a checkpoint; nothing of it needs a weight.

    Attributes:
        mapping: The mapping's name.
        named: What commands call it: its name, or its path where it did not come with tfpt.
        digest: A hash of what the mapping says.
        source: The checkpoint, as it was named.
        scope: The scope that fitted.
        variables: How many variables the checkpoint holds.
        steps: The work, in the order of the model's parameters.
        findings: What stops the conversion.
        notes: What is worth knowing.
        ignored: Variables left out by name, with the mapping's reason for each.
        shadows: Variables whose exponential moving average is read in their place, with the shadow's name.
        quantized: Variables whose integers stand for real numbers and are written as they are, and what they stand for.
    """

    mapping: str
    named: str
    digest: str
    source: str
    scope: str
    variables: int
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    ignored: Mapping[str, str]
    shadows: Mapping[str, str]
    quantized: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the plan can be carried out."""
        return not self.findings

    @cached_property
    def writes(self) -> dict[str, TensorSpec]:
        """Every parameter that the plan writes, by name."""
        return {spec.name: spec for step in self.steps for spec in step.writes}

    @cached_property
    def used(self) -> frozenset[str]:
        """The variables that the plan reads, or reads the average of."""
        read = {spec.name for step in self.steps for spec in step.reads}
        return frozenset(read | {raw for raw, shadow in self.shadows.items() if shadow in read})

    @cached_property
    def filled(self) -> int:
        """How many parameters are constants."""
        return sum(len(step.writes) for step in self.steps if not step.reads)

    @cached_property
    def ignored_by_reason(self) -> dict[str, int]:
        """How many variables were left out, for each reason."""
        return dict(Counter(self.ignored.values()))

    def to_json(self) -> dict[str, Any]:
        """The whole plan as plain JSON values."""
        return {
            "mapping": self.mapping,
            "digest": self.digest,
            "source": self.source,
            "scope": self.scope,
            "ok": self.ok,
            "summary": {
                "variables": self.variables,
                "used": len(self.used),
                "ignored": len(self.ignored),
                "parameters": len(self.writes),
                "filled": self.filled,
                "findings": len(self.findings),
                "notes": len(self.notes),
            },
            "findings": [finding.to_json() for finding in self.findings],
            "notes": [finding.to_json() for finding in self.notes],
            "ignored": dict(self.ignored),
            "shadows": dict(self.shadows),
            "quantized": dict(self.quantized),
            "steps": [step.to_json() for step in self.steps],
        }


class PlanError(TfptError):
    """A plan that cannot be carried out; nothing was written.

    Attributes:
        plan: The plan, with all its findings.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        count = len(plan.findings)
        super().__init__(
            f"{plan.mapping} does not fit {plan.source}: {count} finding{'s' * (count != 1)}, nothing was written",
            causes=[
                TfptError(
                    f"{finding.kind}: {finding.what}",
                    where=finding.where or None,
                    expected=finding.expected or None,
                    got=finding.got or None,
                    nearest=finding.nearest,
                    hint=finding.hint or None,
                )
                for finding in plan.findings[:20]
            ],
            hint=f"tfpt diff --mapping {plan.named} {plan.source}",
        )


def _spec_to_json(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}


def shapes_text(specs: tuple[TensorSpec, ...]) -> str:
    """The shapes of several tensors in one line.

    Example:
        >>> shapes_text((TensorSpec("a", (2, 3), "float32"), TensorSpec("b", (), "int64")))
        '[2, 3], []'
    """
    return ", ".join(format_shape(spec.shape) for spec in specs)
