"""A proposed mapping in the terminal: what is settled, what is unsure or open, and the evidence."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tfpt.proposal.proposal import Proposal
from tfpt.report.plans import print_findings
from tfpt.report.terminal import count, escape

_LISTED = 8


def print_proposal(
    out: Console, proposal: Proposal, checkpoint: str, path: Path, options: Sequence[str] = ()
) -> None:
    """What was proposed and what is left to decide, and the next command.

    Args:
        out: The console.
        proposal: The proposal.
        checkpoint: The checkpoint, as the user named it.
        path: The mapping that was written.
        options: Options that the next command needs as well.
    """
    parameters = len(proposal.parameters)
    out.print(
        f"[bold]{escape(str(path))}[/]: {count(proposal.rows, 'row')} for {count(parameters, 'parameter')}"
        f" and {count(len(proposal.variables), 'variable')}"
    )
    unsure, unopened = proposal.unsure, proposal.open
    sure = parameters - len(unsure) - len(unopened)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row(f"{sure:,}", "sure")
    if unsure:
        table.add_row(f"[yellow]{len(unsure):,}[/]", "unsure: see `# unsure` in the file")
    if unopened:
        table.add_row(f"[red]{len(unopened):,}[/]", f"open, no variable fits: {_some(unopened)}")
    if proposal.unused:
        table.add_row(
            f"[yellow]{len(proposal.unused):,}[/]",
            f"variables that no parameter fits: {_some(proposal.unused)}",
        )
    out.print(table)
    if proposal.averaged:
        out.print(
            f"[yellow]unsure[/] {count(len(proposal.averaged), 'variable')} have a moving average, which is read; "
            "--averages ignore reads the variables themselves, --averages prefer confirms this",
            soft_wrap=True,
        )
    for question in proposal.questions[:_LISTED]:
        out.print(f"[yellow]unsure[/] {escape(question.text)}", soft_wrap=True)
        for option in question.options if len(question.options) > 1 else ():
            out.print(f"       {escape(option.text)}", soft_wrap=True)
    if len(proposal.questions) > _LISTED:
        out.print(f"       and {len(proposal.questions) - _LISTED} more; `--interactive` asks about each")
    if proposal.proof is not None:
        color = "green" if proposal.proof.proven else "red"
        out.print(f"[{color}]{escape(str(proposal.proof))}[/]", soft_wrap=True)
    # Unused variables and open parameters are listed above.
    listed = {("unused", name) for name in proposal.unused} | {("missing", name) for name in unopened}
    others = [one for one in proposal.plan.findings if (one.kind, one.name) not in listed]
    print_findings(out, others)
    if others:
        out.print()
    if proposal.settled:
        out.print("next: convert, then compare what the two networks compute:", style="dim")
    elif proposal.proof is not None and not proposal.proof.proven:
        advice = "next: mend what the model does otherwise where the networks part, and prove again; to convert anyway:"
        out.print(advice, style="dim", soft_wrap=True)
    elif others:
        out.print("next: do what the findings say, then:", style="dim")
    else:
        out.print("next: decide what is unsure, in the file or with --interactive, then:", style="dim")
    words = ["tfpt", "convert", "--mapping", str(path), "--checkpoint", checkpoint, *options]
    words += ["--out", f"{path.stem}.safetensors"]
    out.print(f"  {escape(shlex.join(words))}", soft_wrap=True)


def print_evidence(out: Console, proposal: Proposal) -> None:
    """The evidence for each parameter's variable, one series per line, and the weights."""
    weights = proposal.evidence_weights
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("parameter", overflow="fold")
    table.add_column("variable", overflow="fold")
    kinds = [name for name in weights if name != "nothing"]
    for kind in kinds:
        table.add_column(kind, justify="right")
    table.add_row("", "[dim]weight[/]", *(f"[dim]{weights[kind]:g}[/]" for kind in kinds))
    for parameter, variable, evidence in proposal.evidence:
        table.add_row(
            escape(parameter), escape(variable), *(f"{evidence.get(kind, 0):.2f}" for kind in kinds)
        )
    out.print(table)


def _some(names: tuple[str, ...]) -> str:
    listed = ", ".join(escape(name) for name in names[:3])
    return listed if len(names) <= 3 else f"{listed}, …"
