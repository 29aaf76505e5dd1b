"""A plan: every step from variables to parameters and all findings, as frozen data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tfpt.errors import TfptError
from tfpt.planning.findings import Finding
from tfpt.planning.grouping import Group, groups_of
from tfpt.planning.serialization import PlanFormatError, damaged, decode, read_object
from tfpt.planning.steps import Keep, Step
from tfpt.tensors import TensorSpec, format_shape

# The version of the JSON. Any change that makes an older tfpt misread a plan increases it.
VERSION = 1

# Keys of the JSON that follow from the others, or were added by the command that printed it.
_FOR_READERS = ("ok", "summary", "causes", "out", "html")


@dataclass(frozen=True)
class Plan:
    """How a mapping translates a checkpoint, worked out without reading weights.

    Attributes:
        mapping: The mapping's name.
        named: How to name it in a command: its name if it is bundled with tfpt, else its path.
        digest: A hash of the mapping's content.
        source: The checkpoint, as the user named it.
        scope: The scope that fitted.
        variables: How many variables the checkpoint has.
        steps: The work, in the order of the model's parameters.
        findings: What stops the conversion.
        notes: What is worth knowing.
        ignored: Variables left out by name, with the mapping's reason for each.
        shadows: Variables replaced by their exponential moving average, with its name.
        quantized: Variables whose integers encode real numbers but are written as integers, and the encoding.
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
        """The variables that the plan reads, directly or as their average."""
        read = {spec.name for step in self.steps for spec in step.reads}
        return frozenset(read | {raw for raw, shadow in self.shadows.items() if shadow in read})

    @cached_property
    def filled(self) -> int:
        """How many parameters are constants."""
        return sum(len(step.writes) for step in self.steps if not step.reads)

    @cached_property
    def kept(self) -> dict[str, Keep]:
        """The parameters that keep the model's own value, each with its step."""
        return {spec.name: step for step in self.steps if isinstance(step, Keep) for spec in step.writes}

    @cached_property
    def ignored_by_reason(self) -> dict[str, int]:
        """How many variables were left out, for each reason."""
        return dict(Counter(self.ignored.values()))

    def to_json(self) -> dict[str, Any]:
        """The whole plan as plain JSON values, from which `from_json` makes an equal one, in any process.

        `ok`, `summary` and a step's `work` and `row` are for readers; they follow from the rest.
        """
        return {
            "version": VERSION,
            "mapping": self.mapping,
            "named": self.named,
            "digest": self.digest,
            "source": self.source,
            "scope": self.scope,
            "variables": self.variables,
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

    @classmethod
    def from_json(cls, values: object) -> Plan:
        """The plan that `to_json` wrote. Neither the mapping nor the model is needed to carry it out, except for the
        values of `keep` rows.

        Raises:
            PlanFormatError: They are not a plan, it is of another version, or it is damaged.

        Example:
            >>> Plan.from_json({"version": 2})
            Traceback (most recent call last):
            tfpt.planning.serialization.PlanFormatError: not a plan that this version of tfpt can read
              where     version
              expected  1
              got       2
              next      plan the conversion again: tfpt convert --dry-run --json
        """
        version = values.get("version") if isinstance(values, Mapping) else None
        if version != VERSION or isinstance(version, bool):
            raise PlanFormatError(
                "not a plan that this version of tfpt can read",
                where="version",
                expected=str(VERSION),
                got=str(version),
                hint="plan the conversion again: tfpt convert --dry-run --json",
            )
        keys = dict.fromkeys(("version", *_PLAIN, "findings", "notes", "steps"), True)
        entry = read_object(values, "the plan", {**keys, **dict.fromkeys(_FOR_READERS, False)})
        plan = cls(
            **{key: decode(kind, entry[key], key) for key, kind in _PLAIN.items()},
            steps=tuple(Step.from_json(each, at) for each, at in _listed(entry, "steps")),
            findings=tuple(Finding.from_json(each, at) for each, at in _listed(entry, "findings")),
            notes=tuple(Finding.from_json(each, at) for each, at in _listed(entry, "notes")),
        )
        for severity, found in (("findings", plan.findings), ("notes", plan.notes)):
            if any(finding.stops != (severity == "findings") for finding in found):
                raise damaged("errors among the notes, or notes among the findings", severity)
        written = [spec.name for step in plan.steps for spec in step.writes]
        if len(written) > len(plan.writes):
            (name, _), *_ = Counter(written).most_common(1)
            raise damaged("two steps write one parameter", "steps", got=name)
        return plan


# How many groups of findings, and names in each, the text of an error has.
_MOST_CAUSES, _MOST_NAMES = 20, 8

# The keys of the JSON that are fields as they are.
_PLAIN: dict[str, Any] = {
    **dict.fromkeys(("mapping", "named", "digest", "source", "scope"), str),
    "variables": int,
    **dict.fromkeys(("ignored", "shadows", "quantized"), Mapping[str, str]),
}


def _listed(entry: Mapping[str, Any], key: str) -> list[tuple[Any, str]]:
    if not isinstance(entry[key], list):
        raise damaged("not a list", key, got=type(entry[key]).__name__)
    return [(each, f"{key}[{index}]") for index, each in enumerate(entry[key])]


class PlanError(TfptError):
    """A plan that cannot be carried out; nothing was written.

    Its text has the findings by scope and cause.

    Attributes:
        plan: The plan, with all its findings.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        count = len(plan.findings)
        groups, rest = groups_of(plan.findings, plan.writes, [*plan.used, *plan.ignored])
        causes = [*map(_one, rest), *map(_together, groups)]
        super().__init__(
            f"{plan.mapping} does not fit {plan.source}: {count} finding{'s' * (count != 1)}, nothing was written",
            causes=causes[:_MOST_CAUSES],
            hint=f"tfpt diff --mapping {plan.named} {plan.source}",
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings of the plan."""
        return self.plan.findings


def _one(finding: Finding) -> TfptError:
    return TfptError(
        f"{finding.kind}: {finding.what}",
        where=finding.where or None,
        expected=finding.expected or None,
        got=finding.got or None,
        nearest=finding.nearest,
        hint=finding.hint or None,
    )


def _together(group: Group) -> TfptError:
    """One error for the findings of a group: a single one as it is, several with their scope and folded names."""
    if len(group.findings) == 1:
        return _one(group.findings[0])
    more = f", and {len(group.names) - _MOST_NAMES:,} more" if len(group.names) > _MOST_NAMES else ""
    places = dict.fromkeys(finding.where.partition(" (in")[0] for finding in group.findings if finding.row)
    return TfptError(
        f"{group.kind}: {group.scope}: {group.what}",
        where=next(iter(places)) if len(places) == 1 else None,
        got=f"{', '.join(group.names[:_MOST_NAMES])}{more}",
        hint=next((finding.hint for finding in group.findings if finding.hint), None),
    )


def shapes_text(specs: tuple[TensorSpec, ...]) -> str:
    """The shapes of several tensors in one line.

    Example:
        >>> shapes_text((TensorSpec("a", (2, 3), "float32"), TensorSpec("b", (), "int64")))
        '[2, 3], []'
    """
    return ", ".join(format_shape(spec.shape) for spec in specs)
