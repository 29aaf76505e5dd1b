"""All printing: a console that does not break long names, and JSON for programs."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable
from typing import Any

from rich import markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from tfpt.visible import visible

# The width if the output is not a terminal: enough for two long names side by side.
_PIPED_WIDTH = 160


def escape(text: str) -> str:
    """Escape untrusted text (a name, a path) for a console: no markup, no control characters, on one line.

    Example:
        >>> escape("[bold]w\\n")
        '\\\\[bold]w\\\\n'
    """
    return markup.escape(visible(text))


class _Console(Console):
    """A console that escapes the control characters that `escape` has not, except line ends."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text, lines=True), segment.style)

    def on_broken_pipe(self) -> None:
        raise  # rich would exit with 1, which says that something differs


def console(*, stderr: bool = False) -> Console:
    """A console with the width of the terminal, or a wide one if the output is a file or a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPED_WIDTH
    return _Console(stderr=stderr, width=width, highlight=False, emoji=False)


def print_written(out: Console, path: str | os.PathLike[str]) -> None:
    """Say that a page was written."""
    out.print(f"[green]wrote[/] {escape(os.fspath(path))}", soft_wrap=True)


def print_json(values: Any) -> None:
    """The values as indented JSON on standard output, in strict syntax.

    Numbers that JSON cannot represent become the strings "nan", "inf" and "-inf". Lone surrogates, as in file names
    that are not UTF-8, are escaped.
    """
    print(json_text(values))


def json_text(values: Any) -> str:
    """What `print_json` prints, without the last line break."""
    return json.dumps(_strict(values), indent=2, allow_nan=False)


def _strict(value: Any) -> Any:
    """The values converted to those that JSON can represent.

    Example:
        >>> _strict({"worst": [math.inf, -math.inf, math.nan, 0.5], "\\udc80": ("\\ud800", None)})
        {'worst': ['inf', '-inf', 'nan', 0.5], '\\\\udc80': ['\\\\ud800', None]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_strict(key) if isinstance(key, str) else key: _strict(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(each) for each in value]
    return value


def print_error(text: str) -> None:
    """An error on standard error, its first line marked."""
    first, _, rest = text.partition("\n")
    out = console(stderr=True)
    out.print(f"[bold red]error:[/] {escape(first)}", soft_wrap=True)
    if rest:
        out.print(markup.escape(rest), soft_wrap=True)


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
    """A measured value with four digits.

    Example:
        >>> figure(0.0), figure(0.000123456), figure(1234.5)
        ('0', '1.235e-04', '1234')
    """
    if value == 0:
        return "0"
    return f"{value:.3e}" if abs(value) < 1e-3 or abs(value) >= 1e5 else f"{value:.4g}"
