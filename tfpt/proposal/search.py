"""The search for matches: an assignment, how certain it is, layouts, and what is left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tfpt.proposal.assignment import Assigner, Assignment
from tfpt.proposal.evidence import Weights
from tfpt.proposal.layouts import Candidate, candidates
from tfpt.proposal.leftovers import Leftovers
from tfpt.proposal.matches import Match
from tfpt.proposal.sides import Part, Side

# Classes of PyTorch modules whose two-dimensional weights are laid out as TensorFlow's: input first.
_UNCHANGED = frozenset(("Embedding", "EmbeddingBag", "Conv1D"))
_TRANSPOSED = frozenset(("Linear", "NonDynamicallyQuantizableLinear", "Bilinear"))
_TABLES = frozenset(
    [
        "embedding",
        "embeddings",
        "embed",
        "embedder",
        "wte",
        "wpe",
        "lookup",
        "table",
        "emb",
        "tokens",
        "position",
        "positional",
    ]
)
# What at least so many parameters, and such a share of them, have in common is a rule.
_RULE, _MOSTLY = 8, 0.8
# Below this, neither words nor scopes speak for a pair.
_WEAK = 0.2


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        matches: What becomes what, in the order of the parameters.
        open: Parameters that nothing explains.
        unused: Variables that nothing uses.
        assignment: The assignment, with its evidence.
    """

    matches: tuple[Match, ...]
    open: tuple[int, ...]
    unused: tuple[int, ...]
    assignment: Assignment


def search(
    variables: Side,
    parameters: Side,
    *,
    tied: Mapping[int, int] | None = None,
    weights: Weights | None = None,
    decided: Mapping[int, int | str] | None = None,
) -> Found:
    """Find out which variables become which parameters.

    Args:
        variables: The variables that are weights.
        parameters: The parameters and buffers of the model.
        tied: Parameters that are the same tensor as an earlier one of the model, and which one.
        weights: How much each kind of evidence counts.
        decided: What is known already, by parameter: its variable, -1 for none, or its layout.
    """
    weights = weights or Weights()
    settled = dict(decided or {})
    same = dict(tied or {})
    given = {p: v for p, v in settled.items() if isinstance(v, int)}
    assigner = Assigner(variables, parameters, without=same, decided=given)
    assignment = assigner.assign(weights)
    chosen = {p: v for p, v in assignment.chosen.items() if p not in same}
    chosen |= {p: v for p, v in given.items() if v >= 0}
    chosen = _regular(variables, parameters, chosen, settled)
    doubts = _unstable(assigner, weights, chosen)
    weak = _weak(assignment, chosen) | _out_of_series(variables, parameters, chosen)
    strong = {p: v for p, v in chosen.items() if p not in weak or p in settled}
    rest = Leftovers(variables, parameters, assigner.words, dict(strong), same)
    others = rest.matches()
    # What nothing else explains stays with the variable whose shape fits, if that is still free.
    explained = {p for match in others for p in match.parameters}
    free = set(rest.unused)
    for p in weak:
        if p not in explained and chosen[p] in free:
            strong[p] = chosen[p]
            doubts[p] = -1
    copies = _copies(variables, parameters, strong, doubts, settled)
    matches = sorted([*copies, *others], key=lambda match: match.parameters[0])
    matches = [
        replace(match, unsure="", instead=()) if settled.keys() >= set(match.parameters) else match
        for match in _with_lost_biases(matches, variables, parameters)
    ]
    used = {v for match in matches for v in match.variables}
    covered = {p for match in matches for p in match.parameters}
    return Found(
        tuple(matches),
        tuple(p for p in range(len(parameters)) if p not in covered),
        tuple(v for v in range(len(variables)) if v not in used),
        assignment,
    )


def _weak(assignment: Assignment, chosen: Mapping[int, int]) -> set[int]:
    if not assignment.evidence:
        return set()
    speaks = np.maximum(assignment.evidence["words"], assignment.evidence["scopes"])
    weak = set()
    for v, p, evidence in zip(assignment.pairs.variable, assignment.pairs.parameter, speaks, strict=True):
        if chosen.get(int(p)) == v and evidence < _WEAK:
            weak.add(int(p))
    return weak


def _out_of_series(variables: Side, parameters: Side, chosen: Mapping[int, int]) -> set[int]:
    """Parameters of a series, such as one of each layer, whose variables differ in more than numbers."""
    series: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for p in chosen:
        series[parameters.names[p].pattern].append(p)
    return {
        p
        for members in series.values()
        if len(members) > 1
        and len({variables.names[chosen[p]].pattern for p in members}) == len(members)
        and all(variables.series[1][chosen[p]] == 1 for p in members)
        for p in members
    }


def _regular(
    variables: Side, parameters: Side, chosen: Mapping[int, int], settled: Mapping[int, int | str]
) -> dict[int, int]:
    """The assignment with exceptions to its rules removed, where shapes allow.

    If nearly all parameters `layer….conv3` come from variables `…_3_conv`, and one from `…_0_conv`, the two variables
    change places.
    """
    found = dict(chosen)
    by_name = {(name.pattern, name.numbers): v for v, name in enumerate(variables.names)}
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for p, v in chosen.items():
        groups[parameters.names[p].pattern, variables.names[v].pattern].append(p)
    for members in groups.values():
        first = members[0]
        for ours in range(len(variables.names[found[first]].numbers)):
            for theirs in range(len(parameters.names[first].numbers)):
                usual = _rule(
                    [
                        (parameters.names[p].numbers[theirs], variables.names[found[p]].numbers[ours])
                        for p in members
                    ]
                )
                for p in members if usual else ():
                    name = variables.names[found[p]]
                    number = usual[parameters.names[p].numbers[theirs]]
                    if name.numbers[ours] == number or p in settled:
                        continue
                    numbers = (*name.numbers[:ours], number, *name.numbers[ours + 1 :])
                    regular = by_name.get((name.pattern, numbers))
                    other = next((q for q, v in found.items() if v == regular), None)
                    if regular is None or not _fits(variables, parameters, regular, p):
                        continue
                    if other is None or other in settled or not _fits(variables, parameters, found[p], other):
                        continue
                    found[p], found[other] = regular, found[p]
    return found


def _rule(points: list[tuple[int, int]]) -> dict[int, int]:
    """The number that nearly always goes with each number of the parameters; empty if these are not all different."""
    by_number: dict[int, Counter[int]] = defaultdict(Counter)
    for theirs, ours in points:
        by_number[theirs][ours] += 1
    usual = {theirs: counts.most_common(1)[0] for theirs, counts in by_number.items()}
    clear = all(count >= _MOSTLY * sum(by_number[theirs].values()) for theirs, (_, count) in usual.items())
    distinct = len({ours for ours, _ in usual.values()}) == len(usual) > 1
    return (
        {theirs: ours for theirs, (ours, _) in usual.items()}
        if clear and distinct and len(points) >= _RULE
        else {}
    )


def _fits(variables: Side, parameters: Side, v: int, p: int) -> bool:
    same = variables.parts[v] == parameters.parts[p] or "other" in (variables.parts[v], parameters.parts[p])
    return same and bool(candidates(variables.shapes[v], parameters.shapes[p], variables.parts[v]))


def _unstable(assigner: Assigner, weights: Weights, chosen: Mapping[int, int]) -> dict[int, int]:
    """Parameters that get another variable if some of the evidence counts less or more, and which; -1 for none."""
    others: dict[int, Counter[int]] = defaultdict(Counter)
    for changed, reverse in _variations(assigner, weights):
        again = assigner.assign(changed, reverse=reverse).chosen
        for p, v in chosen.items():
            if again.get(p) != v:
                others[p][again.get(p, -1)] += 1
    return {p: found.most_common(1)[0][0] for p, found in others.items()}


def _variations(assigner: Assigner, weights: Weights) -> Iterator[tuple[Weights, bool]]:
    yield weights.scaled(words=0.5), False
    yield weights.scaled(scopes=0.5), False
    yield weights.scaled(series=0.25), False
    yield weights.scaled(position=0.0, neighbors=0.0, listed=0.0, created=0.5), False
    if not assigner.variables.counted:
        yield weights, True


def _copies(
    variables: Side,
    parameters: Side,
    chosen: Mapping[int, int],
    doubts: Mapping[int, int],
    settled: Mapping[int, int | str],
) -> list[Match]:
    options = {
        p: candidates(variables.shapes[v], parameters.shapes[p], _part(variables, parameters, v, p))
        for p, v in chosen.items()
    }
    keys = {p: _layout_key(variables, parameters, v, p) for p, v in chosen.items()}
    votes: dict[tuple[object, ...], Counter[str]] = defaultdict(Counter)
    for p, found in options.items():
        if len(found) == 1:
            for key in keys[p]:
                votes[key][_moves(found[0].pattern)] += 1
    matches = []
    for p, v in chosen.items():
        layout, sure = _layout(options[p], keys[p], votes, variables, parameters, v, p)
        known = settled.get(p)
        match = Match((v,), (p,), known if isinstance(known, str) else layout.pattern)
        if p in doubts and not isinstance(known, int):
            other = doubts[p]
            text = (
                f"or {variables.specs[other].name}"
                if other >= 0
                else "or no variable: little but the shape agrees"
            )
            match = match.doubted(text, other)
        if not sure and not isinstance(known, str):
            other_layout = next(c.pattern for c in options[p] if c is not layout)
            match = match.doubted(f'or layout "{other_layout}"', other_layout)
        matches.append(match)
    return matches


def _with_lost_biases(matches: list[Match], variables: Side, parameters: Side) -> list[Match]:
    """Doubt the mean of a normalization if the convolution before it has a bias only in TensorFlow.

    The mean can take the bias up: mean - bias.
    """
    used = {v for match in matches for v in match.variables}
    kernels = {variables.names[v].scope: v for v in range(len(variables)) if variables.parts[v] == "kernel"}
    target = {match.variables[0]: match.parameters[0] for match in matches if len(match.variables) == 1}
    lost: dict[int, str] = {}
    for v in range(len(variables)):
        kernel = kernels.get(variables.names[v].scope)
        if v in used or variables.parts[v] != "bias" or kernel not in target:
            continue
        size = variables.shapes[v]
        mean = next(
            (
                p
                for p in range(target[kernel] + 1, len(parameters))
                if parameters.parts[p] == "mean" and parameters.shapes[p] == size
            ),
            None,
        )
        if mean is not None:
            lost[mean] = variables.specs[v].name
    return [
        match.doubted(
            f"{lost[match.parameters[0]]} has no place: combine: [1, -1] subtracts it from the mean"
        )
        if match.parameters[0] in lost and match.variables
        else match
        for match in matches
    ]


def _layout_key(variables: Side, parameters: Side, v: int, p: int) -> tuple[tuple[object, ...], ...]:
    """What layers of one kind have in common, the closest first."""
    leaf, kind = variables.names[v].leaf, parameters.kinds[p]
    ours, theirs = len(variables.shapes[v]), len(parameters.shapes[p])
    target = parameters.names[p].leaf
    table = _is_table(variables, parameters, v, p)
    return (
        (variables.names[v].pattern, ours, theirs),
        (parameters.names[p].pattern, ours, theirs),
        (leaf, kind, target, ours, theirs, table),
        (kind or target, ours, theirs, table),
    )


def _layout(
    found: tuple[Candidate, ...],
    keys: tuple[tuple[object, ...], ...],
    votes: Mapping[tuple[object, ...], Counter[str]],
    variables: Side,
    parameters: Side,
    v: int,
    p: int,
) -> tuple[Candidate, bool]:
    """The layout, and whether something confirms it."""
    if len(found) == 1:
        return found[0], True
    by_moves = {_moves(candidate.pattern): candidate for candidate in reversed(found)}
    for key in keys:
        known = votes.get(key)
        if known:
            moves, count = known.most_common(1)[0]
            if moves in by_moves and count > 0.8 * sum(known.values()):
                return by_moves[moves], True
    kind = parameters.kinds[p]
    if kind in _UNCHANGED or (not kind and _is_table(variables, parameters, v, p)):
        unchanged = next((c for c in found if _moves(c.pattern) == "unchanged"), None)
        if unchanged is not None:
            return unchanged, True
    if kind in _TRANSPOSED:
        transposed = next((c for c in found if _moves(c.pattern) == "transposed"), found[0])
        return transposed, True
    kernel = parameters.parts[p] == "kernel" and variables.parts[v] in ("kernel", "other")
    if kernel and len(parameters.shapes[p]) == 2:
        transposed = next((c for c in found if _moves(c.pattern) == "transposed"), found[0])
        return transposed, variables.parts[v] == "kernel"
    return found[0], variables.parts[v] == "kernel" == parameters.parts[p]


def _part(variables: Side, parameters: Side, v: int, p: int) -> Part:
    """The variable's part of its layer; a convolution's kernel is one whatever it is called."""
    convolution = parameters.parts[p] == "kernel" and len(parameters.shapes[p]) > 2
    return "kernel" if convolution else variables.parts[v]


def _is_table(variables: Side, parameters: Side, v: int, p: int) -> bool:
    return bool(_TABLES & set(parameters.names[p].words[-2:]) or _TABLES & set(variables.names[v].words[-2:]))


def _moves(pattern: str) -> str:
    """What a layout does, whatever its letters."""
    left, _, right = pattern.replace("(", "").replace(")", "").partition(" -> ")
    axes = [axis for axis in left.split() if axis not in ("...", "1")]
    written = [axis for axis in right.split() if axis not in ("...", "1")]
    if axes == written:
        return "unchanged"
    if written == axes[::-1] and len(axes) == 2:
        return "transposed"
    return " ".join(str(axes.index(axis)) if axis in axes else "+" for axis in written)
