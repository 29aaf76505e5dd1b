"""Changes of the text of mapping files: as small as possible, shown as a diff, and all of a file or nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfpt.errors import MappingError
from tfpt.io.output_file import write_text
from tfpt.language.source_text import SourceText
from tfpt.language.tree import Position


@dataclass(frozen=True)
class Edit:
    """One change.

    Attributes:
        position: Where it begins.
        start, end: The offsets of the text that is replaced; equal for an insertion.
        old, new: The text before and after.
        why: Why this is the only possibility, in one sentence.
    """

    position: Position
    start: int
    end: int
    old: str
    new: str
    why: str

    def to_json(self) -> dict[str, Any]:
        return {"where": str(self.position), "old": self.old, "new": self.new, "why": self.why}


def edited(text: str, edits: Iterable[Edit]) -> str:
    """A text with edits, the first of those that overlap.

    Example:
        >>> at = Position("m.yaml", 1, 1)
        >>> edited("tf: a, pt: b", [Edit(at, 11, 12, "b", "bias", ""), Edit(at, 4, 5, "a", "kernel", "")])
        'tf: kernel, pt: bias'
    """
    pieces, end = [], 0
    for edit in sorted(set(edits), key=lambda each: (each.start, each.end)):
        if edit.start >= end:
            pieces += [text[end : edit.start], edit.new]
            end = edit.end
    return "".join([*pieces, text[end:]])


def apply(edits: Iterable[Edit]) -> dict[Path, tuple[str, str]]:
    """Write edits to their files; returns the text of each file before and after.

    Raises:
        MappingError: A file cannot be read.
        SinkError: A file cannot be written.
    """
    by_file: dict[str, list[Edit]] = {}
    for edit in edits:
        by_file.setdefault(edit.position.file, []).append(edit)
    found = {}
    for file, changes in by_file.items():
        text = SourceText.read(file)
        if text is None:
            raise MappingError("the mapping cannot be read", where=file)
        found[Path(file)] = text.text, edited(text.text, changes)
    for path, (_, after) in found.items():
        write_text(path, after)
    return found


def difference(changes: dict[Path, tuple[str, str]]) -> list[str]:
    """The lines of a unified diff of files before and after."""
    return [
        line.rstrip("\r\n")
        for path, (before, after) in changes.items()
        for line in difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), str(path), n=1
        )
    ]
