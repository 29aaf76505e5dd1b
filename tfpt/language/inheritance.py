"""`extends` and `drop`: merges several files into one tree."""

from __future__ import annotations

from collections.abc import Iterator

from tfpt.errors import MappingError
from tfpt.language.tree import Node
from tfpt.nearest import nearest

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


def drop(base: Node, names: Node) -> Node:
    """`base` without the rows, scopes and modules whose `pt` is one of `names`.

    Args:
        base: The mapping that is extended.
        names: The value of `drop`: one text or a list, each exactly as written under `pt`.

    Raises:
        MappingError: Nothing in `base` has such a `pt`.

    Example:
        >>> from tfpt.language.tree import parse_document
        >>> base = parse_document("weights: [{tf: a, pt: head.bias}, {tf: b, pt: body.bias}]", "base.yaml")
        >>> drop(base, parse_document("head.bias", "child.yaml")).plain()
        {'weights': [{'tf': 'b', 'pt': 'body.bias'}]}
    """
    wanted = names.value if isinstance(names.value, list) else [names]
    lists = {
        key: base.value[key]
        for key in ("scopes", "weights", "modules")
        if key in base.value and isinstance(base.value[key].value, list)
    }
    known = {text for node in lists.values() for entry in node.value for text in _pt(entry)}
    for name in wanted:
        if not isinstance(name.value, str) or name.value not in known:
            raise MappingError(
                f"drop: no inherited row, scope or module has pt: {name.plain()}",
                where=str(name.position),
                expected="a pt: of the mapping that this one extends, exactly as written there",
                nearest=nearest(str(name.plain()), sorted(known)),
            )
    dropped = {name.value for name in wanted}
    kept = {
        key: Node([entry for entry in node.value if dropped.isdisjoint(_pt(entry))], node.position)
        for key, node in lists.items()
    }
    return Node({**base.value, **kept}, base.position, base.keys)


def _pt(entry: Node) -> Iterator[str]:
    pt = entry.value.get("pt") if isinstance(entry.value, dict) else None
    for name in pt.value if pt is not None and isinstance(pt.value, list) else [pt]:
        if name is not None and isinstance(name.value, str):
            yield name.value
