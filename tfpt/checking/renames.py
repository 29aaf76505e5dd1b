"""Names in a mapping that were changed on the other side: a row that matches nothing, and one name left that is near.

A component of a template is replaced only if every row that it is part of matches nothing, exactly one near component
makes all of them match names that are left over, and the shapes fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from tfpt.checking.edits import Edit
from tfpt.checking.places import Component, Places, split
from tfpt.checking.rows import RowsOfModel
from tfpt.checking.shapes import can_give
from tfpt.errors import MappingError
from tfpt.language.mapping import Copy, Row
from tfpt.language.templates import PT_SEPARATOR, Template, pair_lists, single

# The least similarity of a component to the one that replaces it, from 0 to 1.
_NEAR = 0.6
# Rows times names that are compared; beyond that a mapping is for another model.
_MOST = 200_000

# Whether a row could read, or write, a name that it does not match yet; the template with the new component is given.
Fits = Callable[[Row, Template, str], bool]


@dataclass
class _Change:
    """A component that may have another name.

    Attributes:
        component: The component.
        rows: How many templates of rows contain it, without those of optional rows that match nothing.
        found: For each near component, how many of them would match a name with it, and these names.
    """

    component: Component
    rows: int = 0
    found: dict[str, tuple[int, set[str]]] = field(default_factory=dict)


def renames(
    rows: Sequence[Row],
    dead: Collection[int],
    side: str,
    free: Collection[str],
    fits: Fits,
    places: Places,
) -> list[Edit]:
    """Edits for components of names that have exactly one near candidate.

    Args:
        rows: The rows.
        dead: The ids of the rows that match no name on this side, optional ones among them.
        side: ``tf`` or ``pt``.
        free: The names that no row matches.
        fits: Whether a row with a changed template could have a name; called for names that it matches.
        places: Where names are written.
    """
    if not dead or len(dead) * len(free) > _MOST:
        return []
    changes: dict[tuple[str, int, int], _Change] = {}
    for row in rows:
        for template in _templates(row, side):
            components = places.components(row, template)
            for component in components:
                if component.span is not None and "{" not in component.text:
                    change = changes.setdefault(component.key, _Change(component))
                    change.rows += not (row.optional and id(row) in dead)
            if id(row) in dead:
                _candidates(row, template, components, free, fits, changes)
    found = [(change, *_only(change)) for change in changes.values() if _only(change)[0]]
    # A name that several changes would explain is not evidence for one of them.
    wanted: dict[str, int] = {}
    for _, _, names in found:
        for name in names:
            wanted[name] = wanted.get(name, 0) + 1
    what = "parameter" if side == "pt" else "variable"
    return [
        edit
        for change, new, names in found
        if all(wanted[name] == 1 for name in names)
        and (edit := _edit(change.component, new, f"the only near {what} is {min(names)}", places))
    ]


def renamed_parameters(rows: RowsOfModel, places: Places) -> list[Edit]:
    """Edits for names of parameters that have exactly one near candidate, of a shape that the row can give."""

    def fits(row: Row, template: Template, name: str) -> bool:
        return not isinstance(row, Copy) or can_give(row, row.transform.layout, rows.parameters[name].shape)

    every = [found.row for found in rows.rows]
    dead = {id(found.row) for found in rows.rows if not found.names}
    return renames(every, dead, "pt", rows.unwritten, fits, places)


def _templates(row: Row, side: str) -> tuple[Template, ...]:
    return row.pt if side == "pt" else row.tf if isinstance(row, Copy) else ()


def _candidates(
    row: Row,
    template: Template,
    components: Sequence[Component],
    free: Collection[str],
    fits: Fits,
    changes: dict[tuple[str, int, int], _Change],
) -> None:
    texts = [component.text for component in components]
    if any("..." in text for text in texts):
        return
    matched: dict[tuple[tuple[str, int, int], str], set[str]] = {}
    for name in free:
        parts = [part for part, _ in split(name, template.separator)]
        if len(parts) != len(texts):
            continue
        apart = [
            at for at, (text, part) in enumerate(zip(texts, parts, strict=True)) if not _reads(text, part)
        ]
        if len(apart) != 1:
            continue
        component, new = components[apart[0]], parts[apart[0]]
        if component.span is None or "{" in component.text or not _near(component.text, new):
            continue
        changed = template.separator.join([*texts[: apart[0]], new, *texts[apart[0] + 1 :]])
        other = _replaced(row, template, changed)
        if other is not None and other.match(name) is not None and fits(row, other, name):
            matched.setdefault((component.key, new), set()).add(name)
    for (key, new), names in matched.items():
        count, known = changes[key].found.get(new, (0, set()))
        changes[key].found[new] = count + (not row.optional), known | names


def _only(change: _Change) -> tuple[str, set[str]]:
    """The one component that makes every row match, with the names; empty if there is none, or several."""
    if len(change.found) != 1:
        return "", set()
    ((new, (count, names)),) = change.found.items()
    return (new, names) if count == change.rows > 0 else ("", set())


def _reads(text: str, part: str) -> bool:
    """Whether a component of a template could match a component of a name."""
    if "{" not in text:
        return text == part
    template = _compiled(text)
    return template is None or template.match(part) is not None


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Template | None:
    """A component as a template; None if part of a field's form is in another one."""
    try:
        return single(text)
    except MappingError:
        return None


def _near(old: str, new: str) -> bool:
    """Whether a component is likely to be another name of the same thing: similar, and with the same numbers."""
    from rapidfuzz.distance import Indel

    same = re.findall(r"\d+", old) == re.findall(r"\d+", new)
    return same and Indel.normalized_similarity(old, new) >= _NEAR


def _replaced(row: Row, template: Template, text: str) -> Template | None:
    """The row's template with another text, its fields reconciled with those of the other side."""
    tf = [each.text for each in row.tf] if isinstance(row, Copy) else []
    pt = [each.text for each in row.pt]
    at_pt = template.separator == PT_SEPARATOR
    side = pt if at_pt else tf
    place = side.index(template.text)
    side[place] = text
    try:
        return pair_lists(tf, pt)[int(at_pt)][place]
    except MappingError:
        return None


def _edit(component: Component, new: str, why: str, places: Places) -> Edit | None:
    """The edit of a component, unless its text is written with escapes or over several lines."""
    span = component.span
    text = None if span is None else places.texts[span.position.file]
    if span is None or text is None:
        return None
    raw = text.text[span.start : span.end]
    at = raw.find(span.value)
    plain = re.fullmatch(r"[\w.~-]+", new) is not None
    if at not in (0, 1) or len(raw) != len(span.value) + 2 * at or not plain:
        return None
    start = span.start + at + component.start
    position = span.position.moved(at + component.start)
    return Edit(position, start, start + len(component.text), component.text, new, why)
