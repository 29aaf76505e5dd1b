"""Compiles validated entries to rows: joins templates with their scopes and parses layouts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from tfpt.errors import MappingError
from tfpt.io import limits
from tfpt.language.mapping import Behavior, Copy, Ema, Endpoint, Fill, Ignore, Keep, Row, RowSet
from tfpt.language.referenced_files import file_beside
from tfpt.language.schema import LayerEntry, MappingEntry, RowEntry, ScopeEntry
from tfpt.language.templates import (
    PT_SEPARATOR,
    TF_SEPARATOR,
    Field,
    Template,
    join,
    pair,
    pair_lists,
    single,
)
from tfpt.language.transforms import transform_of
from tfpt.language.tree import Node, Position
from tfpt.nearest import nearest
from tfpt.operations.layout import Layout


class Compiler:
    """Compiles one checked mapping, collecting all mistakes before raising them.

    Args:
        tree: The mapping as a tree with positions.
        entry: The same mapping, validated against the schema.
    """

    def __init__(self, tree: Node, entry: MappingEntry) -> None:
        self.tree = tree
        self.entry = entry
        self.mistakes: dict[str, MappingError] = {}
        self._layouts: dict[tuple[str, tuple[tuple[str, int], ...]], Layout] = {}

    def finish(self) -> None:
        """Raise the mistakes found.

        Raises:
            MappingError: One mistake, or all of them as its causes.
        """
        mistakes = list(self.mistakes.values())
        if len(mistakes) == 1:
            raise mistakes[0]
        if mistakes:
            raise MappingError(f"{len(mistakes)} mistakes in the mapping", causes=mistakes)

    def alternatives(self) -> tuple[RowSet, ...]:
        """The rows, once for each possible scope of the source.

        Raises:
            MappingError: Layers times scopes times source scopes exceed the limit on rows.
        """
        self._check_amount()
        return tuple(self._row_set(scope) for scope in self.entry.source.scope)

    def behaviors(self) -> tuple[Behavior, ...]:
        """Padding and epsilon, for modules with a layer's weights and for those without weights."""
        found = []
        for index, scope in enumerate(self.entry.scopes):
            layer = self.entry.layers.get(scope.layer)
            if layer is None or (layer.padding is None and layer.eps is None):
                continue
            position = self.tree.locate(["scopes", index])
            parents = {name.rpartition(PT_SEPARATOR)[0] for row in layer.weights for name in row.pt}
            try:
                # The kind of a field on the other side of the scope applies here too.
                _, templates = pair_lists(
                    [scope.tf], [join(scope.pt, parent, PT_SEPARATOR) for parent in sorted(parents)]
                )
            except MappingError as mistake:
                self._add(mistake, position)
                continue
            found += [Behavior(template, layer.padding, layer.eps, position) for template in templates]
        for index, module in enumerate(self.entry.modules):
            position = self.tree.locate(["modules", index])
            alone = self._single(module.pt, PT_SEPARATOR, position)
            if alone:
                found.append(Behavior(alone, module.padding, module.eps, position))
        return tuple(found)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The activations, with their names and layouts compiled."""
        found = []
        for index, entry in enumerate(self.entry.endpoints):
            position = self.tree.locate(["endpoints", index])
            try:
                tf, pt = pair(entry.tf, entry.pt)
                if tf.fields != pt.fields:
                    raise MappingError("both names of an endpoint need the same fields", got=f"{tf} and {pt}")
                op = None if entry.op is None else pair(entry.op, entry.pt)[0]
                if op is not None and op.fields != pt.fields:
                    raise MappingError(
                        "op: of an endpoint must have the fields of its names", got=f"{op} and {pt}"
                    )
                layout = None if entry.layout is None else Layout.parse(entry.layout)
                if layout is not None and layout.merges:
                    raise MappingError(
                        "the layout of an endpoint is used in both directions, so it cannot have ... in parentheses",
                        got=layout.pattern,
                    )
                found.append(Endpoint(tf, pt, op, layout, position))
            except MappingError as mistake:
                self._add(mistake, position)
        return tuple(found)

    def labels(self) -> Path | None:
        """The file with the class names: beside the mapping that names it, or a bundled one."""
        if self.entry.labels is None:
            return None
        position = self.tree.locate(["labels"])
        folders = (Path(position.file).parent, Path(str(resources.files("tfpt.mappings"))))
        try:
            found = file_beside(folders[0], self.entry.labels, "labels", str(position))
        except MappingError as error:
            self._add(error, position)
            return None
        if found is None and os.path.isfile(folders[1] / self.entry.labels):
            return folders[1] / self.entry.labels
        if found is None:
            there = [path.name for folder in folders for path in sorted(folder.glob("*.txt"))]
            self._add(
                MappingError(
                    f"there is no labels file {self.entry.labels!r}",
                    expected="a text file beside the mapping, one class per line",
                    nearest=nearest(self.entry.labels, there),
                ),
                position,
            )
        return found

    def _check_amount(self) -> None:
        """Refuse too many rows or too long names before compiling any."""
        amounts = {name: _amount(layer.weights) for name, layer in self.entry.layers.items()}
        sources = self.entry.source.scope
        prefixes = sum(map(len, sources))
        count, names, letters = _amount(self.entry.weights)
        rows, characters = count * len(sources), letters * len(sources) + names * prefixes
        for index, scope in enumerate(self.entry.scopes):
            count, names, letters = amounts.get(scope.layer, (0, 0, 0))
            rows += count * len(sources)
            characters += (letters + names * (len(scope.tf) + len(scope.pt))) * len(
                sources
            ) + names * prefixes
            self._check(rows, characters, self.tree.locate(["scopes", index]))
        self._check(rows, characters, self.tree.locate(["weights"]))

    @staticmethod
    def _check(rows: int, characters: int, position: Position) -> None:
        if rows > limits.MAPPING_ROWS or characters > 2 * limits.MAPPING_CHARACTERS:
            raise MappingError(
                f"the mapping has more than {limits.MAPPING_ROWS:,} rows across all scopes, or names of more than "
                f"{2 * limits.MAPPING_CHARACTERS:,} characters",
                where=str(position),
            )

    def _row_set(self, scope: str) -> RowSet:
        scope = scope.strip(TF_SEPARATOR)
        rows = list(self._all_rows(scope))
        ignore = []
        for index, entry in enumerate(self.entry.source.ignore):
            position = self.tree.locate(["source", "ignore", index])
            template = None
            if entry.tf is not None:
                template = self._single(_absolute(entry.tf, scope), TF_SEPARATOR, position)
            ignore.append(Ignore(template, entry.role, entry.why, entry.overrides, position))
        return RowSet(scope, tuple(rows), tuple(ignore), self._ema(scope))

    def _ema(self, scope: str) -> Ema | None:
        entry = self.entry.source.ema
        if entry is None:
            return None
        position = self.tree.locate(["source", "ema"])
        template = self._single(_absolute(entry.tf, scope), TF_SEPARATOR, position)
        if template is None:
            return None
        if sum(isinstance(part, Field) and part.kind == "path" for part in template.parts) != 1:
            self._add(
                MappingError("ema: tf: needs one path field", expected="{path...}/NAME", got=entry.tf),
                position,
            )
            return None
        exclude = [self._single(_absolute(text, scope), TF_SEPARATOR, position) for text in entry.exclude]
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
            if name not in used:  # compiled only to find its mistakes
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
        outer_tf, outer_pt = (scope.tf, scope.pt) if scope else ("", "")
        outer_tf = _absolute(outer_tf, source_scope)
        try:
            names = [_absolute(name, outer_tf) for name in entry.tf or []]
            targets = [join(outer_pt, name, PT_SEPARATOR) for name in entry.pt]
            like = [join(outer_pt, entry.like, PT_SEPARATOR)] if entry.like else []
            # A constant has no variable, but its scope has one: the kinds of its fields apply here too.
            tf, pt = pair_lists(names or [outer_tf], [*targets, *like])
            tf = tf if names else ()
            pt, like_template = pt[: len(targets)], pt[len(targets)] if like else None
            index = _index_field(tf, pt, like_template)
            common: dict[str, Any] = {
                "pt": pt,
                "position": position,
                "scope": scope_position,
                "dtype": entry.dtype,
                "optional": entry.optional or (scope is not None and scope.optional),
                "overrides": entry.overrides or (scope is not None and scope.overrides),
                "fallback": entry.fallback,
            }
            if tf:
                transform = transform_of(entry, tf, index, self._layout)
                return Copy(tf=tf, transform=transform, index=index, tied=entry.tied, **common)
            if entry.keep:
                return Keep(random=entry.keep == "random", **common)
            shape = None if entry.shape is None else tuple(entry.shape)
            assert entry.fill is not None  # the schema requires one of tf:, fill: and keep:
            return Fill(value=entry.fill, like=like_template, shape=shape, **common)
        except MappingError as mistake:
            if scope_position is not None and mistake.hint is None:
                mistake.hint = f"the row is in the scope at {scope_position.row}"
            self._add(mistake, position)
            return None

    def _layout(self, pattern: str, axes: Mapping[str, int]) -> Layout:
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
        # A row in a layer is compiled once per scope; its mistake is reported once.
        mistake.where = str(position)
        self.mistakes.setdefault(f"{position} {mistake.what}", mistake)


def _amount(rows: Sequence[RowEntry]) -> tuple[int, int, int]:
    """The number of rows, of their names, and of the characters in those names."""
    names = [name for row in rows for name in (*(row.tf or ()), *row.pt)]
    return len(rows), len(names), sum(map(len, names))


def _absolute(name: str, scope: str) -> str:
    """A name relative to the scope or, if it starts with a slash, to the root of the checkpoint."""
    return name[1:] if name.startswith(TF_SEPARATOR) else join(scope, name, TF_SEPARATOR)


def _index_field(tf: Sequence[Template], pt: Sequence[Template], like: Template | None) -> str:
    """The one field that only one side has, which must be a number; empty if there is none."""
    for side in (tf, pt):
        for template in side[1:]:
            if template.fields != side[0].fields:
                raise MappingError(
                    "the names of one side of a row must have the same fields",
                    expected=_spell(side[0].fields),
                    got=f"{_spell(template.fields)} in {template.text}",
                )
    for template in (*(pt if tf else ()), *([like] if like else [])):
        if not template.renders:
            raise MappingError(
                "{_} has no value, so no name can be built from it",
                expected="a named field, as on the other side",
                got=template.text,
            )
    if like is not None and like.fields - pt[0].fields:
        raise MappingError(
            "like: has a field that pt: does not have", expected=_spell(pt[0].fields), got=like.text
        )
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
            f"{_spell(lonely)} is on one side of the row only",
            expected="the same fields on both sides, or one number, as in {i:int}, along which tensors are stacked",
            got=f"{tf[0].text} → {pt[0].text}",
        )
    return name


def _spell(fields: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(fields)) or "no field"
