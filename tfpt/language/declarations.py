"""Declarations of parameters under `params:`, and their values before substitution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tfpt.errors import MappingError
from tfpt.io import limits
from tfpt.language.configuration import Configuration, is_key
from tfpt.language.tree import Node, Position


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
        if set(node.value) - {"from", "default"} or "from" not in node.value or not _are_keys(node):
            raise MappingError(
                f"the parameter {name!r} cannot be read",
                where=str(node.position),
                expected="a value, or {from: KEY_OF_THE_CONFIGURATION, default: VALUE}; "
                "KEY may be a list of alternatives",
            )
    return declared


def _are_keys(node: Node) -> bool:
    keys = node.value["from"].value
    keys = [key.value for key in keys] if isinstance(keys, list) else [keys]
    return bool(keys) and all(isinstance(key, str) and is_key(key) for key in keys)


def _keys_of(node: Node) -> tuple[str, ...]:
    """The keys that a declaration reads, of which the first in the configuration counts."""
    keys = node.value["from"].value
    return tuple(key.value for key in keys) if isinstance(keys, list) else (keys,)


@dataclass(frozen=True)
class Default:
    """A parameter that takes its default although a configuration was supplied.

    Attributes:
        name: The parameter.
        key: The key that the configuration lacks, or that is null; alternatives separated by "or".
        value: The default.
        position: The position of the declaration.
    """

    name: str
    key: str
    value: Any
    position: Position


def defaults(
    root: Node, settings: Mapping[str, Any], config: Configuration, *, shared: bool
) -> list[Default]:
    """The parameters whose keys are missing from a configuration, or null, and that have a default.

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
    keys = {name: _keys_of(node) for name, node in read.items()}
    taken = {key for alternatives in keys.values() for key in alternatives}
    missing = {name: node for name, node in read.items() if not any(map(config.has, keys[name]))}
    mistakes = []
    for name, node in missing.items():
        close = tuple(found for key in keys[name] for found in config.close_to(key, taken))
        if close:
            mistakes.append(_misnamed(name, " or ".join(keys[name]), node, config, close))
    if not mistakes and missing and len(missing) == len(read) and not shared:
        mistakes.append(_of_no_use(declared, sorted(taken), config))
    if len(mistakes) > 1:
        raise MappingError(f"{config.named} lacks {len(mistakes)} keys of the mapping", causes=mistakes)
    if mistakes:
        raise mistakes[0]
    return [
        Default(name, " or ".join(keys[name]), node.value["default"].plain(), node.position)
        for name, node in read.items()
        if "default" in node.value and all(config.get(key) is None for key in keys[name])
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
        expected=listed(keys),
        got=listed(sorted(map(str, config.values))) or "no keys",
        hint="without --config, parameters take their defaults; --set NAME=VALUE sets one",
    )


# -- values of parameters ---------------------------------------------------------------------------------


def given_value(
    name: str, node: Node, settings: Mapping[str, Any], config: Configuration | None
) -> Node | None:
    """The value of a parameter before substitution; ``None`` if it has no value."""
    if name in settings:
        return _from_outside(settings[name], node.position, f"--set {name}=…")
    if not isinstance(node.value, dict):
        return node
    for key in _keys_of(node):
        value = None if config is None else config.get(key)
        if config is not None and value is not None:
            return _from_outside(value, node.position, f"the key {key!r} of {config.named}")
    return node.value.get("default")


def without_value(name: str, node: Node, config: Configuration | None) -> MappingError:
    """The error for a parameter that is used and has no value."""
    keys = _keys_of(node)
    got = "no --config"
    if config is not None:
        faults = [fault for fault in map(config.fault, keys) if fault]
        got = "; ".join(faults) or f"a configuration with {listed(sorted(map(str, config.values)))}"
    return MappingError(
        f"the parameter {name!r} has no value",
        where=str(node.position),
        expected=f"{' or '.join(map(repr, keys))} in the model's configuration",
        got=got,
        nearest=() if config is None else [close for key in keys for close in config.close_to(key)][:3],
        hint=f"--config config.json, or --set {name}=…",
    )


def _from_outside(value: Any, position: Position, origin: str) -> Node:
    """A value of `--set` or `--config` as a tree."""
    node = tree_of(value, position, origin)
    for leaf in texts_in(node):
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


def texts_in(node: Node) -> Iterator[Node]:
    """Every text in a tree."""
    if isinstance(node.value, dict):
        for child in node.value.values():
            yield from texts_in(child)
    elif isinstance(node.value, list):
        for child in node.value:
            yield from texts_in(child)
    elif isinstance(node.value, str):
        yield node


def listed(names: Any) -> str:
    """The first of many names, as messages list them."""
    known = list(names)
    return ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
