"""Printing of plans and findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tfpt.planning import KINDS, Finding, Plan, Step
from tfpt.report.terminal import count, escape
from tfpt.tensors import format_shape
from tfpt.visible import visible

if TYPE_CHECKING:
    from tfpt.proposal.causes import Cause

# The number of findings shown per row; the rest are counted.
SHOWN_PER_ROW = 3
# The number of lines of folded names, and of rows to paste, shown for one cause.
SHOWN_LINES = 4
SHOWN_ROWS = 12
# The number of rows shown with a note of one kind: a mapping may have a row for each tensor.
SHOWN_NOTES = 5


def print_plan(out: Console, plan: Plan, *, steps: bool = False, everything: bool = False) -> None:
    """Print the summary of a plan, its findings and notes, and with `steps` the steps."""
    print_headline(out, plan)
    print_causes(out, plan, everything=everything)
    print_findings(out, plan.notes, everything=everything)
    if steps and plan.steps:
        out.print()
        out.print(_rows_table(plan) if not everything else _steps_table(plan))


def print_headline(out: Console, plan: Plan) -> None:
    """Print the numbers of variables, parameters and findings, in three lines."""
    out.print(f"[bold]{escape(plan.mapping)}[/] ← {escape(plan.source)}", soft_wrap=True)
    ignored = ", ".join(f"{reason}: {number}" for reason, number in plan.ignored_by_reason.items())
    translated = len(plan.writes) - plan.filled
    variables = f"{count(plan.variables, 'variable')}: {len(plan.used)} used, {len(plan.ignored)} ignored"
    if plan.shadows:
        variables += f", {len(plan.shadows)} read as moving averages"
    out.print(f"  {variables}" + (f" ({escape(ignored)})" if ignored else ""), soft_wrap=True)
    out.print(f"  {count(len(plan.writes), 'parameter')}: {translated} translated, {plan.filled} filled")
    color = "green" if plan.ok else "red"
    verdict = count(len(plan.findings), "finding") + (
        f", {count(len(plan.notes), 'note')}" if plan.notes else ""
    )
    out.print(f"  [{color}]{verdict}[/]")


def print_causes(out: Console, plan: Plan, *, everything: bool = False) -> None:
    """Print the findings of a plan by cause: what is concerned, the candidates, what to paste, and the next step."""
    if not plan.findings:
        return
    # Imported here: most plans have no findings.
    from tfpt.proposal.causes import causes_of

    causes, rest = causes_of(plan)
    print_findings(out, rest, everything=everything)
    for cause in causes:
        _print_cause(out, cause, plan.named, everything)


def _print_cause(out: Console, cause: Cause, mapping: str, everything: bool) -> None:
    out.print()
    number = f"  ({len(cause.findings):,})" if len(cause.findings) > 1 else ""
    out.print(f"[red]{cause.kind}[/]  [bold]{escape(cause.scope)}[/]{number}", soft_wrap=True)
    out.print(f"  {escape(cause.what)}", soft_wrap=True)
    for label, lines in cause.facts:
        _print_lines(out, label, lines if everything else lines[:SHOWN_LINES], len(lines))
    for spec, misses in cause.candidates:
        _print_lines(out, "nearest", [f"for {spec.name} {format_shape(spec.shape)}"], 1)
        width = max(len(visible(miss.spec.name)) for miss in misses)
        for miss in misses:
            name = escape(visible(miss.spec.name).ljust(width))
            out.print(f"    {'':<12} {name}  [dim]{escape('; '.join(miss.reasons))}[/]", soft_wrap=True)
    for repair in cause.repairs:
        under = "source.ignore" if repair.section == "ignore" else repair.section
        file = mapping if "." in mapping else f"a mapping that extends {mapping}"
        condition = f" if {repair.instead}" if repair.instead else ""
        out.print(f"  [green]paste[/] into {escape(file)}, under {under}:{escape(condition)}", soft_wrap=True)
        for line in repair.lines if everything else repair.lines[:SHOWN_ROWS]:
            out.print(f"  {escape(line)}", soft_wrap=True, style="bold")
        if len(repair.lines) > SHOWN_ROWS and not everything:
            out.print(f"    # … and {len(repair.lines) - SHOWN_ROWS:,} more lines (--all shows them)")
    if cause.hint:
        out.print(f"  next      {escape(cause.hint)}", soft_wrap=True)


def _print_lines(out: Console, label: str, lines: Sequence[str], total: int) -> None:
    for line in lines:
        out.print(f"    [dim]{label:<10}[/] {escape(line)}", soft_wrap=True)
        label = ""
    if len(lines) < total:
        out.print(f"    {'':<10} … and {total - len(lines):,} more (--all shows them)")


def print_findings(out: Console, findings: Sequence[Finding], *, everything: bool = False) -> None:
    """Print findings grouped by kind and row: the first few of a large group, and the number of the rest."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, finding.where.partition(" (in")[0]), []).append(finding)
    hidden = {} if everything else _hide_notes(groups)
    # Consecutive groups often have the same hint: it is printed once, after the last of them.
    hints = [next((finding.hint for finding in group if finding.hint), "") for group in groups.values()]
    for ((kind, where), group), hint, later in zip(groups.items(), hints, [*hints, ""][1:], strict=True):
        color = "red" if group[0].stops else "yellow"
        label = "" if group[0].stops else "note: "
        out.print()
        number = f"  ({len(group):,})" if len(group) > 1 else ""
        out.print(f"[{color}]{label}{kind}[/]  [bold]{escape(where)}[/]{number}", soft_wrap=True)
        for line in group[0].source.splitlines():
            out.print(f"  [dim]{escape(line)}[/]", soft_wrap=True)
        shown = group if everything else group[:SHOWN_PER_ROW]
        row = ""
        for finding in shown:
            # The group's heading has file and line; an identical row is not repeated.
            _print_finding(out, finding, "" if _row(finding) == row else _row(finding))
            row = _row(finding)
        if len(shown) < len(group):
            out.print(f"  … and {len(group) - len(shown):,} more (--all shows them)")
        if hint and hint != later:
            out.print(f"  next      {escape(hint)}", soft_wrap=True)
    for kind, more in hidden.items():
        out.print()
        out.print(f"[yellow]note: {kind}[/]  at {more:,} more rows (--all shows them)")


def _hide_notes(groups: dict[tuple[str, str], list[Finding]]) -> dict[str, int]:
    """Remove all but the first rows' notes of each kind; returns the number of rows removed, by kind."""
    rows: dict[str, int] = {}
    for (kind, where), group in list(groups.items()):
        rows[kind] = rows.get(kind, 0) + 1
        if rows[kind] > SHOWN_NOTES and not group[0].stops:
            del groups[kind, where]
    return {
        kind: number - SHOWN_NOTES
        for kind, number in rows.items()
        if number > SHOWN_NOTES and not KINDS[kind]
    }


def _row(finding: Finding) -> str:
    _, _, scope = finding.where.partition(" (in")
    return finding.row + (f" (in{scope}" if scope and finding.row else "")


def _print_finding(out: Console, finding: Finding, row: str) -> None:
    out.print(f"  {escape(finding.what)}", soft_wrap=True)
    for label, text in (
        ("row", row),
        ("expected", finding.expected),
        ("got", finding.got),
        ("nearest", ", ".join(finding.nearest)),
    ):
        if text:
            out.print(f"    [dim]{label:<9}[/] {escape(text)}", soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _rows_table(plan: Plan) -> Table:
    """One line for each row of the mapping: how many parameters it writes, and an example."""
    table = _table("row", "parameters", "example", "work")
    rows: dict[tuple[str, str], list[Step]] = {}
    for step in plan.steps:
        rows.setdefault((step.position.row, step.work), []).append(step)
    for (where, work), steps in rows.items():
        written = sum(len(step.writes) for step in steps)
        first = steps[0]
        example = f"{first.reads[0].name} → {first.writes[0].name}" if first.reads else first.writes[0].name
        table.add_row(escape(where), str(written), escape(example), escape(work))
    return table


def _steps_table(plan: Plan) -> Table:
    """Every variable with the parameter it becomes."""
    table = _table("variable", "shape", "parameter", "shape", "dtype", "work")
    for step in plan.steps:
        for index in range(max(len(step.reads), len(step.writes))):
            read = step.reads[index] if index < len(step.reads) else None
            write = step.writes[index] if index < len(step.writes) else None
            table.add_row(
                escape(read.name) if read else "",
                escape(format_shape(read.shape)) if read else "",
                escape(write.name) if write else "",
                escape(format_shape(write.shape)) if write else "",
                write.dtype if write else "",
                escape(step.work) if index == 0 else "",
            )
    return table
