"""Layouts against the shapes of the model's parameters: those that cannot fit, and those that no shape can confirm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import permutations

from tfpt.checking.edits import Edit
from tfpt.checking.places import Places
from tfpt.checking.rows import RowsOfModel
from tfpt.errors import MappingError
from tfpt.language.mapping import Copy, Fill, Row
from tfpt.language.tree import Position
from tfpt.operations.groups import pattern_side
from tfpt.operations.inversion import source_shapes
from tfpt.operations.layout import Layout, LayoutError
from tfpt.operations.operation import ELLIPSIS
from tfpt.planning import Finding
from tfpt.planning.instances import Instance
from tfpt.planning.symmetry import Alike, exchangeable
from tfpt.tensors import TensorSpec, format_shape

# More axes have too many orders to try.
MOST_AXES = 6
# The number of sets of equal axes named in the note of one row.
_SETS = 4


def check_shapes(rows: RowsOfModel, places: Places) -> Iterator[Finding]:
    """A finding for each parameter whose shape its row cannot give, and a note for each row that no shape confirms."""
    alike: dict[Position, tuple[Row, dict[Alike, int], list[str]]] = {}
    for matched in rows.rows:
        row = matched.row
        wrong = list(_misfits(rows, row, [rows.parameters[name] for name, _ in matched.names], places))
        yield from wrong
        if wrong or not isinstance(row, Copy):
            continue
        for instance in rows.instances(row):
            for axes in _alike(rows, row, instance):
                _, found, names = alike.setdefault(row.position, (row, {}, []))
                found[axes] = found.get(axes, 0) + 1
                names += [name for name in instance.writes if name not in names[-1:]]
    for row, found, names in alike.values():
        yield places.in_row(_unconfirmed(row, found, list(dict.fromkeys(names))), row, "layout", "pt")


def _misfits(rows: RowsOfModel, row: Row, specs: Sequence[TensorSpec], places: Places) -> Iterator[Finding]:
    for spec in specs:
        if isinstance(row, Fill) and row.shape is not None and row.shape != spec.shape:
            yield places.in_row(_shape(row, spec, format_shape(row.shape)), row, "shape", "pt")
        elif isinstance(row, Copy) and not can_give(row, row.transform.layout, spec.shape):
            layout = row.transform.layout
            assert layout is not None
            finding = _shape(row, spec, f"layout {layout.pattern}", other_layouts(rows, row))
            yield places.in_row(finding, row, "layout", "pt")


def _shape(row: Row, spec: TensorSpec, got: str, nearest: Sequence[str] = ()) -> Finding:
    return Finding(
        "shape",
        f"the row cannot give {spec.name} its shape",
        name=spec.name,
        row=str(row),
        expected=f"{format_shape(spec.shape)}, as the model has it",
        got=got,
        nearest=tuple(nearest),
        hint="correct the layout" if isinstance(row, Copy) else "leave out shape:, or correct it",
        parameters=(spec,),
    )


def can_give(row: Copy, layout: Layout | None, shape: Sequence[int]) -> bool:
    """Whether a row with this layout can write a parameter of a shape, for some shape of its variable.

    Rows that join, split or pad are taken to be able to.

    Example:
        >>> from tfpt.language.templates import pair
        >>> from tfpt.operations.transform import Transform
        >>> tf, pt = pair("w", "weight")
        >>> layout = Layout.parse("h w i o -> o i t h w", {"t": 7})
        >>> row = Copy(tf=(tf,), pt=(pt,), position=Position("m.yaml", 1, 1), transform=Transform(layout=layout))
        >>> can_give(row, layout, (64, 3, 7, 5, 3)), can_give(row, layout, (64, 3, 5, 7, 3))
        (True, False)
    """
    transform = row.transform
    if layout is None or transform.layouts or transform.split or transform.pad or transform.join:
        return True
    sizes = list(shape)
    groups = list(layout.right)
    if (ELLIPSIS,) in groups:
        run = groups.index((ELLIPSIS,))
        rest = len(groups) - 1
        if len(sizes) < rest:
            return False
        groups.pop(run)
        del sizes[run : run + len(sizes) - rest]
    if len(groups) != len(sizes):
        return False
    known = dict(layout.sizes)
    for group, size in zip(groups, sizes, strict=True):
        product = math.prod(known.get(name, 1) for name in group)
        complete = all(name in known for name in group)
        if product != size if complete else size % product != 0:
            return False
    return True


def other_layouts(rows: RowsOfModel, row: Copy) -> list[str]:
    """Layouts with the same left side, and the axes of the right side in another order, that fit every parameter."""
    layout = row.transform.layout
    if layout is None or len(layout.right) > MOST_AXES:
        return []
    at = [found for found in rows.rows if found.row.position == row.position]
    shapes = {rows.parameters[name].shape for found in at for name, _ in found.names}
    return [
        other.pattern for other in reordered(layout) if all(can_give(row, other, shape) for shape in shapes)
    ]


def layout_edits(rows: RowsOfModel, places: Places) -> list[Edit]:
    """Edits for layouts that cannot give the shapes of the model, of which one other order of the axes can."""
    edits: dict[Position, Edit | None] = {}
    for matched in rows.rows:
        row = matched.row
        shapes = [rows.parameters[name].shape for name, _ in matched.names]
        if isinstance(row, Copy) and not all(can_give(row, row.transform.layout, shape) for shape in shapes):
            edits.setdefault(row.position, layout_edit(row, other_layouts(rows, row), places))
    return [edit for edit in edits.values() if edit is not None]


def layout_edit(row: Copy, fitting: Sequence[str], places: Places) -> Edit | None:
    """The edit of a row's layout; None unless exactly one fits, and the row's is written in one piece."""
    layout, span = row.transform.layout, places.texts.find(row.position, "layout")
    text = places.texts[row.position.file]
    if layout is None or span is None or text is None or len(fitting) != 1:
        return None
    raw = text.text[span.start : span.end]
    if span.value not in raw or span.value.split() != layout.pattern.split():
        return None
    why = "of all orders of the axes, this one alone gives the shapes of the model"
    return Edit(span.position, span.start, span.end, raw, raw.replace(span.value, fitting[0]), why)


def reordered(layout: Layout) -> Iterator[Layout]:
    """The layouts whose right side has the same axes in another order."""
    left = layout.pattern.partition("->")[0].strip()
    for groups in dict.fromkeys(permutations(layout.right)):
        if groups != layout.right:
            try:
                yield Layout.parse(f"{left} -> {pattern_side(groups)}", dict(layout.sizes))
            except MappingError:
                continue


def _alike(rows: RowsOfModel, row: Copy, instance: Instance) -> tuple[Alike, ...]:
    """The axes that could be exchanged if the variables have the shapes that the parameters suggest."""
    shapes = [rows.parameters[name].shape for name in instance.writes if name in rows.parameters]
    if len(shapes) < len(instance.writes):
        return ()
    try:
        transform = row.transform.for_outputs(shapes)
        variables = source_shapes(transform, shapes, None if row.stacks else len(row.tf))
        bound = transform.bind(variables, len(shapes))
        return exchangeable(bound) if bound.shapes == tuple(shapes) else ()
    except (LayoutError, MappingError):
        return ()  # the size of a variable does not follow


def _unconfirmed(row: Row, sets: dict[Alike, int], names: list[str]) -> Finding:
    assert isinstance(row, Copy)
    most = sorted(sets.items(), key=lambda each: -each[1])
    axes = "; ".join(f"{', '.join(found[:-1])} and {found[-1]}" for found, _ in most[:_SETS])
    number = f"{len(names)} parameters, {names[0]} first, have" if len(names) > 1 else f"{names[0]} has"
    return Finding(
        "unconfirmed-layout",
        f"{number} equal axes {axes}{'; …' if len(most) > _SETS else ''}: the shapes cannot confirm "
        + ("the layout" if row.transform.stated_layouts else "that no axes need exchanging"),
        name=names[0],
        row=str(row),
        got=row.transform.describe(),
        hint="tfpt verify compares what both networks compute",
    )
