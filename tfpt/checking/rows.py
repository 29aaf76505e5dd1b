"""Rows against the names of the model's parameters: which match nothing, or have no effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from tfpt.checking.places import Places
from tfpt.language.abbreviation import abbreviated
from tfpt.language.library import is_library
from tfpt.language.mapping import Copy, Row
from tfpt.language.mapping import Mapping as TfptMapping
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import PT_SEPARATOR, TF_SEPARATOR, Value
from tfpt.language.tree import Position
from tfpt.nearest import nearest
from tfpt.planning import Finding
from tfpt.planning.instances import Instance, instances_of
from tfpt.planning.loose_ends import NearestNames
from tfpt.tensors import TensorSpec


@dataclass(frozen=True)
class Matched:
    """A row, and the parameters that its names match with the values of its fields."""

    row: Row
    names: tuple[tuple[str, dict[str, Value]], ...]


class RowsOfModel:
    """The rows of a mapping in its first scope, matched with the parameters of its model.

    Args:
        mapping: The mapping.
        parameters: The parameters and buffers of the model.
    """

    def __init__(self, mapping: TfptMapping, parameters: Mapping[str, TensorSpec]) -> None:
        self.mapping = mapping
        self.parameters = parameters
        self.index = NameIndex(parameters, PT_SEPARATOR)
        self.rows = [
            Matched(row, tuple(found for template in row.pt for found in self.index.matches(template)))
            for row in mapping.alternatives[0].rows
        ]

    @cached_property
    def writers(self) -> dict[str, list[Row]]:
        """The rows that match each parameter."""
        found: dict[str, list[Row]] = {}
        for matched in self.rows:
            for name, _ in matched.names:
                found.setdefault(name, []).append(matched.row)
        return found

    @property
    def unwritten(self) -> list[str]:
        """The parameters that no row matches."""
        return [name for name in self.parameters if name not in self.writers]

    @property
    def dead(self) -> list[Row]:
        """The rows that match no parameter although they are not optional."""
        return [found.row for found in self.rows if not found.names and not found.row.optional]

    def instances(self, row: Row) -> list[Instance]:
        """What a row writes and, as far as the names of parameters say, reads."""
        return instances_of(row, NameIndex((), TF_SEPARATOR), {}, self.index)


def check_rows(rows: RowsOfModel, places: Places) -> list[Finding]:
    """What the names of parameters say about rows."""
    return [
        *_dead(rows, places),
        *_missing(rows, places),
        *_repeated(rows, places),
        *_shadowed(rows, places),
    ]


def _dead(rows: RowsOfModel, places: Places) -> Iterator[Finding]:
    unwritten = rows.unwritten
    alive = {matched.row.position for matched in rows.rows if matched.names}
    for row in rows.dead:
        finding = Finding(
            "dead-row",
            f"the row writes no parameter of the model: {row}",
            row=str(row),
            nearest=tuple(nearest(row.pt[0].text, unwritten)) if len(unwritten) <= 1000 else (),
            hint="correct the name, or remove the row; optional: true if that is expected",
        )
        scopes = [scope for scope in row.scopes if not is_library(scope.file)]
        if row.position in alive and scopes:  # the scope is what has no match
            yield places.at(finding, scopes[-1], "pt")
        else:
            yield places.in_row(finding, row, "pt")


def _missing(rows: RowsOfModel, places: Places) -> Iterator[Finding]:
    by_text = {template.text: matched.row for matched in rows.rows for template in matched.row.pt}
    texts, close = list(by_text), NearestNames()
    for name in rows.unwritten:
        found = close(name, texts)
        finding = Finding(
            "missing",
            f"no row writes the parameter {name}",
            name=name,
            expected=f"a row for {rows.parameters[name]}",
            nearest=tuple(map(abbreviated, found)),
            hint="add a row; fill: or keep: if TensorFlow has no such variable",
        )
        if found:
            yield places.in_row(finding, by_text[found[0]], "pt")
        else:
            yield places.at_path(finding, "weights")


def _repeated(rows: RowsOfModel, places: Places) -> Iterator[Finding]:
    """Rows that claim the variables, and write the parameters, of one row before them."""
    for at, matched in enumerate(rows.rows):
        row = matched.row
        if not matched.names or not _settles(row) or row.overrides:
            continue
        earlier = [
            other
            for other in rows.writers[matched.names[0][0]]
            if other is not row and _settles(other) and not other.overrides
        ]
        before = {id(found.row) for found in rows.rows[:at]}
        for other in earlier:
            if id(other) in before and _covers(rows, other, matched):
                finding = Finding(
                    "overlap",
                    f"another row reads and writes the same as this one: {row}",
                    name=matched.names[0][0],
                    row=str(row),
                    got=f"{other} at {other.where}",
                    hint="remove one of them; or overrides: true on the one that should win",
                )
                yield places.in_row(finding, row, "pt")
                break


def _settles(row: Row) -> bool:
    """Whether the row claims what it matches in every checkpoint that fits the mapping."""
    return not (row.optional or row.fallback or (isinstance(row, Copy) and row.tied))


def _covers(rows: RowsOfModel, other: Row, matched: Matched) -> bool:
    """Whether a row writes every parameter of another, from the same variables."""
    if not all(any(each is other for each in rows.writers[name]) for name, _ in matched.names):
        return False
    if not isinstance(matched.row, Copy) or not isinstance(other, Copy):
        # Those of a layer are written only where the layer is in the checkpoint.
        return not (
            isinstance(matched.row, Copy) or isinstance(other, Copy) or matched.row.scopes or other.scopes
        )
    reads = {name for instance in rows.instances(matched.row) for name in instance.reads}
    return all(any(template.match(name) is not None for template in other.tf) for name in reads)


def _shadowed(rows: RowsOfModel, places: Places) -> Iterator[Finding]:
    """Rows whose every parameter is written by a row that takes precedence, in all their scopes."""
    by_place: dict[Position, list[tuple[Matched, Row | None]]] = {}
    for matched in rows.rows:
        by_place.setdefault(matched.row.position, []).append((matched, _winner(rows, matched)))
    for position, found in by_place.items():
        first, winner = found[0]
        if is_library(position.file) or winner is None or not all(each for _, each in found):
            continue
        names = [name for name, _ in first.names]
        why = "fallback" if first.row.fallback else "overridden"
        finding = Finding(
            "shadowed-row",
            f"the row has no effect, since another one writes everything that it would: {first.row}",
            name=names[0],
            row=str(first.row),
            got=f"{why} by {winner} at {winner.where}",
            hint="remove it",
        )
        yield places.in_row(finding, first.row, "pt")


def _winner(rows: RowsOfModel, matched: Matched) -> Row | None:
    """The row because of which a row never writes anything."""
    row, winner = matched.row, None
    for name, _ in matched.names:
        winner = next(
            (
                other
                for other in rows.writers[name]
                if other is not row
                and not other.optional
                and not other.fallback
                and (row.fallback or (other.overrides and not row.overrides))
            ),
            None,
        )
        if winner is None:
            return None
    return winner
