"""From checked entries to rows: templates joined with their scopes, layouts parsed, axes looked up."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.errors import MappingError
from tfpt.mapping.document import Node, Position
from tfpt.mapping.layout import Layout
from tfpt.mapping.rows import Behaviour, Ema, Ignore, Row, RowSet
from tfpt.mapping.schema import LayerEntry, MappingEntry, RowEntry, ScopeEntry
from tfpt.mapping.template import (
    PT_SEPARATOR,
    TF_SEPARATOR,
    Field,
    Template,
    join,
    pair_lists,
    single,
)
from tfpt.mapping.transform import Add, Pad, Reorder, Slice, Split, Transform, Zero
from tfpt.nearest import nearest


class Compiler:
    """Compiles one checked mapping, collecting every mistake before the first is raised.

    Args:
        tree: The mapping as a tree with positions.
        entry: The same, checked against the schema.
    """

    def __init__(self, tree: Node, entry: MappingEntry) -> None:
        self.tree = tree
        self.entry = entry
        self.mistakes: dict[str, MappingError] = {}
        self._layouts: dict[tuple[str, tuple[tuple[str, int], ...]], Layout] = {}

    def finish(self) -> None:
        """Raise what was found wrong.

        Raises:
            MappingError: One mistake, or all of them as its causes.
        """
        mistakes = list(self.mistakes.values())
        if len(mistakes) == 1:
            raise mistakes[0]
        if mistakes:
            raise MappingError(f"{len(mistakes)} mistakes in the mapping", causes=mistakes)

    def alternatives(self) -> tuple[RowSet, ...]:
        """The rows, once for each scope that the source may have."""
        return tuple(self._row_set(scope) for scope in self.entry.source.scope)

    def behaviours(self) -> tuple[Behaviour, ...]:
        """Padding and epsilon, for the modules that hold a layer's weights and for those without any."""
        found = []
        for index, scope in enumerate(self.entry.scopes):
            layer = self.entry.layers.get(scope.layer)
            if layer is None or (layer.padding is None and layer.eps is None):
                continue
            position = self.tree.locate(["scopes", index])
            parents = {name.rpartition(PT_SEPARATOR)[0] for row in layer.weights for name in row.pt}
            for parent in sorted(parents):
                template = self._single(join(scope.pt, parent, PT_SEPARATOR), PT_SEPARATOR, position)
                if template:
                    found.append(Behaviour(template, layer.padding, layer.eps, position))
        for index, module in enumerate(self.entry.modules):
            position = self.tree.locate(["modules", index])
            template = self._single(module.pt, PT_SEPARATOR, position)
            if template:
                found.append(Behaviour(template, module.padding, module.eps, position))
        return tuple(found)

    def _row_set(self, scope: str) -> RowSet:
        rows = list(self._all_rows(scope.strip(TF_SEPARATOR)))
        ignore = []
        for index, entry in enumerate(self.entry.source.ignore):
            position = self.tree.locate(["source", "ignore", index])
            template = self._single(_absolute(entry.tf, scope), TF_SEPARATOR, position)
            if template:
                ignore.append(Ignore(template, entry.why, entry.overrides, position))
        return RowSet(scope, tuple(rows), tuple(ignore), self._ema(scope))

    def _ema(self, scope: str) -> Ema | None:
        entry = self.entry.source.ema
        if entry is None:
            return None
        position = self.tree.locate(["source", "ema"])
        template = self._single(_absolute(entry.tf, scope), TF_SEPARATOR, position)
        paths = [p for p in template.parts if isinstance(p, Field) and p.kind == "path"] if template else []
        if len(paths) != 1:
            self._add(
                MappingError("ema: tf: needs one path field", expected="{path...}/NAME", got=entry.tf),
                position,
            )
            return None
        exclude = [self._single(_absolute(text, scope), TF_SEPARATOR, position) for text in entry.exclude]
        assert template is not None
        kept = tuple(found for found in exclude if found)
        return Ema(template, entry.use, kept, "" if entry.tf.startswith("/") else scope, position)

    def _all_rows(self, source_scope: str) -> list[Row]:
        rows: list[Row | None] = []
        for index, scope in enumerate(self.entry.scopes):
            scope_position = self.tree.locate(["scopes", index])
            layer = self._layer(scope, index)
            for number, entry in enumerate(layer.weights):
                position = self.tree.locate(["layers", scope.layer, "weights", number])
                rows.append(self._row(entry, position, source_scope, scope, scope_position))
        used = {scope.layer for scope in self.entry.scopes}
        for name, layer in self.entry.layers.items():
            if name not in used:  # compiled for its mistakes only
                for number, entry in enumerate(layer.weights):
                    self._row(entry, self.tree.locate(["layers", name, "weights", number]), "", None, None)
        for index, entry in enumerate(self.entry.weights):
            rows.append(self._row(entry, self.tree.locate(["weights", index]), source_scope, None, None))
        return [row for row in rows if row is not None]

    def _layer(self, scope: ScopeEntry, index: int) -> LayerEntry:
        if scope.layer in self.entry.layers:
            return self.entry.layers[scope.layer]
        mistake = MappingError(
            f"there is no layer {scope.layer!r}",
            expected=", ".join(self.entry.layers) or "a layers: section",
            nearest=nearest(scope.layer, self.entry.layers),
        )
        self._add(mistake, self.tree.locate(["scopes", index, "layer"]))
        return LayerEntry()

    def _row(
        self,
        entry: RowEntry,
        position: Position,
        source_scope: str,
        scope: ScopeEntry | None,
        scope_position: Position | None,
    ) -> Row | None:
        try:
            outer_tf, outer_pt = (scope.tf, scope.pt) if scope else ("", "")
            names = [_absolute(name, join(source_scope, outer_tf, TF_SEPARATOR)) for name in entry.tf or []]
            targets = [join(outer_pt, name, PT_SEPARATOR) for name in entry.pt]
            like = [join(outer_pt, entry.like, PT_SEPARATOR)] if entry.like else []
            # A constant has no variable, but its scope has: what that says of a field holds for it too.
            tf, pt = pair_lists(names or [outer_tf], [*targets, *like])
            tf = tf if names else ()
            pt, like_template = pt[: len(targets)], pt[len(targets)] if like else None
            index = _index_field(tf, pt, like_template)
            return Row(
                tf=tf,
                pt=pt,
                transform=self._transform(entry, tf, index),
                position=position,
                scope=scope_position,
                index=index,
                dtype=entry.dtype,
                fill=entry.fill,
                like=like_template,
                shape=None if entry.shape is None else tuple(entry.shape),
                keep=entry.keep,
                optional=entry.optional or (scope is not None and scope.optional),
                overrides=entry.overrides or (scope is not None and scope.overrides),
                tied=entry.tied,
                fallback=entry.fallback,
            )
        except MappingError as mistake:
            self._add(mistake, position)
            return None

    def _transform(self, entry: RowEntry, tf: Sequence[Template], index: str) -> Transform:
        layout = None if entry.layout is None else self._layout(entry.layout, entry.axes)
        gathers = bool(index) and any(index in template.fields for template in tf)
        apart = bool(index) and not gathers
        if apart and (len(entry.pt) > 1 or entry.split):
            raise MappingError(f"the index {{{index}}} takes the variable apart already, so pt: has one name")
        if gathers and len(tf) > 1:
            raise MappingError(f"the index {{{index}}} stacks variables already, so tf: has one name")
        if entry.split and len(entry.pt) < 2:
            raise MappingError("split: needs several names under pt:", got=", ".join(entry.pt))
        join_by = "concat" if entry.concat else "stack" if gathers or len(tf) > 1 else None
        split = None
        if entry.split:
            sizes = tuple(entry.split.sizes or ())
            if sizes and len(sizes) != len(entry.pt):
                raise MappingError(
                    "split: has not as many sizes as pt: has names",
                    expected=f"{len(entry.pt)} sizes",
                    got=str(list(sizes)),
                )
            split = Split(_single_axis(layout, entry.split.axis, "right", "split"), sizes)
        elif apart or len(entry.pt) > 1:
            split = Split()
        if (
            split
            and split.axis is None
            and layout is not None
            and (not layout.right or len(layout.right[0]) != 1)
        ):
            raise MappingError(
                "the right side of the layout must begin with the axis to split on", got=layout.pattern
            )
        return Transform(
            layout=layout,
            join=join_by,
            concat=_single_axis(layout, entry.concat.axis, "left", "concat") if entry.concat else None,
            slices=tuple(_slice(layout, axis, text) for axis, text in entry.slice.items()),
            reorder=Reorder(_axis(layout, entry.reorder.axis, "reorder"), entry.reorder.indices())
            if entry.reorder
            else None,
            scale=entry.scale,
            add=_add_of(entry, layout),
            pad=Pad(_axis(layout, entry.pad.axis, "pad"), entry.pad.to, entry.pad.multiple, entry.pad.value)
            if entry.pad
            else None,
            zero=Zero(_axis(layout, entry.zero.axis, "zero"), entry.zero.at) if entry.zero else None,
            split=split,
        )

    def _layout(self, pattern: str, axes: dict[str, int]) -> Layout:
        key = (pattern, tuple(sorted(axes.items())))
        if key not in self._layouts:
            self._layouts[key] = Layout.parse(pattern, axes)
        return self._layouts[key]

    def _single(self, text: str, separator: str, position: Position) -> Template | None:
        try:
            return single(text, separator)
        except MappingError as mistake:
            self._add(mistake, position)
            return None

    def _add(self, mistake: MappingError, position: Position) -> None:
        # A row in a layer is compiled once for each scope: its mistake is told once.
        mistake.where = str(position)
        self.mistakes.setdefault(f"{position} {mistake.what}", mistake)


def _absolute(name: str, scope: str) -> str:
    """A name below the scope, or, when it begins with a slash, from the root of the checkpoint."""
    return name[1:] if name.startswith(TF_SEPARATOR) else join(scope, name, TF_SEPARATOR)


def _index_field(tf: Sequence[Template], pt: Sequence[Template], like: Template | None) -> str:
    """The one field that stands on one side only, which must be a number."""
    for side in (tf, pt):
        for template in side[1:]:
            if template.fields != side[0].fields:
                raise MappingError(
                    "the names of one side of a row must have the same fields",
                    expected=_spell(side[0].fields),
                    got=f"{_spell(template.fields)} in {template.text}",
                )
    if like is not None and like.fields - pt[0].fields:
        raise MappingError("like: has a field that pt: has not", expected=_spell(pt[0].fields), got=like.text)
    if not tf:
        return ""
    lonely = tf[0].fields ^ pt[0].fields
    if not lonely:
        return ""
    name = min(lonely)
    template = tf[0] if name in tf[0].fields else pt[0]
    numbers = {part.name for part in template.parts if isinstance(part, Field) and part.is_number}
    if len(lonely) > 1 or name not in numbers:
        raise MappingError(
            f"{_spell(lonely)} stands on one side of the row only",
            expected="the same fields on both sides, or one number, as in {i:int}, along which tensors are stacked",
            got=f"{tf[0].text} → {pt[0].text}",
        )
    return name


def _spell(fields: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(fields)) or "no field"


def _axis(layout: Layout | None, axis: str, key: str, side: str = "right") -> str:
    if layout is None:
        raise MappingError(f"{key}: names the axis {axis!r}, so the row needs a layout that names its axes")
    names = [name for group in (layout.right if side == "right" else layout.left) for name in group]
    if axis not in names:
        raise MappingError(
            f"{key}: names the axis {axis!r}, which the {side} side of the layout does not have",
            expected=f"one of {', '.join(names)}",
            got=layout.pattern,
        )
    return axis


def _single_axis(layout: Layout | None, axis: str, side: str, key: str) -> str:
    _axis(layout, axis, key, side)
    assert layout is not None
    if (axis,) not in (layout.right if side == "right" else layout.left):
        raise MappingError(f"{key}: needs an axis that stands alone", got=f"{axis} in {layout.pattern}")
    return axis


def _slice(layout: Layout | None, axis: str, text: str) -> Slice:
    _axis(layout, axis, "slice", "left")
    pieces = text.split(":")
    try:
        numbers = [int(piece) if piece.strip() else None for piece in pieces]
        if not 2 <= len(numbers) <= 3 or (len(numbers) == 3 and numbers[2] == 0):
            raise ValueError
    except ValueError:
        raise MappingError(
            f"slice: of axis {axis} cannot be read", expected='such as "1:" or "0:10"', got=text
        ) from None
    return Slice(axis, numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else None)


def _add_of(entry: RowEntry, layout: Layout | None) -> Add | None:
    if entry.add is None:
        return None
    if entry.add.axis is None:
        return Add(None, tuple(float(value) for value in entry.add.values.values()))
    groups = [str(name) for name in entry.add.groups or []]
    values = tuple(float(entry.add.values.get(name, 0)) for name in groups)
    return Add(_axis(layout, entry.add.axis, "add"), values)
