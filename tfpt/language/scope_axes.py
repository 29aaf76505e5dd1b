"""Sizes that a scope gives to the layouts of all rows in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tfpt.language.placements import Placement
from tfpt.language.row_schema import RowEntry
from tfpt.language.transforms import axes_of


def sized(entry: RowEntry, axes: Mapping[str, int]) -> RowEntry:
    """The row with those of the sizes that its layouts name; they take precedence over its own."""
    named = axes.keys() & _axes(entry)
    return (
        entry.model_copy(update={"axes": entry.axes | {name: axes[name] for name in named}})
        if named
        else entry
    )


def axes_inside(placement: Placement, placements: Iterable[Placement]) -> set[str]:
    """The axes that the layouts in a scope name, those of layers inside the layer included."""
    depth = len(placement.scopes)
    return {
        name
        for inner in placements
        if placement.own_axes and inner.scopes[:depth] == placement.scopes
        for entry in inner.layer.weights
        for name in _axes(entry)
    }


def _axes(entry: RowEntry) -> set[str]:
    patterns = [*(entry.layout or ()), *([entry.product] if entry.product else ())]
    return {name for pattern in patterns for name in axes_of(pattern)}
