"""A checkpoint and a model in the terminal, next to each other."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from tfpt.proposal.beside import Beside, Line
from tfpt.report.terminal import count, escape
from tfpt.tensors import TensorSpec, format_shape
from tfpt.visible import visible

_Cells = tuple[str, str, str]
_NOTHING: _Cells = ("", "", "")


def print_beside(out: Console, both: Beside) -> None:
    """Print the aligned names with their places and shapes, and the totals."""
    out.print(f"[bold]{escape(both.path)}[/] beside [bold]{escape(both.target)}[/]", soft_wrap=True)
    if both.lines:
        out.print(_table(both), soft_wrap=True)
    out.print(
        f"{count(both.matched, 'parameter')} with a variable, {both.open:,} without; "
        f"{count(both.unused, 'variable')} without a parameter",
        soft_wrap=True,
    )
    if both.aside:
        left = ", ".join(f"{role}: {number}" for role, number in both.aside.items())
        out.print(f"not weights, left out: {escape(left)}", soft_wrap=True)
    if not both.ordered:
        out.print("the checkpoint keeps no order of creation: its variables are numbered by name")


def _table(both: Beside) -> Text:
    """The lines in columns; those with one side alone are marked."""
    rows = [row for line in both.lines for row in _rows(line)]
    widths = [
        max(len(row[side][column]) for row in rows) for side in (0, 1) for column in range(len(_NOTHING))
    ]
    text = Text()
    for number, (left, right, note, state) in enumerate(rows):
        (place, name, shape), (other_place, other, other_shape) = left, right
        cells = [
            place.rjust(widths[0]), name.ljust(widths[1]), shape.ljust(widths[2]),
            {"": "→", "left": "-", "right": "+", "constant": "="}[state],
            other_place.rjust(widths[3]), other.ljust(widths[4]), other_shape.ljust(widths[5]), note,
        ]  # fmt: skip
        text.append("\n" if number else "")
        text.append(
            "  ".join(cells).rstrip(), {"left": "yellow", "right": "red", "constant": "dim"}.get(state)
        )
    return text


def _rows(line: Line) -> list[tuple[_Cells, _Cells, str, str]]:
    state = "" if line.variables and line.parameters else "left" if line.variables else "right"
    state = "constant" if line.constant else state
    constant = f"constant {line.constant}" if line.constant else ""
    note = "  ".join(filter(None, (line.layout, constant, f"unsure: {line.unsure}" if line.unsure else "")))
    found = []
    for index in range(max(len(line.variables), len(line.parameters))):
        left = _cells(*line.variables[index]) if index < len(line.variables) else _NOTHING
        right = _cells(*line.parameters[index]) if index < len(line.parameters) else _NOTHING
        found.append((left, right, visible(note) if index == 0 else "", state))
    return found


def _cells(place: int, spec: TensorSpec) -> _Cells:
    return str(place), visible(spec.name), format_shape(spec.shape)
