"""Single scopes and rows for matches: layers of the library where one covers a scope, rows of their own otherwise."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tfpt.language.library import library_layers
from tfpt.operations.layout import Layout, LayoutError
from tfpt.proposal.matches import Match
from tfpt.proposal.sides import Side
from tfpt.proposal.templates import Item

_CHOICE = re.compile(r"\{_:([^{}]*)\}")
# Libraries in the order in which they are preferred where several have a layer that fits.
_PREFERRED = ("keras", "slim", "flax", "tf1", "sonnet")
# Rows that do more than a layout can say are taken from a library's layer without a comparison.
_SPECIAL = ("reorder", "split", "concat", "add", "combine", "product", "fold", "apply", "scale")


@dataclass(frozen=True)
class _Row:
    """A row of a library's layer: the names of its variables and parameters relative to the layer."""

    tf: tuple[str, ...]
    pt: tuple[str, ...]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class _Layer:
    name: str
    rows: tuple[_Row, ...]


def items(
    matches: Sequence[Match], variables: Side, parameters: Side, behaviors: Mapping[str, str] | None = None
) -> list[Item]:
    """The scopes and rows that say what the matches say, one by one.

    Args:
        matches: What becomes what.
        variables, parameters: Both sides.
        behaviors: How modules must behave, by path, as the keys of a scope; rows cannot state it.
    """
    stated = behaviors or {}
    by_scope: dict[tuple[str, str], list[Match]] = defaultdict(list)
    loose: list[Match] = []
    shared = {v for match in matches if "tied" in match.keys for v in match.variables}
    for match in matches:
        if shared & set(match.variables):
            continue
        scopes = {variables.names[v].scope for v in match.variables}
        targets = {parameters.names[p].scope for p in match.parameters}
        if len(scopes) <= 1 and len(targets) == 1 and not match.series:
            by_scope[next(iter(scopes), ""), targets.pop()].append(match)
        else:
            loose.append(match)
    _join_constants(by_scope)
    in_scope: dict[str, list[str]] = defaultdict(list)
    for name in variables.names:
        in_scope[name.scope].append(name.text)
    found: list[Item] = []
    for (scope, target), members in by_scope.items():
        layer = _layer(scope, target, members, variables, parameters, in_scope)
        if layer is None:
            loose += members
            continue
        place = min(match.parameters[0] for match in members)
        unsure = frozenset(match.unsure for match in members if match.unsure)
        content = f"use: {layer.name}"
        if target in stated:
            content += f", {stated[target]}"
        found.append(Item((scope,), (target,), content, place, unsure))
    found += [_row(match, variables, parameters) for match in loose]
    found += _shared(matches, shared, variables, parameters)
    return sorted(found, key=lambda item: item.place)


def _join_constants(by_scope: dict[tuple[str, str], list[Match]]) -> None:
    """Constants go with the variables of their module, if all of these are in one scope."""
    by_target: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key in by_scope:
        by_target[key[1]].append(key)
    for (scope, target), members in list(by_scope.items()):
        if scope == "" and all(not match.variables for match in members):
            homes = [key for key in by_target[target] if key != (scope, target)]
            if len(homes) == 1:
                by_scope[homes[0]] += members
                del by_scope[scope, target]


def _layer(
    scope: str,
    target: str,
    members: list[Match],
    variables: Side,
    parameters: Side,
    in_scope: Mapping[str, list[str]],
) -> _Layer | None:
    """The layer of the library that does exactly what the matches do."""
    if not scope or not target or any(match.keys.get("tied") for match in members):
        return None
    below = len(scope) + 1
    inside = len(target) + 1
    wanted = {tuple(parameters.specs[p].name[inside:] for p in match.parameters): match for match in members}
    names = {variables.specs[v].name[below:] for match in members for v in match.variables}
    others = {name[below:] for name in in_scope[scope]} - names
    for layer in _layers():
        if not others & {name for row in layer.rows for name in row.tf} and _covers(
            layer, wanted, names, below, variables, parameters
        ):
            return layer
    return None


def _covers(
    layer: _Layer,
    wanted: Mapping[tuple[str, ...], Match],
    names: set[str],
    below: int,
    variables: Side,
    parameters: Side,
) -> bool:
    done: set[str] = set()
    targets = {name for group in wanted for name in group}
    for row in layer.rows:
        present = [name for name in row.pt if name in targets]
        if not present:
            if not row.values.get("optional"):
                return False
            continue
        if len(present) != len(row.pt) or (row.tf and not set(row.tf) <= names):
            if row.values.get("optional") and not set(row.tf) & names:
                continue
            return False
        if row.pt in wanted and not _agrees(row, wanted[row.pt], below, variables, parameters):
            return False
        if row.pt not in wanted and not any(key in row.values for key in _SPECIAL):
            return False
        done |= set(row.pt)
    if all(row.values.get("optional") for row in layer.rows) and len(done) < len(layer.rows):
        return False  # what is there is too little to tell the layer by
    return done == targets and names == {name for row in layer.rows for name in row.tf if name in names}


def _agrees(row: _Row, match: Match, below: int, variables: Side, parameters: Side) -> bool:
    if tuple(variables.specs[v].name[below:] for v in match.variables) != row.tf:
        return False
    if not row.tf:
        return row.values.get("fill") == match.keys.get("fill")
    if match.keys:
        return any(key in row.values for key in _SPECIAL)
    shape, result = variables.shapes[match.variables[0]], parameters.shapes[match.parameters[0]]
    layout = row.values.get("layout", "")
    return _effect(layout, shape) == _effect(match.layout, shape) and _gives(layout, shape, result)


def _gives(pattern: str, shape: tuple[int, ...], result: tuple[int, ...]) -> bool:
    try:
        return (Layout.parse(pattern).bind(shape).shape if pattern else shape) == result
    except LayoutError:
        return False


def _effect(pattern: str, shape: tuple[int, ...]) -> str:
    """A layout with its axes by place instead of letter, those of size 1 left out."""
    if not pattern:
        pattern = f"{' '.join('abcdefgh'[: len(shape)])} -> {' '.join('abcdefgh'[: len(shape)])}"
    left, _, right = pattern.partition(" -> ")
    axes = left.split()
    if "..." in axes:
        missing = len(shape) - len(axes) + 1
        axes = ["1"] * missing + [axis for axis in axes if axis != "..."]
    if len(axes) != len(shape):
        return pattern
    places = {axis: str(place) for place, axis in enumerate(axes) if axis != "1" and shape[place] > 1}
    groups = re.findall(r"\([^)]*\)|\S+", right)
    written = [
        " ".join(places[axis] for axis in group.strip("()").split() if axis in places) for group in groups
    ]
    return "|".join(group for group in written if group)


@cache
def _layers() -> tuple[_Layer, ...]:
    """The library's layers whose names are all spelled out, those with most rows first."""
    nodes = library_layers()
    found = [
        _Layer(name, rows) for name, node in nodes.items() for rows in _variants(node.plain(), nodes) if rows
    ]
    order = {library: place for place, library in enumerate(_PREFERRED)}

    def key(layer: _Layer) -> tuple[int, int]:
        library = layer.name.partition("/")[0]
        return order.get(library, len(order)), -len(layer.rows)

    return tuple(sorted(found, key=key))


def _variants(layer: Mapping[str, Any], nodes: Mapping[str, Any]) -> Iterator[tuple[_Row, ...]]:
    """The rows of a layer and of those in it, for each choice of names; nothing for one that has fields."""
    rows = list(_rows(layer, nodes, "", ""))
    texts = json.dumps([[row.tf, row.pt] for row in rows])
    choices = sorted(set(_CHOICE.findall(texts)))
    if "{" in _CHOICE.sub("", texts) or len(choices) > 3:
        return
    for words in itertools.product(*(choice.split("|") for choice in choices)):
        chosen = dict(zip(choices, words, strict=True))

        def name(text: str, chosen: Mapping[str, str] = chosen) -> str:
            return _CHOICE.sub(lambda match: chosen[match[1]].replace("=", ""), text)

        yield tuple(_Row(tuple(map(name, row.tf)), tuple(map(name, row.pt)), row.values) for row in rows)


def _rows(layer: Mapping[str, Any], nodes: Mapping[str, Any], tf: str, pt: str) -> Iterator[_Row]:
    for row in layer.get("weights", ()):
        yield _Row(
            tuple(_below(tf, name, "/") for name in _listed(row.get("tf"))),
            tuple(_below(pt, name, ".") for name in _listed(row["pt"])),
            row,
        )
    for scope in layer.get("scopes", ()):
        inner = nodes.get(scope.get("use", ""))
        if inner is not None:
            yield from _rows(inner.plain(), nodes, _below(tf, scope["tf"], "/"), _below(pt, scope["pt"], "."))


def _listed(names: Any) -> list[str]:
    return [] if names is None else [names] if isinstance(names, str) else list(names)


def _below(scope: str, name: str, separator: str) -> str:
    return separator.join(filter(None, (scope, name)))


def _row(match: Match, variables: Side, parameters: Side) -> Item:
    """A row of its own."""
    tf = tuple(variables.specs[v].name for v in match.variables)
    pt = tuple(parameters.specs[p].name for p in match.parameters)
    keys = dict(match.keys)
    if match.series:
        tf, pt = _counted(tf, "/"), _counted(pt, ".")
    content = []
    if match.layout:
        content.append(f'layout: "{match.layout}"')
    content += [f"{key}: {_flow(value)}" for key, value in keys.items()]
    unsure = frozenset((match.unsure,)) if match.unsure else frozenset()
    return Item(tf, pt, ", ".join(content), match.parameters[0], unsure)


def _shared(matches: Sequence[Match], shared: set[int], variables: Side, parameters: Side) -> list[Item]:
    """Rows for variables that become several parameters: the first in the model, and `also` the others."""
    found = []
    for v in shared:
        copies = [match for match in matches if match.variables == (v,)]
        for layout in dict.fromkeys(match.layout for match in copies):
            alike = [match for match in copies if match.layout == layout]
            names = [parameters.specs[p].name for match in alike for p in match.parameters]
            keys: dict[str, Any] = {} if layout == copies[0].layout else {"tied": True}
            if len(names) > 1:
                keys["also"] = names[1:] if len(names) > 2 else names[1]
            unsure = "; ".join(dict.fromkeys(match.unsure for match in alike if match.unsure))
            found.append(
                _row(Match((v,), alike[0].parameters, layout, keys, unsure=unsure), variables, parameters)
            )
    return found


def _counted(names: tuple[str, ...], separator: str) -> tuple[str, ...]:
    """One name with a field, for names that count from 0."""
    if len(names) < 2:
        return names
    numbers = [re.findall(r"\d+", name) for name in names]
    for place in range(len(numbers[0])):
        if [int(found[place]) for found in numbers] == list(range(len(names))):
            pieces = re.split(r"(\d+)", names[0])
            text = pieces[2 * place + 1]
            width = len(text)
            pieces[2 * place + 1] = "{s:int}" if width == 1 else f"{{s:{width:02}}}"
            return ("".join(pieces),)
    return names


def number(value: float) -> str:
    """A small number as YAML reads it.

    Example:
        >>> number(1e-3), number(1.001e-5)
        ('1.0e-3', '1.001e-5')
    """
    digits, _, exponent = f"{value:.6e}".partition("e")
    digits = digits.rstrip("0")
    return f"{digits}0e{int(exponent)}" if digits.endswith(".") else f"{digits}e{int(exponent)}"


def _flow(value: Any) -> str:
    """A value as YAML in one line.

    Example:
        >>> _flow({"axis": "n", "to": 30528}), _flow({"n": ":512"}), _flow(True)
        ('{axis: n, to: 30528}', '{n: ":512"}', 'true')
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z_][\w.]*", value) else json.dumps(value)
    return json.dumps(value)
