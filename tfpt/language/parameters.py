"""`params`: every `${…}` in a tree substituted, in dependency order and within limits."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tfpt.errors import MappingError
from tfpt.io import limits
from tfpt.language.configuration import Configuration
from tfpt.language.declarations import declarations, given_value, listed, texts_in, without_value
from tfpt.language.expressions import Evaluator, ExpressionError, parse_expression
from tfpt.language.tree import Node, Position
from tfpt.nearest import nearest

# Any number of $ before a brace: each pair is a literal $, and an odd one starts a parameter.
_DOLLARS = re.compile(r"(?<!\$)(\$+)\{([^}]*)(\}?)")


def substitute(root: Node, settings: Mapping[str, Any], config: Configuration | None) -> Node:
    """The tree with every `${name}` replaced by the value of that parameter, and other `${…}` computed.

    Values of parameters may use other parameters; those from `--set` or `--config` may not.

    Args:
        root: A whole mapping; its `params` declare the parameters.
        settings: Values that override the declared ones (`--set`).
        config: The model's published configuration (`--config`), for parameters declared `{from: key}`.

    Raises:
        MappingError: A parameter is used or set but not declared, has no value, or depends on itself; or the
            result is too large.

    Example:
        >>> from tfpt.language.tree import parse_document
        >>> tree = parse_document('{params: {n: 3, net: "net_${n}"}, source: {scope: "${net}/a"}}', "m.yaml")
        >>> substitute(tree, {}, None).plain()["source"]
        {'scope': 'net_3/a'}
    """
    declared = declarations(root)
    for name in settings:
        if name not in declared.value:
            raise MappingError(
                f"--set names {name!r}, which the mapping does not declare",
                where=str(declared.position),
                expected=listed(declared.value) or "no parameters",
                nearest=nearest(name, declared.value),
            )
    body = {key: node for key, node in root.value.items() if key != "params"}
    _check_names(root, declared)
    given = {name: given_value(name, node, settings, config) for name, node in declared.value.items()}
    needed = _closure({name for node in body.values() for name in _names_in(node, given)}, given)
    writer = _Writer()
    for name in _order(given):
        node = given[name]
        if node is None and name in needed:
            raise without_value(name, declared.value[name], config)
        known = node is not None and all(writer.values.get(other) for other in _names_in(node, given))
        writer.values[name] = writer.write(node) if node is not None and known else None
    children = {
        key: writer.write(node) if key in body else _params(declared, writer.values)
        for key, node in root.value.items()
    }
    children.setdefault("params", _params(declared, writer.values))
    return replace(root, value=children, keys={"params": declared.position, **root.keys})


@dataclass(frozen=True)
class UsedParameters:
    """Which parameters a mapping uses.

    Attributes:
        needed: Those that something outside of `params` uses, directly or through other parameters.
        by: For each parameter, those whose values use it.
    """

    needed: frozenset[str]
    by: Mapping[str, tuple[str, ...]]


def used_parameters(root: Node) -> UsedParameters:
    """Which of the parameters that a mapping declares it uses, by their declared values.

    Args:
        root: A whole mapping, before substitution.
    """
    declared = declarations(root).value
    outside = (node for key, node in root.value.items() if key != "params")
    needed = _closure({name for node in outside for name in _names_in(node, declared)}, declared)
    by: dict[str, list[str]] = {}
    for name, node in declared.items():
        for other in dict.fromkeys(_names_in(node, declared)):
            by.setdefault(other, []).append(name)
    return UsedParameters(frozenset(needed), {name: tuple(users) for name, users in by.items()})


# -- names ---------------------------------------------------------------------------------------------------


def _names_in(node: Node, declared: Container[str]) -> Iterator[str]:
    for leaf in texts_in(node):
        for dollars, inside, _ in _DOLLARS.findall(leaf.value):
            if len(dollars) % 2:
                yield from _names_of(inside, declared)


def _names_of(inside: str, declared: Container[str]) -> tuple[str, ...]:
    """The parameters used between `${` and `}`: one, or those of an expression."""
    return (inside,) if inside in declared or not _is_expression(inside) else parse_expression(inside).names


def _is_expression(inside: str) -> bool:
    return re.search(r"[^\w\s]|\w\s+\w", inside) is not None or inside.strip().isdecimal()


def _check_names(root: Node, declared: Node) -> None:
    """Check that every `${name}` in the file is declared and occurs in a value, not in a key."""
    for leaf in texts_in(root):
        for dollars, inside, closing in _DOLLARS.findall(leaf.value):
            if len(dollars) % 2 == 0:
                continue
            if not closing:
                raise MappingError(
                    "${ without a closing }",
                    where=str(leaf.position),
                    got=leaf.value[:80],
                    hint="write $${ for a literal ${",
                )
            try:
                names = _names_of(inside, declared.value)
            except ExpressionError as error:
                raise _placed(error, leaf.position).with_hint("write $${ for a literal ${") from None
            for name in names:
                if name not in declared.value:
                    raise MappingError(
                        f"${{{name}}} is not declared under params:"
                        if name == inside
                        else f"{name} in ${{{inside}}} is not declared under params:",
                        where=str(leaf.position),
                        expected=listed(declared.value) or "a params: section",
                        nearest=nearest(name, declared.value),
                        hint=f"write $${{{inside}}} for a literal ${{{inside}}}",
                    )
    for key, position in _keys(root):
        if "${" in key:
            raise MappingError(
                "a key cannot contain a parameter",
                where=str(position),
                expected="${…} in values only",
                got=key[:80],
            )


def _placed(error: ExpressionError, position: Position) -> MappingError:
    error.where = str(position)
    return error


def _keys(node: Node) -> Iterator[tuple[str, Position]]:
    children = node.value.values() if isinstance(node.value, dict) else node.value
    yield from node.keys.items()
    for child in children if isinstance(node.value, dict | list) else ():
        yield from _keys(child)


def _closure(names: set[str], given: Mapping[str, Node | None]) -> set[str]:
    """These parameters and all that their values depend on."""
    found: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name not in found:
            found.add(name)
            node = given[name]
            open_names += _names_in(node, given) if node is not None else ()
    return found


def _order(given: Mapping[str, Node | None]) -> list[str]:
    """The parameters, each after those that its value uses."""
    graph = {name: () if node is None else tuple(_names_in(node, given)) for name, node in given.items()}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        node = given[circle[0]]
        assert node is not None
        raise MappingError(
            f"the parameter {circle[0]!r} depends on itself",
            where=str(node.position),
            got=" → ".join(circle[:10]) + (" → …" if len(circle) > 10 else ""),
        ) from None


# -- substitution ---------------------------------------------------------------------------------------------


class _Writer:
    """Substitutes parameters, and counts the values and characters of the result."""

    def __init__(self) -> None:
        self.values: dict[str, Node | None] = {}
        self.evaluator = Evaluator(self._value)
        self.count = 0
        self.characters = 0

    def write(self, node: Node, position: Position | None = None, depth: int = 0) -> Node:
        """The node after substitution; `position` is where a parameter's value is inserted."""
        at = position or node.position
        self.count += 1
        if depth > limits.MAPPING_DEPTH:
            raise MappingError(f"the mapping is more than {limits.MAPPING_DEPTH} levels deep", where=str(at))
        if self.count > limits.MAPPING_VALUES:
            raise MappingError(f"the mapping has more than {limits.MAPPING_VALUES:,} values", where=str(at))
        if isinstance(node.value, dict):
            self._add(sum(map(len, node.value)), at)
            children = {key: self.write(child, position, depth + 1) for key, child in node.value.items()}
            keys = node.keys if position is None else dict.fromkeys(node.keys, position)
            return Node(children, at, keys)
        if isinstance(node.value, list):
            return Node([self.write(child, position, depth + 1) for child in node.value], at)
        if not isinstance(node.value, str):
            return Node(node.value, at)
        if position is None and "${" in node.value:  # values of parameters are already substituted
            return self._text(node, depth)
        self._add(len(node.value), at)
        return Node(node.value, at)

    def _text(self, node: Node, depth: int) -> Node:
        whole = _DOLLARS.fullmatch(node.value)
        if whole and whole[1] == "$":
            return self.write(self._inside(whole[2], node.position), node.position, depth)
        pieces = []
        at = 0
        for found in _DOLLARS.finditer(node.value):
            pieces += [node.value[at : found.start()], "$" * (len(found[1]) // 2)]
            pieces.append(
                self._spelled(found[2], node.position) if len(found[1]) % 2 else f"{{{found[2]}{found[3]}"
            )
            at = found.end()
        pieces.append(node.value[at:])
        self._add(sum(map(len, pieces)), node.position)
        return Node("".join(pieces), node.position)

    def _value(self, name: str) -> Node:
        value = self.values[name]
        assert value is not None  # those without a value are refused before one that uses them is written
        return value

    def _inside(self, inside: str, position: Position) -> Node:
        """The value of what is between `${` and `}`: of a parameter, or of an expression."""
        if inside in self.values:
            return self._value(inside)
        try:
            return Node(self.evaluator.evaluate(parse_expression(inside)), position)
        except ExpressionError as error:
            raise _placed(error, position) from None

    def _spelled(self, inside: str, position: Position) -> str:
        value = self._inside(inside, position)
        if isinstance(value.value, list) and all(type(child.value) is int for child in value.value):
            return str([child.value for child in value.value])
        if isinstance(value.value, bool) or not isinstance(value.value, str | int | float | date):
            kind = "nothing" if value.value is None else type(value.value).__name__
            raise MappingError(
                f"${{{inside}}} is used within text, but is not text, a number or a list of integers",
                where=str(position),
                expected="a text, a number, a date or a list of integers",
                got=f"{kind}, from {value.position}",
            )
        return str(value.value)

    def _add(self, characters: int, position: Position) -> None:
        self.characters += characters
        if self.characters > limits.MAPPING_CHARACTERS:
            raise MappingError(
                f"the mapping has more than {limits.MAPPING_CHARACTERS:,} characters after substitution",
                where=str(position),
            )


def _params(declared: Node, values: Mapping[str, Node | None]) -> Node:
    children = {name: values[name] or Node(None, node.position) for name, node in declared.value.items()}
    return Node(children, declared.position, declared.keys)
