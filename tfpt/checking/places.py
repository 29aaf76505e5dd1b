"""Where the findings of a check point: the value of a key, with its line and a mark below it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from tfpt.checking.edits import Edit
from tfpt.language.mapping import Copy, Mapping, Row
from tfpt.language.mapping_files import bundled_mappings
from tfpt.language.source_text import SourceTexts, Span
from tfpt.language.templates import PT_SEPARATOR, TF_SEPARATOR, Template
from tfpt.language.tree import Position, display_path
from tfpt.planning import Finding

_FILE_AND_LINE = re.compile(r"(?:near )?(.+?):(\d+)((?: \(in .*)?)", re.DOTALL)


@dataclass(frozen=True)
class Component:
    """One component of a template, and where it is written.

    Attributes:
        text: The component.
        span: The text that contains it in the file; None for one that is not written there as it is.
        start: The offset of the component in the value of that text.
    """

    text: str
    span: Span | None
    start: int = 0

    @property
    def key(self) -> tuple[str, int, int]:
        """Identifies the place in the file."""
        assert self.span is not None
        return self.span.position.file, self.span.start, self.start


class Places:
    """Finds what a mapping says in the files that it consists of.

    Args:
        mapping: The mapping.
    """

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self.file = display_path(mapping.path)
        self.texts = SourceTexts()

    def editable(self, edit: Edit) -> bool:
        """Whether an edit is one of the mapping's own folder, rather than of files that come with tfpt."""
        folders = {path.resolve().parent for path in (self.mapping.path, Path(edit.position.file))}
        return len(folders) == 1 and self.mapping.path not in bundled_mappings().values()

    def in_row(self, finding: Finding, row: Row, *keys: str) -> Finding:
        """The finding at the value of a key of a row; of several keys, the first that the row has."""
        for key in keys:
            span = self.texts.find(row.position, key)
            if span is not None:
                return self._at(finding, span, row)
        return self._at(finding, row.position, row)

    def at(self, finding: Finding, position: Position, *keys: str) -> Finding:
        """The finding at the value of a key of the table at a position, or at the table."""
        span = next(filter(None, (self.texts.find(position, key) for key in keys)), None)
        return self._at(finding, span or position)

    def at_path(self, finding: Finding, *path: str) -> Finding:
        """The finding at a key of the mapping's own file or, if that lacks it, where the file begins."""
        span = self.path(self.file, path)
        return self._at(finding, span or Position(self.file, 1, 1))

    def at_span(self, finding: Finding, span: Span) -> Finding:
        """The finding at a text in a file."""
        return self._at(finding, span)

    def at_argument(self, finding: Finding, name: str) -> Finding:
        """The finding at an argument of the model's factory, or at the factory."""
        factory = self.mapping.model.position
        for file in dict.fromkeys((self.file, factory.file)):
            span = self.path(file, ("model", "kwargs", name))
            if span is not None:
                return self._at(finding, span)
        return self._at(finding, factory)

    def path(self, file: str, path: Sequence[str]) -> Span | None:
        """The key at the end of a path of keys in a file."""
        text = self.texts[file]
        node = None if text is None else text.root
        found = None
        for step in path:
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            found, node = next(((key, value) for key, value in pairs if key.value == step), (None, None))
        return text.span(found) if text is not None and found is not None else None

    def completed(self, finding: Finding) -> Finding:
        """A finding that has a file, or a file and a line, with the column and the line's text."""
        if finding.source:
            return finding
        found = _FILE_AND_LINE.fullmatch(finding.where)
        if found is None:
            text = self.texts[finding.where] if finding.where else None
            if text is None:
                return finding
            at = text.text.find(f'"{finding.name}"') if finding.name else -1
            position = text.position(max(at, 0))
            return replace(finding, where=str(position), source=text.excerpt(position))
        text = self.texts[found[1]]
        if text is None:
            return finding
        position = text.first_on_line(int(found[2]))
        return replace(finding, where=f"{position}{found[3]}", source=text.excerpt(position))

    def components(self, row: Row, template: Template) -> list[Component]:
        """The components of one of a row's templates, with where each is written."""
        side = "pt" if template.separator == PT_SEPARATOR else "tf"
        spans = [self.texts.find(scope, side) for scope in row.scopes]
        spans.append(self._of_row(row, template, side))
        if side == "tf":  # a name that begins with a slash is relative to the root
            rooted = [at for at, span in enumerate(spans) if span and span.value.startswith(TF_SEPARATOR)]
            spans = spans[rooted[-1] :] if rooted else spans
        written = [
            component
            for span in spans
            if span is not None
            for component in _written(span, template.separator)
        ]
        everything = [text for text, _ in split(template.text, template.separator)]
        if everything[len(everything) - len(written) :] != [each.text for each in written] or None in spans:
            return [Component(text, None) for text in everything]  # computed, such as with ${…}
        return [Component(text, None) for text in everything[: len(everything) - len(written)]] + written

    def _of_row(self, row: Row, template: Template, side: str) -> Span | None:
        templates = row.pt if side == "pt" or not isinstance(row, Copy) else row.tf
        at = templates.index(template)
        spans = self.texts.items(row.position, side)[at : at + 1]
        spans += self.texts.items(row.position, "also") if side == "pt" else []
        fitting = [span for span in spans if template.text.endswith(span.value.lstrip(TF_SEPARATOR))]
        return max(fitting, key=lambda span: len(span.value), default=None)

    def _at(self, finding: Finding, place: Span | Position, row: Row | None = None) -> Finding:
        position = place.position if isinstance(place, Span) else place
        scopes = "".join(row.where.partition(" (in")[1:]) if row is not None else ""
        return replace(finding, where=f"{position}{scopes}", source=self.texts.excerpt(place))


def split(text: str, separator: str) -> list[tuple[str, int]]:
    """The components of a template with their offsets; separators in braces do not count.

    Example:
        >>> split("net.{b:q=a.b|k=c}.weight", ".")
        [('net', 0), ('{b:q=a.b|k=c}', 4), ('weight', 18)]
    """
    found, start, depth = [], 0, 0
    for at, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if character == separator and not depth:
            found.append((text[start:at], start))
            start = at + 1
    return [*found, (text[start:], start)]


def _written(span: Span, separator: str) -> list[Component]:
    text = span.value.removeprefix(separator) if separator == TF_SEPARATOR else span.value
    if not text:
        return []
    before = len(span.value) - len(text)
    return [Component(part, span, before + start) for part, start in split(text, separator)]
