"""Compiles validated entries to rows: joins templates with their scopes and parses layouts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from tfpt.errors import MappingError
from tfpt.language.abbreviation import abbreviated
from tfpt.language.endpoint_steps import steps_of
from tfpt.language.mapping import Behavior, Copy, Ema, Endpoint, Fill, Ignore, Keep, ResponseNorm, Row, RowSet
from tfpt.language.placements import Placement, below, placements
from tfpt.language.referenced_files import file_beside
from tfpt.language.row_schema import RowEntry
from tfpt.language.schema import MappingEntry
from tfpt.language.scope_axes import axes_inside, sized
from tfpt.language.templates import (
    PT_SEPARATOR,
    TF_SEPARATOR,
    Field,
    Template,
    join,
    pair,
    pair_lists,
    parent,
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
        mistakes: What the schema refused; the mapping no longer contains it.

    Raises:
        MappingError: A layer contains itself, or layers times scopes times source scopes exceed the limit on rows.
    """

    def __init__(self, tree: Node, entry: MappingEntry, mistakes: Sequence[MappingError] = ()) -> None:
        self.tree = tree
        self.entry = entry
        self.mistakes = {f"{mistake.where} {mistake.what}": mistake for mistake in mistakes}
        self._layouts: dict[tuple[str, tuple[tuple[str, int], ...]], Layout] = {}
        self._placements = placements(tree, entry, self._add)

    def finish(self) -> None:
        """Raise the mistakes found.

        Raises:
            MappingError: One mistake, or all of them as its causes.
        """
        if self.mistakes:
            raise together(self.mistakes.values())

    def alternatives(self) -> tuple[RowSet, ...]:
        """The rows, once for each possible scope of the source."""
        return tuple(self._row_set(scope) for scope in self.entry.source.scope)

    def behaviors(self) -> tuple[Behavior, ...]:
        """Padding and epsilon, for modules with a layer's weights and for those without weights."""
        found = []
        for placement in self._placements:
            if not placement.active or (placement.padding is None and placement.eps is None):
                continue
            position = placement.scopes[-1]
            names = [name for row in placement.layer.weights if row.when for name in row.pt]
            parents = sorted({parent(name, PT_SEPARATOR) for name in names})
            try:
                # The kind of a field on the other side of the scope applies here too.
                _, templates = pair_lists(
                    [placement.tf], [join(placement.pt, path, PT_SEPARATOR) for path in parents]
                )
            except MappingError as mistake:
                self._add(mistake, position)
                continue
            for inherited in (False, True):
                padding = placement.padding if ("padding" in placement.inherited) is inherited else None
                eps = placement.eps if ("eps" in placement.inherited) is inherited else None
                if padding is not None or eps is not None:
                    found += [Behavior(each, padding, eps, position, inherited) for each in templates]
        for index, module in enumerate(self.entry.modules):
            position = self.tree.locate(["modules", index])
            alone = self._single(module.pt, PT_SEPARATOR, position)
            if alone:
                norm = module.response_norm
                found.append(
                    Behavior(
                        alone,
                        module.padding,
                        module.eps,
                        position,
                        resize=module.resize,
                        response_norm=None if norm is None else ResponseNorm(**norm.model_dump()),
                        depth_to_space=module.depth_to_space,
                    )
                )
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
                layout, steps = steps_of(entry.layout, entry.select, entry.slice, entry.apply)
                if layout is not None and layout.merges:
                    raise MappingError(
                        "the layout of an endpoint is used in both directions, so it cannot have ... in parentheses",
                        got=layout.pattern,
                    )
                found.append(Endpoint(tf, pt, op, layout, position, steps))
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
        rows: list[Row] = []
        for placement in self._placements:
            for number, entry in enumerate(placement.layer.weights):
                position = self.tree.locate(["layers", placement.name, "weights", number])
                found = self._rows(sized(entry, placement.axes), position, source_scope, placement)
                rows += found if placement.active and entry.when else ()
            for letter in placement.own_axes.keys() - axes_inside(placement, self._placements):
                mistake = MappingError(f"axes: names {letter!r}, which no layout in the scope has")
                self._add(mistake, placement.scopes[-1])
        used = {placement.name for placement in self._placements}
        for name, layer in self.entry.layers.items():
            if name not in used:  # compiled only to find its mistakes
                for number, entry in enumerate(layer.weights):
                    self._rows(entry, self.tree.locate(["layers", name, "weights", number]), "", None)
        for index, entry in enumerate(self.entry.weights):
            found = self._rows(entry, self.tree.locate(["weights", index]), source_scope, None)
            rows += found if entry.when else ()
        return rows

    def _rows(
        self, entry: RowEntry, position: Position, source_scope: str, placement: Placement | None
    ) -> list[Row]:
        """The row, and another one for each name under `also`."""
        try:
            row = self._row(entry, entry.pt, position, source_scope, placement)
            copies = [
                self._row(entry, [name], position, source_scope, placement) for name in entry.also or ()
            ]
        except MappingError as mistake:
            if placement is not None and mistake.hint is None:
                mistake.hint = f"the row is in the scope at {placement.scopes[-1].row}"
            self._add(mistake, position)
            return []
        return [row, *(replace(copy, tied=True) if isinstance(copy, Copy) else copy for copy in copies)]

    def _row(
        self,
        entry: RowEntry,
        parameters: Sequence[str],
        position: Position,
        source_scope: str,
        placement: Placement | None,
    ) -> Row:
        outer_tf, outer_pt = (placement.tf, placement.pt) if placement else ("", "")
        outer_tf = _absolute(outer_tf, source_scope)
        names = [_absolute(name, outer_tf) for name in entry.tf or []]
        targets = [join(outer_pt, name, PT_SEPARATOR) for name in parameters]
        like = [join(outer_pt, entry.like, PT_SEPARATOR)] if entry.like else []
        # A constant has no variable, but its scope has one: the kinds of its fields apply here too.
        tf, pt = pair_lists(names or [outer_tf], [*targets, *like])
        tf = tf if names else ()
        pt, like_template = pt[: len(targets)], pt[len(targets)] if like else None
        index = _index_field(tf, pt, like_template)
        common: dict[str, Any] = {
            "pt": pt,
            "position": position,
            "scopes": placement.scopes if placement else (),
            "dtype": entry.dtype,
            "optional": entry.optional or (placement is not None and placement.optional),
            "overrides": entry.overrides or (placement is not None and placement.overrides),
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
        shown = mistake.problem
        mistake.problem = replace(shown, expected=abbreviated(shown.expected), got=abbreviated(shown.got))
        self.mistakes.setdefault(f"{position} {mistake.what}", mistake)


def together(mistakes: Iterable[MappingError]) -> MappingError:
    """One mistake, or all of them as the causes of one error, in the order of the file."""
    found = sorted(mistakes, key=_place)
    return (
        found[0] if len(found) == 1 else MappingError(f"{len(found)} mistakes in the mapping", causes=found)
    )


def _place(mistake: MappingError) -> tuple[str, int, int]:
    file, line, column = str(mistake.where).rsplit(":", 2)
    return file, int(line), int(column)


def _absolute(name: str, scope: str) -> str:
    """A name relative to the scope or, if it starts with a slash, to the root of the checkpoint."""
    return below(scope, name).removeprefix(TF_SEPARATOR)


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
