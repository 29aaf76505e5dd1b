"""Conflicts between rows: every variable is claimed once and every parameter written once, or it is a finding."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from tfpt.language.mapping import Copy, Ignore
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import TF_SEPARATOR, Field
from tfpt.planning.findings import Finding
from tfpt.planning.instances import Instance
from tfpt.planning.names import left_out

# The number of rows named of those that claim one variable.
_NAMED = 10


@dataclass
class Claims:
    """The outcome of settling conflicts.

    Attributes:
        active: The instances to carry out, in the order of the rows.
        wanting: Instances found through a parameter only: they would write it if the checkpoint had the variables.
        ignored: Variables left out by name, with the reason.
        replaced: Parameters that only a fallback writes although a row that needs a variable would.
        overridden: Names of instances that were overridden, each with the instance that overrides them.
        findings: The conflicts.
    """

    active: list[Instance] = field(default_factory=list)
    wanting: list[Instance] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    overridden: dict[str, Instance] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def settle(instances: Iterable[Instance], ignore: tuple[Ignore, ...], variables: Collection[str]) -> Claims:
    """Decide which instances are carried out.

    A row with `overrides` wins over one without; `tied` rows share a variable with another row; `fallback` rows write
    only what no other row writes, and may read what another row reads.
    """
    claims = Claims()
    everything = list(instances)
    active = [instance for instance in everything if instance.found and not instance.row.fallback]
    active = _settle_ignored(active, ignore, variables, claims)
    active = _settle(
        active,
        lambda instance: (
            []
            if isinstance(instance.row, Copy) and instance.row.tied
            else [name for name in instance.reads if name not in instance.absent]
        ),
        lambda name: f"the variable {name} is claimed by two rows",
        "tied: true on the row that repeats it, or overrides: true on the one that should win",
        claims,
    )
    active = _settle(
        active,
        lambda instance: instance.writes,
        lambda name: f"the parameter {name} is written by two rows",
        "overrides: true on the row that should win",
        claims,
    )
    written = {name for instance in active for name in instance.writes}
    # A fallback is for rows that may be absent; it does not make the others optional.
    needed = [
        instance
        for instance in everything
        if instance.reads
        and not (instance.found or instance.row.optional or instance.row.fallback)
        and not written.issuperset(instance.writes)
    ]
    claims.replaced = {name for instance in needed for name in instance.writes} - written
    fallbacks = [instance for instance in everything if instance.row.fallback and instance.found]
    for instance in _settle_ignored(_of_use(fallbacks, written), ignore, list(claims.ignored), claims):
        active.append(instance)
        written.update(instance.writes)
    for instance in active:
        claims.findings += [_rivalry(instance, *pair) for pair in instance.rivals]
    claims.active = active
    claims.wanting = [
        instance
        for instance in everything
        if not instance.found and not (written - claims.replaced).issuperset(instance.writes)
    ]
    claims.replaced &= written
    return claims


def _of_use(fallbacks: list[Instance], written: set[str]) -> list[Instance]:
    """The fallbacks whose parameters are all unwritten; the first to write a parameter gets it."""
    chosen, taken = [], set(written)
    for instance in fallbacks:
        if not taken.intersection(instance.writes):
            chosen.append(instance)
            taken.update(instance.writes)
    return chosen


def _settle_ignored(
    active: list[Instance], ignore: tuple[Ignore, ...], variables: Collection[str], claims: Claims
) -> list[Instance]:
    claimed: dict[str, list[Instance]] = {}
    for instance in active:
        for name in instance.reads:
            claimed.setdefault(name, []).append(instance)
    dropped: set[int] = set()
    entries = left_out(ignore, NameIndex(variables, TF_SEPARATOR))
    for name in variables:
        if name not in entries:
            continue
        entry = entries[name]
        rivals = claimed.get(name, [])
        overriding = [instance for instance in rivals if instance.row.overrides]
        if not rivals or (entry.overrides and not overriding):
            claims.ignored[name] = entry.why
            dropped.update(id(instance) for instance in rivals)
        elif entry.overrides or len(overriding) < len(rivals):
            claims.ignored[name] = entry.why
            claims.findings.append(_ignored_too(name, rivals[0], entry))
    return [instance for instance in active if id(instance) not in dropped]


def _ignored_too(name: str, instance: Instance, entry: Ignore) -> Finding:
    return Finding(
        "overlap",
        f"the variable {name} is claimed by a row and by ignore",
        name=name,
        where=instance.row.where,
        row=str(instance.row),
        got=f"ignore at {entry.position.row}",
        hint="overrides: true on the one that should win",
    )


def _settle(
    active: list[Instance],
    names_of: Callable[[Instance], list[str]],
    what: Callable[[str], str],
    hint: str,
    claims: Claims,
) -> list[Instance]:
    """Where several instances claim one name, keep the one that overrides; a finding unless exactly one does."""
    wanted: dict[str, list[Instance]] = {}
    for instance in active:
        for name in dict.fromkeys(names_of(instance)):
            wanted.setdefault(name, []).append(instance)
    losers: set[int] = set()
    for name, rivals in wanted.items():
        if len(rivals) < 2:
            continue
        winners = [instance for instance in rivals if instance.row.overrides]
        if len(winners) == 1:
            for instance in rivals:
                if instance is not winners[0]:
                    losers.add(id(instance))
                    claims.overridden.update(dict.fromkeys((*instance.reads, *instance.writes), winners[0]))
            continue
        *others, last = winners or rivals
        claims.findings.append(
            Finding(
                "overlap",
                what(name),
                name=name,
                where=last.row.where,
                row=str(last.row),
                got="also " + _listed([f"{other.row} at {other.row.where}" for other in others]),
                hint=hint,
            )
        )
    return [instance for instance in active if id(instance) not in losers]


def _listed(texts: list[str]) -> str:
    more = len(texts) - _NAMED
    return " and ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _rivalry(instance: Instance, first: str, second: str) -> Finding:
    field, one, other = _difference(instance, first, second)
    if field is not None and field.kind == "path":
        got = f"{one} and {other}, which {{{field.name}...}} reads as one path"
        hint = "source.ignore for one of them, or overrides: true on a row of its own"
    elif field is not None and field.is_number and field.name:
        got = f"{one} and {other}, which {{{field.name}}} reads as one number"
        hint = f"a number of digits that only one of them has, as in {{{field.name}:02}}, or source.ignore"
    else:
        got, hint = "", "name the field that distinguishes them instead of {_}"
    return Finding(
        "overlap",
        f"the variables {first} and {second} have the same place in the row",
        name=second,
        where=instance.row.where,
        row=str(instance.row),
        got=got,
        hint=hint,
    )


def _difference(instance: Instance, first: str, second: str) -> tuple[Field | None, str, str]:
    """The field whose value differs between two names, and both values."""
    for template in instance.row.tf if isinstance(instance.row, Copy) else ():
        one, other = template.cut(first), template.cut(second)
        for (part, left), (_, right) in zip(one or (), other or (), strict=False):
            if left != right:
                return part, left, right
    return None, "", ""


def claimed_by(instances: Iterable[Instance]) -> Mapping[str, Instance]:
    """Every variable that an instance reads, or cannot distinguish from one it reads, with the first such instance."""
    claimed: dict[str, Instance] = {}
    for instance in instances:
        for name in (*instance.reads, *(name for pair in instance.rivals for name in pair)):
            claimed.setdefault(name, instance)
    return claimed
