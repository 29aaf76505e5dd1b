"""Advice about the mapping: the rows that write a parameter, and how they would have to read."""

from __future__ import annotations

from collections.abc import Sequence

from tfpt.language import mapping as rows
from tfpt.language.templates import Template
from tfpt.verification.diagnosis.changes import Change


def row_of(mapping: rows.Mapping, parameter: str) -> rows.Row | None:
    """The row of the mapping that writes a parameter."""
    for rowset in mapping.alternatives:
        for row in rowset.rows:
            if any(template.match(parameter) is not None for template in row.pt):
                return row
    return None


def rows_advice(mapping: rows.Mapping, changes: Sequence[Change]) -> str:
    """Advice to check the rows that write these parameters."""
    found = [row_of(mapping, change.parameter) for change in changes]
    text = list(dict.fromkeys(f"{row} ({row.where})" for row in found if row is not None))
    if not text:
        return "check where the weights come from"
    return f"check the {'row' if len(text) == 1 else 'rows'} {', '.join(text)} and the weights file"


def layout_advice(
    mapping: rows.Mapping, changes: Sequence[Change], axes: Sequence[int], among: Sequence[str]
) -> str:
    """The layouts that the rows need, if the rows are wrong.

    Args:
        axes: The right order of a parameter's first axes; the others keep their order.
        among: All parameters of this kind. A row that also writes a correct parameter must not be changed itself.
    """
    needed = [change.parameter for change in changes]
    layouts: dict[str, None] = {}
    others: dict[str, None] = {}
    for change in changes:
        row = row_of(mapping, change.parameter)
        stated = row.transform.stated_layouts if isinstance(row, rows.Copy) else ()
        layout = stated[0] if len(stated) == 1 else None
        left, _, right = str(layout or "").partition("->")
        names = right.split()
        if row is None or layout is None or not len(names) == len(layout.right) >= len(axes):
            others[rows_advice(mapping, (change,))] = None
            continue
        wanted = " ".join((*(names[axis] for axis in axes), *names[len(axes) :]))
        text = f'layout: "{left.strip()} -> {wanted}" instead of "{layout}" ({row.where})'
        if any(row_of(mapping, other) is row for other in among if other not in needed):
            text = f"a separate row for {change.parameter}, with {text}"
        layouts[text] = None
    blamed = (
        [f"if the mapping is wrong, use {', '.join(layouts)}; otherwise check the weights"] if layouts else []
    )
    return "; ".join((*blamed, *others))


def corrected(mapping: rows.Mapping, parameter: str, layout: str, axes: str = "") -> str:
    """The row that writes a parameter, with another layout: ready to paste."""
    row = row_of(mapping, parameter)
    sizes = f", axes: {axes}" if axes else ""
    if not isinstance(row, rows.Copy):
        return f'in its row of the mapping, use layout: "{layout}"{sizes}'
    names = [_names(templates) for templates in (row.tf, row.pt)]
    return f'write the row as {{tf: {names[0]}, pt: {names[1]}, layout: "{layout}"{sizes}}} ({row.where})'


def _names(templates: Sequence[Template]) -> str:
    texts = [f'"{one.text}"' if set(one.text) & set("{},:[]") else one.text for one in templates]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
