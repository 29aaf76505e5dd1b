"""A written model in the terminal: what was written, what could not be, and whether it computes the same."""

from __future__ import annotations

import shlex

from rich.console import Console

from tfpt.modelwriting.proof import TOLERANCE
from tfpt.modelwriting.writing import WrittenModel
from tfpt.report.terminal import count, escape
from tfpt.tensors import format_shape

_LISTED = 12


def print_written_model(out: Console, written: WrittenModel, checkpoint: str) -> None:
    """What was written, each layer that is missing, the comparison, and the next command."""
    missing = len(written.missing)
    out.print(
        f"[bold]{escape(str(written.module))}[/] and [bold]{escape(str(written.mapping))}[/]: "
        f"{count(written.layers - missing, 'layer')} written"
    )
    for each in written.missing[:_LISTED]:
        out.print(
            f"[red]not written[/] {escape(each.layer)}, a {escape(each.kind)}: {escape(each.reason)}",
            soft_wrap=True,
        )
        out.print(f"       {escape(each.shapes)}; see TODO in {escape(written.module.name)}", soft_wrap=True)
        for spec in each.variables[:4]:
            out.print(f"       variable {escape(spec.name)} {format_shape(spec.shape)}", soft_wrap=True)
    if missing > _LISTED:
        out.print(f"       and {count(missing - _LISTED, 'more layer')}; see TODO in the file")
    for note in written.notes[:_LISTED]:
        out.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
    _print_proof(out, written)
    if written.missing:
        out.print("next: write the TODO in the module and its rows in the mapping, then:", style="dim")
    else:
        out.print("next:", style="dim")
    words = ["tfpt", "convert", "--mapping", str(written.mapping), "--checkpoint", checkpoint]
    words += ["--out", f"{written.mapping.stem}.safetensors", "--trust"]
    out.print(f"  {escape(shlex.join(words))}", soft_wrap=True)


def _print_proof(out: Console, written: WrittenModel) -> None:
    proof = written.proof
    inputs = ", ".join(f"{name} {format_shape(shape)}" for name, shape in proof.inputs.items())
    if proof.equal:
        out.print(
            f"[green]proven[/] both networks agree on a random input, {escape(inputs)}: largest difference "
            f"{proof.difference:.1e} of the largest output, at most {TOLERANCE:.0e} is allowed",
            soft_wrap=True,
        )
    elif proof.difference is not None:
        out.print(
            f"[red]different[/] on a random input, {escape(inputs)}: largest difference {proof.difference:.1e} of the "
            f"largest output, at most {TOLERANCE:.0e} is allowed; tfpt record and tfpt verify show the first layer "
            "that departs",
            soft_wrap=True,
        )
    else:
        color = "red" if proof.failed else "yellow"
        out.print(f"[{color}]not proven[/] {escape(proof.reason)}", soft_wrap=True)
