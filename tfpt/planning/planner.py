"""Match a mapping to a checkpoint's names and a model's parameters: all steps and all findings at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from tfpt.errors import TfptError
from tfpt.formats.roles import roles_by_name
from tfpt.formats.source import Quantized
from tfpt.io import limits
from tfpt.language.mapping import Fill, Ignore, Row, RowSet
from tfpt.language.mapping import Mapping as TfptMapping
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import PT_SEPARATOR, TF_SEPARATOR
from tfpt.language.tree import display_path
from tfpt.planning.averages import Variables, require_averages, resolve_averages
from tfpt.planning.claims import Claims, claimed_by, settle
from tfpt.planning.defaults import note_defaults
from tfpt.planning.findings import Finding
from tfpt.planning.fitting import fit
from tfpt.planning.instances import Instance, instances_of, place_constants
from tfpt.planning.loose_ends import CONFIGURE, LooseEnds, NearestNames
from tfpt.planning.plan import Plan
from tfpt.planning.scopes import choose_scope
from tfpt.planning.steps import Copy, Step
from tfpt.planning.unreadable import unreadable
from tfpt.planning.without_model import note_unchecked, stated_parameters
from tfpt.tensors import Role, TensorSpec, format_shape

# The number of sets of equal axes named in the note of one row.
_SETS = 4


def make_plan(
    mapping: TfptMapping,
    specs: Mapping[str, TensorSpec],
    targets: Mapping[str, TensorSpec] | None,
    *,
    source: str = "",
    dtype: str | None = None,
    roles: Mapping[str, Role] | None = None,
    quantized: Mapping[str, Quantized] = MappingProxyType({}),
    skipped: Mapping[str, str] = MappingProxyType({}),
) -> Plan:
    """Plan a translation from names, shapes and dtypes alone.

    Args:
        mapping: The compiled mapping.
        specs: The checkpoint's variables.
        targets: The model's parameters and buffers, in its order. None if the model is not known: they are then what
            the rows state, and the plan has a note that they were not checked.
        source: How reports name the checkpoint.
        dtype: The dtype in which floating-point parameters are written, if not the model's.
        roles: The roles of variables that are not weights; derived from their names by default.
        quantized: Variables whose integers encode real numbers, and the encoding.
        skipped: Tensors of the checkpoint that cannot be read, each with the reason.
    """
    row_set, finding = choose_scope(mapping, specs)
    if finding is not None:
        return _plan(mapping, source, row_set.scope, specs, [], [finding], [], {}, {}, {})
    known = roles_by_name(specs) if roles is None else roles
    row_set = replace(row_set, ignore=tuple(_with_names(entry, known) for entry in row_set.ignore))
    return _Planner(mapping, row_set, specs, targets, source, dtype, quantized, skipped).plan()


def _with_names(entry: Ignore, roles: Mapping[str, Role]) -> Ignore:
    if entry.role is None:
        return entry
    return replace(entry, names=frozenset(name for name, role in roles.items() if role == entry.role))


class _Planner:
    def __init__(
        self,
        mapping: TfptMapping,
        row_set: RowSet,
        specs: Mapping[str, TensorSpec],
        targets: Mapping[str, TensorSpec] | None,
        source: str,
        dtype: str | None,
        quantized: Mapping[str, Quantized],
        skipped: Mapping[str, str],
    ) -> None:
        self.mapping = mapping
        self.row_set = row_set
        self.specs = specs
        self.has_model = targets is not None
        self.targets = targets or {}
        self.source = source
        self.dtype = dtype
        self.quantized = quantized
        self.skipped = skipped
        self.findings: list[Finding] = []
        self.notes: list[Finding] = []
        self.nearest = NearestNames()

    def plan(self) -> Plan:
        where = display_path(self.mapping.path)
        variables = resolve_averages(self.specs, self.row_set.ema, self.row_set.ignore, where)
        self.findings += variables.findings
        names = NameIndex(variables.specs, TF_SEPARATOR)
        if not self.has_model:
            found = self._instances(names, variables, NameIndex((), PT_SEPARATOR))
            self.targets, refused = stated_parameters(found, self.row_set.ignore, variables, self.quantized)
            self.findings += refused
            self.notes.append(note_unchecked(where))
        parameters = NameIndex(self.targets, PT_SEPARATOR)
        by_row = self._instances(names, variables, parameters)
        place_constants(by_row)
        instances = [instance for _, found in by_row for instance in found]
        claims = settle(instances, self.row_set.ignore, variables.specs)
        self.findings += claims.findings
        steps = self._fit(claims, variables)
        claimed = claimed_by(claims.active)
        loose = [name for name in variables.specs if name not in claimed and name not in claims.ignored]
        written = {name for instance in claims.active for name in instance.writes}
        open_parameters = [name for name in self.targets if name not in written or name in claims.replaced]
        ends = LooseEnds(self.mapping, self.row_set, self.targets, self.source, self.nearest)
        self.findings += ends.open_parameters(open_parameters, loose, claims, variables.specs)
        self.findings += ends.unused(loose, open_parameters, claims, variables.specs)
        if self.row_set.ema is not None and self.row_set.ema.use == "require":
            used = [name for name in claimed if name in variables.specs]
            self.findings += require_averages(used, variables, self.row_set.ema)
        self.findings = unreadable(
            instances, claims, self.row_set, self.skipped, variables.specs, self.findings
        )
        self.notes += note_defaults(self.mapping)
        self.notes += [_dead(row) for row, found in by_row if not row.optional and not found]
        self.notes += _unconfirmed(steps)
        read = {name for instance in claims.active for name in instance.reads}
        shadows = {raw: shadow for raw, shadow in variables.shadows.items() if raw in read}
        # The average of an ignored variable is ignored as well.
        unread = {
            variables.shadows[name]: why for name, why in claims.ignored.items() if name in variables.shadows
        }
        ignored = {**claims.ignored, **variables.ignored, **unread}
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
            self._integers(steps),
        )

    def _instances(
        self, names: NameIndex, variables: Variables, parameters: NameIndex
    ) -> list[tuple[Row, list[Instance]]]:
        found, count = [], 0
        for row in self.row_set.rows:
            instances = instances_of(row, names, variables.specs, parameters)
            found.append((row, instances))
            count += len(instances)
            if count > limits.PLAN_INSTANCES:
                raise TfptError(
                    f"the rows match more than {limits.PLAN_INSTANCES:,} names in total",
                    where=row.where,
                    got=str(row),
                )
        return found

    def _integers(self, steps: list[Step]) -> dict[str, str]:
        """The quantized variables that are written as integers, with their encoding."""
        read = {spec.name for step in steps for spec in step.reads}
        return {name: str(how) for name, how in self.quantized.items() if name in read}

    def _fit(self, claims: Claims, variables: Variables) -> list[Step]:
        steps = []
        for instance in claims.active:
            extra = [name for name in instance.writes if name not in self.targets]
            if self.has_model:
                self.findings += [self._extra(instance, name, variables.specs) for name in extra]
            if instance.absent:
                self.findings += [self._absent(instance, name, variables.specs) for name in instance.absent]
                continue
            step, findings = fit(instance, variables, self.targets, self.dtype, self.quantized)
            self.findings += map(self._with_hint, findings)
            if step is not None and not extra and not findings:
                steps.append(step)
        return steps

    def _with_hint(self, finding: Finding) -> Finding:
        """A size other than the model's usual one usually means that its configuration was not given."""
        configurable = self.mapping.model.config is not None and self.mapping.config is None
        if finding.kind != "shape" or finding.hint or not configurable:
            return finding
        return replace(finding, hint=CONFIGURE)

    def _extra(self, instance: Instance, name: str, specs: Mapping[str, TensorSpec]) -> Finding:
        return Finding(
            "extra",
            f"the row writes {name}, which the model does not have",
            name=name,
            where=instance.row.where,
            row=str(instance.row),
            got=f"from {', '.join(instance.reads[:3])}" if instance.reads else _constant(instance.row),
            nearest=self.nearest(name, self.targets),
            variables=tuple(specs[read] for read in instance.reads if read in specs),
        )

    def _absent(self, instance: Instance, name: str, specs: Mapping[str, TensorSpec]) -> Finding:
        return Finding(
            "absent",
            f"the variable {name} is not in the checkpoint",
            name=name,
            where=instance.row.where,
            row=str(instance.row),
            expected=f"{name}, for {', '.join(instance.writes[:3])}",
            nearest=self.nearest(name, specs),
            hint=f"tfpt inspect {self.source}",
            parameters=tuple(self.targets[write] for write in instance.writes if write in self.targets),
            wanted=(name,),
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
    quantized: Mapping[str, str],
) -> Plan:
    return Plan(
        mapping=mapping.name,
        named=mapping.named,
        digest=mapping.digest,
        source=source,
        scope=scope,
        variables=len(specs),
        steps=tuple(steps),
        findings=tuple(findings),
        notes=tuple(notes),
        ignored=ignored,
        shadows=shadows,
        quantized=quantized,
    )


def _constant(row: Row) -> str:
    return f"a constant, {row.value}" if isinstance(row, Fill) else "the model's own value"


def _dead(row: Row) -> Finding:
    return Finding("dead-row", f"the row matched no name: {row}", where=row.where, row=str(row))


def _unconfirmed(steps: list[Step]) -> list[Finding]:
    """One note for each row: how many of its tensors have exchangeable axes, and which."""
    by_row: dict[str, list[Copy]] = {}
    for step in steps:
        if isinstance(step, Copy) and step.alike:
            by_row.setdefault(step.position.row, []).append(step)
    return [_unconfirmed_row(where, found) for where, found in by_row.items()]


def _unconfirmed_row(where: str, found: list[Copy]) -> Finding:
    first, number = found[0], len(found)
    sets = Counter(names for step in found for names in step.alike)
    axes = "; ".join(
        f"{', '.join(names[:-1])} and {names[-1]}" + (f" (in {count})" if count < number else "")
        for names, count in sets.most_common(_SETS)
    ) + ("; …" if len(sets) > _SETS else "")
    name = first.reads[0].name
    tensors = f"{number} tensors, {name} first, have" if number > 1 else f"1 tensor, {name} first, has"
    layouts = first.transform.stated_layouts
    return Finding(
        "unconfirmed-layout",
        f"{tensors} equal axes {axes}: the shapes cannot confirm "
        + ("the layout" if layouts else "that no axes need exchanging"),
        name=first.writes[0].name,
        where=where,
        got=f"{first.work} on {format_shape(first.reads[0].shape)}",
    )
