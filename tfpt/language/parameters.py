"""`params`: every `${name}` in a tree substituted, in dependency order and within limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tfpt.errors import MappingError
from tfpt.io import limits
from tfpt.language.configuration import Configuration
from tfpt.language.tree import Node, Position
from tfpt.nearest import nearest

# Any number of $ before a brace: each pair is a literal $, and an odd one starts a parameter.
_DOLLARS = re.compile(r"(?<!\$)(\$+)\{([^}]*)(\}?)")


def substitute(root: Node, settings: Mapping[str, Any], config: Configuration | None) -> Node:
    """The tree with every `${name}` replaced by the value of that parameter.

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
                expected=_listed(declared.value) or "no parameters",
                nearest=nearest(name, declared.value),
            )
    body = {key: node for key, node in root.value.items() if key != "params"}
    _check_names(root, declared)
    given = {name: _given(name, node, settings, config) for name, node in declared.value.items()}
    needed = _closure({name for node in body.values() for name in _names_in(node)}, given)
    writer = _Writer()
    for name in _order(given):
        node = given[name]
        if node is None and name in needed:
            raise _without_value(name, declared.value[name], config)
        known = node is not None and all(writer.values.get(other) for other in _names_in(node))
        writer.values[name] = writer.write(node) if node is not None and known else None
    children = {
        key: writer.write(node) if key in body else _params(declared, writer.values)
        for key, node in root.value.items()
    }
    children.setdefault("params", _params(declared, writer.values))
    return replace(root, value=children, keys={"params": declared.position, **root.keys})


def declarations(root: Node) -> Node:
    """The section `params` of a mapping, or an empty one.

    Raises:
        MappingError: It is not a table, or a declaration is invalid.
    """
    declared: Node = root.value.get("params", Node({}, root.position))
    if not isinstance(declared.value, dict):
        raise MappingError("params: must be a table of names and values", where=str(declared.position))
    for name, node in declared.value.items():
        if not isinstance(node.value, dict):
            continue
        key = node.value.get("from")
        known = key is not None and isinstance(key.value, str) and "${" not in key.value
        if set(node.value) - {"from", "default"} or not known:
            raise MappingError(
                f"the parameter {name!r} cannot be read",
                where=str(node.position),
                expected="a value, or {from: KEY_OF_THE_CONFIGURATION, default: VALUE}",
            )
    return declared


@dataclass(frozen=True)
class Default:
    """A parameter that takes its default although a configuration was supplied."""

    name: str
    key: str
    value: Any
    position: Position


def defaults(
    root: Node, settings: Mapping[str, Any], config: Configuration, *, shared: bool
) -> list[Default]:
    """The parameters whose keys are missing from a configuration and that have a default.

    Args:
        root: A whole mapping, before substitution.
        settings: Values that override the declared ones.
        config: The configuration.
        shared: Whether the model uses the configuration too, so that it may lack every key of the parameters.

    Raises:
        MappingError: A missing key has a similar name or is in another table, or all keys are missing.
    """
    declared = declarations(root)
    read = {
        name: node
        for name, node in declared.value.items()
        if isinstance(node.value, dict) and name not in settings
    }
    keys = {name: str(node.value["from"].value) for name, node in read.items()}
    missing = {name: node for name, node in read.items() if not config.has(keys[name])}
    mistakes = []
    for name, node in missing.items():
        close = config.close_to(keys[name], keys.values())
        if close:
            mistakes.append(_misnamed(name, keys[name], node, config, close))
    if not mistakes and missing and len(missing) == len(read) and not shared:
        mistakes.append(_of_no_use(declared, sorted(keys.values()), config))
    if len(mistakes) > 1:
        raise MappingError(f"{config.named} lacks {len(mistakes)} keys of the mapping", causes=mistakes)
    if mistakes:
        raise mistakes[0]
    return [
        Default(name, keys[name], node.value["default"].plain(), node.position)
        for name, node in missing.items()
        if "default" in node.value
    ]


def _misnamed(name: str, key: str, node: Node, config: Configuration, close: tuple[str, ...]) -> MappingError:
    return MappingError(
        f"{config.named} has no key {key!r}, but a similar one",
        where=str(node.position),
        expected=f"{key}, for the parameter {name}",
        nearest=close,
        hint=f"from: {close[0]} in the mapping reads that key; --set {name}=VALUE overrides both",
    )


def _of_no_use(declared: Node, keys: list[str], config: Configuration) -> MappingError:
    return MappingError(
        f"{config.named} has none of the keys that the mapping reads",
        where=str(declared.position),
        expected=_listed(keys),
        got=_listed(sorted(map(str, config.values))) or "no keys",
        hint="without --config, parameters take their defaults; --set NAME=VALUE sets one",
    )


# -- values of parameters ---------------------------------------------------------------------------------


def _given(name: str, node: Node, settings: Mapping[str, Any], config: Configuration | None) -> Node | None:
    """The value of a parameter before substitution; ``None`` if it has no value."""
    if name in settings:
        return _from_outside(settings[name], node.position, f"--set {name}=…")
    if not isinstance(node.value, dict):
        return node
    key = node.value["from"].value
    if config is not None and config.has(key):
        return _from_outside(config.get(key), node.position, f"the key {key!r} of {config.named}")
    return node.value.get("default")


def _without_value(name: str, node: Node, config: Configuration | None) -> MappingError:
    key = node.value["from"].value
    return MappingError(
        f"the parameter {name!r} has no value",
        where=str(node.position),
        expected=f"{key!r} in the model's configuration",
        got="no --config"
        if config is None
        else f"a configuration with {_listed(sorted(map(str, config.values)))}",
        nearest=() if config is None else config.close_to(key),
        hint=f"--config config.json, or --set {name}=…",
    )


def _from_outside(value: Any, position: Position, origin: str) -> Node:
    """A value of `--set` or `--config` as a tree."""
    node = tree_of(value, position, origin)
    for leaf in _texts(node):
        if "${" in leaf.value:
            raise MappingError(
                "only the mapping itself may use parameters",
                where=str(position),
                expected="a value without ${",
                got=f"{leaf.value[:60]!r}, from {origin}",
            )
    return node


def tree_of(value: Any, position: Position, origin: str = "", depth: int = 0) -> Node:
    """Plain values as a tree; every node has the same `position`."""
    if depth > limits.MAPPING_DEPTH:
        raise MappingError(f"{origin} is more than {limits.MAPPING_DEPTH} levels deep", where=str(position))
    if isinstance(value, dict):
        children = {str(key): tree_of(child, position, origin, depth + 1) for key, child in value.items()}
        return Node(children, position, dict.fromkeys(children, position))
    if isinstance(value, list | tuple):
        return Node([tree_of(child, position, origin, depth + 1) for child in value], position)
    if isinstance(value, int) and value.bit_length() > limits.NUMBER_BITS:
        raise MappingError(
            f"{origin} is a number of more than {limits.NUMBER_BITS} bits", where=str(position)
        )
    return Node(value, position)


# -- names ---------------------------------------------------------------------------------------------------


def _texts(node: Node) -> Iterator[Node]:
    if isinstance(node.value, dict):
        for child in node.value.values():
            yield from _texts(child)
    elif isinstance(node.value, list):
        for child in node.value:
            yield from _texts(child)
    elif isinstance(node.value, str):
        yield node


def _names_in(node: Node) -> Iterator[str]:
    for leaf in _texts(node):
        for dollars, name, _ in _DOLLARS.findall(leaf.value):
            if len(dollars) % 2:
                yield name


def _check_names(root: Node, declared: Node) -> None:
    """Check that every `${name}` in the file is declared and occurs in a value, not in a key."""
    for leaf in _texts(root):
        for dollars, name, closing in _DOLLARS.findall(leaf.value):
            if len(dollars) % 2 == 0:
                continue
            if not closing:
                raise MappingError(
                    "${ without a closing }",
                    where=str(leaf.position),
                    got=leaf.value[:80],
                    hint="write $${ for a literal ${",
                )
            if name not in declared.value:
                raise MappingError(
                    f"${{{name}}} is not declared under params:",
                    where=str(leaf.position),
                    expected=_listed(declared.value) or "a params: section",
                    nearest=nearest(name, declared.value),
                    hint=f"write $${{{name}}} for a literal ${{{name}}}",
                )
    for key, position in _keys(root):
        if "${" in key:
            raise MappingError(
                "a key cannot contain a parameter",
                where=str(position),
                expected="${…} in values only",
                got=key[:80],
            )


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
            open_names += _names_in(node) if node is not None else ()
    return found


def _order(given: Mapping[str, Node | None]) -> list[str]:
    """The parameters, each after those that its value uses."""
    graph = {name: () if node is None else tuple(_names_in(node)) for name, node in given.items()}
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
            value = self.values[whole[2]]
            assert value is not None
            return self.write(value, node.position, depth)
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

    def _spelled(self, name: str, position: Position) -> str:
        value = self.values[name]
        assert value is not None
        if isinstance(value.value, list) and all(type(child.value) is int for child in value.value):
            return str([child.value for child in value.value])
        if isinstance(value.value, bool) or not isinstance(value.value, str | int | float | date):
            kind = "nothing" if value.value is None else type(value.value).__name__
            raise MappingError(
                f"${{{name}}} is used within text, but is not text, a number or a list of integers",
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


def _listed(names: Any) -> str:
    known = list(names)
    return ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
