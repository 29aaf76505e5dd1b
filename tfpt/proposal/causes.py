"""The findings of a plan by scope and cause: one missing block, or one wrong size, is one cause of many findings."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tfpt.folding import fold
from tfpt.formats.roles import REASONS
from tfpt.planning.findings import Finding
from tfpt.planning.plan import Plan
from tfpt.proposal.names import parsed
from tfpt.proposal.near_misses import NearMiss, NearMisses
from tfpt.proposal.repairs import Repair, Repairs
from tfpt.tensors import TensorSpec, format_shape

# Of how many kinds of tensors the candidates are shown for one cause, and for one plan.
_KINDS, _MOST = 3, 100
# How many lines of shapes, or rows, are worth their place.
_LINES = 4


@dataclass(frozen=True)
class Cause:
    """Findings that have one cause.

    Attributes:
        kind: The kind of the findings: ``absent``, ``missing``, ``extra``, ``unused`` or ``shape``.
        scope: Where in the model or the checkpoint, folded.
        what: One sentence.
        findings: All of them.
        facts: What it concerns, as labels and folded names.
        candidates: The best candidates for the first tensor of each kind.
        repairs: What to paste into the mapping.
        hint: The next step.
    """

    kind: str
    scope: str
    what: str
    findings: tuple[Finding, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    candidates: tuple[tuple[TensorSpec, tuple[NearMiss, ...]], ...] = ()
    repairs: tuple[Repair, ...] = ()
    hint: str = field(default="")

    def to_json(self) -> dict[str, Any]:
        """The cause as plain JSON values."""
        return {
            "kind": self.kind,
            "scope": self.scope,
            "what": self.what,
            "findings": len(self.findings),
            **{label: list(lines) for label, lines in self.facts},
            "candidates": [
                {"name": spec.name, "shape": list(spec.shape), "nearest": [miss.to_json() for miss in misses]}
                for spec, misses in self.candidates
            ],
            "paste": [repair.to_json() for repair in self.repairs],
            **({"next": self.hint} if self.hint else {}),
        }


def causes_of(plan: Plan) -> tuple[list[Cause], list[Finding]]:
    """The causes of a plan's findings, and the findings that are better read one by one.

    The cost grows with what is found, not with the plan: a plan without findings costs nothing.
    """
    return _Causes(plan).causes()


def causes_to_json(plan: Plan) -> dict[str, Any]:
    """`causes`, the causes of a plan's findings as JSON values; nothing for a plan without findings."""
    return {"causes": [cause.to_json() for cause in causes_of(plan)[0]]} if plan.findings else {}


class _Causes:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.misses = NearMisses(plan)
        self.repairs = Repairs(plan, self.misses)
        self.searched = 0

    def causes(self) -> tuple[list[Cause], list[Finding]]:
        by_kind: dict[str, list[Finding]] = defaultdict(list)
        rest: list[Finding] = []
        for finding in self.plan.findings:
            kind = _cause(finding)
            (by_kind[kind] if kind else rest).append(finding)
        found = self._shapes(by_kind["shape"])
        read: set[str] = set()
        written = [
            *self.plan.writes,
            *(spec.name for finding in by_kind["shape"] for spec in finding.parameters),
        ]
        known = [*written, *(spec.name for spec in self.misses.open)]
        for scopes, members in _by_scope(
            by_kind["open"], known, ".", lambda finding: finding.parameters[0].name
        ):
            cause, taken = self._open(scopes, members)
            read |= taken
            found.append(cause)
        known = [*written, *(finding.name for finding in by_kind["extra"])]
        for scopes, members in _by_scope(by_kind["extra"], known, ".", lambda finding: finding.name):
            found.append(self._extra(scopes, members))
        known = [*self.plan.used, *self.plan.ignored]
        known += [spec.name for finding in self.plan.findings for spec in finding.variables]
        loose = [finding for finding in by_kind["unused"] if finding.variables[0].name not in read]
        for scopes, members in _by_scope(
            loose, known, "/", lambda finding: finding.variables[0].name, self.repairs.roles.get
        ):
            found.append(self._unused(scopes, members))
        alone = [
            replace(cause, what=cause.findings[0].what) if len(cause.findings) == 1 else cause
            for cause in found
        ]
        return alone, rest

    def _open(self, scopes: list[str], members: list[Finding]) -> tuple[Cause, set[str]]:
        """Parameters that nothing writes, and the variables that the rows to paste read."""
        specs = [spec for finding in members for spec in finding.parameters]
        wanted = list(dict.fromkeys(name for finding in members for name in finding.wanted))
        repairs, read = self.repairs.of_parameters({spec.name for spec in specs})
        what = f"no row writes these {len(specs)} parameters"
        if wanted:
            what = f"{len(wanted)} variables that the mapping reads are not in the checkpoint"
            specs = [spec for finding in members if finding.wanted for spec in finding.parameters]
        facts = [("wanted", tuple(fold(wanted)))] if wanted else []
        every = [spec for finding in members for spec in finding.parameters]
        facts.append(("for" if wanted else "parameters", _with_shapes(every)))
        if read:
            facts.append(("unused", tuple(fold(read))))
        by_name = {spec.name: finding for finding in members for spec in finding.parameters}
        candidates = self._candidates(
            specs, ".", lambda spec: self.misses.of_parameter(spec, by_name[spec.name].wanted)
        )
        if wanted and not candidates:
            what += ", and no other variable fits"
        hint = next((finding.hint for finding in members if finding.hint.startswith("--config")), "")
        if repairs:
            hint = f"{_correction(members, candidates)}paste this, and plan again with --dry-run"
        elif hint:
            hint += ", if the model is larger than the checkpoint"
        elif not wanted:
            repairs = self.repairs.tying(candidates)
            repairs += [] if candidates else self.repairs.keeping(specs)
        cause = Cause(
            "absent" if any(finding.kind == "absent" for finding in members) else "missing",
            _scope(scopes, "the whole model"),
            what,
            tuple(members),
            (*facts, *_rows(members)),
            candidates,
            tuple(repairs),
            hint or self._beside(),
        )
        return cause, set(read)

    def _beside(self) -> str:
        source = shlex.quote(self.plan.source)
        return f"tfpt inspect {source} --beside {shlex.quote(self.plan.named)}" if self.plan.source else ""

    def _extra(self, scopes: list[str], members: list[Finding]) -> Cause:
        by_name = {finding.variables[0].name: finding for finding in members}
        specs = [finding.variables[0] for finding in members]
        return Cause(
            "extra",
            _scope(scopes, "the whole mapping"),
            f"the rows write {len(members)} parameters that the model does not have",
            tuple(members),
            (
                ("written", tuple(fold(finding.name for finding in members))),
                ("from", tuple(fold(by_name))),
                *_rows(members),
            ),
            self._candidates(specs, "/", lambda spec: self.misses.of_variable(spec, by_name[spec.name].name)),
            hint=next((finding.hint for finding in members if finding.hint), "")
            or "correct pt in the row; or --set, --config if the model is smaller than the checkpoint",
        )

    def _unused(self, scopes: list[str], members: list[Finding]) -> Cause:
        specs = [finding.variables[0] for finding in members]
        names = [spec.name for spec in specs]
        roles = {self.repairs.roles.get(name, "") for name in names}
        return Cause(
            "unused",
            _scope(scopes, "the whole checkpoint")
            if "" in roles
            else ", ".join(REASONS[role] for role in sorted(roles)),
            f"no row claims these {len(specs)} variables",
            tuple(members),
            (("variables", _with_shapes(specs)),),
            () if roles - {""} else self._candidates(specs, "/", self.misses.of_variable),
            tuple(self.repairs.ignoring(scopes, names)),
            next((finding.hint for finding in members if finding.hint), "")
            or "paste this if the model does not need them; or write a row",
        )

    def _candidates(
        self,
        specs: Sequence[TensorSpec],
        separator: str,
        find: Callable[[TensorSpec], tuple[NearMiss, ...]],
    ) -> tuple[tuple[TensorSpec, tuple[NearMiss, ...]], ...]:
        first: dict[tuple[str, ...], TensorSpec] = {}
        for spec in specs:
            first.setdefault(parsed(spec.name, separator).pattern, spec)
        found = []
        for spec in list(first.values())[:_KINDS]:
            self.searched += 1
            misses = find(spec) if self.searched <= _MOST else ()
            if misses:
                found.append((spec, misses))
        return tuple(found)

    def _shapes(self, findings: Sequence[Finding]) -> list[Cause]:
        found = []
        for pairs, members in _by_sizes(findings):
            lines: dict[tuple[str, str], list[str]] = {}
            for finding in members:
                spec, made = finding.parameters[0], finding.made or ()
                lines.setdefault((format_shape(spec.shape), format_shape(made)), []).append(spec.name)
            shown = [
                f"{name}  {model}, but {made} from the checkpoint"
                for (model, made), names in lines.items()
                for name in fold(names)
            ]
            said = [f"{got} instead of {wanted}" for wanted, got in pairs]
            sizes = ", ".join(f"{got} for {wanted}" for wanted, got in pairs[:3])
            found.append(
                Cause(
                    "shape",
                    ", ".join(said[:3]) + (f" and {len(said) - 3} more" if len(said) > 3 else ""),
                    f"{len(members)} parameters have another size in the model than the checkpoint gives",
                    tuple(members),
                    (("parameters", tuple(shown)), *_rows(members)),
                    hint=next((finding.hint for finding in members if finding.hint), "")
                    or f"build the model with the checkpoint's sizes ({sizes}): --set, or model.kwargs in the mapping",
                )
            )
        return found


def _cause(finding: Finding) -> str:
    """The kind of cause that a finding can be put under; empty if it is best read by itself."""
    match finding.kind:
        case "absent" | "missing" if finding.parameters:
            return "open"
        case "unused" | "extra" if finding.variables:
            return finding.kind
        case "shape" if finding.made is not None and finding.parameters:
            same_rank = len(finding.made) == len(finding.parameters[0].shape)
            return "shape" if same_rank and _differing(finding) else ""
    return ""


def _differing(finding: Finding) -> frozenset[tuple[int, int]]:
    """The sizes that differ, as (the model's, the checkpoint's)."""
    assert finding.made is not None
    pairs = zip(finding.parameters[0].shape, finding.made, strict=True)
    found = frozenset(pair for pair in pairs if pair[0] != pair[1])
    # The same sizes in another order: a matter of the layout, not of the model.
    return frozenset() if sorted(finding.made) == sorted(finding.parameters[0].shape) else found


def _by_sizes(findings: Sequence[Finding]) -> list[tuple[list[tuple[int, int]], list[Finding]]]:
    """Findings whose sizes differ in the same way, or that have such a difference in common."""
    above: dict[tuple[int, int], tuple[int, int]] = {}

    def first(pair: tuple[int, int]) -> tuple[int, int]:
        while above.setdefault(pair, pair) != pair:
            above[pair] = above[above[pair]]
            pair = above[pair]
        return pair

    for finding in findings:
        one, *others = _differing(finding)
        for other in others:
            above[first(other)] = first(one)
    groups: dict[tuple[int, int], tuple[set[tuple[int, int]], list[Finding]]] = {}
    for finding in findings:
        pairs = _differing(finding)
        known, members = groups.setdefault(first(next(iter(pairs))), (set(), []))
        known |= pairs
        members.append(finding)
    counts = Counter(pair for finding in findings for pair in _differing(finding))
    return [
        (sorted(pairs, key=lambda pair: (-counts[pair], pair)), members) for pairs, members in groups.values()
    ]


def _by_scope(
    findings: Sequence[Finding],
    known: Iterable[str],
    separator: str,
    name_of: Callable[[Finding], str],
    role_of: Callable[[str], str | None] = lambda name: None,
) -> list[tuple[list[str], list[Finding]]]:
    """Findings by the largest scopes that hold nothing else; those that differ in numbers or above go together."""
    total: Counter[str] = Counter()
    opened: Counter[str] = Counter()
    for name in dict.fromkeys(known):
        total.update(_prefixes(name, separator))
    for finding in findings:
        opened.update(_prefixes(name_of(finding), separator))
    groups: dict[object, tuple[dict[str, None], list[Finding]]] = {}
    # The root only says something if it is more than one scope.
    root = len({name_of(finding).partition(separator)[0] for finding in findings}) > 1
    for finding in findings:
        name = name_of(finding)
        prefixes = _prefixes(name, separator)[not root :]
        scope = next((each for each in prefixes if total[each] <= opened[each]), name)
        role = role_of(name)
        key: object = ("role",) if role else _last_words(scope, separator)
        scopes, members = groups.setdefault(key, ({}, []))
        scopes[scope] = None
        members.append(finding)
    return [(list(scopes), members) for scopes, members in groups.values()]


def _prefixes(name: str, separator: str) -> list[str]:
    """The root, each scope, and the name itself."""
    parts = name.split(separator)
    return [separator.join(parts[:length]) for length in range(len(parts) + 1)]


def _last_words(scope: str, separator: str) -> tuple[str, ...]:
    """The end of a scope from its last component that is not a number, with numbers hidden."""
    parts = [re.sub(r"[0-9]+", "#", part) for part in scope.split(separator)]
    last = next((place for place in reversed(range(len(parts))) if parts[place] != "#"), 0)
    return tuple(parts[last:])


def _scope(scopes: Sequence[str], everything: str) -> str:
    folded = fold(scope or everything for scope in scopes)
    return ", ".join(folded[:3]) + (f" and {len(folded) - 3} more" if len(folded) > 3 else "")


def _with_shapes(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Folded names, with their shapes unless that takes many more lines."""
    by_shape: dict[str, list[str]] = {}
    for spec in specs:
        by_shape.setdefault(format_shape(spec.shape), []).append(spec.name)
    lines = [f"{name}  {shape}" for shape, names in by_shape.items() for name in fold(names)]
    short = fold(spec.name for spec in specs)
    return tuple(lines if len(lines) <= max(_LINES, len(short)) else short)


def _correction(
    findings: Sequence[Finding], candidates: Sequence[tuple[TensorSpec, tuple[NearMiss, ...]]]
) -> str:
    """What to correct in the row, if the same word of it is another in all candidates; nothing otherwise."""
    places = {finding.where.partition(" (in")[0] for finding in findings}
    changes = {
        reason.removeprefix("named ")
        for _, misses in candidates
        for reason in misses[0].reasons
        if reason.startswith("named ")
    }
    if len(places) != 1 or len(changes) != 1:
        return ""
    new, _, old = changes.pop().partition(" for ")
    literal = all(old in re.split(r"[/ ]", finding.row) for finding in findings)
    return f"write {new} for {old} at {places.pop()}; or " if old and literal else ""


def _rows(findings: Sequence[Finding]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Where the rows are that the findings name, and the row itself if it is one."""
    places = list(dict.fromkeys(finding.where.partition(" (in")[0] for finding in findings if finding.row))
    if len(places) != 1:
        more = f" and {len(places) - _LINES} more" if len(places) > _LINES else ""
        return (("rows", (", ".join(places[:_LINES]) + more,)),) if places else ()
    rows = list(dict.fromkeys(finding.row for finding in findings if finding.row))
    return (("row", (f"{places[0]}  {rows[0]}" if len(rows) == 1 else places[0],)),)
