"""The mappings that fit a checkpoint, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tfpt.checking.ranking import Candidate
from tfpt.report.terminal import escape

# The most candidates listed for a checkpoint.
_CANDIDATES = 10


def print_candidates(out: Console, found: Sequence[Candidate], checkpoint: str) -> None:
    """Print the mappings that fit a checkpoint, and the command that converts it with the best."""
    if not found:
        out.print("no installed mapping fits the names in this checkpoint")
        out.print(f"  next      tfpt inspect {escape(checkpoint)}", soft_wrap=True)
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("mapping", no_wrap=True)
    table.add_column("weights read", justify="right", no_wrap=True)
    table.add_column("rows that match", justify="right", no_wrap=True)
    table.add_column("what it is")
    for candidate in found[:_CANDIDATES]:
        table.add_row(
            escape(candidate.mapping.name),
            f"{candidate.read} of {candidate.weights}",
            f"{candidate.matched} of {candidate.rows}",
            escape(candidate.mapping.summary),
        )
    out.print(table)
    best = found[0].mapping
    config = " --config config.json" if best.configured else ""
    out.print(
        f"next      tfpt convert --mapping {escape(best.name)}{config} --checkpoint {escape(checkpoint)} --out FILE",
        soft_wrap=True,
    )
