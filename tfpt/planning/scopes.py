"""Choose the scope of a mapping that fits the checkpoint: exactly one must."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tfpt.language.mapping import Copy, RowSet
from tfpt.language.mapping import Mapping as TfptMapping
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import TF_SEPARATOR, Template
from tfpt.language.tree import display_path
from tfpt.nearest import nearest
from tfpt.planning.averages import shadowed
from tfpt.planning.findings import Finding
from tfpt.planning.names import left_out
from tfpt.tensors import TensorSpec


def choose_scope(mapping: TfptMapping, specs: Mapping[str, TensorSpec]) -> tuple[RowSet, Finding | None]:
    """The rows for the scope that the checkpoint has, and a finding unless exactly one scope fits."""
    where = display_path(mapping.path)
    alternatives = mapping.alternatives
    names = NameIndex(specs, TF_SEPARATOR)
    fitting = [
        (row_set, templates)
        for row_set, templates in zip(alternatives, _distinguishing(alternatives), strict=True)
        if next(_found(row_set, templates, names), None) is not None or not _templates(row_set)
    ]
    if len(fitting) > 1:
        fitting = [found for found in fitting if not _is_within_another(*found, fitting, names)]
    if len(fitting) == 1:
        return fitting[0][0], None
    if fitting:
        both = " and ".join(row_set.scope or "the root" for row_set, _ in fitting)
        return fitting[0][0], Finding(
            "scope", f"the checkpoint has variables under {both}", where=where, expected="one"
        )
    scopes = [row_set.scope or "the root" for row_set in alternatives]
    folders = dict.fromkeys(
        TF_SEPARATOR.join(name.split(TF_SEPARATOR)[:depth]) for name in specs for depth in (1, 2, 3)
    )
    first = alternatives[0]
    return first, Finding(
        "scope",
        f"the checkpoint has no variable under the scope of the mapping: {' or '.join(scopes)}",
        where=where,
        expected=f"names such as {next((str(template) for template in _templates(first)), '')}",
        got=f"names such as {next(iter(specs), 'no names at all')}",
        nearest=tuple(nearest(first.scope, folders)) if first.scope else (),
        hint="tfpt mappings lists other mappings",
    )


def _templates(row_set: RowSet) -> list[Template]:
    return [template for row in row_set.rows if isinstance(row, Copy) for template in row.tf]


def _distinguishing(alternatives: tuple[RowSet, ...]) -> list[list[Template]]:
    """The templates that distinguish each scope from the others: absolute names are the same in every scope."""
    templates = [_templates(row_set) for row_set in alternatives]
    if len(alternatives) == 1:
        return templates
    everywhere = set.intersection(*({template.text for template in found} for found in templates))
    return [[template for template in found if template.text not in everywhere] for found in templates]


def _found(row_set: RowSet, templates: list[Template], names: NameIndex) -> Iterator[str]:
    """The variables that these templates match, including those whose average alone is in the checkpoint."""
    ema = row_set.ema
    for template in templates:
        for name, _ in names.each_match(template):
            if ema is None or ema.tf.match(name) is None:
                yield name
    if ema is None or ema.use == "ignore":
        return
    averaged = NameIndex((shadowed(ema, name) for name, _ in names.each_match(ema.tf)), TF_SEPARATOR)
    for template in templates:
        for name, _ in averaged.each_match(template):
            if not any(excepted.match(name) is not None for excepted in ema.exclude):
                yield name


def _is_within_another(
    row_set: RowSet,
    templates: list[Template],
    fitting: Iterable[tuple[RowSet, list[Template]]],
    names: NameIndex,
) -> bool:
    """Whether every match of a scope is in another fitting scope, which a path such as {name...} also matches."""
    outside = row_set.scope and f"{row_set.scope}{TF_SEPARATOR}"
    within = tuple(
        f"{other.scope}{TF_SEPARATOR}"
        for other, _ in fitting
        if other.scope != row_set.scope and other.scope.startswith(outside)
    )
    if not within or not templates:
        return False
    ignored = left_out(row_set.ignore, names)
    return all(name.startswith(within) or name in ignored for name in _found(row_set, templates, names))
