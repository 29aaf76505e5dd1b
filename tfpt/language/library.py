"""Layers that any mapping can place: `use: keras/dense` places the layer `dense` of `mappings/layers/keras.yaml`.

They come with tfpt, or are in the folder `layers` of an installed package with mappings.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from tfpt.errors import MappingError
from tfpt.language.documents import kept_document
from tfpt.language.mapping_files import ambiguous
from tfpt.language.mapping_packages import (
    BUNDLED,
    QUALIFIER,
    mapping_packages,
    package_of,
    packages_called,
    unusable_packages,
)
from tfpt.language.tree import Node
from tfpt.nearest import nearest

_log = logging.getLogger("tfpt")

SEPARATOR = "/"

# The folder with libraries, beside mappings.
_FOLDER = "layers"


@cache
def libraries() -> Mapping[str, Path]:
    """The files with layers that come with tfpt, by name.

    Example:
        >>> "keras" in libraries()
        True
    """
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


@cache
def _folder() -> Path:
    return Path(str(resources.files("tfpt.mappings"))).resolve() / _FOLDER


def library_layers() -> dict[str, Node]:
    """Every layer that comes with tfpt, by the name that `use` takes, as YAML with positions.

    Example:
        >>> library_layers()["keras/dense"].plain()["weights"][0]
        {'tf': 'kernel', 'pt': 'weight', 'layout': 'i o -> o i'}
    """
    return {
        f"{library}{SEPARATOR}{name}": node
        for library, path in libraries().items()
        for name, node in _layers(path).items()
    }


def named_layers() -> dict[str, Node]:
    """Every layer that `use` can name: those that come with tfpt, then `package:library/layer` of installed packages.

    A library of a package that cannot be read is left out, with a warning.
    """
    found = library_layers()
    for package in mapping_packages():
        for library, path in package.libraries.items():
            prefix = f"{package.qualified(library)}{SEPARATOR}"
            try:
                found.update({f"{prefix}{name}": node for name, node in _layers(path).items()})
            except MappingError as error:
                _log.warning("the library %s cannot be used: %s", prefix[:-1], error)
    return found


def is_library(file: str) -> bool:
    """Whether a file, as in a position, has layers that come with tfpt or with an installed package."""
    path = Path(file)
    if path.parent.name != _FOLDER:
        return False
    return path.resolve().parent == _folder() or package_of(path) is not None


def with_used_layers(tree: Node) -> tuple[Node, dict[Path, str]]:
    """The mapping with the library's layers that it uses added to its own, directly or within each other.

    Returns:
        The mapping; and the libraries of installed packages among those used, with the SHA-256 digests of their files.

    Raises:
        MappingError: There is no such library or layer, or a layer of the mapping has a name like theirs.
    """
    if not isinstance(tree.value, dict):
        return tree, {}
    own = tree.value.get("layers", Node({}, tree.position))
    if not isinstance(own.value, dict):
        return tree, {}  # reported when it is validated
    for name, position in own.keys.items():
        if SEPARATOR in name:
            raise MappingError(
                f"the name of a layer cannot contain {SEPARATOR}, as those of tfpt's own layers do",
                where=str(position),
                got=name,
            )
    layers = dict(own.value)
    placed: set[str] = set()
    files: dict[Path, str] = {}
    bundled = set(libraries().values())
    to_search = [tree.value.get("scopes"), *(_scopes(layer) for layer in own.value.values())]
    while to_search:
        for use in _uses(to_search.pop()):
            path, found = _find(use)
            if path not in bundled:
                files[path.resolve()] = kept_document(path).digest
            if layers.setdefault(use.value, found) is not found:
                raise _two_meanings(use, found, layers[use.value])
            if use.value not in placed:
                placed.add(use.value)
                to_search.append(_scopes(found))
    if len(layers) == len(own.value):
        return tree, files
    positions = {name: layers[name].position for name in layers if name not in own.keys}
    children = {**tree.value, "layers": Node(layers, own.position, {**own.keys, **positions})}
    return Node(children, tree.position, {"layers": own.position, **tree.keys}), files


def _scopes(layer: Node) -> Node | None:
    return layer.value.get("scopes") if isinstance(layer.value, dict) else None


def _uses(scopes: Node | None) -> Iterator[Node]:
    for scope in scopes.value if scopes is not None and isinstance(scopes.value, list) else ():
        use = scope.value.get("use") if isinstance(scope.value, dict) else None
        if use is not None and isinstance(use.value, str):
            yield use


def _find(use: Node) -> tuple[Path, Node]:
    """The layer that `use` names, and its file: one of tfpt's, of the mapping's own package, or of another package.

    Raises:
        MappingError: There is none, or several packages have one.
    """
    qualifier, colon, name = use.value.rpartition(QUALIFIER)
    library, _, layer = name.partition(SEPARATOR)
    if qualifier in ("", BUNDLED) and library in libraries():
        path = libraries()[library]
        if layer in _layers(path):
            return path, _layers(path)[layer]
    packages = packages_called(qualifier) if colon else mapping_packages()
    having = [
        package
        for package in packages
        if library in package.libraries and layer in _layers(package.libraries[library])
    ]
    own = package_of(use.position.file) if len(having) > 1 else None
    if own in having:
        having = [own]
    if len(having) > 1:
        what = f"{len(having)} packages have a layer {use.value!r}"
        raise ambiguous(what, name, having, str(use.position))
    if having:
        path = having[0].libraries[library]
        return path, _layers(path)[layer]
    known = [
        each for each in named_layers() if each.startswith(f"{use.value.partition(SEPARATOR)[0]}{SEPARATOR}")
    ]
    raise MappingError(
        f"there is no layer {use.value!r}" if packages else f"tfpt has no layer {use.value!r}",
        where=str(use.position),
        expected=", ".join(each.rpartition(SEPARATOR)[2] for each in known) or "LIBRARY/LAYER",
        nearest=_similar(use.value),
        hint="tfpt mappings --layers; layer: names a layer of this mapping",
        causes=unusable_packages(),
    )


def _two_meanings(use: Node, found: Node, other: Node) -> MappingError:
    return MappingError(
        f"{use.value!r} names two layers, in files of different packages",
        where=str(use.position),
        expected=f"PACKAGE{QUALIFIER}{use.value}",
        got=f"{found.position.row} and {other.position.row}",
    )


def _similar(use: str) -> list[str]:
    """The nearest layers; those of any library if the text names none."""
    every = list(named_layers())
    closest = nearest(use, every)
    if closest:
        return closest
    names = {name.partition(SEPARATOR)[2] for name in every}
    same = nearest(use.rpartition(SEPARATOR)[2], names, 1)
    return [name for name in every if name.partition(SEPARATOR)[2] in same]


@cache
def _layers(path: Path) -> dict[str, Node]:
    """The layers of a library.

    Raises:
        MappingError: The file cannot be read, or has no layers.
    """
    root = kept_document(path).root
    layers = root.value.get("layers") if isinstance(root.value, dict) else None
    if layers is None or not isinstance(layers.value, dict):
        raise MappingError(
            "a library is a table of layers",
            where=str(root.position),
            expected="layers: {NAME: {weights: […]}}",
        )
    found: dict[str, Node] = layers.value
    return found
