"""The names that a mapping ignores."""

from __future__ import annotations

from collections.abc import Iterable

from tfpt.language.mapping import Ignore
from tfpt.language.name_index import NameIndex


def left_out(ignore: Iterable[Ignore], names: NameIndex) -> dict[str, Ignore]:
    """The names that are ignored, each with the first entry that matches it."""
    found: dict[str, Ignore] = {}
    for entry in ignore:
        matching = entry.names if entry.tf is None else (name for name, _ in names.each_match(entry.tf))
        for name in matching:
            found.setdefault(name, entry)
    return found
