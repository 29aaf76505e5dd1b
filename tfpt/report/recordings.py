"""Displays recordings, and the activations that can be recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tfpt.errors import TfptError
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording
from tfpt.networks.running.network import Recordable, format_open_shape
from tfpt.report.terminal import count, escape, figure, size
from tfpt.tensors import format_shape

SHOWN = 60


def recording_json(recording: Recording) -> dict[str, Any]:
    """A recording without its values, as plain JSON values."""
    facts = recording.facts
    return {
        "out": recording.location or None,
        "facts": facts,
        "inputs": {name: list(array.shape) for name, array in recording.inputs.items()},
        "endpoints": [
            {
                "name": name,
                "op": facts.get("ops", {}).get(name),
                "shape": list(endpoint.shape),
                "mean_abs": _finite(endpoint.mean_abs),
                "largest": facts.get("largest", {}).get(name),
                "whole": endpoint.whole,
                "values": int(endpoint.values.size),
            }
            for name, endpoint in recording.endpoints.items()
        ],
    }


def print_recording(out: Console, recording: Recording, nbytes: int) -> None:
    """Print the network, its inputs, a table of the endpoints, and the size of the file."""
    facts = recording.facts
    out.print(
        f"[bold]{escape(str(facts['network']))}[/]  {escape(str(facts['format']))}, "
        f"run by {escape(str(facts['runtime']))}",
        soft_wrap=True,
    )
    for name, fed in facts["inputs"].items():
        out.print(f"  {escape(_input_line(name, fed))}", soft_wrap=True)
    for name, value in facts["feeds"].items():
        out.print(f"  {escape(name)} = {escape(str(value))}", soft_wrap=True)
    out.print()
    out.print(_table(recording))
    out.print()
    broken = [name for name, largest in facts["largest"].items() if largest is None]
    if broken:
        out.print(f"[yellow]not finite[/]: NaN or infinity in {escape(', '.join(broken))}", soft_wrap=True)
    content = count(len(recording.endpoints), "endpoint")
    content += ", with the input" if recording.inputs else ", without the input"
    out.print(f"[green]wrote[/] {escape(recording.location)} ({size(nbytes)}, {content})", soft_wrap=True)


def _input_line(name: str, fed: Mapping[str, Any]) -> str:
    """One input and its origin, on one line."""
    if "seed" in fed:
        low, high = fed["range"]
        values = {"mask": "ones, then zeros", "segments": "zeros, then ones"}.get(fed.get("drawn", ""))
        values = values or f"values from {low:g} to {high:g}"
        if "table" in fed:
            values = f"{fed['distinct']:,} of {fed['rows']:,} rows of {fed['table']}"
        elif fed.get("drawn") in ("rows", "bits"):
            values += f", {fed['distinct']:,} of them"
        origin = f"seed {fed['seed']}, {values}"
    else:
        origin = f"from {fed['file']}" if "file" in fed else "as given"
    label = name if fed["tensor"] == name else f"{name} ({fed['tensor']})"
    return f"{label} {format_shape(tuple(fed['shape']))} {fed.get('dtype', '')}: {origin}"


def _table(recording: Recording) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("endpoint", overflow="fold")
    table.add_column("op", overflow="fold")
    table.add_column("shape", no_wrap=True)
    for column in ("mean |x|", "largest", "kept"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, endpoint in recording.endpoints.items():
        largest = recording.facts["largest"][name]
        table.add_row(
            escape(name),
            escape(recording.facts["ops"][name].removesuffix(":0")),
            escape(format_shape(endpoint.shape)),
            figure(endpoint.mean_abs or 0.0),
            "not finite" if largest is None else figure(largest),
            _kept(endpoint),
            style="yellow" if largest is None else None,
        )
    return table


def _kept(endpoint: RecordedEndpoint) -> str:
    if endpoint.whole:
        return "whole"
    total = 1
    for each in endpoint.shape:
        total *= each
    return f"{endpoint.values.size} of {total:,}"


def print_recordable(
    out: Console, found: Sequence[Recordable], total: int, *, everything: bool = False
) -> None:
    """Print kinds, shapes and names in network order; the part of a name in brackets can be omitted."""
    shown = found if everything else found[:SHOWN]
    cells = [(each.kind, format_open_shape(each.shape), _bracketed(each)) for each in shown]
    widths = [max((len(row[column]) for row in cells), default=0) for column in (0, 1)]
    for kind, shape, name in cells:
        line = f"{kind:<{widths[0]}}  {shape:<{widths[1]}}  {name}"
        out.print(escape(line), soft_wrap=True)
    if len(shown) < len(found):
        out.print(f"… and {len(found) - len(shown)} more (--all shows all, --grep filters)")
    of = f" of {total:,}" if len(found) < total else ""
    out.print(f"{count(len(found), 'activation')}{of} that can be recorded")
    if any(each.scopes for each in shown):
        out.print("The part in brackets may be omitted; the last components are enough if they are unique.")


def _bracketed(each: Recordable) -> str:
    """A name with brackets around the part that can be omitted, because only it leaves its scope."""
    return f"{each.scopes[-1]}[{each.name[len(each.scopes[-1]) :]}]" if each.scopes else each.name


def matching(found: Sequence[Recordable], pattern: str) -> list[Recordable]:
    """The activations whose name or scope matches the regular expression.

    Example:
        >>> [each.name for each in matching([Recordable("a/Relu", "Relu", None)], "^a/")]
        ['a/Relu']
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise TfptError("--grep is not a regular expression", got=f"{pattern}: {error}") from None
    return [each for each in found if any(expression.search(name) for name in (each.name, *each.scopes))]


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None
