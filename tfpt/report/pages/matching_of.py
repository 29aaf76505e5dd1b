"""The two trees of a plan, a comparison, or a proposed mapping: the state of each tensor, and what is about it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from tfpt.checking.comparison import Diff, TensorDiff
from tfpt.planning import Copy, Finding, Plan, Step
from tfpt.report.pages.matching import Entry, Join, Matching
from tfpt.report.pages.states import of_difference, of_kind, of_step, worse
from tfpt.tensors import TensorSpec

if TYPE_CHECKING:
    from tfpt.proposal.proposal import Proposal


def of_plan(plan: Plan, variables: Mapping[str, TensorSpec], model: str = "") -> Matching:
    """What a plan does with each variable of the checkpoint, and what it writes to each parameter.

    Args:
        plan: The plan, with or without findings.
        variables: Everything in the checkpoint.
        model: What the PyTorch side is called.
    """
    left, right = _entries(plan, variables)
    joins = [_join(step) for step in plan.steps]
    findings = [*plan.findings, *plan.notes]
    joins += _mark(findings, left, right, plan.steps)
    verdict = "fits" if plan.ok else _count(len(plan.findings), "finding")
    return Matching(
        f"{plan.mapping}: {plan.source}",
        verdict,
        plan.ok,
        ("TensorFlow", "PyTorch"),
        (plan.source, model),
        ("/", "."),
        left,
        right,
        joins,
        findings,
    )


def of_diff(diff: Diff) -> Matching:
    """How much each tensor of one side differs from its counterpart."""
    if diff.plan is None:
        return _of_files(diff)
    plan = diff.plan
    if not diff.right:
        return of_plan(plan, diff.left_tensors)
    left, right = _entries(plan, diff.left_tensors)
    compared = {tensor.name: tensor for tensor in diff.tensors}
    for name, entry in right.items():
        entry.spec = diff.right_tensors.get(name, entry.spec)
        if name in compared:
            entry.state = of_difference(compared[name], diff)
    for name, spec in diff.right_tensors.items():
        right.setdefault(name, Entry(spec, "extra"))
    joins = [_join(step, compared) for step in plan.steps]
    became: dict[str, list[str]] = {}
    for join in joins:
        for name in join.left:
            became.setdefault(name, []).extend(right[written].state for written in join.right)
    for name, states in became.items():
        left[name].state = reduce(worse, states)
    findings = [*diff.findings, *plan.notes]
    joins += _mark(findings, left, right, plan.steps, compared)
    title = f"{plan.mapping}: {plan.source} and {diff.right}"
    return Matching(
        title,
        _verdict(diff),
        diff.same,
        ("TensorFlow", "PyTorch"),
        (plan.source, diff.right),
        ("/", "."),
        left,
        right,
        joins,
        findings,
    )


def of_proposal(proposal: Proposal, path: str, checkpoint: str, model: str) -> Matching:
    """What a proposed mapping does, and what is unsure about it.

    Args:
        proposal: The proposal.
        path: Where it was written.
        checkpoint, model: What the two sides are called.
    """
    specs = {spec.name: spec for spec in proposal.variables.specs}
    made = of_plan(replace(proposal.plan, source=checkpoint), specs, model)
    for name, reason in proposal.unsure.items():
        entry = made.right.get(name)
        if entry is not None:
            entry.state, entry.reason = worse(entry.state, "unsure"), reason
    unsure, findings = len(proposal.unsure), len(proposal.plan.findings)
    parts = ([f"{unsure:,} unsure"] if unsure else []) + ([_count(findings, "finding")] if findings else [])
    # It was planned before it was written there.
    planned = proposal.plan.named
    return replace(
        made,
        verdict=", ".join(parts) or made.verdict,
        good=proposal.settled,
        joins=[replace(join, row=join.row.replace(planned, path)) for join in made.joins],
        findings=[replace(each, where=each.where.replace(planned, path)) for each in made.findings],
    )


def _of_files(diff: Diff) -> Matching:
    compared = {tensor.name: tensor for tensor in diff.tensors}
    sides: list[dict[str, Entry]] = []
    for specs in (diff.left_tensors, diff.right_tensors):
        both = diff.left_tensors.keys() & diff.right_tensors.keys()
        states = {name: "shape" if name in both else "extra" for name in specs}
        states |= {name: of_difference(tensor, diff) for name, tensor in compared.items()}
        sides.append({name: Entry(spec, states[name]) for name, spec in specs.items()})
    left, right = sides
    joins = [
        Join((name,), (name,), compared=(compared[name],) if name in compared else ())
        for name in left
        if name in right
    ]
    for index, finding in enumerate(diff.findings):
        for side in sides:
            if finding.name in side:
                side[finding.name].mark(index, "")
    separator = "/" if any("/" in name for name in left) else "."
    return Matching(
        f"{diff.left} and {diff.right}",
        _verdict(diff),
        diff.same,
        ("left", "right"),
        (diff.left, diff.right),
        (separator, separator),
        left,
        right,
        joins,
        diff.findings,
    )


def _verdict(diff: Diff) -> str:
    if diff.same:
        equal = all(tensor.equal for tensor in diff.tensors)
        return "equal" if equal else f"equal within {diff.tolerance:g}"
    counts = ((len(diff.different), "tensor"), (len(diff.findings), "finding"))
    different, findings = (_count(number, noun) for number, noun in counts)
    parts = [f"{different} different"] if diff.different else []
    return ", ".join([*parts, *([findings] if diff.findings else [])])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _entries(plan: Plan, variables: Mapping[str, TensorSpec]) -> tuple[dict[str, Entry], dict[str, Entry]]:
    left = {name: Entry(spec, "unread") for name, spec in variables.items()}
    right = {}
    for step in plan.steps:
        for spec in step.reads:
            left.setdefault(spec.name, Entry(spec, "written")).state = "written"
        for spec in step.writes:
            right[spec.name] = Entry(spec, of_step(step))
    for name, why in plan.ignored.items():
        if name in left:
            left[name].state, left[name].reason = "ignored", why
    for name, average in plan.shadows.items():
        if name in left and average in plan.used:
            left[name].state, left[name].reason = "average", f"{average} is read instead"
    for name, how in plan.quantized.items():
        if name in left:
            left[name].reason = how
    for finding in plan.findings:
        for spec in finding.parameters:
            right.setdefault(spec.name, Entry(spec, of_kind(finding.kind))).spec = spec
    return left, right


def _join(step: Step, compared: Mapping[str, TensorDiff] | None = None) -> Join:
    left, right = (tuple(spec.name for spec in specs) for specs in (step.reads, step.writes))
    figures = tuple(compared[name] for name in right if name in compared) if compared else ()
    return Join(left, right, step.work, step.where, figures)


def _mark(
    findings: Sequence[Finding],
    left: Mapping[str, Entry],
    right: Mapping[str, Entry],
    steps: Sequence[Step],
    compared: Container[str] = (),
) -> list[Join]:
    """Attach findings to what they are about; returns joins of what a finding alone brings together."""
    joined = {(read.name, written.name) for step in steps for read in step.reads for written in step.writes}
    rows: dict[str, list[Step]] = {}
    for step in steps:
        rows.setdefault(step.position.row, []).append(step)
    joins = []
    for index, finding in enumerate(findings):
        if finding.kind == "unconfirmed-layout":
            for step in rows.get(finding.where, ()):
                if isinstance(step, Copy) and step.alike:
                    for spec in (*step.reads, *step.writes):
                        (right if spec in step.writes else left)[spec.name].mark(index, "")
            continue
        # Of a tensor that was compared, the difference matters more than the dtype.
        state = "" if finding.kind == "dtype" and finding.name in compared else of_kind(finding.kind)
        reads = dict.fromkeys(spec.name for spec in finding.variables if spec.name in left)
        writes = dict.fromkeys(spec.name for spec in finding.parameters if spec.name in right)
        if finding.name in right and finding.kind != "unused":
            writes[finding.name] = None
        elif finding.name in left:
            reads[finding.name] = None
        for name in reads:
            left[name].mark(index, state)
        for name in writes:
            right[name].mark(index, state)
        if any((read, written) not in joined for read in reads for written in writes):
            joins.append(Join(tuple(reads), tuple(writes), row=finding.where))
            joined.update((read, written) for read in reads for written in writes)
    return joins
