"""Findings about variables that are in the file but cannot be read, where the plan needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tfpt.language.mapping import Copy, Ema, RowSet
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import TF_SEPARATOR
from tfpt.planning.averages import shadowed
from tfpt.planning.claims import Claims
from tfpt.planning.findings import Finding
from tfpt.planning.instances import Instance
from tfpt.planning.names import left_out
from tfpt.tensors import TensorSpec


def unreadable(
    instances: Iterable[Instance],
    claims: Claims,
    row_set: RowSet,
    skipped: Mapping[str, str],
    specs: Mapping[str, TensorSpec],
    findings: Iterable[Finding],
) -> list[Finding]:
    """The findings, plus one for each skipped variable that a row or a moving average needs.

    This includes optional rows, since the file does have the variable.

    Args:
        instances: Every instance of every row.
        claims: The outcome of their conflicts.
        row_set: The rows and the ignored names.
        skipped: The variables in the file that cannot be read, each with the reason.
        specs: The variables that can be read.
        findings: Those so far; less specific ones about the same variables or parameters are dropped.
    """
    if not skipped:
        return list(findings)
    ignored = left_out(row_set.ignore, NameIndex(skipped, TF_SEPARATOR))
    held = {name: reason for name, reason in skipped.items() if name not in ignored}
    written = {name for instance in claims.active for name in instance.writes if not instance.row.fallback}
    found: dict[str, Finding] = {}
    said: set[str] = set()
    for instance in instances:
        if not instance.absent or (instance.row.fallback and written.issuperset(instance.writes)):
            continue
        for name in _unreadable_of(instance, held):
            found.setdefault(name, _finding(name, held[name], instance))
            said.update(instance.absent, instance.writes)
    if row_set.ema is not None and row_set.ema.use != "ignore":
        for name, base in _averages(held, row_set.ema):
            if base in specs:
                found.setdefault(name, _average(name, base, held[name], row_set.ema))
    kept = [
        finding
        for finding in findings
        if finding.kind not in ("absent", "missing") or finding.name not in said
    ]
    return [*kept, *found.values()]


def _unreadable_of(instance: Instance, skipped: Mapping[str, str]) -> list[str]:
    """The variables that an instance needs and the file has, although unreadable."""
    found = [name for name in instance.absent if name in skipped]
    for template in instance.row.tf if isinstance(instance.row, Copy) else ():
        if template.renders:
            continue
        # A template with an unnamed field: the variable's name cannot be derived from the parameter's.
        for name in skipped:
            values = template.match(name)
            if values is not None and all(
                instance.values.get(key, value) == value for key, value in values.items()
            ):
                found.append(name)
    return list(dict.fromkeys(found))


def _averages(skipped: Mapping[str, str], ema: Ema) -> Iterable[tuple[str, str]]:
    for name in skipped:
        if ema.tf.match(name) is not None:
            base = shadowed(ema, name)
            if not any(template.match(base) is not None for template in ema.exclude):
                yield name, base


def _finding(name: str, reason: str, instance: Instance) -> Finding:
    return Finding(
        "absent",
        f"the variable {name} cannot be read: {reason}",
        name=name,
        where=instance.row.where,
        row=str(instance.row),
        expected=f"{name}, for {', '.join(instance.writes[:3])}",
        got=f"it is in the file, but it cannot be read: {reason}",
        hint="a file with its values in a readable form, or an entry under source.ignore",
    )


def _average(name: str, base: str, reason: str, ema: Ema) -> Finding:
    return Finding(
        "absent",
        f"the moving average {name} cannot be read: {reason}",
        name=name,
        where=ema.position.row,
        expected=f"the average of {base}",
        got=f"it is in the file, but it cannot be read: {reason}",
        hint="use: ignore takes the variable itself",
    )
