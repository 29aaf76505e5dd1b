"""`extends` and `params`: one tree out of several files, with every `${name}` written out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tfpt.errors import MappingError
from tfpt.mapping.document import Node, Position
from tfpt.nearest import nearest

# Lists that a mapping adds to what it extends; every other list replaces the one it extends.
_ADDED = {("scopes",), ("weights",), ("modules",), ("source", "ignore")}
# Dicts whose entries replace one by one, without looking inside them.
_BY_NAME = {("layers",), ("params",), ("model", "kwargs")}

_PARAMETER = re.compile(r"\$\{([^}]*)\}")


def extend(base: Node, child: Node, path: tuple[str, ...] = ()) -> Node:
    """`child` standing on `base`: scalars replace, `scopes` and `ignore` add, `layers` replace by name.

    Example:
        >>> from tfpt.mapping.document import parse_document
        >>> base = parse_document("{summary: a, source: {scope: RGB, ignore: [x]}}", "base.yaml")
        >>> child = parse_document("{source: {scope: Flow, ignore: [y]}}", "child.yaml")
        >>> extend(base, child).plain()
        {'summary': 'a', 'source': {'scope': 'Flow', 'ignore': ['x', 'y']}}
    """
    if path in _ADDED and isinstance(base.value, list) and isinstance(child.value, list):
        return Node([*base.value, *child.value], child.position)
    if not isinstance(base.value, dict) or not isinstance(child.value, dict):
        return child
    merged = dict(base.value)
    for key, value in child.value.items():
        inside = key in merged and path not in _BY_NAME
        merged[key] = extend(merged[key], value, (*path, key)) if inside else value
    return Node(merged, child.position, {**base.keys, **child.keys})


def substitute(root: Node, settings: Mapping[str, Any], config: Mapping[str, Any] | None) -> Node:
    """The tree with every `${name}` replaced by the value of that parameter.

    Args:
        root: A whole mapping; its `params` declare the parameters.
        settings: Values that override the declared ones (`--set`).
        config: The model's published configuration (`--config`), for parameters declared `{from: key}`.

    Raises:
        MappingError: A parameter is used but not declared, set but not declared, or has no value.
    """
    declared = root.value.get("params", Node({}, root.position))
    if not isinstance(declared.value, dict):
        raise MappingError("params: must be a table of names and values", where=str(declared.position))
    for name in settings:
        if name not in declared.value:
            raise MappingError(
                f"--set names {name!r}, which the mapping does not declare",
                where=str(declared.position),
                expected=", ".join(declared.value) or "no parameter at all",
                nearest=nearest(name, declared.value),
            )
    needed = {match for node in _scalars(root) for match in _PARAMETER.findall(node.value)}
    values = {
        name: settings[name] if name in settings else _declared(name, node, config, name in needed)
        for name, node in declared.value.items()
    }
    children = {key: node if key == "params" else _replace(node, values) for key, node in root.value.items()}
    children["params"] = Node(
        {name: _node(value, declared.value[name].position) for name, value in values.items()},
        declared.position,
        declared.keys,
    )
    return replace(root, value=children, keys={"params": declared.position, **root.keys})


def _scalars(node: Node) -> list[Node]:
    if isinstance(node.value, dict):
        return [leaf for child in node.value.values() for leaf in _scalars(child)]
    if isinstance(node.value, list):
        return [leaf for child in node.value for leaf in _scalars(child)]
    return [node] if isinstance(node.value, str) else []


def _declared(name: str, node: Node, config: Mapping[str, Any] | None, needed: bool) -> Any:
    value = node.plain()
    if not isinstance(value, dict):
        return value
    if set(value) - {"from", "default"} or "from" not in value:
        raise MappingError(
            f"the parameter {name!r} cannot be read",
            where=str(node.position),
            expected="a value, or {from: KEY_OF_THE_CONFIGURATION, default: VALUE}",
        )
    key = value["from"]
    if config is not None and key in config:
        return config[key]
    if "default" in value or not needed:
        return value.get("default")
    raise MappingError(
        f"the parameter {name!r} has no value",
        where=str(node.position),
        expected=f"{key!r} in the model's configuration",
        got="no --config" if config is None else f"a configuration with {', '.join(sorted(config))}",
        hint=f"--config config.json, or --set {name}=…",
    )


def _replace(node: Node, values: Mapping[str, Any]) -> Node:
    if isinstance(node.value, dict):
        return replace(node, value={key: _replace(child, values) for key, child in node.value.items()})
    if isinstance(node.value, list):
        return replace(node, value=[_replace(child, values) for child in node.value])
    if not isinstance(node.value, str) or "${" not in node.value:
        return node

    def value_of(name: str) -> Any:
        if name not in values:
            raise MappingError(
                f"${{{name}}} is not declared under params:",
                where=str(node.position),
                expected=", ".join(values) or "a params: section",
                nearest=nearest(name, values),
            )
        return values[name]

    whole = _PARAMETER.fullmatch(node.value)
    if whole:
        return _node(value_of(whole[1]), node.position)
    return replace(node, value=_PARAMETER.sub(lambda match: str(value_of(match[1])), node.value))


def _node(value: Any, position: Position) -> Node:
    """A parameter's value as a tree: lists and dicts may come from a configuration."""
    if isinstance(value, dict):
        children = {str(key): _node(child, position) for key, child in value.items()}
        return Node(children, position, dict.fromkeys(children, position))
    if isinstance(value, list | tuple):
        return Node([_node(child, position) for child in value], position)
    return Node(value, position)
