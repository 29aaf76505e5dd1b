"""The sound part of a mapping with mistakes, so that one mistake does not hide those of other rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tfpt.language.tree import Node, Position

Path = tuple[int | str, ...]


def without(root: Node, mistakes: Iterable[tuple[Path, bool]]) -> Node:
    """A mapping without its mistakes: without the rows and other entries that contain one, or else the single key.

    Args:
        root: A mapping.
        mistakes: The path of each mistake, and whether it is a missing key.

    Example:
        >>> from tfpt.language.tree import parse_document
        >>> tree = parse_document("{bogus: 1, weights: [{tf: a}, {tf: b, pt: c}]}", "m.yaml")
        >>> without(tree, [(("bogus",), False), (("weights", 0, "pt"), True)]).plain()
        {'weights': [{'tf': 'b', 'pt': 'c'}], 'version': 1}
    """
    dropped = {_entry(root, path[:-1] if missing else path) for path, missing in mistakes}
    if ("layers",) in dropped or ("layers" not in root.value and any(len(path) == 1 for path in dropped)):
        dropped.add(("scopes",))  # they would only say that their layers are missing
    pruned = _pruned(root, {path for path in dropped if path}, ())
    version = Node(1, root.position)
    return replace(
        pruned,
        value={**pruned.value, "version": version},
        keys={"version": root.position, **pruned.keys},
    )


def _entry(root: Node, path: Path) -> Path:
    """The entry to leave out: the outermost one of a list of tables, or the value at the path."""
    node = root
    for depth, step in enumerate(path):
        children = dict(enumerate(node.value)) if isinstance(node.value, list) else node.value
        if not isinstance(children, dict) or step not in children:
            return path[:depth]
        if isinstance(node.value, list):
            # One item of a list of numbers or texts is nothing without the others.
            return path[: depth + 1] if isinstance(children[step].value, dict) else path[:depth]
        node = children[step]
    return path


def _pruned(node: Node, dropped: set[Path], path: Path) -> Node:
    if isinstance(node.value, list):
        kept = [
            _pruned(child, dropped, (*path, index))
            for index, child in enumerate(node.value)
            if (*path, index) not in dropped
        ]
        return replace(node, value=kept)
    if not isinstance(node.value, dict):
        return node
    keys: dict[str, Position] = {}
    children: dict[str, Node] = {}
    for key, child in node.value.items():
        inside = (*path, key)
        if inside in dropped and len(inside) == 2 and path == ("layers",):
            child = Node({}, child.position)  # scopes may use it
        elif inside in dropped:
            continue
        keys[key], children[key] = node.keys.get(key, child.position), _pruned(child, dropped, inside)
    return replace(node, value=children, keys=keys)
