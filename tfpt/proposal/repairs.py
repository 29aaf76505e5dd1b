"""Rows that repair a plan: what to paste into the mapping for variables and parameters that are left over."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tfpt.formats.roles import REASONS, roles_by_name
from tfpt.planning.plan import Plan
from tfpt.proposal.document import entries, ignore_entry
from tfpt.proposal.matches import Match
from tfpt.proposal.near_misses import NearMiss, NearMisses
from tfpt.proposal.rows import items
from tfpt.proposal.search import Found, search
from tfpt.proposal.sides import Side
from tfpt.proposal.templates import Item, generalized
from tfpt.tensors import TensorSpec

# Beyond so many tensors, and pairs of equal size, something else than a few rows is wrong, and the search would take
# seconds.
_MOST, _MOST_PAIRS = 600, 40_000
# How often rows are looked for in one plan: with more causes than this, it is the mapping of another model.
_LOOKUPS = 20
# A template cannot say these.
_BRACES = re.compile(r"[{}]")
_NUMBERS = re.compile(r"\d+(?:[a-h](?![a-zA-Z0-9]))?")


@dataclass(frozen=True)
class Repair:
    """Lines to paste into a mapping.

    Attributes:
        section: Where they belong: ``scopes``, ``weights``, or ``ignore`` (under ``source``).
        lines: YAML, one entry of the section each, after comments on what is unsure.
        instead: Whether this is for another case than the repairs before it.
    """

    section: str
    lines: tuple[str, ...]
    instead: str = ""

    def to_json(self) -> dict[str, Any]:
        """The repair as plain JSON values."""
        where = "source.ignore" if self.section == "ignore" else self.section
        return {"section": where, "lines": list(self.lines), **({"if": self.instead} if self.instead else {})}


class Repairs:
    """Finds the rows that the leftovers of a plan need.

    Args:
        plan: The plan.
        misses: Its leftovers.
    """

    def __init__(self, plan: Plan, misses: NearMisses) -> None:
        self._plan = plan
        usable = [spec for spec in misses.loose if not _BRACES.search(spec.name)]
        read = {spec.name: spec for step in plan.steps for spec in step.reads}
        read |= {spec.name: spec for finding in plan.findings for spec in finding.variables}
        roles = roles_by_name(read)
        self.roles: Mapping[str, str] = roles
        variables = [spec for spec in usable if spec.name not in roles]
        parameters = [spec for spec in misses.open if not _BRACES.search(spec.name)]
        if max(len(variables), len(parameters)) > _MOST:
            variables = parameters = []
        self._variables = Side(variables, "/", ordered=False)
        self._parameters = Side(parameters, ".", ordered=True)
        self._loose = [spec.name for spec in misses.loose]
        self._lookups = 0

    @cached_property
    def matches(self) -> tuple[Match, ...]:
        """What probably belongs together; pairs of which little but the shape agrees are left out."""
        if not (self._variables.specs and self._parameters.specs):
            return ()
        sizes = Counter(math.prod(shape) for shape in self._parameters.shapes)
        pairs = sum(sizes[math.prod(shape)] for shape in self._variables.shapes)
        if pairs > _MOST_PAIRS:
            return ()
        found: Found = search(self._variables, self._parameters)
        return tuple(match for match in found.matches if match.variables and -1 not in match.instead)

    def of_parameters(self, names: Collection[str]) -> tuple[list[Repair], list[str]]:
        """The rows for some parameters, and the variables that these rows read."""
        chosen = [
            match
            for match in self.matches
            if any(self._parameters.specs[p].name in names for p in match.parameters)
        ]
        if not chosen:
            return [], []
        rows = self._generalized(items(chosen, self._variables, self._parameters))
        read = list(dict.fromkeys(self._variables.specs[v].name for match in chosen for v in match.variables))
        return _sections(rows, self._plan.scope), read

    def keeping(self, specs: Sequence[TensorSpec]) -> list[Repair]:
        """The rows for parameters that have no counterpart: they keep what the model draws."""
        single = [
            Item((), (spec.name,), "keep: random", place)
            for place, spec in enumerate(specs)
            if not _BRACES.search(spec.name)
        ]
        rows = self._generalized(single)
        if not rows:
            return []
        return [
            Repair(
                "weights",
                tuple(entries(rows, "")),
                "the checkpoint has nothing for them, and they will be trained",
            )
        ]

    def tying(self, candidates: Sequence[tuple[TensorSpec, Sequence[NearMiss]]]) -> list[Repair]:
        """The rows for parameters of which something else uses the only variable that fits."""
        rows = [
            Item(
                (misses[0].spec.name,),
                (spec.name,),
                f'layout: "{misses[0].layout or _unchanged(spec)}", tied: true',
                place,
            )
            for place, (spec, misses) in enumerate(candidates)
            if misses[0].fits and misses[0].taken and not _BRACES.search(misses[0].spec.name + spec.name)
        ]
        if not rows:
            return []
        return [Repair("weights", tuple(entries(rows, self._plan.scope)), "the model shares the tensor")]

    def ignoring(self, scopes: Iterable[str], names: Collection[str]) -> list[Repair]:
        """The entries that leave out variables.

        Args:
            scopes: The scopes that they fill, or single names.
            names: The variables.
        """
        roles = sorted({self.roles[name] for name in names if name in self.roles})
        if names and all(name in self.roles for name in names):
            return [Repair("ignore", tuple(f"  - {{role: {role}, why: {REASONS[role]}}}" for role in roles))]
        usable = [scope for scope in scopes if not _BRACES.search(scope)]
        single = [Item((scope,), (scope.replace(".", "_"),), "", place) for place, scope in enumerate(usable)]
        whole = [item.tf[0] for item in self._generalized(single)]
        lines = []
        for template in whole:
            full = (
                template if template in self._loose or self._is_leaf(template) else f"{template}/{{path...}}"
            )
            lines.append(ignore_entry(full.lstrip("/"), self._plan.scope, "not in the model"))
        return [Repair("ignore", tuple(lines))] if lines else []

    def _generalized(self, single: Sequence[Item]) -> list[Item]:
        """The rows for single ones; nothing if there are too many."""
        self._lookups += 1
        if self._lookups > _LOOKUPS or len(single) > _MOST:
            return []
        # Only names that differ in numbers alone can be matched by accident.
        every = {name for item in single for text in item.tf for name in self._every.get(_coarse(text), ())}
        targets = {
            name for item in single for text in item.pt for name in self._targets.get(_coarse(text), ())
        }
        return generalized(single, every, sorted(targets))

    def _is_leaf(self, template: str) -> bool:
        """Whether a template stands for variables, not for scopes."""
        pattern = re.compile("[^/]+".join(map(re.escape, re.split(r"\{[^{}]*\}", template))))
        return any(pattern.fullmatch(name) for name in self._loose)

    @cached_property
    def _every(self) -> dict[str, list[str]]:
        """Every variable of the checkpoint, and every scope, by what is not a number."""
        names = {*self._loose, *self._plan.used, *self._plan.ignored}
        names |= {spec.name for step in self._plan.steps for spec in step.reads}
        names |= {spec.name for finding in self._plan.findings for spec in finding.variables}
        return _by_coarse(names | {above for name in names for above in _above(name)})

    @cached_property
    def _targets(self) -> dict[str, list[str]]:
        found = {spec.name for finding in self._plan.findings for spec in finding.parameters}
        return _by_coarse(found | self._plan.writes.keys())


def _unchanged(spec: TensorSpec) -> str:
    """The layout of a tensor that stays as it is."""
    axes = " ".join("nd" if len(spec.shape) == 2 else "abcdefgh"[: len(spec.shape)])
    return f"{axes} -> {axes}"


def _sections(rows: Sequence[Item], scope: str) -> list[Repair]:
    found = []
    for section, chosen in (
        ("scopes", [row for row in rows if row.content.startswith("use: ")]),
        ("weights", [row for row in rows if not row.content.startswith("use: ")]),
    ):
        if chosen:
            found.append(Repair(section, tuple(entries(chosen, scope))))
    return found


def _by_coarse(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_coarse(name), []).append(name)
    return found


def _coarse(name: str) -> str:
    """A name without its numbers, and without letters that count, as in `4b`."""
    return _NUMBERS.sub("#", name)


def _above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:length]) for length in range(1, len(parts))]
