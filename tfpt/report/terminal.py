"""The one place that prints: a console for people on which long names stay whole, and JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

# Where the output is no terminal there is no width to fit: wide enough for two long names side by side.
_PIPED_WIDTH = 160


def console(*, stderr: bool = False) -> Console:
    """A console that fits the terminal, or a wide one where the output goes to a file or a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPED_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, emoji=False)


def print_json(values: Any) -> None:
    """The values as indented JSON on standard output."""
    print(json.dumps(values, indent=2))


def print_error(text: str) -> None:
    """An error on standard error, its first line marked."""
    first, _, rest = text.partition("\n")
    out = console(stderr=True)
    out.print(f"[bold red]error:[/] {escape(first)}", soft_wrap=True)
    if rest:
        out.print(escape(rest), soft_wrap=True)


def count(number: int, noun: str) -> str:
    """A number and its noun.

    Example:
        >>> count(1, "finding"), count(0, "finding"), count(1200, "variable")
        ('1 finding', 'no finding', '1,200 variables')
    """
    if number == 0:
        return f"no {noun}"
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size(number: int) -> str:
    """Bytes as people write them.

    Example:
        >>> size(512), size(49_000_000)
        ('512 B', '49.0 MB')
    """
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def figure(value: float) -> str:
    """A measured value in four digits.

    Example:
        >>> figure(0.0), figure(0.000123456), figure(1234.5)
        ('0', '1.235e-04', '1234')
    """
    if value == 0:
        return "0"
    return f"{value:.3e}" if abs(value) < 1e-3 or abs(value) >= 1e5 else f"{value:.4g}"
