"""Mappings in the terminal: the list of bundled ones, and the result of a check."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from tfpt.checking.edits import Edit
from tfpt.checking.fixing import Fixed
from tfpt.checking.lint import Check
from tfpt.language.library import named_layers
from tfpt.language.loader import load_named
from tfpt.language.mapping import Mapping
from tfpt.report.plans import print_findings
from tfpt.report.terminal import count, escape
from tfpt.targets.manifest import read_manifest


def mappings_to_json() -> list[dict[str, Any]]:
    """The named mappings as JSON values."""
    return [
        {
            "name": mapping.named,
            "summary": mapping.summary,
            "path": str(mapping.path),
            "scope": [row_set.scope for row_set in mapping.alternatives],
            "model": mapping.model.factory,
            "about": mapping.about.model_dump(exclude_none=True),
            "params": mapping.params,
            "parameters": _parameters(mapping),
        }
        for mapping in load_named().values()
    ]


def mapping_table() -> Table:
    """The named mappings, one per line."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("mapping", no_wrap=True)
    table.add_column("what it is")
    table.add_column("parameters", justify="right")
    table.add_column("--set", overflow="fold")
    for entry in mappings_to_json():
        params = ", ".join(f"{name}={value}" for name, value in entry["params"].items())
        number = "--config" if entry["parameters"] is None else str(entry["parameters"])
        table.add_row(escape(entry["name"]), escape(entry["summary"]), number, escape(params))
    return table


def layers_to_json() -> list[dict[str, Any]]:
    """The layers that `use` can name, as written in their files, as JSON values."""
    return [{"use": name, **node.plain()} for name, node in named_layers().items()]


def layer_table() -> Table:
    """The layers that `use` can name: a line for each row, and for each layer inside."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("use:", "variable", "parameter", "layout"):
        table.add_column(title, no_wrap=title == "use:")
    for layer in layers_to_json():
        name = layer["use"]
        for entry in (*layer.get("weights", ()), *layer.get("scopes", ())):
            source = entry.get("tf", f"fill {entry.get('fill')}")
            cells = [_listed(source), _listed(entry["pt"]), entry.get("layout") or entry.get("use") or ""]
            table.add_row(name, *map(escape, cells))
            name = ""
    return table


def _listed(names: str | list[str]) -> str:
    return names if isinstance(names, str) else " ".join(names)


def print_check(out: Console, check: Check, *, everything: bool = False) -> None:
    """Print the result of a check."""
    rows = count(len(check.mapping.alternatives[0].rows), "row")
    out.print(f"[bold]{escape(check.mapping.name)}[/]  {escape(check.mapping.summary)}", soft_wrap=True)
    out.print(f"  {rows}, {count(check.parameters, 'parameter')}")
    verdict = count(len(check.findings), "finding") + (
        f", {count(len(check.notes), 'note')}" if check.notes else ""
    )
    out.print(f"  [{'red' if check.findings else 'green'}]{verdict}[/]")
    print_findings(out, check.findings, everything=everything)
    print_findings(out, check.notes, everything=everything)
    if check.edits:
        out.print()
        out.print(f"{count(len(check.edits), 'correction')} without alternative")
        for edit in check.edits:
            out.print(f"  {escape(str(edit.position))}  {escape(_change(edit))}", soft_wrap=True)
        out.print(f"  next      tfpt check {escape(check.mapping.named)} --fix", soft_wrap=True)


def print_fixes(out: Console, fixed: Fixed) -> None:
    """Print what was changed in a mapping, why, and as a diff."""
    if not fixed.edits:
        out.print("nothing to fix: no finding has exactly one correction")
    for edit in fixed.edits:
        out.print(f"[green]fixed[/] {escape(str(edit.position))}  {escape(_change(edit))}", soft_wrap=True)
        out.print(f"  {escape(edit.why)}", soft_wrap=True)
    for line in fixed.diff:
        color = {"+": "green", "-": "red"}.get(line[:1], "dim")
        out.print(f"[{color}]{escape(line)}[/]", soft_wrap=True)
    out.print()


def _change(edit: Edit) -> str:
    new = " ".join(edit.new.split())
    return f"{edit.old} → {new}" if edit.old else f"add {new}"


def _parameters(mapping: Mapping) -> int | None:
    return len(read_manifest(mapping.manifest_path)) if mapping.manifest_path.is_file() else None
