"""The content of a file in the terminal: a tree of names with shapes, dtypes and statistics."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from tfpt.checking.inspection import Inspection
from tfpt.checking.statistics import Oddity
from tfpt.nearest import natural_key
from tfpt.report.terminal import count, escape, figure, size
from tfpt.tensors import TensorSpec, format_shape
from tfpt.visible import visible

_SEPARATORS = re.compile(r"[/.]")
# Each role in the singular and in the plural.
_ROLES = {
    "weight": ("weight", "weights"),
    "slot": ("optimizer slot", "optimizer slots"),
    "average": ("moving average", "moving averages"),
    "counter": ("counter", "counters"),
    "metric": ("metric", "metrics"),
    "constant": ("constant", "constants"),
    "record": ("record", "records"),
}

# What is odd in the values of tensors.
_ODDITIES: dict[Oddity, str] = {
    "NaN": "NaN",
    "infinity": "infinite values",
    "negative variance": "variances below 0",
    "all zeros": "nothing but zeros",
    "constant": "one value throughout",
    "denormals": "many denormal values",
}

# How many names are listed for each reason why tensors are left out.
_NAMED = 8


def print_inspection(out: Console, inspection: Inspection) -> None:
    """Print the tensors as a tree, then totals."""
    specs = inspection.specs
    out.print(f"[bold]{escape(inspection.path)}[/]  {escape(inspection.format)}", soft_wrap=True)
    if specs:
        out.print(_lines(inspection), soft_wrap=True)
    dtypes = ", ".join(
        f"{number} {name} ({size(nbytes)})" for name, (number, nbytes) in inspection.by_dtype.items()
    )
    total = count(len(specs), "tensor")
    if len(specs) < inspection.total:
        total += f" of {inspection.total}"
    out.print(f"{total}: {dtypes}" if dtypes else total, soft_wrap=True)
    if inspection.roles:
        out.print(
            ", ".join(_role_total(role, *of) for role, of in inspection.by_role.items()), soft_wrap=True
        )
    for kind, names in inspection.oddities.items():
        out.print(f"{escape(_ODDITIES[kind])} in {escape(_named(names))}", style="yellow", soft_wrap=True)
    asides = _asides("cannot be read", inspection.unreadable, len(specs))
    for line in asides + _asides("skipped", inspection.skipped):
        out.print(escape(line), style="yellow", soft_wrap=True)
    for line in inspection.details:
        out.print(escape(line), soft_wrap=True)
    out.print(f"fingerprint {inspection.fingerprint}")


def _lines(inspection: Inspection) -> Text:
    """The tree in columns. Aligned here because a rich table takes half a second for a thousand names."""
    some = 0 < len(inspection.unreadable) < len(inspection.specs)
    notes = bool(inspection.quantized or some or inspection.sizes)
    rows: list[tuple[list[str], bool]] = []
    for indent, label, spec in _tree(_sorted(inspection)):
        cells = [f"{'  ' * indent}{visible(label)}"]
        role = inspection.roles.get(spec.name) if spec is not None else None
        if spec is not None:
            cells += [format_shape(spec.shape), spec.dtype]
            cells += [_ROLES[role][0] if role else ""] if inspection.roles else []
            found = inspection.statistics.get(spec.name)
            if found is not None:
                values = (found.minimum, found.maximum, found.mean, found.std)
                cells += [*map(_figure, values), str(found.nans), str(found.infinities)]
            elif inspection.statistics and notes:
                cells += [""] * 6
            cells += [_note(inspection, spec.name)] if notes else []
        rows.append((cells, role is not None))
    left = 4 if inspection.roles else 3
    header = [""] * left
    if inspection.statistics:
        header += ["min", "max", "mean", "std", "nan", "inf"]
        rows.insert(0, (header, False))
    # Notes come last and may take any width.
    widths = [
        max((len(cells[at]) for cells, _ in rows if at < len(cells)), default=0) for at in range(len(header))
    ] + [0]
    text = Text()
    for number, (cells, aside) in enumerate(rows):
        padded = [
            cell.rjust(widths[at]) if left <= at < len(header) else cell.ljust(widths[at])
            for at, cell in enumerate(cells)
        ]
        text.append("\n" if number else "")
        text.append("  ".join(padded).rstrip(), "dim" if aside else None)
    return text


def _figure(value: float) -> str:
    return figure(value) if math.isfinite(value) else "–"


def _note(inspection: Inspection, name: str) -> str:
    """Notes on one tensor."""
    # The reasons are listed once, below the tree.
    notes = ["cannot be read"] if name in inspection.unreadable else []
    notes += [str(inspection.quantized[name])] if name in inspection.quantized else []
    notes += [size(inspection.sizes[name])] if name in inspection.sizes else []
    return "; ".join(notes)


def _asides(what: str, reasons: Mapping[str, str], total: int = -1) -> list[str]:
    """One line for each reason, with the first few names; without names if it applies to all tensors."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    lines = []
    for reason, of in names.items():
        line = f"{count(len(of), 'tensor')} {what}: {reason}"
        if len(of) != total:
            line += f": {_names(of)}"
        lines.append(line)
    return lines


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names):,} tensors: {_names(names)}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _role_total(role: str, number: int, nbytes: int) -> str:
    one, many = _ROLES[role]
    return f"{number} {one if number == 1 else many} ({size(nbytes)})"


def _sorted(inspection: Inspection) -> Iterable[TensorSpec]:
    specs = inspection.specs.values()
    return specs if inspection.order == "file" else sorted(specs, key=lambda spec: natural_key(spec.name))


def _tree(specs: Iterable[TensorSpec]) -> list[tuple[int, str, TensorSpec | None]]:
    """Lines of (indent, text, tensor); components that a name shares with the previous one are not repeated."""
    lines: list[tuple[int, str, TensorSpec | None]] = []
    before: list[str] = []
    for spec in specs:
        # TensorFlow Lite joins the names of fused tensors by semicolons; such a name is not a single path.
        components = [spec.name] if ";" in spec.name else _SEPARATORS.split(spec.name)
        shared = 0
        while shared < min(len(before), len(components) - 1) and before[shared] == components[shared]:
            shared += 1
        lines += [(depth, components[depth], None) for depth in range(shared, len(components) - 1)]
        lines.append((len(components) - 1, components[-1], spec))
        before = components
    return lines
