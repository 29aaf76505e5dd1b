"""Fields of templates that have one value in the whole model, which could be written instead."""

from __future__ import annotations

from collections.abc import Iterator

from tfpt.checking.places import Component, Places
from tfpt.checking.rows import RowsOfModel
from tfpt.language.library import is_library
from tfpt.language.mapping import Row
from tfpt.language.templates import PT_SEPARATOR, Value
from tfpt.planning import Finding

Place = tuple[str, int, int]


def check_fields(rows: RowsOfModel, places: Places) -> Iterator[Finding]:
    """A note for each field that all rows with it match with the same value.

    A field of a mapping for models of several sizes may have more values in another one, so it is not reported.
    """
    if rows.mapping.params or rows.mapping.model.config is not None:
        return
    values: dict[tuple[Place, str], set[Value]] = {}
    first: dict[tuple[Place, str], tuple[Row, Component]] = {}
    for matched in rows.rows:
        for template in matched.row.pt:
            for component in _written(places.components(matched.row, template)):
                for name in template.fields:
                    if f"{{{name}" in component.text:
                        key = (component.key, name)
                        seen = {each[name] for _, each in matched.names if name in each}
                        values.setdefault(key, set()).update(seen)
                        first.setdefault(key, (matched.row, component))
    for key, found in values.items():
        if len(found) == 1:
            yield _finding(key[1], next(iter(found)), *first[key], places)


def _written(components: list[Component]) -> Iterator[Component]:
    """Those written in the mapping itself, rather than in a library of layers."""
    for component in components:
        if component.span is not None and not is_library(component.span.position.file):
            yield component


def _finding(name: str, value: Value, row: Row, component: Component, places: Places) -> Finding:
    shown = PT_SEPARATOR.join(value) if isinstance(value, tuple) else str(value)
    finding = Finding(
        "single-value",
        f"the field {{{name}}} has one value in the whole model: {shown}",
        name=name,
        row=str(row),
        hint=f"write {shown} instead of the field, unless the mapping is for other models, too",
    )
    assert component.span is not None
    return places.at_span(finding, component.span)
