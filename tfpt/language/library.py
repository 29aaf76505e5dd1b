"""The layers that come with tfpt: `use: keras/dense` places the layer `dense` of `mappings/layers/keras.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from tfpt.errors import MappingError
from tfpt.language.tree import Node, read_document
from tfpt.nearest import nearest

SEPARATOR = "/"


@cache
def libraries() -> Mapping[str, Path]:
    """The files with layers that come with tfpt, by name.

    Example:
        >>> "keras" in libraries()
        True
    """
    folder = Path(str(resources.files("tfpt.mappings"))) / "layers"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def library_layers() -> dict[str, Node]:
    """Every layer that `use` can name, as YAML with positions.

    Example:
        >>> library_layers()["keras/dense"].plain()["weights"][0]
        {'tf': 'kernel', 'pt': 'weight', 'layout': 'i o -> o i'}
    """
    return {
        f"{library}{SEPARATOR}{name}": node
        for library in libraries()
        for name, node in _layers(library).items()
    }


def with_used_layers(tree: Node) -> Node:
    """The mapping with the library's layers that it uses added to its own, directly or within each other.

    Raises:
        MappingError: There is no such library or layer, or a layer of the mapping has a name like theirs.
    """
    if not isinstance(tree.value, dict):
        return tree
    own = tree.value.get("layers", Node({}, tree.position))
    if not isinstance(own.value, dict):
        return tree  # reported when it is validated
    for name, position in own.keys.items():
        if SEPARATOR in name:
            raise MappingError(
                f"the name of a layer cannot contain {SEPARATOR}, as those of tfpt's own layers do",
                where=str(position),
                got=name,
            )
    layers = dict(own.value)
    to_search = [tree.value.get("scopes"), *(_scopes(layer) for layer in own.value.values())]
    while to_search:
        for use in _uses(to_search.pop()):
            if use.value not in layers:
                layers[use.value] = _find(use)
                to_search.append(_scopes(layers[use.value]))
    if len(layers) == len(own.value):
        return tree
    positions = {name: layers[name].position for name in layers if name not in own.keys}
    children = {**tree.value, "layers": Node(layers, own.position, {**own.keys, **positions})}
    return Node(children, tree.position, {"layers": own.position, **tree.keys})


def _scopes(layer: Node) -> Node | None:
    return layer.value.get("scopes") if isinstance(layer.value, dict) else None


def _uses(scopes: Node | None) -> Iterator[Node]:
    for scope in scopes.value if scopes is not None and isinstance(scopes.value, list) else ():
        use = scope.value.get("use") if isinstance(scope.value, dict) else None
        if use is not None and isinstance(use.value, str):
            yield use


def _find(use: Node) -> Node:
    library, _, name = use.value.partition(SEPARATOR)
    known = libraries()
    layers = _layers(library) if library in known else {}
    if name in layers:
        return layers[name]
    raise MappingError(
        f"tfpt has no layer {use.value!r}",
        where=str(use.position),
        expected=", ".join(layers) if layers else "LIBRARY/LAYER",
        nearest=_similar(use.value),
        hint="tfpt mappings --layers; layer: names a layer of this mapping",
    )


def _similar(use: str) -> list[str]:
    """The nearest layers; those of any library if the text names none."""
    every = list(library_layers())
    closest = nearest(use, every)
    if closest:
        return closest
    names = {name.partition(SEPARATOR)[2] for name in every}
    same = nearest(use.rpartition(SEPARATOR)[2], names, 1)
    return [name for name in every if name.partition(SEPARATOR)[2] in same]


@cache
def _layers(library: str) -> dict[str, Node]:
    layers: dict[str, Node] = read_document(libraries()[library]).value["layers"].value
    return layers
