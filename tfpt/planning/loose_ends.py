"""Findings about leftovers: parameters that no row writes, variables that no row claims."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from tfpt.language.mapping import Copy, Row, RowSet
from tfpt.language.mapping import Mapping as TfptMapping
from tfpt.language.templates import PT_SEPARATOR, TF_SEPARATOR
from tfpt.language.tree import display_path
from tfpt.nearest import Names
from tfpt.planning.claims import Claims
from tfpt.planning.findings import Finding
from tfpt.planning.instances import Instance
from tfpt.tensors import TensorSpec, format_shape

# The most look-ups for one plan, and names compared in total: a plan with more findings than this uses the mapping of
# a different model. A million names take about a second.
LOOKUPS = 300
COMPARED = 1_000_000

CONFIGURE = "--config config.json, the file that comes with the checkpoint"


class NearestNames:
    """The nearest names for the first findings of a plan only, so that even the worst plan is quick."""

    def __init__(self) -> None:
        self.lookups = 0
        self.compared = 0
        self._prepared: dict[int, tuple[Collection[str], Names]] = {}

    def __call__(self, name: str, candidates: Collection[str], count: int = 3) -> tuple[str, ...]:
        self.lookups += 1
        self.compared += len(candidates)
        if self.lookups > LOOKUPS or self.compared > COMPARED:
            return ()
        # The same names are searched for many findings. Storing the collection keeps its id from being reused.
        if id(candidates) not in self._prepared:
            self._prepared[id(candidates)] = candidates, Names(candidates)
        return tuple(self._prepared[id(candidates)][1].nearest(name, count))


class LooseEnds:
    """Makes the findings about leftovers.

    Args:
        mapping: The mapping.
        row_set: Its rows in the scope that fits.
        targets: The model's parameters.
        source: The checkpoint, as named in reports.
        nearest: Finds the nearest names.
    """

    def __init__(
        self,
        mapping: TfptMapping,
        row_set: RowSet,
        targets: Mapping[str, TensorSpec],
        source: str,
        nearest: NearestNames,
    ) -> None:
        self.mapping = mapping
        self.row_set = row_set
        self.targets = targets
        self.source = source
        self.nearest = nearest

    def open_parameters(
        self, parameters: list[str], loose: list[str], claims: Claims, specs: Mapping[str, TensorSpec]
    ) -> list[Finding]:
        """A finding for each unwritten parameter: `absent` if a row needs a variable for it, else `missing`."""
        wanting: dict[str, list[Instance]] = {}
        for instance in claims.wanting:
            for name in instance.writes:
                wanting.setdefault(name, []).append(instance)
        findings = []
        reported: set[int] = set()
        unclaimed, everything = _by_sizes(loose, specs), _by_sizes(specs, specs)
        for name in parameters:
            instances = wanting.get(name, [])
            needed = [instance for instance in instances if instance.reads and not instance.row.optional]
            sizes = _sizes(self.targets[name].shape)
            candidates = unclaimed.get(sizes) or everything.get(sizes, [])
            if not needed:
                findings.append(self._missing(name, instances, candidates))
            elif not reported.intersection(map(id, needed)):
                reported.update(map(id, needed))
                findings.append(self._absent(name, needed, candidates))
        return findings

    def unused(
        self, loose: Iterable[str], parameters: list[str], claims: Claims, specs: Mapping[str, TensorSpec]
    ) -> list[Finding]:
        """A finding for each variable that no row claims."""
        findings = []
        by_sizes = _by_sizes(parameters, self.targets)
        for name in loose:
            spec, winner = specs[name], claims.overridden.get(name)
            candidates = by_sizes.get(_sizes(spec.shape), [])
            findings.append(
                Finding(
                    "unused",
                    f"no row claims the variable {name}",
                    name=name,
                    where=display_path(self.mapping.path),
                    expected="a row for it, or an entry under source.ignore",
                    got=f"{format_shape(spec.shape)} {spec.dtype}",
                    nearest=self.nearest(name.replace(TF_SEPARATOR, PT_SEPARATOR), candidates),
                    hint="" if winner is None else f"its row lost to the one at {winner.row.where}",
                    variables=(spec,),
                )
            )
        return findings

    def _absent(self, name: str, instances: list[Instance], candidates: list[str]) -> Finding:
        first = instances[0]
        wanted = dict.fromkeys(" and ".join(instance.absent) for instance in instances)
        others = dict.fromkeys(instance.row.where for instance in instances[1:])
        several = len(first.absent) > 1
        # A model larger than the checkpoint usually means that its configuration was not given.
        configurable = self.mapping.model.config is not None and self.mapping.config is None
        return Finding(
            "absent",
            f"the variable{'s' * several} {' or '.join(wanted)} {'are' if several else 'is'} not in the checkpoint",
            name=first.reads[0],
            where=" and ".join([first.row.where, *others]),
            row=str(first.row),
            expected=f"it, for {name} {format_shape(self.targets[name].shape)}",
            nearest=self.nearest(first.reads[0], candidates),
            hint=CONFIGURE if configurable else f"tfpt inspect {self.source}",
            parameters=(self.targets[name],),
            wanted=tuple(first.absent),
        )

    def _missing(self, name: str, instances: list[Instance], candidates: list[str]) -> Finding:
        got = "no row writes it"
        if instances:
            row = instances[0].row
            got = f"the row at {row.where} would, if its layer were in the checkpoint"
            if isinstance(row, Copy):
                got = f"the optional row at {row.where} would, from {', '.join(instances[0].reads)}"
        return Finding(
            "missing",
            f"no row writes the parameter {name}",
            name=name,
            where=self._neighbor(name),
            expected=f"a row for {name} {format_shape(self.targets[name].shape)} {self.targets[name].dtype}",
            got=got,
            nearest=self.nearest(name.replace(PT_SEPARATOR, TF_SEPARATOR), candidates),
            hint=f"tfpt check {display_path(self.mapping.path)}",
            parameters=(self.targets[name],),
            wanted=tuple(instances[0].absent or instances[0].reads) if instances else (),
        )

    def _neighbor(self, name: str) -> str:
        """The row that writes the nearest name: the missing row probably belongs beside it."""
        closest = self.nearest(name, self._written, 1)
        if not closest:
            return display_path(self.mapping.path)
        row = self._written[closest[0]]
        writes_it = any(template.match(name) is not None for template in row.pt)
        return row.where if writes_it else f"near {row.where}"

    @cached_property
    def _written(self) -> dict[str, Row]:
        """The templates of parameter names, as text, each with its first row."""
        written: dict[str, Row] = {}
        for row in self.row_set.rows:
            for template in row.pt:
                written.setdefault(template.text, row)
        return written


def _sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of a shape, the same for every permutation of it; without axes of size 1."""
    return tuple(sorted(size for size in shape if size != 1))


def _by_sizes(names: Iterable[str], specs: Mapping[str, TensorSpec]) -> dict[tuple[int, ...], list[str]]:
    """Names grouped by the sizes of their axes, in any order."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        groups.setdefault(_sizes(specs[name].shape), []).append(name)
    return groups
