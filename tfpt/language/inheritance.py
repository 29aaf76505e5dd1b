"""`extends`: merges several files into one tree."""

from __future__ import annotations

from tfpt.language.tree import Node

# Lists that are appended to those of the base; all other lists replace them.
_ADDED = {("scopes",), ("weights",), ("modules",), ("source", "ignore")}
# Dicts whose entries are replaced as a whole.
_BY_NAME = {("layers",), ("params",), ("model", "kwargs")}


def extend(base: Node, child: Node, path: tuple[str, ...] = ()) -> Node:
    """`child` merged into `base`: scalars replace, `scopes` and `ignore` append, `layers` replace by name.

    Example:
        >>> from tfpt.language.tree import parse_document
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
