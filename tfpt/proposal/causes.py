"""The findings of a plan by scope and cause: one missing block, or one wrong size, is one cause of many findings."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tfpt.folding import fold
from tfpt.formats.roles import REASONS
from tfpt.planning.findings import Finding
from tfpt.planning.grouping import (
    by_scope,
    by_sizes,
    extra_text,
    kind_of_cause,
    open_kind,
    open_text,
    rows_of,
    scope_text,
    shapes_text_of,
    sizes_text,
    unused_text,
    with_made,
    with_shapes,
)
from tfpt.planning.plan import Plan
from tfpt.proposal.names import parsed
from tfpt.proposal.near_misses import NearMiss, NearMisses
from tfpt.proposal.repairs import Repair, Repairs
from tfpt.tensors import TensorSpec

# Of how many kinds of tensors the candidates are shown for one cause, and for one plan.
_KINDS, _MOST = 3, 100


@dataclass(frozen=True)
class Cause:
    """Findings that have one cause.

    Attributes:
        kind: The kind of the findings: ``absent``, ``missing``, ``extra``, ``unused`` or ``shape``.
        scope: Where in the model or the checkpoint, folded.
        what: One sentence.
        findings: All of them.
        facts: What it concerns, as labels and folded names.
        candidates: The best candidates for the first tensor of each kind.
        repairs: What to paste into the mapping.
        hint: The next step.
    """

    kind: str
    scope: str
    what: str
    findings: tuple[Finding, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    candidates: tuple[tuple[TensorSpec, tuple[NearMiss, ...]], ...] = ()
    repairs: tuple[Repair, ...] = ()
    hint: str = field(default="")

    def to_json(self) -> dict[str, Any]:
        """The cause as plain JSON values."""
        return {
            "kind": self.kind,
            "scope": self.scope,
            "what": self.what,
            "findings": len(self.findings),
            **{label: list(lines) for label, lines in self.facts},
            "candidates": [
                {"name": spec.name, "shape": list(spec.shape), "nearest": [miss.to_json() for miss in misses]}
                for spec, misses in self.candidates
            ],
            "paste": [repair.to_json() for repair in self.repairs],
            **({"next": self.hint} if self.hint else {}),
        }


def causes_of(plan: Plan) -> tuple[list[Cause], list[Finding]]:
    """The causes of a plan's findings, and the findings that are better read one by one.

    The cost grows with what is found, not with the plan: a plan without findings costs nothing.
    """
    return _Causes(plan).causes()


def causes_to_json(plan: Plan) -> dict[str, Any]:
    """`causes`, the causes of a plan's findings as JSON values; nothing for a plan without findings."""
    return {"causes": [cause.to_json() for cause in causes_of(plan)[0]]} if plan.findings else {}


class _Causes:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.misses = NearMisses(plan)
        self.repairs = Repairs(plan, self.misses)
        self.searched = 0

    def causes(self) -> tuple[list[Cause], list[Finding]]:
        by_kind: dict[str, list[Finding]] = defaultdict(list)
        rest: list[Finding] = []
        for finding in self.plan.findings:
            kind = kind_of_cause(finding)
            (by_kind[kind] if kind else rest).append(finding)
        found = self._shapes(by_kind["shape"])
        read: set[str] = set()
        written = [
            *self.plan.writes,
            *(spec.name for finding in by_kind["shape"] for spec in finding.parameters),
        ]
        known = [*written, *(spec.name for spec in self.misses.open)]
        for scopes, members in by_scope(
            by_kind["open"], known, ".", lambda finding: finding.parameters[0].name
        ):
            cause, taken = self._open(scopes, members)
            read |= taken
            found.append(cause)
        known = [*written, *(finding.name for finding in by_kind["extra"])]
        for scopes, members in by_scope(by_kind["extra"], known, ".", lambda finding: finding.name):
            found.append(self._extra(scopes, members))
        known = [*self.plan.used, *self.plan.ignored]
        known += [spec.name for finding in self.plan.findings for spec in finding.variables]
        loose = [finding for finding in by_kind["unused"] if finding.variables[0].name not in read]
        for scopes, members in by_scope(
            loose, known, "/", lambda finding: finding.variables[0].name, self.repairs.roles.get
        ):
            found.append(self._unused(scopes, members))
        alone = [
            replace(cause, what=cause.findings[0].what) if len(cause.findings) == 1 else cause
            for cause in found
        ]
        return alone, rest

    def _open(self, scopes: list[str], members: list[Finding]) -> tuple[Cause, set[str]]:
        """Parameters that nothing writes, and the variables that the rows to paste read."""
        specs = [spec for finding in members for spec in finding.parameters]
        wanted = list(dict.fromkeys(name for finding in members for name in finding.wanted))
        repairs, read = self.repairs.of_parameters({spec.name for spec in specs})
        what = open_text(members)
        if wanted:
            specs = [spec for finding in members if finding.wanted for spec in finding.parameters]
        facts = [("wanted", tuple(fold(wanted)))] if wanted else []
        every = [spec for finding in members for spec in finding.parameters]
        facts.append(("for" if wanted else "parameters", with_shapes(every)))
        if read:
            facts.append(("unused", tuple(fold(read))))
        by_name = {spec.name: finding for finding in members for spec in finding.parameters}
        candidates = self._candidates(
            specs, ".", lambda spec: self.misses.of_parameter(spec, by_name[spec.name].wanted)
        )
        if wanted and not candidates:
            what += ", and no other variable fits"
        hint = next((finding.hint for finding in members if finding.hint.startswith("--config")), "")
        if repairs:
            hint = f"{_correction(members, candidates)}paste this, and plan again with --dry-run"
        elif hint:
            hint += ", if the model is larger than the checkpoint"
        elif not wanted:
            repairs = self.repairs.tying(candidates)
            repairs += [] if candidates else self.repairs.keeping(specs)
        cause = Cause(
            open_kind(members),
            scope_text(scopes, "the whole model"),
            what,
            tuple(members),
            (*facts, *rows_of(members)),
            candidates,
            tuple(repairs),
            hint or self._beside(),
        )
        return cause, set(read)

    def _beside(self) -> str:
        source = shlex.quote(self.plan.source)
        return f"tfpt inspect {source} --beside {shlex.quote(self.plan.named)}" if self.plan.source else ""

    def _extra(self, scopes: list[str], members: list[Finding]) -> Cause:
        by_name = {finding.variables[0].name: finding for finding in members}
        specs = [finding.variables[0] for finding in members]
        return Cause(
            "extra",
            scope_text(scopes, "the whole mapping"),
            extra_text(members),
            tuple(members),
            (
                ("written", tuple(fold(finding.name for finding in members))),
                ("from", tuple(fold(by_name))),
                *rows_of(members),
            ),
            self._candidates(specs, "/", lambda spec: self.misses.of_variable(spec, by_name[spec.name].name)),
            hint=next((finding.hint for finding in members if finding.hint), "")
            or "correct pt in the row; or --set, --config if the model is smaller than the checkpoint",
        )

    def _unused(self, scopes: list[str], members: list[Finding]) -> Cause:
        specs = [finding.variables[0] for finding in members]
        names = [spec.name for spec in specs]
        roles = {self.repairs.roles.get(name, "") for name in names}
        return Cause(
            "unused",
            scope_text(scopes, "the whole checkpoint")
            if "" in roles
            else ", ".join(REASONS[role] for role in sorted(roles)),
            unused_text(members),
            tuple(members),
            (("variables", with_shapes(specs)),),
            () if roles - {""} else self._candidates(specs, "/", self.misses.of_variable),
            tuple(self.repairs.ignoring(scopes, names)),
            next((finding.hint for finding in members if finding.hint), "")
            or "paste this if the model does not need them; or write a row",
        )

    def _candidates(
        self,
        specs: Sequence[TensorSpec],
        separator: str,
        find: Callable[[TensorSpec], tuple[NearMiss, ...]],
    ) -> tuple[tuple[TensorSpec, tuple[NearMiss, ...]], ...]:
        first: dict[tuple[str, ...], TensorSpec] = {}
        for spec in specs:
            first.setdefault(parsed(spec.name, separator).pattern, spec)
        found = []
        for spec in list(first.values())[:_KINDS]:
            self.searched += 1
            misses = find(spec) if self.searched <= _MOST else ()
            if misses:
                found.append((spec, misses))
        return tuple(found)

    def _shapes(self, findings: Sequence[Finding]) -> list[Cause]:
        found = []
        for pairs, members in by_sizes(findings):
            sizes = ", ".join(f"{got} for {wanted}" for wanted, got in pairs[:3])
            found.append(
                Cause(
                    "shape",
                    sizes_text(pairs),
                    shapes_text_of(members),
                    tuple(members),
                    (("parameters", with_made(members)), *rows_of(members)),
                    hint=next((finding.hint for finding in members if finding.hint), "")
                    or f"build the model with the checkpoint's sizes ({sizes}): --set, or model.kwargs in the mapping",
                )
            )
        return found


def _correction(
    findings: Sequence[Finding], candidates: Sequence[tuple[TensorSpec, tuple[NearMiss, ...]]]
) -> str:
    """What to correct in the row, if the same word of it is another in all candidates; nothing otherwise."""
    places = {finding.where.partition(" (in")[0] for finding in findings}
    changes = {
        reason.removeprefix("named ")
        for _, misses in candidates
        for reason in misses[0].reasons
        if reason.startswith("named ")
    }
    if len(places) != 1 or len(changes) != 1:
        return ""
    new, _, old = changes.pop().partition(" for ")
    literal = all(old in re.split(r"[/ ]", finding.row) for finding in findings)
    return f"write {new} for {old} at {places.pop()}; or " if old and literal else ""
