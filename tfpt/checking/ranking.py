"""Which mappings fit a checkpoint, judged by names alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tfpt.checking.mapping_index import IndexedMapping, IndexedRows, mapping_index
from tfpt.formats import open_source
from tfpt.formats.renamed import Names, renamed
from tfpt.formats.roles import roles_of
from tfpt.formats.source import Source
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import TF_SEPARATOR


@dataclass(frozen=True)
class Candidate:
    """How well a mapping fits the names in a checkpoint.

    Attributes:
        mapping: The mapping, as in the index.
        scope: The scope of the source with which it fits best.
        read: How many of the weights its rows would read.
        weights: How many weights the checkpoint has, without optimizer slots and counters and without what the mapping
            leaves out.
        matched: How many of its rows match a variable.
        rows: How many rows it has, without optional ones and constants.
    """

    mapping: IndexedMapping
    scope: str
    read: int
    weights: int
    matched: int
    rows: int

    @property
    def score(self) -> float:
        """From 0 to 1: the share of the weights that are read, times the share of the rows that match."""
        return self.read / max(self.weights, 1) * self.matched / max(self.rows, 1)

    def to_json(self) -> dict[str, Any]:
        """The candidate as JSON values."""
        numbers = {"read": self.read, "weights": self.weights, "matched": self.matched, "rows": self.rows}
        return {"mapping": self.mapping.name, "scope": self.scope, "score": round(self.score, 4), **numbers}


def rank(checkpoint: str | os.PathLike[str], names: Iterable[str] | None = None) -> list[Candidate]:
    """The mappings with rows that match variables of a checkpoint, best first. Reads no weights.

    Args:
        checkpoint: The path or URL of a checkpoint.
        names: The mappings to consider; by default all that come with tfpt or with an installed package.

    Raises:
        SourceError: The checkpoint cannot be read.

    Example:
        >>> import tempfile, tfpt
        >>> path = f"{tempfile.mkdtemp()}/model.ckpt"
        >>> _ = tfpt.sample("i3d_flow", path)
        >>> [found.mapping.name for found in rank(path) if found.score == 1]
        ['i3d_flow', 'i3d_flow_piergiaj']
    """
    index = mapping_index()
    found = []
    with closing(open_source(checkpoint)) as source:
        by_kind: dict[Names, _Names] = {}
        for name in index if names is None else names:
            mapping = index[name]
            if mapping.names not in by_kind:
                by_kind[mapping.names] = _Names(renamed(source, mapping.names))
            checked = by_kind[mapping.names]
            best = max(
                (checked.candidate(mapping, rows) for rows in mapping.alternatives),
                key=lambda candidate: candidate.score,
            )
            if best.score:
                found.append(best)
    return sorted(found, key=lambda candidate: (-candidate.score, candidate.mapping.name))


class _Names:
    """The names of a checkpoint's weights."""

    def __init__(self, source: Source) -> None:
        roles = roles_of(source)
        self.weights = [name for name in source.specs if name not in roles]
        self.index = NameIndex(self.weights, TF_SEPARATOR)

    def candidate(self, mapping: IndexedMapping, rows: IndexedRows) -> Candidate:
        read: set[str] = set()
        matched = required = 0
        for row in rows.rows:
            names = {name for template in row.tf for name, _ in self.index.each_match(template)}
            read |= names
            required += not row.optional
            matched += bool(names) and not row.optional
        ignored = {name for template in rows.ignore for name, _ in self.index.each_match(template)} - read
        return Candidate(
            mapping=mapping,
            scope=rows.scope,
            read=len(read),
            weights=len(self.weights) - len(ignored),
            matched=matched,
            rows=required,
        )
