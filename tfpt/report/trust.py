"""The list of trusted mappings, in the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from tfpt.language.tree import display_path
from tfpt.report.terminal import count, escape
from tfpt.targets.trust import Trusted


def to_json(trusted: Trusted) -> dict[str, Any]:
    """A trusted mapping as JSON values, with its files that have changed."""
    return {**asdict(trusted), "changed": trusted.changed()}


def print_added(out: Console, added: Sequence[Trusted]) -> None:
    """Print which mappings are trusted from now on, and of which files they consist."""
    for each in added:
        out.print(f"[green]trusted[/] {_shown(each.mapping)}", soft_wrap=True)
        for path in each.files:
            if path != each.mapping:
                out.print(f"  with {_shown(path)}", soft_wrap=True)


def print_removed(out: Console, removed: Sequence[Trusted]) -> None:
    """Print which mappings are no longer trusted."""
    for each in removed:
        out.print(f"no longer trusted: {_shown(each.mapping)}", soft_wrap=True)


def print_trusted(out: Console, trusted: Sequence[Trusted], path: Path) -> None:
    """Print the list: each mapping with the day on which it was added, and what has changed since."""
    if not trusted:
        out.print("no mapping is trusted beside those that come with tfpt")
        return
    for each in trusted:
        changed = each.changed()
        state = f"  [red]changed: {', '.join(map(_shown, changed))}[/]" if changed else ""
        out.print(f"{each.added}  {escape(each.mapping)}{state}", soft_wrap=True)
    out.print(f"{count(len(trusted), 'mapping')} in {escape(str(path))}", soft_wrap=True)


def _shown(path: str) -> str:
    return escape(display_path(Path(path)))
