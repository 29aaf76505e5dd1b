"""A mapping against the names and shapes of a checkpoint: the findings of a plan, and edits that follow from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import yaml

from tfpt.checking.edits import Edit
from tfpt.checking.places import Places
from tfpt.checking.renames import renames
from tfpt.checking.shapes import MOST_AXES, layout_edit, reordered
from tfpt.formats.roles import REASONS, roles_of
from tfpt.formats.source import Source
from tfpt.language.mapping import Copy, Row
from tfpt.language.mapping import Mapping as TfptMapping
from tfpt.language.name_index import NameIndex
from tfpt.language.source_text import SourceText
from tfpt.language.templates import PT_SEPARATOR, TF_SEPARATOR, Template
from tfpt.language.tree import Position
from tfpt.operations.layout import Layout, LayoutError
from tfpt.planning import Finding, Plan, make_plan
from tfpt.planning.instances import instances_of
from tfpt.tensors import Role, TensorSpec

# Averages are weights too: whether to read them is a choice.
_CHOICES = ("average", "constant")


@dataclass(frozen=True)
class Comparison:
    """A mapping planned for a checkpoint.

    Attributes:
        plan: The plan.
        rows: The rows in the scope of the plan.
        edits: What would remove some of its findings and is the only possibility.
    """

    plan: Plan
    rows: tuple[Row, ...]
    edits: tuple[Edit, ...]

    def findings(self, places: Places) -> list[Finding]:
        """The findings and notes of the plan, at the keys of rows that they are about."""
        every = (*self.plan.findings, *self.plan.notes)
        return [_located(finding, self.rows, places) for finding in every if finding.kind != "default"]


def compare_with(
    mapping: TfptMapping, source: Source, parameters: Mapping[str, TensorSpec], places: Places
) -> Comparison:
    """Plan the translation of a checkpoint, of which only names and shapes are read."""
    roles = roles_of(source)
    plan = make_plan(
        mapping,
        source.specs,
        parameters,
        source=source.location,
        roles=roles,
        quantized=source.quantized,
        skipped=source.skipped,
    )
    row_set = next(each for each in mapping.alternatives if each.scope == plan.scope)
    unused = [finding.name for finding in plan.findings if finding.kind == "unused"]
    edits = _renamed(row_set.rows, source.specs, parameters, unused, roles, places)
    if not edits:
        edits += _layouts(row_set.rows, plan, source.specs, parameters, places)
        edits += _ignored(mapping, unused, roles, places)
    return Comparison(plan, row_set.rows, tuple(edits))


def _located(finding: Finding, rows: tuple[Row, ...], places: Places) -> Finding:
    """A finding of a plan at the key of its row that it is about."""
    row = next((each for each in rows if each.where == finding.where and str(each) == finding.row), None)
    if row is None:
        return finding
    key = {"shape": "layout", "dtype": "dtype", "absent": "tf", "unconfirmed-layout": "layout"}.get(
        finding.kind
    )
    return places.in_row(finding, row, *filter(None, (key,)), "pt")


def _renamed(
    rows: tuple[Row, ...],
    specs: Mapping[str, TensorSpec],
    parameters: Mapping[str, TensorSpec],
    unused: list[str],
    roles: Mapping[str, Role],
    places: Places,
) -> list[Edit]:
    variables, targets = NameIndex(specs, TF_SEPARATOR), NameIndex(parameters, PT_SEPARATOR)
    dead = {
        id(row)
        for row in rows
        if isinstance(row, Copy) and not any(variables.matches(template) for template in row.tf)
    }

    def fits(row: Row, template: Template, name: str) -> bool:
        assert isinstance(row, Copy)
        values = template.match(name)
        written = [each.render_in(values or {}, targets) for each in row.pt]
        if not all(each in parameters for each in written):
            return row.stacks or row.splits
        if row.stacks or row.splits or len(row.tf) > 1:
            return True
        try:
            shapes = row.transform.bind([specs[name].shape], len(written)).shapes
        except LayoutError:
            return False
        return shapes == tuple(parameters[str(each)].shape for each in written)

    return renames(rows, dead, "tf", [name for name in unused if name not in roles], fits, places)


def _layouts(
    rows: tuple[Row, ...],
    plan: Plan,
    specs: Mapping[str, TensorSpec],
    parameters: Mapping[str, TensorSpec],
    places: Places,
) -> list[Edit]:
    """Layouts that do not fit, of which exactly one other order of the right side's axes does."""
    wrong = {finding.where.partition(" (in")[0] for finding in plan.findings if finding.kind == "shape"}
    by_place: dict[Position, list[Copy]] = {}
    for row in rows:
        if isinstance(row, Copy) and row.position.row in wrong:
            by_place.setdefault(row.position, []).append(row)
    variables, targets = NameIndex(specs, TF_SEPARATOR), NameIndex(parameters, PT_SEPARATOR)
    edits: list[Edit] = []
    for found in by_place.values():
        layout = found[0].transform.layout
        if layout is None or len(layout.right) > MOST_AXES:
            continue
        cases = [
            (
                row,
                [specs[name].shape for name in instance.reads],
                [parameters[name].shape for name in instance.writes],
            )
            for row in found
            for instance in instances_of(row, variables, specs, targets)
            if instance.found and not instance.absent and all(name in parameters for name in instance.writes)
        ]
        fitting = [
            other.pattern
            for other in reordered(layout)
            if cases and all(_gives(row, other, *case) for row, *case in cases)
        ]
        edit = layout_edit(found[0], fitting, places)
        edits += [] if edit is None else [edit]
    return edits


def _gives(row: Copy, layout: Layout, before: list[tuple[int, ...]], after: list[tuple[int, ...]]) -> bool:
    try:
        sized = Layout.parse(
            layout.pattern, dict(row.transform.layout.sizes) if row.transform.layout else None
        )
        return list(replace(row.transform, layout=sized).bind(before, len(after)).shapes) == after
    except LayoutError:
        return False


def _ignored(
    mapping: TfptMapping, unused: list[str], roles: Mapping[str, Role], places: Places
) -> list[Edit]:
    """An entry under source.ignore for each role of which no variable is used."""
    by_role: dict[Role, list[str]] = {}
    for name in unused:
        if name in roles and roles[name] not in _CHOICES:
            by_role.setdefault(roles[name], []).append(name)
    used = {role for name, role in roles.items() if name not in unused}
    entries = {role: names for role, names in by_role.items() if role not in used}
    text = places.texts[places.file]
    if not entries or text is None:
        return []
    lines = [f"{{role: {role}, why: {REASONS[role]}}}" for role in entries]
    found = "; ".join(f"{len(names)} unused, {names[0]} first" for names in entries.values())
    return _inserted(text, lines, f"variables that are not weights: {found}")


def _inserted(text: SourceText, entries: list[str], why: str) -> list[Edit]:
    source = _value(text.root, "source")
    ignore = _value(source, "ignore")
    newline = "\r\n" if "\r\n" in text.text else "\n"
    if isinstance(ignore, yaml.SequenceNode) and ignore.value:
        last = text.span(ignore.value[-1])
        if ignore.flow_style:
            return [_insertion(text, last.end, "".join(f", {entry}" for entry in entries), why)]
        first = text.span(ignore)
        at = _line_end(text.text, last.end)
        indent = " " * (first.position.column - 1)
        return [_insertion(text, at, "".join(f"{newline}{indent}- {entry}" for entry in entries), why)]
    if ignore is not None:
        return []  # empty, or computed
    below = "".join(f"{newline}    - {entry}" for entry in entries)
    if isinstance(source, yaml.MappingNode) and source.value and not source.flow_style:
        key = text.span(source.value[-1][0])
        end = _line_end(text.text, text.span(source.value[-1][1]).end)
        indent = " " * (key.position.column - 1)
        block = "".join(f"{newline}{indent}  - {entry}" for entry in entries)
        return [_insertion(text, end, f"{newline}{indent}ignore:{block}", why)]
    if source is not None:
        return []
    start = "" if text.text.endswith(("\n", "\r")) or not text.text else newline
    return [_insertion(text, len(text.text), f"{start}source:{newline}  ignore:{below}{newline}", why)]


def _insertion(text: SourceText, at: int, new: str, why: str) -> Edit:
    return Edit(text.position(at), at, at, "", new, why)


def _line_end(text: str, at: int) -> int:
    """The end of the line that contains an offset, or the offset if it is where a line begins."""
    if at and text[at - 1] in "\r\n":
        while at and text[at - 1] in "\r\n \t":
            at -= 1
        return at
    found = re.compile(r"[\r\n]").search(text, at)
    return found.start() if found else len(text)


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)
