"""The text of mapping files: the line at a position with a mark below it, and where each value begins and ends."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import yaml

from tfpt.errors import TfptError
from tfpt.io import limits
from tfpt.language.tree import Position, read_at_most

# The line breaks of YAML, by which positions count.
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_PLACE = re.compile(r"(.+):(\d+):(\d+)", re.DOTALL)
# What a mark covers where the end of a value is not known: a quoted text, or a word.
_TOKEN = re.compile(r"""\"[^\"]*\"|'[^']*'|(?:[^\s,\[\]{}:]|:(?=\S))+""")

# The characters of a line that are shown, and those before the mark: names come from files.
_WIDTH = 120
_BEFORE = 40

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Span:
    """A value in the text.

    Attributes:
        position: Where it begins.
        start, end: The offsets of its first character and of the one behind its last.
        value: The text that it stands for, without quotes.
    """

    position: Position
    start: int
    end: int
    value: str


class SourceText:
    """The text of one YAML file.

    Args:
        file: The file, as positions name it.
        text: Its text.

    Example:
        >>> text = SourceText("m.yaml", 'weights:\\n  - {tf: a, pt: "b.c"}\\n')
        >>> row = Position("m.yaml", 2, 5)
        >>> print(text.excerpt(text.find(row, "pt")))
          - {tf: a, pt: "b.c"}
                        ^^^^^
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self._starts = [0, *(found.end() for found in _BREAK.finditer(text))]

    @classmethod
    def read(cls, file: str) -> SourceText | None:
        """The text of a file; None if it cannot be read, or is too long for a mapping."""
        try:
            with Path(file).open("rb") as stream:
                content = read_at_most(stream, 4 * limits.MAPPING_CHARACTERS + 1)
            return None if len(content) > 4 * limits.MAPPING_CHARACTERS else cls(file, content.decode())
        except (OSError, ValueError):
            return None

    def find(self, table: Position, key: str) -> Span | None:
        """The value of a key of the table at a position, such as a row."""
        value = self._value(table, key)
        return None if value is None else self.span(value)

    def items(self, table: Position, key: str) -> list[Span]:
        """The items of the value of a key; a single value counts as a list of one."""
        value = self._value(table, key)
        if isinstance(value, yaml.SequenceNode):
            return [self.span(item) for item in value.value]
        return [] if value is None else [self.span(value)]

    def _value(self, table: Position, key: str) -> yaml.Node | None:
        node = self.node(table)
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        return next((value for name, value in pairs if name.value == key), None)

    def node(self, position: Position) -> yaml.Node | None:
        """The table, list or text that begins at a position; of several, the outermost."""
        return self._nodes.get((position.line, position.column))

    @property
    def root(self) -> yaml.Node | None:
        """The whole document."""
        return self._root

    def span(self, node: yaml.Node) -> Span:
        """The part of the text that a node covers."""
        start, end = node.start_mark, node.end_mark
        return Span(
            Position(self.file, start.line + 1, start.column + 1),
            self._starts[start.line] + start.column,
            self._starts[end.line] + end.column,
            node.value if isinstance(node, yaml.ScalarNode) else "",
        )

    def first_on_line(self, line: int) -> Position:
        """The first table, list or text that begins on a line, without the dash of a list."""
        columns = [column for each, column in self._nodes if each == line]
        return Position(self.file, line, min(columns, default=1))

    def position(self, offset: int) -> Position:
        """The position of an offset."""
        line = bisect_right(self._starts, offset)
        return Position(self.file, line, offset - self._starts[line - 1] + 1)

    def excerpt(self, span: Span | Position | None) -> str:
        """The line at a position, and below it a mark under the value; empty if there is no such line."""
        position = span.position if isinstance(span, Span) else span
        if position is None or not 0 < position.line <= len(self._starts):
            return ""
        start = self._starts[position.line - 1]
        line = _BREAK.split(self.text[start : start + limits.MAPPING_CHARACTERS], maxsplit=1)[0]
        if not line.strip():
            return ""
        at = position.column - 1
        if isinstance(span, Span):
            length = min(span.end - span.start, len(line) - at)
        else:
            token = _TOKEN.match(line, at)
            length = token.end() - at if token else 1
        return marked(line, at, max(length, 1))

    @cached_property
    def _root(self) -> yaml.Node | None:
        loader = _Loader(self.text)
        try:
            node: yaml.Node | None = loader.get_single_node()
            return node
        except (yaml.YAMLError, RecursionError):
            return None
        finally:
            loader.dispose()

    @cached_property
    def _nodes(self) -> dict[tuple[int, int], yaml.Node]:
        found: dict[tuple[int, int], yaml.Node] = {}
        to_visit, seen = [self._root], set()
        while to_visit:
            node = to_visit.pop()
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            found.setdefault((node.start_mark.line + 1, node.start_mark.column + 1), node)
            if isinstance(node, yaml.MappingNode):
                to_visit += [child for pair in reversed(node.value) for child in reversed(pair)]
            elif isinstance(node, yaml.SequenceNode):
                to_visit += reversed(node.value)
        return found


class SourceTexts:
    """The texts of several files, each read once."""

    def __init__(self) -> None:
        self._read: dict[str, SourceText | None] = {}

    def __getitem__(self, file: str) -> SourceText | None:
        if file not in self._read:
            self._read[file] = SourceText.read(file)
        return self._read[file]

    def find(self, table: Position, key: str) -> Span | None:
        """See `SourceText.find`."""
        text = self[table.file]
        return None if text is None else text.find(table, key)

    def items(self, table: Position, key: str) -> list[Span]:
        """See `SourceText.items`."""
        text = self[table.file]
        return [] if text is None else text.items(table, key)

    def excerpt(self, place: Span | Position) -> str:
        """See `SourceText.excerpt`."""
        text = self[(place.position if isinstance(place, Span) else place).file]
        return "" if text is None else text.excerpt(place)


def show_source(error: TfptError) -> None:
    """Add the line of the file to an error, and to its causes, that say file, line and column."""
    texts = SourceTexts()
    for each in (error, *error.causes):
        found = _PLACE.fullmatch(each.where or "")
        if found and not each.problem.source:
            position = Position(found[1], int(found[2]), int(found[3]))
            each.problem = replace(each.problem, source=texts.excerpt(position))


def marked(line: str, at: int, length: int) -> str:
    """A line, without its indentation and shortened if it is long, with a mark below `length` characters at `at`.

    Example:
        >>> print(marked("    pt: fc.bios", 8, 7))
        pt: fc.bios
            ^^^^^^^
    """
    indent = len(line) - len(line.lstrip(" \t"))
    whole = at + length - indent <= _WIDTH or at <= indent
    first = min(indent, at) if whole else at - _BEFORE
    text = line[first : first + _WIDTH]
    before, under = text[: at - first], text[at - first :][:length]
    start = "…" if first > indent else ""
    end = "…" if first + _WIDTH < len(line) else ""
    mark = " " * (len(start) + _cells(before)) + "^" * max(1, _cells(under))
    return f"{start}{text}{end}".replace("\t", " ") + f"\n{mark}"


def _cells(text: str) -> int:
    """The columns that a text takes in a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )
