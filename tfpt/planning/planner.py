"""A mapping against a checkpoint's names and a model's parameters: every step, and every finding at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tfpt.mapping.document import display_path
from tfpt.mapping.rows import Mapping as TfptMapping
from tfpt.mapping.rows import Row, RowSet
from tfpt.mapping.template import PT_SEPARATOR, TF_SEPARATOR
from tfpt.nearest import nearest
from tfpt.planning.averages import Variables, require_averages, resolve_averages
from tfpt.planning.claims import Claims, claimed_by, settle
from tfpt.planning.findings import Finding
from tfpt.planning.fitting import fit
from tfpt.planning.instances import Instance, NameIndex, instances_of, place_constants
from tfpt.planning.plan import Plan, Step
from tfpt.tensors import TensorSpec, format_shape


def make_plan(
    mapping: TfptMapping,
    specs: Mapping[str, TensorSpec],
    targets: Mapping[str, TensorSpec],
    *,
    source: str = "",
    dtype: str | None = None,
) -> Plan:
    """Plan a translation from names, shapes and dtypes alone.

    Args:
        mapping: The compiled mapping.
        specs: The checkpoint's variables.
        targets: The model's parameters and buffers, in its order.
        source: What to call the checkpoint in reports.
        dtype: The dtype in which floating-point parameters are written, if not the model's.
    """
    row_set, finding = _choose_scope(mapping, specs)
    if finding is not None:
        return _plan(mapping, source, row_set.scope, specs, [], [finding], [], {}, {})
    return _Planner(mapping, row_set, specs, targets, source, dtype).plan()


class _Planner:
    def __init__(
        self,
        mapping: TfptMapping,
        row_set: RowSet,
        specs: Mapping[str, TensorSpec],
        targets: Mapping[str, TensorSpec],
        source: str,
        dtype: str | None,
    ) -> None:
        self.mapping = mapping
        self.row_set = row_set
        self.specs = specs
        self.targets = targets
        self.source = source
        self.dtype = dtype
        self.findings: list[Finding] = []
        self.notes: list[Finding] = []

    def plan(self) -> Plan:
        where = display_path(self.mapping.path)
        variables = resolve_averages(self.specs, self.row_set.ema, self.row_set.ignore, where)
        self.findings += variables.findings
        names, parameters = NameIndex(variables.specs, TF_SEPARATOR), NameIndex(self.targets, PT_SEPARATOR)
        by_row = [(row, instances_of(row, names, variables.specs, parameters)) for row in self.row_set.rows]
        place_constants(by_row)
        claims = settle(
            [instance for _, found in by_row for instance in found], self.row_set.ignore, variables.specs
        )
        self.findings += claims.findings
        steps = self._fit(claims, variables)
        claimed = claimed_by(claims.active)
        loose = [name for name in variables.specs if name not in claimed and name not in claims.ignored]
        written = {name for instance in claims.active for name in instance.writes}
        open_parameters = [name for name in self.targets if name not in written]
        self._report_open(open_parameters, loose, claims, variables.specs)
        self._report_unused(loose, open_parameters, variables.specs)
        if self.row_set.ema is not None and self.row_set.ema.use == "require":
            used = [name for name in claimed if name in variables.specs]
            self.findings += require_averages(used, variables, self.row_set.ema)
        self.notes += [_dead(row) for row, found in by_row if not row.optional and not found]
        self.notes += _unconfirmed(steps)
        read = {name for instance in claims.active for name in instance.reads}
        shadows = {raw: shadow for raw, shadow in variables.shadows.items() if raw in read}
        ignored = {**claims.ignored, **variables.ignored}
        order = {name: index for index, name in enumerate(self.targets)}
        steps.sort(key=lambda step: order.get(step.writes[0].name, len(order)))
        return _plan(
            self.mapping,
            self.source,
            self.row_set.scope,
            self.specs,
            steps,
            self.findings,
            self.notes,
            ignored,
            shadows,
        )

    def _fit(self, claims: Claims, variables: Variables) -> list[Step]:
        steps = []
        for instance in claims.active:
            extra = [name for name in instance.writes if name not in self.targets]
            self.findings += [self._extra(instance, name) for name in extra]
            if instance.absent:
                self.findings += [self._absent(instance, name, variables.specs) for name in instance.absent]
                continue
            step, findings = fit(instance, variables, self.targets, self.dtype)
            self.findings += map(self._with_hint, findings)
            if step is not None and not extra and not findings:
                steps.append(step)
        return steps

    def _with_hint(self, finding: Finding) -> Finding:
        """Another size than the model's usual one most often means that its configuration was not given."""
        configurable = self.mapping.model.config is not None and self.mapping.config is None
        if finding.kind != "shape" or finding.hint or not configurable:
            return finding
        return replace(finding, hint="--config config.json, the file that comes with the checkpoint")

    def _extra(self, instance: Instance, name: str) -> Finding:
        return Finding(
            "extra",
            f"the row writes {name}, which the model does not have",
            name=name,
            where=instance.row.where,
            row=str(instance.row),
            got=f"from {', '.join(instance.reads[:3])}"
            if instance.reads
            else f"a constant, {instance.row.fill}",
            nearest=tuple(nearest(name, self.targets)),
        )

    def _absent(self, instance: Instance, name: str, specs: Mapping[str, TensorSpec]) -> Finding:
        return Finding(
            "absent",
            f"the variable {name} is not in the checkpoint",
            name=name,
            where=instance.row.where,
            row=str(instance.row),
            expected=f"{name}, for {', '.join(instance.writes[:3])}",
            nearest=tuple(nearest(name, specs)),
            hint=f"tfpt inspect {self.source}",
        )

    def _report_open(
        self, parameters: list[str], loose: list[str], claims: Claims, specs: Mapping[str, TensorSpec]
    ) -> None:
        """A finding for each parameter that nothing writes: `absent` where a row would have, else `missing`."""
        wanting: dict[str, list[Instance]] = {}
        for instance in claims.wanting:
            for name in instance.writes:
                wanting.setdefault(name, []).append(instance)
        reported: set[int] = set()
        unclaimed, everything = _by_sizes(loose, specs), _by_sizes(specs, specs)
        for name in parameters:
            instances = wanting.get(name, [])
            needed = [instance for instance in instances if instance.reads and not instance.row.optional]
            sizes = _sizes(self.targets[name].shape)
            candidates = unclaimed.get(sizes) or everything.get(sizes, [])
            if not needed:
                self.findings.append(self._missing(name, instances, candidates))
            elif not reported.intersection(map(id, needed)):
                reported.update(map(id, needed))
                self.findings.append(self._wanting(name, needed, candidates))

    def _wanting(self, name: str, instances: list[Instance], candidates: list[str]) -> Finding:
        first = instances[0]
        wanted = dict.fromkeys(variable for instance in instances for variable in instance.reads)
        others = dict.fromkeys(instance.row.where for instance in instances[1:])
        return Finding(
            "absent",
            f"the variable {' or '.join(wanted)} is not in the checkpoint",
            name=first.reads[0],
            where=" and ".join([first.row.where, *others]),
            row=str(first.row),
            expected=f"it, for {name} {format_shape(self.targets[name].shape)}",
            nearest=tuple(nearest(first.reads[0], candidates)),
            hint=f"tfpt inspect {self.source}",
        )

    def _missing(self, name: str, instances: list[Instance], candidates: list[str]) -> Finding:
        got = "no row writes it"
        if instances:
            row = instances[0].row
            got = f"the row at {row.where} would, if its layer stood in the checkpoint"
            if row.tf:
                got = f"the optional row at {row.where} would, from {', '.join(instances[0].reads)}"
        return Finding(
            "missing",
            f"nothing writes the parameter {name}",
            name=name,
            where=self._neighbour(name),
            expected=f"a row for {name} {format_shape(self.targets[name].shape)} {self.targets[name].dtype}",
            got=got,
            nearest=tuple(nearest(name.replace(PT_SEPARATOR, TF_SEPARATOR), candidates)),
            hint=f"tfpt check {self.mapping.path}",
        )

    def _neighbour(self, name: str) -> str:
        """The row that writes into the same module, near which the missing one probably belongs."""
        module = name.rpartition(PT_SEPARATOR)[0]
        outer = module.rpartition(PT_SEPARATOR)[0]
        for depth in (module, outer):
            for row in reversed(self.row_set.rows):
                for template in row.pt:
                    leaf = template.text.rpartition(PT_SEPARATOR)[2]
                    if depth and template.match(f"{depth}{name[len(module) :]}") is not None:
                        return row.where
                    if (
                        depth
                        and "{" not in leaf
                        and template.match(f"{depth}{PT_SEPARATOR}{leaf}") is not None
                    ):
                        return f"near {row.where}"
        return display_path(self.mapping.path)

    def _report_unused(
        self, loose: Iterable[str], parameters: list[str], specs: Mapping[str, TensorSpec]
    ) -> None:
        by_sizes = _by_sizes(parameters, self.targets)
        for name in loose:
            spec = specs[name]
            candidates = by_sizes.get(_sizes(spec.shape), [])
            self.findings.append(
                Finding(
                    "unused",
                    f"no row claims the variable {name}",
                    name=name,
                    where=display_path(self.mapping.path),
                    expected="a row for it, or an entry under source.ignore",
                    got=f"{format_shape(spec.shape)} {spec.dtype}",
                    nearest=tuple(nearest(name.replace(TF_SEPARATOR, PT_SEPARATOR), candidates)),
                )
            )


def _plan(
    mapping: TfptMapping,
    source: str,
    scope: str,
    specs: Mapping[str, TensorSpec],
    steps: list[Step],
    findings: list[Finding],
    notes: list[Finding],
    ignored: Mapping[str, str],
    shadows: Mapping[str, str],
) -> Plan:
    return Plan(
        mapping=mapping.name,
        digest=mapping.digest,
        source=source,
        scope=scope,
        variables=len(specs),
        steps=tuple(steps),
        findings=tuple(findings),
        notes=tuple(notes),
        ignored=ignored,
        shadows=shadows,
    )


def _choose_scope(mapping: TfptMapping, specs: Mapping[str, TensorSpec]) -> tuple[RowSet, Finding | None]:
    names = NameIndex(specs, TF_SEPARATOR)
    fitting = [
        row_set
        for row_set in mapping.alternatives
        if any(names.matches(template) for row in row_set.rows for template in row.tf)
        or not any(row.tf for row in row_set.rows)
    ]
    if len(fitting) == 1:
        return fitting[0], None
    scopes = [row_set.scope or "the root" for row_set in mapping.alternatives]
    where = display_path(mapping.path)
    if fitting:
        both = " and ".join(row_set.scope or "the root" for row_set in fitting)
        return fitting[0], Finding(
            "scope", f"the checkpoint has variables under {both}", where=where, expected="one"
        )
    folders = dict.fromkeys(
        TF_SEPARATOR.join(name.split(TF_SEPARATOR)[:depth]) for name in specs for depth in (1, 2, 3)
    )
    return mapping.alternatives[0], Finding(
        "scope",
        f"no variable of the checkpoint stands where the mapping looks: {' or '.join(scopes)}",
        where=where,
        expected=f"names such as {mapping.alternatives[0].rows[0].tf[0].text}"
        if mapping.alternatives[0].rows
        else "",
        got=f"names such as {next(iter(specs), 'none at all')}",
        nearest=tuple(nearest(mapping.alternatives[0].scope, folders))
        if mapping.alternatives[0].scope
        else (),
        hint="tfpt mappings lists the others",
    )


def _sizes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """What every permutation of a shape has in common."""
    return tuple(sorted(size for size in shape if size != 1))


def _by_sizes(names: Iterable[str], specs: Mapping[str, TensorSpec]) -> dict[tuple[int, ...], list[str]]:
    """Names grouped so that those together could be the same tensor, axes in any order."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        groups.setdefault(_sizes(specs[name].shape), []).append(name)
    return groups


def _dead(row: Row) -> Finding:
    return Finding("dead-row", f"the row matched nothing: {row}", where=row.where, row=str(row))


def _unconfirmed(steps: list[Step]) -> list[Finding]:
    """One note for each row: how many of its tensors have equal axes that change places."""
    by_row: dict[str, list[Step]] = {}
    for step in steps:
        if step.alike is not None:
            by_row.setdefault(step.where.partition(" (in")[0], []).append(step)
    notes = []
    for where, found in by_row.items():
        first = found[0]
        assert first.alike is not None
        notes.append(
            Finding(
                "unconfirmed-layout",
                f"{len(found)} tensor{'s' * (len(found) != 1)}, {first.reads[0].name} first, "
                f"{'have' if len(found) != 1 else 'has'} equal axes "
                f"{' and '.join(first.alike)}: the shapes cannot confirm the layout",
                name=first.writes[0].name,
                where=where,
                got=f"{first.work} on {format_shape(first.reads[0].shape)}",
            )
        )
    return notes
