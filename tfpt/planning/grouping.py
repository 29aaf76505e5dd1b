"""The findings of a plan by scope and cause: one missing block, or one wrong size, is one group of many findings.

This says what belongs together and what to call it. What might be meant instead, and what to paste, is found by
`tfpt.proposal.causes`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tfpt.folding import fold
from tfpt.planning.findings import Finding
from tfpt.tensors import TensorSpec, format_shape

# How many lines of shapes, or rows, are worth their place.
_LINES = 4


@dataclass(frozen=True)
class Group:
    """Findings of one cause.

    Attributes:
        kind: The kind of the findings.
        scope: Where in the model or the checkpoint, folded; for sizes, those that differ.
        what: One sentence.
        names: The parameters or variables that it concerns, folded.
        findings: All of them.
    """

    kind: str
    scope: str
    what: str
    names: tuple[str, ...]
    findings: tuple[Finding, ...]


def groups_of(
    findings: Iterable[Finding], written: Iterable[str], claimed: Iterable[str]
) -> tuple[list[Group], list[Finding]]:
    """The groups of a plan's findings, and the findings that are better read one by one.

    Args:
        findings: All of them.
        written: The parameters that the plan writes.
        claimed: The variables that the plan uses or ignores.
    """
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    rest: list[Finding] = []
    for finding in findings:
        kind = kind_of_cause(finding)
        (by_kind[kind] if kind else rest).append(finding)
    sized = by_kind["shape"]
    groups = [
        Group("shape", sizes_text(pairs), shapes_text_of(members), with_made(members), tuple(members))
        for pairs, members in by_sizes(sized)
    ]
    known = [*written, *(spec.name for each in sized for spec in each.parameters)]
    opened = [spec.name for each in by_kind["open"] for spec in each.parameters]
    for scopes, members in by_scope(
        by_kind["open"], [*known, *opened], ".", lambda each: each.parameters[0].name
    ):
        specs = [spec for each in members for spec in each.parameters]
        scope = scope_text(scopes, "the whole model")
        groups.append(
            Group(open_kind(members), scope, open_text(members), with_shapes(specs), tuple(members))
        )
    names = [each.name for each in by_kind["extra"]]
    for scopes, members in by_scope(by_kind["extra"], [*known, *names], ".", lambda each: each.name):
        folded = tuple(fold(each.name for each in members))
        scope = scope_text(scopes, "the whole mapping")
        groups.append(Group("extra", scope, extra_text(members), folded, tuple(members)))
    known = [*claimed, *(spec.name for each in findings for spec in each.variables)]
    for scopes, members in by_scope(by_kind["unused"], known, "/", lambda each: each.variables[0].name):
        specs = [each.variables[0] for each in members]
        scope = scope_text(scopes, "the whole checkpoint")
        groups.append(Group("unused", scope, unused_text(members), with_shapes(specs), tuple(members)))
    return groups, rest


# -- in words -----------------------------------------------------------------------------------------------


def open_kind(findings: Sequence[Finding]) -> str:
    """``absent`` if the mapping reads a variable for one of the parameters, else ``missing``."""
    return "absent" if any(finding.kind == "absent" for finding in findings) else "missing"


def open_text(findings: Sequence[Finding]) -> str:
    """One sentence for parameters that nothing writes."""
    wanted = {name for finding in findings for name in finding.wanted}
    if wanted:
        return f"{len(wanted)} variables that the mapping reads are not in the checkpoint"
    return f"no row writes these {sum(len(finding.parameters) for finding in findings)} parameters"


def extra_text(findings: Sequence[Finding]) -> str:
    """One sentence for parameters that the model does not have."""
    return f"the rows write {len(findings)} parameters that the model does not have"


def unused_text(findings: Sequence[Finding]) -> str:
    """One sentence for variables that no row claims."""
    return f"no row claims these {len(findings)} variables"


def shapes_text_of(findings: Sequence[Finding]) -> str:
    """One sentence for parameters of another size."""
    return f"{len(findings)} parameters have another size in the model than the checkpoint gives"


def sizes_text(pairs: Sequence[tuple[int, int]]) -> str:
    """The sizes that differ, as (the model's, the checkpoint's)."""
    said = [f"{got} instead of {wanted}" for wanted, got in pairs]
    return ", ".join(said[:3]) + (f" and {len(said) - 3} more" if len(said) > 3 else "")


def with_made(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Folded names of parameters, with the model's shape and that which the checkpoint gives."""
    lines: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        spec, made = finding.parameters[0], finding.made or ()
        lines.setdefault((format_shape(spec.shape), format_shape(made)), []).append(spec.name)
    return tuple(
        f"{name}  {model}, but {made} from the checkpoint"
        for (model, made), names in lines.items()
        for name in fold(names)
    )


# -- what belongs together ----------------------------------------------------------------------------------


def kind_of_cause(finding: Finding) -> str:
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


def by_sizes(findings: Sequence[Finding]) -> list[tuple[list[tuple[int, int]], list[Finding]]]:
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


def by_scope(
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


def scope_text(scopes: Sequence[str], everything: str) -> str:
    folded = fold(scope or everything for scope in scopes)
    return ", ".join(folded[:3]) + (f" and {len(folded) - 3} more" if len(folded) > 3 else "")


def with_shapes(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Folded names, with their shapes unless that takes many more lines."""
    by_shape: dict[str, list[str]] = {}
    for spec in specs:
        by_shape.setdefault(format_shape(spec.shape), []).append(spec.name)
    lines = [f"{name}  {shape}" for shape, names in by_shape.items() for name in fold(names)]
    short = fold(spec.name for spec in specs)
    return tuple(lines if len(lines) <= max(_LINES, len(short)) else short)


def rows_of(findings: Sequence[Finding]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Where the rows are that the findings name, and the row itself if it is one."""
    places = list(dict.fromkeys(finding.where.partition(" (in")[0] for finding in findings if finding.row))
    if len(places) != 1:
        more = f" and {len(places) - _LINES} more" if len(places) > _LINES else ""
        return (("rows", (", ".join(places[:_LINES]) + more,)),) if places else ()
    rows = list(dict.fromkeys(finding.row for finding in findings if finding.row))
    return (("row", (f"{places[0]}  {rows[0]}" if len(rows) == 1 else places[0],)),)
