"""Places layers: each scope with its layer, and the scopes inside that layer, down to single rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tfpt.errors import MappingError
from tfpt.io import limits
from tfpt.language.row_schema import LayerEntry, RowEntry, ScopeEntry
from tfpt.language.schema import MappingEntry
from tfpt.language.templates import PT_SEPARATOR, TF_SEPARATOR, join
from tfpt.language.tree import Node, Position
from tfpt.nearest import nearest

Add = Callable[[MappingError, Position], None]


@dataclass(frozen=True)
class Placement:
    """A layer in one scope, or in a scope within another layer's.

    Attributes:
        name: The layer's name.
        layer: The layer.
        tf, pt: The prefixes of its names, as text; `tf` begins with a slash if it is relative to the root.
        scopes: The positions of the scopes, outermost first.
        optional, overrides: Whether one of the scopes says so.
        active: Whether no scope is switched off by `when`.
        axes: Sizes for the layouts of its rows: those of the scopes, outer scopes first.
        own_axes: Those of the innermost scope.
        padding, eps: The padding and epsilon of its modules: those of the outermost scope that has one, else the
            layer's, else those of the layer around it.
        inherited: Which of "padding" and "eps" are stated for several layers: by a scope or a layer around this one,
            or by the scope of a layer that contains others.
    """

    name: str
    layer: LayerEntry
    tf: str
    pt: str
    scopes: tuple[Position, ...]
    optional: bool
    overrides: bool
    active: bool
    axes: Mapping[str, int]
    own_axes: Mapping[str, int]
    padding: Literal["same", "valid", "symmetric"] | None
    eps: float | None
    inherited: frozenset[str]


@dataclass(frozen=True)
class _Outside:
    """What the scopes around a scope, and the layer that contains it, pass on to it."""

    tf: str = ""
    pt: str = ""
    scopes: tuple[Position, ...] = ()
    optional: bool = False
    overrides: bool = False
    active: bool = True
    axes: Mapping[str, int] = field(default_factory=dict)
    imposed: tuple[Literal["same", "valid", "symmetric"] | None, float | None] = (None, None)
    default: tuple[Literal["same", "valid", "symmetric"] | None, float | None] = (None, None)


def placements(tree: Node, entry: MappingEntry, add: Add) -> tuple[Placement, ...]:
    """Every placement of every layer, in the order of the file.

    Args:
        tree: The mapping as a tree with positions.
        entry: The same mapping, validated.
        add: Called with each mistake and its position: a layer that does not exist.

    Raises:
        MappingError: A layer contains itself, or layers times scopes exceed the limit on rows.
    """
    _check_amount(tree, entry)
    return tuple(_placed(tree, entry, entry.scopes, ("scopes",), _Outside(), add))


def below(outer: str, name: str) -> str:
    """A TensorFlow name in a scope; one that begins with a slash is relative to the root of the checkpoint.

    Example:
        >>> below("net/block", "conv/w"), below("net/block", "/global_step")
        ('net/block/conv/w', '/global_step')
    """
    return name if name.startswith(TF_SEPARATOR) else join(outer, name, TF_SEPARATOR)


def _placed(
    tree: Node,
    entry: MappingEntry,
    scopes: Sequence[ScopeEntry],
    path: tuple[int | str, ...],
    outside: _Outside,
    add: Add,
) -> Iterator[Placement]:
    for index, scope in enumerate(scopes):
        position = tree.locate([*path, index])
        layer = entry.layers.get(scope.name)
        if layer is None:
            where = tree.locate([*path, index, "layer" if scope.use is None else "use"])
            add(_unknown(scope.name, entry), where)
            continue
        padding = outside.imposed[0] if outside.imposed[0] is not None else scope.padding
        eps = outside.imposed[1] if outside.imposed[1] is not None else scope.eps
        default = (
            layer.padding if layer.padding is not None else outside.default[0],
            layer.eps if layer.eps is not None else outside.default[1],
        )
        inside = _Outside(
            tf=below(outside.tf, scope.tf),
            pt=join(outside.pt, scope.pt, PT_SEPARATOR),
            scopes=(*outside.scopes, position),
            optional=outside.optional or scope.optional,
            overrides=outside.overrides or scope.overrides,
            active=outside.active and scope.when,
            axes={**scope.axes, **outside.axes},
            imposed=(padding, eps),
            default=default,
        )
        yield Placement(
            name=scope.name,
            layer=layer,
            tf=inside.tf,
            pt=inside.pt,
            scopes=inside.scopes,
            optional=inside.optional,
            overrides=inside.overrides,
            active=inside.active,
            axes=inside.axes,
            own_axes=scope.axes,
            padding=padding if padding is not None else default[0],
            eps=eps if eps is not None else default[1],
            inherited=frozenset(
                key
                for key, imposed, own in (
                    ("padding", outside.imposed[0], (scope.padding, layer.padding)),
                    ("eps", outside.imposed[1], (scope.eps, layer.eps)),
                )
                if imposed is not None or own == (None, None) or (layer.scopes and own[0] is not None)
            ),
        )
        yield from _placed(tree, entry, layer.scopes, ("layers", scope.name, "scopes"), inside, add)


def _unknown(name: str, entry: MappingEntry) -> MappingError:
    own = [layer for layer in entry.layers if TF_SEPARATOR not in layer]
    return MappingError(
        f"there is no layer {name!r}",
        expected=", ".join(own) or "a layers: section",
        nearest=nearest(name, own),
    )


@dataclass(frozen=True)
class _Amount:
    """Rows, their names, and the characters in those names."""

    rows: int = 0
    names: int = 0
    characters: int = 0

    def __add__(self, other: _Amount) -> _Amount:
        return _Amount(self.rows + other.rows, self.names + other.names, self.characters + other.characters)

    def prefixed(self, characters: int) -> _Amount:
        return _Amount(self.rows, self.names, self.characters + characters * self.names)


def _check_amount(tree: Node, entry: MappingEntry) -> None:
    """Refuse too many rows or too long names before placing any."""
    amounts = _Amounts(tree, entry)
    sources = entry.source.scope
    prefixes = sum(map(len, sources))

    def check(total: _Amount, position: Position) -> None:
        rows = total.rows * len(sources)
        characters = total.characters * len(sources) + total.names * prefixes
        if rows > limits.MAPPING_ROWS or characters > 2 * limits.MAPPING_CHARACTERS:
            raise MappingError(
                f"the mapping has more than {limits.MAPPING_ROWS:,} rows across all scopes, or names of more than "
                f"{2 * limits.MAPPING_CHARACTERS:,} characters",
                where=str(position),
            )

    total = _own(entry.weights)
    for index, scope in enumerate(entry.scopes):
        total = total + amounts.of(scope, tree.locate(["scopes", index]), ())
        check(total, tree.locate(["scopes", index]))
    check(total, tree.locate(["weights"]))


class _Amounts:
    """The amount in each layer with everything inside it, computed once for each layer."""

    def __init__(self, tree: Node, entry: MappingEntry) -> None:
        self.tree = tree
        self.entry = entry
        self.known: dict[str, _Amount] = {}

    def of(self, scope: ScopeEntry, position: Position, around: tuple[str, ...]) -> _Amount:
        prefix = len(scope.tf) + len(scope.pt)
        return self._inside(scope.name, position, around).prefixed(prefix)

    def _inside(self, name: str, position: Position, around: tuple[str, ...]) -> _Amount:
        if name in self.known or name not in self.entry.layers:
            return self.known.get(name, _Amount())
        if name in around:
            circle = (*around[around.index(name) :], name)
            raise MappingError(
                f"the layer {name!r} contains itself", where=str(position), got=" → ".join(circle)
            )
        if len(around) >= limits.MAPPING_DEPTH:
            raise MappingError(
                f"more than {limits.MAPPING_DEPTH} layers inside one another", where=str(position)
            )
        layer = self.entry.layers[name]
        total = _own(layer.weights)
        for index, scope in enumerate(layer.scopes):
            at = self.tree.locate(["layers", name, "scopes", index])
            total = total + self.of(scope, at, (*around, name))
        # A placement without rows counts too: the placements themselves could be too many.
        self.known[name] = _Amount(max(total.rows, 1), total.names, total.characters)
        return self.known[name]


def _own(rows: Sequence[RowEntry]) -> _Amount:
    names = [name for row in rows for name in (*(row.tf or ()), *row.pt, *(row.also or ()))]
    count = sum(1 + len(row.also or ()) for row in rows)
    return _Amount(count, len(names), sum(map(len, names)))
