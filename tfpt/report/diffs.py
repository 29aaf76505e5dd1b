"""Differences between files in the terminal, worst tensors first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tfpt.checking.comparison import Diff, TensorDiff
from tfpt.report.plans import print_causes, print_findings, print_headline
from tfpt.report.terminal import count, escape, figure
from tfpt.tensors import format_shape

# How many of the worst tensors are shown: a screenful.
SHOWN = 10


def print_diff(out: Console, diff: Diff, *, everything: bool = False) -> None:
    """Print what was compared, a line for each kind of operation, and the tensors that are not equal, worst first."""
    if diff.plan is not None:
        print_headline(out, diff.plan)
        if diff.right:
            out.print(f"  compared with {escape(diff.right)}", soft_wrap=True)
    else:
        out.print(f"[bold]{escape(diff.left)}[/] and [bold]{escape(diff.right)}[/]", soft_wrap=True)
    known = diff.plan.findings if diff.plan is not None else ()
    if diff.plan is not None:
        print_causes(out, diff.plan, everything=everything)
    print_findings(out, [each for each in diff.findings if each not in known], everything=everything)
    if diff.plan is not None:
        print_findings(out, diff.plan.notes, everything=everything)
    if diff.plan is not None and diff.tensors:
        out.print()
        out.print(_work_table(diff))
    apart = [tensor for tensor in diff.tensors if everything or not tensor.equal]
    if apart:
        out.print()
        out.print(_table(diff, apart if everything else apart[:SHOWN]))
        if len(apart) > SHOWN and not everything:
            out.print(f"… and {len(apart) - SHOWN} more that differ less (--all shows every tensor)")
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
    compared = f"{count(len(diff.tensors), 'tensor')} compared, {_equality(diff)}"
    if not diff.tensors:
        compared = "no tensor in common"
    kept = len(diff.plan.kept) if diff.plan is not None else 0
    if kept:
        compared += f", {kept} not compared (they keep the model's own values)"
    if diff.same:
        within = len(diff.tensors) - equal
        more = f", {within} within a relative difference of {diff.tolerance:g}" if within else ""
        return f"[green]same[/]: {compared}{more}"
    parts = [count(len(diff.different), "tensor") + " different"] if diff.different else []
    parts += [count(len(diff.findings), "finding")] if diff.findings else []
    return f"[red]different[/]: {compared}; {', '.join(parts)}"


def _equality(diff: Diff) -> str:
    """How many tensors are equal, bit for bit or as numbers."""
    equal = [tensor for tensor in diff.tensors if tensor.equal]
    if all(tensor.identical for tensor in equal):
        return f"{len(equal)} bit-identical"
    zeros, nans = sum(tensor.zero_signs for tensor in equal), sum(tensor.nan_bits for tensor in equal)
    why = [f"{count(zeros, 'zero')} of opposite sign"] if zeros else []
    why += [f"{count(nans, 'NaN')} with different bits"] if nans else []
    why += ["different dtypes"] if any(not (t.identical or t.zero_signs or t.nan_bits) for t in equal) else []
    identical = sum(tensor.identical for tensor in equal)
    return f"{len(equal)} equal as numbers, {identical} of them bit-identical ({', '.join(why)})"


def _work_table(diff: Diff) -> Table:
    """One line for each kind of operation: how many tensors it produced, and how much the worst of them differs."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("work", overflow="fold")
    for column in ("tensors", "equal", "max abs", "relative", "least cosine"):
        table.add_column(column, justify="right", no_wrap=True)
    groups: dict[str, list[TensorDiff]] = {}
    for tensor in diff.tensors:
        groups.setdefault(tensor.work, []).append(tensor)
    for work, tensors in sorted(groups.items(), key=lambda group: -len(group[1])):
        table.add_row(
            escape(work),
            str(len(tensors)),
            str(sum(tensor.equal for tensor in tensors)),
            figure(max(tensor.max_abs for tensor in tensors)),
            figure(max(tensor.relative for tensor in tensors)),
            f"{min(tensor.cosine for tensor in tensors):.6f}",
        )
    return table


def _table(diff: Diff, shown: Sequence[TensorDiff]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("tensor", overflow="fold")
    table.add_column("shape", no_wrap=True)
    for column in ("max abs", "mean abs", "relative", "cosine"):
        table.add_column(column, justify="right", no_wrap=True)
    through = diff.plan is not None
    if through:
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
            *([escape(tensor.work)] if through else []),
            style="red" if id(tensor) in different else None,
        )
    return table
