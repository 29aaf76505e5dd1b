"""What a mapping declares and never uses: parameters under `params`, and layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tfpt.language.parameters import used_parameters
from tfpt.language.tree import Node


@dataclass(frozen=True)
class Unused:
    """A parameter or layer that has no effect.

    Attributes:
        section: The section that declares it.
        name: Its name.
        by: Others of the section that use it and are themselves unused.
    """

    section: Literal["params", "layers"]
    name: str
    by: tuple[str, ...] = ()


def unused(document: Node, file: str, placed: Iterable[str]) -> tuple[Unused, ...]:
    """What a file declares and neither it nor anything that it extends uses.

    What other files declare does not count: they may be extended by several mappings, not all of which need it.

    Args:
        document: The mapping, merged with those that it extends, before substitution.
        file: The file, as in positions.
        placed: The layers that a scope places, directly or within other layers.

    Example:
        >>> from tfpt.language.tree import parse_document
        >>> tree = parse_document("{params: {n: 3, m: 5}, layers: {a: {}}, source: {scope: 'net_${n}'}}", "m.yaml")
        >>> [(each.section, each.name) for each in unused(tree, "m.yaml", [])]
        [('params', 'm'), ('layers', 'a')]
    """
    params, layers = _own(document, "params", file), _own(document, "layers", file)
    used = used_parameters(document)
    idle = [name for name in params if name not in used.needed]
    spare = [name for name in layers if name not in set(placed)]
    return (
        *(
            Unused(
                "params", name, tuple(other for other in used.by.get(name, ()) if other not in used.needed)
            )
            for name in idle
        ),
        *(Unused("layers", name, tuple(_placing(document, name, spare))) for name in spare),
    )


def _own(document: Node, section: str, file: str) -> list[str]:
    """The names that the file itself declares in a section."""
    table = document.value.get(section)
    if table is None or not isinstance(table.value, dict):
        return []
    return [name for name, position in table.keys.items() if position.file == file]


def _placing(document: Node, name: str, layers: Iterable[str]) -> Iterable[str]:
    """Those of the layers whose scopes place the layer `name`."""
    for other in layers:
        layer = document.value["layers"].value[other].value
        scopes = layer.get("scopes") if isinstance(layer, dict) else None
        for scope in scopes.value if scopes is not None and isinstance(scopes.value, list) else ():
            inner = scope.value.get("layer") if isinstance(scope.value, dict) else None
            if inner is not None and inner.value == name and other != name:
                yield other
                break
