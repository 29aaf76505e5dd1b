"""From a row as it is written to the `Transform` it asks for: joins and splits worked out, axes looked up."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.errors import MappingError
from tfpt.language.schema import RowEntry
from tfpt.language.templates import Template
from tfpt.operations.layout import ELLIPSIS, Layout
from tfpt.operations.transform import Transform
from tfpt.operations.values import Add, Pad, Reorder, Slice, Split, Zero


def transform_of(entry: RowEntry, layout: Layout | None, tf: Sequence[Template], index: str) -> Transform:
    """What a row does to values.

    Args:
        entry: The row as written.
        layout: Its layout, parsed.
        tf: Its compiled templates of variables.
        index: The field that stands on one side only; empty for most rows.

    Raises:
        MappingError: A key names an axis that the layout does not have, or keys that do not go together.
    """
    gathers = bool(index) and any(index in template.fields for template in tf)
    several = gathers or len(tf) > 1
    if gathers and len(tf) > 1:
        raise MappingError(f"the index {{{index}}} stacks variables already, so tf: has one name")
    if entry.concat and not several:
        raise MappingError("concat: needs several names under tf:", got=", ".join(entry.tf or []))
    return Transform(
        layout=layout,
        join="concat" if entry.concat else "stack" if several else None,
        concat=_single_axis(layout, entry.concat.axis, "left", "concat") if entry.concat else None,
        slices=tuple(_slice(layout, axis, text) for axis, text in entry.slice.items()),
        reorder=Reorder(_axis(layout, entry.reorder.axis, "reorder"), entry.reorder.indices())
        if entry.reorder
        else None,
        scale=entry.scale,
        add=_add(entry, layout),
        pad=Pad(_axis(layout, entry.pad.axis, "pad"), entry.pad.to, entry.pad.multiple, entry.pad.value)
        if entry.pad
        else None,
        zero=Zero(_axis(layout, entry.zero.axis, "zero"), entry.zero.at) if entry.zero else None,
        split=_split(entry, layout, apart=bool(index) and not gathers, index=index),
    )


def _split(entry: RowEntry, layout: Layout | None, *, apart: bool, index: str) -> Split | None:
    if apart and (len(entry.pt) > 1 or entry.split):
        raise MappingError(f"the index {{{index}}} takes the variable apart already, so pt: has one name")
    if entry.split and len(entry.pt) < 2:
        raise MappingError("split: needs several names under pt:", got=", ".join(entry.pt))
    if entry.split:
        sizes = tuple(entry.split.sizes or ())
        if sizes and len(sizes) != len(entry.pt):
            raise MappingError(
                "split: has not as many sizes as pt: has names",
                expected=f"{len(entry.pt)} sizes",
                got=str(list(sizes)),
            )
        return Split(_single_axis(layout, entry.split.axis, "right", "split"), sizes)
    if not apart and len(entry.pt) < 2:
        return None
    if layout is not None and (not layout.right or len(layout.right[0]) != 1):
        raise MappingError(
            "the right side of the layout must begin with the axis to split on", got=layout.pattern
        )
    return Split()


def _axis(layout: Layout | None, axis: str, key: str, side: str = "right") -> str:
    if layout is None:
        raise MappingError(f"{key}: names the axis {axis!r}, so the row needs a layout that names its axes")
    groups = layout.right if side == "right" else layout.left
    names = [name for group in groups for name in group if name != ELLIPSIS]
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


def _add(entry: RowEntry, layout: Layout | None) -> Add | None:
    if entry.add is None:
        return None
    if entry.add.axis is None:
        return Add(None, tuple(float(value) for value in entry.add.values.values()))
    groups = [str(name) for name in entry.add.groups or []]
    values = tuple(float(entry.add.values.get(name, 0)) for name in groups)
    return Add(_axis(layout, entry.add.axis, "add"), values)
