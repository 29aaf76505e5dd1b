"""Differences for people: the worst tensors first."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfpt.comparison import Diff
from tfpt.report.plans import print_findings, print_headline
from tfpt.report.terminal import count, figure
from tfpt.tensors import format_shape

# A screenful: the worst, which is where one looks.
SHOWN = 10


def print_diff(out: Console, diff: Diff, *, everything: bool = False) -> None:
    """What was compared, what differs, and the worst tensors in a table."""
    if diff.plan is not None:
        print_headline(out, diff.plan)
        if diff.right:
            out.print(f"  compared with {escape(diff.right)}", soft_wrap=True)
    else:
        out.print(f"[bold]{escape(diff.left)}[/] and [bold]{escape(diff.right)}[/]", soft_wrap=True)
    print_findings(out, diff.findings, everything=everything)
    if diff.plan is not None:
        print_findings(out, diff.plan.notes, everything=everything)
    if diff.tensors:
        out.print()
        out.print(_table(diff, everything))
    out.print()
    out.print(summary(diff), soft_wrap=True)


def summary(diff: Diff) -> str:
    """One line: the same or not, of how many."""
    if not diff.right:
        return (
            "[green]names and shapes agree[/]"
            if diff.same
            else f"[red]{count(len(diff.findings), 'finding')}[/]"
        )
    equal = sum(tensor.equal for tensor in diff.tensors)
    compared = f"{count(len(diff.tensors), 'tensor')} compared, {equal} equal in every bit"
    if not diff.tensors:
        compared = "no tensor in common"
    if diff.same:
        within = len(diff.tensors) - equal
        more = f", {within} within a relative difference of {diff.tolerance:g}" if within else ""
        return f"[green]same[/]: {compared}{more}"
    parts = [count(len(diff.different), "tensor") + " different"] if diff.different else []
    parts += [count(len(diff.findings), "finding")] if diff.findings else []
    return f"[red]different[/]: {compared}; {', '.join(parts)}"


def _table(diff: Diff, everything: bool) -> Table:
    shown = diff.tensors if everything else diff.tensors[:SHOWN]
    title = (
        f"the {len(shown)} furthest apart of {len(diff.tensors)}" if len(shown) < len(diff.tensors) else None
    )
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0), title=title)
    table.title_justify = "left"
    table.add_column("tensor", overflow="fold")
    table.add_column("shape", no_wrap=True)
    for column in ("max abs", "mean abs", "relative", "cosine"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("work", overflow="fold")
    different = {id(tensor) for tensor in diff.different}
    for tensor in shown:
        table.add_row(
            escape(tensor.name),
            escape(format_shape(tensor.spec.shape)),
            figure(tensor.max_abs),
            figure(tensor.mean_abs),
            figure(tensor.relative),
            f"{tensor.cosine:.6f}",
            escape(tensor.work),
            style="red" if id(tensor) in different else None,
        )
    return table
