"""Which of the scopes that a mapping lists the checkpoint has: exactly one must fit."""

from __future__ import annotations

from collections.abc import Mapping

from tfpt.mapping.document import display_path
from tfpt.mapping.rows import Mapping as TfptMapping
from tfpt.mapping.rows import RowSet
from tfpt.mapping.template import TF_SEPARATOR, Template
from tfpt.nearest import nearest
from tfpt.planning.averages import resolve_averages
from tfpt.planning.findings import Finding
from tfpt.planning.instances import NameIndex
from tfpt.tensors import TensorSpec


def choose_scope(mapping: TfptMapping, specs: Mapping[str, TensorSpec]) -> tuple[RowSet, Finding | None]:
    """The rows for the scope that the checkpoint has, and a finding if none fits or several do."""
    where = display_path(mapping.path)
    alternatives = mapping.alternatives
    fitting = [row_set for row_set in alternatives if _fits(row_set, alternatives, specs, where)]
    if len(fitting) == 1:
        return fitting[0], None
    if fitting:
        both = " and ".join(row_set.scope or "the root" for row_set in fitting)
        return fitting[0], Finding(
            "scope", f"the checkpoint has variables under {both}", where=where, expected="one"
        )
    scopes = [row_set.scope or "the root" for row_set in alternatives]
    folders = dict.fromkeys(
        TF_SEPARATOR.join(name.split(TF_SEPARATOR)[:depth]) for name in specs for depth in (1, 2, 3)
    )
    first = alternatives[0]
    return first, Finding(
        "scope",
        f"no variable of the checkpoint stands where the mapping looks: {' or '.join(scopes)}",
        where=where,
        expected=f"names such as {next((template.text for template in _templates(first)), '')}",
        got=f"names such as {next(iter(specs), 'none at all')}",
        nearest=tuple(nearest(first.scope, folders)) if first.scope else (),
        hint="tfpt mappings lists the others",
    )


def _templates(row_set: RowSet) -> list[Template]:
    return [template for row in row_set.rows for template in row.tf]


def _fits(
    row_set: RowSet, alternatives: tuple[RowSet, ...], specs: Mapping[str, TensorSpec], where: str
) -> bool:
    """Whether some variable stands where this scope, and not every scope, has a row."""
    templates = _templates(row_set)
    if len(alternatives) > 1:
        # An absolute name is the same under every scope, and tells nothing of which it is.
        everywhere = set.intersection(*({t.text for t in _templates(other)} for other in alternatives))
        templates = [template for template in templates if template.text not in everywhere]
    # Where only averages were kept, what a row names is known by its average.
    known = resolve_averages(specs, row_set.ema, row_set.ignore, where).specs if row_set.ema else specs
    names = NameIndex(known, TF_SEPARATOR)
    return any(names.matches(template) for template in templates) or not _templates(row_set)
