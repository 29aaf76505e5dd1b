"""YAML as a tree that records the position of each value, so that later errors can point to it."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from tfpt.errors import MappingError
from tfpt.io import limits

_TAGS = {
    f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")
}
_NUMBERS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float")}

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Position:
    """A position in a file, counted from 1.

    Example:
        >>> str(Position("i3d_rgb.yaml", 31, 9))
        'i3d_rgb.yaml:31:9'
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def moved(self, columns: int) -> Position:
        """The position so many columns to the right."""
        return replace(self, column=self.column + columns)

    @property
    def row(self) -> str:
        """File and line, as a row is usually cited."""
        return f"{self.file}:{self.line}"


def row_location(row: Position, scopes: Sequence[Position]) -> str:
    """File and line of a row, and of its scopes.

    Args:
        row: The position of the row.
        scopes: Those of the scopes, outermost first.

    Example:
        >>> row_location(Position("m.yaml", 5, 3), [Position("m.yaml", 8, 3)])
        'm.yaml:5 (in the scope at line 8)'
        >>> row_location(Position("m.yaml", 5, 3), [Position("n.yaml", 8, 3), Position("m.yaml", 7, 3)])
        'm.yaml:5 (in the scopes at n.yaml:8, line 7)'
    """
    if not scopes:
        return row.row
    places = ", ".join(f"line {scope.line}" if scope.file == row.file else scope.row for scope in scopes)
    return f"{row.row} (in the scope{'s' * (len(scopes) > 1)} at {places})"


@dataclass(frozen=True)
class Node:
    """One value of a document: a scalar, a list of nodes, or a dict of nodes.

    Attributes:
        value: The scalar, ``list[Node]`` or ``dict[str, Node]``.
        position: Where the value starts.
        keys: The position of each key of a dict.
    """

    value: Any
    position: Position
    keys: dict[str, Position] = field(default_factory=dict)

    def plain(self) -> Any:
        """The value without positions: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def size(self) -> int:
        """The number of values, including this one."""
        if isinstance(self.value, dict | list):
            children: Iterable[Node] = self.value.values() if isinstance(self.value, dict) else self.value
            return 1 + sum(child.size() for child in children)
        return 1

    def at(self, path: Sequence[int | str]) -> Node:
        """The node at `path`, which must exist."""
        node = self
        for step in path:
            node = node.value[step]
        return node

    def locate(self, path: Sequence[int | str], *, key: bool = False) -> Position:
        """The position of the value (or, with `key`, of the last key) at `path`, or of its nearest ancestor."""
        node, found = self, self.position
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                found, node = node.keys[str(step)], node.value[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                found = node.position
            else:
                return found if key else node.position
        return found if key else node.position


def display_path(path: Path) -> str:
    """A path as shown in errors: relative to the working folder if inside it, otherwise in full."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def read_at_most(stream: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes of a file. Read in pieces, since `read(size)` allocates `size` bytes at once."""
    pieces: list[bytes] = []
    left = size
    while left and (piece := stream.read(min(left, 1 << 16))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def read_document(path: Path, room: int = limits.MAPPING_VALUES) -> Node:
    """Read a YAML file as a tree with positions. Nothing in the file is ever executed.

    Args:
        path: The file.
        room: The values it may have; fewer if it is read together with others.

    Raises:
        MappingError: The file cannot be read, is not YAML, repeats a key, or uses a Python tag.
    """
    return document_of(read_content(path), path, room)


def read_content(path: Path) -> bytes:
    """The bytes of a YAML file.

    Raises:
        MappingError: The file cannot be read, or is too long.
    """
    try:
        with path.open("rb") as stream:
            content = read_at_most(stream, 4 * limits.MAPPING_CHARACTERS + 1)
    except OSError as error:
        raise MappingError(f"cannot read the mapping: {error.strerror}", where=str(path)) from error
    if len(content) > 4 * limits.MAPPING_CHARACTERS:  # UTF-8 uses at most 4 bytes per character
        raise _too_long(str(path))
    return content


def document_of(content: bytes, path: Path, room: int = limits.MAPPING_VALUES) -> Node:
    """Like `read_document`, from the bytes of the file at `path`."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MappingError("the mapping is not UTF-8 text", where=str(path), got=str(error)) from error
    return parse_document(text, display_path(path), room)


def parse_document(text: str, file: str, room: int = limits.MAPPING_VALUES) -> Node:
    """Like `read_document`, from text; positions name `file`.

    Example:
        >>> tree = parse_document("layers: {head: {eps: 0.5}}", "m.yaml")
        >>> tree.plain(), str(tree.locate(["layers", "head", "eps"]))
        ({'layers': {'head': {'eps': 0.5}}}, 'm.yaml:1:22')
    """
    loader = _Loader(io.StringIO(text))
    try:
        _check_size(text, file, room)
        root = loader.get_single_node()
        if root is None:
            return Node({}, Position(file, 1, 1))
        return _Converter(loader, file, room).convert(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = file if mark is None else str(Position(file, mark.line + 1, mark.column + 1))
        raise MappingError(
            f"the file is not YAML: {error.problem}",
            where=where,
            hint="check quotes, indentation and brackets there; a template that starts with { needs quotes",
        ) from error
    except yaml.YAMLError as error:
        raise MappingError(f"the file is not YAML: {error}", where=file) from error
    finally:
        loader.dispose()


def _check_size(text: str, file: str, room: int) -> None:
    """Refuse documents that are too deep or too large before building a tree."""
    depth = count = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            depth += isinstance(event, yaml.CollectionStartEvent)
        if depth > limits.MAPPING_DEPTH:
            raise _too_deep(_position(event, file))
        # A key is an event too.
        if count > 2 * room:
            raise _too_many(_position(event, file))


def _too_deep(position: Position) -> MappingError:
    return MappingError(f"the mapping is more than {limits.MAPPING_DEPTH} levels deep", where=str(position))


def _too_many(position: Position) -> MappingError:
    return MappingError(f"the mapping has more than {limits.MAPPING_VALUES:,} values", where=str(position))


def _too_long(where: str) -> MappingError:
    return MappingError(f"the mapping has more than {limits.MAPPING_CHARACTERS:,} characters", where=where)


def _position(marked: Any, file: str) -> Position:
    """Where a node or an event starts."""
    return Position(file, marked.start_mark.line + 1, marked.start_mark.column + 1)


class _Converter:
    def __init__(self, loader: Any, file: str, room: int) -> None:
        self.loader = loader
        self.file = file
        self.room = room
        self.count = 0
        self.characters = 0
        self.open: set[int] = set()

    def convert(self, node: yaml.Node) -> Node:
        self.count += 1
        position = self.position(node)
        if id(node) in self.open:
            raise MappingError("an alias refers to a value that contains it", where=str(position))
        self.open.add(id(node))
        try:
            return self.value(node, position)
        finally:
            self.open.remove(id(node))

    def value(self, node: yaml.Node, position: Position) -> Node:
        if self.count > self.room:
            raise _too_many(position)
        if len(self.open) > limits.MAPPING_DEPTH:  # an alias may be used at a deeper level than its anchor
            raise _too_deep(position)
        if node.tag not in _TAGS:
            raise MappingError(f"the tag {node.tag} is not allowed in a mapping", where=str(position))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, position)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.convert(child) for child in node.value], position)
        self.read(node.value, position)
        try:
            if node.tag in _NUMBERS and len(node.value) > limits.NUMBER_BITS:
                raise ValueError("too many digits")
            value = self.loader.construct_object(node)
            if isinstance(value, int) and value.bit_length() > limits.NUMBER_BITS:
                raise ValueError("too many digits")
            if isinstance(value, float) and math.isinf(value) and any(c.isdigit() for c in node.value):
                raise ValueError("beyond float64")
            return Node(value, position)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # PyYAML's errors, for example for the date 2024-13-01 or an integer of 5,000 digits; and 1.0e+400.
            raise MappingError(
                "a value cannot be read", where=str(position), got=node.value[:60], hint="quotes make it text"
            ) from error

    def mapping(self, node: yaml.MappingNode, position: Position) -> Node:
        children: dict[str, Node] = {}
        keys: dict[str, Position] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise MappingError("a key must be a plain word", where=str(self.position(key_node)))
            if key in children:
                raise MappingError(
                    f"duplicate key {key!r}",
                    where=str(self.position(key_node)),
                    got=f"first at {keys[key]}",
                )
            self.read(key, keys.setdefault(key, self.position(key_node)))
            children[key] = self.convert(value_node)
        return Node(children, position, keys)

    def read(self, text: str, position: Position) -> None:
        """Count characters, those of an alias at each use."""
        self.characters += len(text)
        if self.characters > limits.MAPPING_CHARACTERS:
            raise _too_long(str(position))

    def position(self, node: yaml.Node) -> Position:
        return _position(node, self.file)
