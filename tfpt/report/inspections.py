"""What is in a file, for people: a tree of names with shapes, dtypes and statistics."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfpt.inspection import Inspection
from tfpt.report.terminal import count, figure, size
from tfpt.tensors import TensorSpec, format_shape

_SEPARATORS = re.compile(r"[/.]")
_DIGITS = re.compile(r"([0-9]+)")


def print_inspection(out: Console, inspection: Inspection) -> None:
    """The tensors as a tree, then totals."""
    specs = inspection.specs
    out.print(f"[bold]{escape(inspection.path)}[/]  {escape(inspection.format)}", soft_wrap=True)
    table = Table(
        box=None, show_header=bool(inspection.statistics), header_style="bold", padding=(0, 2, 0, 0)
    )
    table.add_column("", overflow="fold")
    table.add_column("")
    table.add_column("")
    if inspection.statistics:
        for column in ("min", "max", "mean", "std", "nan", "inf"):
            table.add_column(column, justify="right")
    for indent, label, spec in _tree(specs.values()):
        cells = [f"{'  ' * indent}{escape(label)}"]
        if spec is not None:
            cells += [escape(format_shape(spec.shape)), spec.dtype]
            found = inspection.statistics.get(spec.name)
            if found is not None:
                values = (found.minimum, found.maximum, found.mean, found.std)
                cells += [*map(figure, values), str(found.nans), str(found.infinities)]
        table.add_row(*cells)
    if specs:
        out.print(table)
    dtypes = ", ".join(
        f"{number} {name} ({size(nbytes)})" for name, (number, nbytes) in inspection.by_dtype.items()
    )
    total = count(len(specs), "tensor")
    if len(specs) < inspection.total:
        total += f" of {inspection.total}"
    out.print(f"{total}: {dtypes}" if dtypes else total, soft_wrap=True)
    out.print(f"fingerprint {inspection.fingerprint}")


def natural(name: str) -> list[tuple[int, int | str]]:
    """A key by which layer_10 comes after layer_9.

    Example:
        >>> sorted(["layer_10/w", "layer_9/w"], key=natural)
        ['layer_9/w', 'layer_10/w']
    """
    return [(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in _DIGITS.split(name) if piece]


def _tree(specs: Iterable[TensorSpec]) -> list[tuple[int, str, TensorSpec | None]]:
    """Lines of (indent, text, tensor): the components that a name shares with the one before it are not repeated."""
    lines: list[tuple[int, str, TensorSpec | None]] = []
    before: list[str] = []
    for spec in sorted(specs, key=lambda spec: natural(spec.name)):
        components = _SEPARATORS.split(spec.name)
        shared = 0
        while shared < min(len(before), len(components) - 1) and before[shared] == components[shared]:
            shared += 1
        lines += [(depth, components[depth], None) for depth in range(shared, len(components) - 1)]
        lines.append((len(components) - 1, components[-1], spec))
        before = components
    return lines
