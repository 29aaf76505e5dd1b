"""Evidence that a variable becomes a parameter: shape, part, words, numbers, order, and what their scopes share.

Only pairs whose shapes fit are considered. Each kind of evidence gives each pair a number of about 0 to 1; `Weights`
says how much each counts.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from tfpt.proposal.layouts import candidates
from tfpt.proposal.sides import Part, Shape, Side
from tfpt.proposal.words import likeness

# How well the part of a variable agrees with that of a parameter; absent: they contradict each other.
_PARTS: dict[tuple[Part, Part], float] = {
    ("kernel", "kernel"): 1.0,
    ("scale", "scale"): 1.0,
    ("shift", "shift"): 1.0,
    ("bias", "bias"): 1.0,
    ("mean", "mean"): 1.0,
    ("variance", "variance"): 1.0,
    ("other", "other"): 0.5,
    ("shift", "bias"): 0.0,
    ("bias", "shift"): 0.0,
    ("other", "kernel"): 0.3,
    ("kernel", "other"): 0.3,
    ("other", "bias"): 0.2,
    ("bias", "other"): 0.2,
    ("other", "scale"): 0.2,
    ("scale", "other"): 0.2,
    ("other", "shift"): 0.1,
    ("shift", "other"): 0.2,
    ("kernel", "scale"): -0.5,
    ("scale", "kernel"): -0.5,
}
_CONTRADICTION = -1.0
# Statistics are never anything else.
_STATISTICS = frozenset(("mean", "variance"))
# Of each variable and each parameter at most this many pairs are kept, those with the best evidence.
_PAIRS = 24
# Series of at least this many members that are equally long on both sides are matched in order.
_SERIES = 4


@dataclass(frozen=True)
class Weights:
    """How much each kind of evidence counts. `benchmarks/init.py --weights` shows how the result depends on each.

    Attributes:
        shape: The layout that fits is a usual one.
        part: Both are the same part of a layer.
        words: The names have words in common, or words that are alike or usually go together in this pair of models.
        series: Both have the same place among those of the same name but for numbers.
        position: They are at similar places of the whole models.
        scopes: What is in the scopes of one mostly goes to the scopes of the other.
        neighbors: The tensors before and after them, by name, go together.
        listed: The same in the order of a file that keeps one.
        created: The same in the order of creation, which Keras' numbers of layers tell.
        nothing: What a pair must reach to be better than none.
    """

    shape: float = 1.0
    part: float = 1.0
    words: float = 4.0
    series: float = 1.0
    position: float = 0.5
    scopes: float = 4.0
    neighbors: float = 0.2
    listed: float = 0.4
    created: float = 2.0
    nothing: float = 0.5

    def explained(self) -> dict[str, float]:
        """The weights by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def scaled(self, **factors: float) -> Weights:
        """With some of the weights multiplied."""
        return replace(self, **{name: getattr(self, name) * factor for name, factor in factors.items()})


@dataclass(frozen=True)
class Pairs:
    """The pairs considered: index arrays of variables and parameters, and the evidence that stays the same.

    Attributes:
        variable, parameter: The pairs. [pairs]
        evidence: Each kind of evidence, by the name of its weight. [pairs]
    """

    variable: np.ndarray
    parameter: np.ndarray
    evidence: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.variable)

    def weighed(self, weights: Weights) -> np.ndarray:
        """The sum of the evidence."""
        total = np.zeros(len(self))
        for name, values in self.evidence.items():
            total += getattr(weights, name) * values
        return total

    def select(self, chosen: np.ndarray) -> Pairs:
        """Some of the pairs."""
        return Pairs(
            self.variable[chosen],
            self.parameter[chosen],
            {name: values[chosen] for name, values in self.evidence.items()},
        )


def possible_pairs(variables: Side, parameters: Side) -> Pairs:
    """All pairs whose shapes fit, with what shapes, parts, numbers and places say."""
    first, second, shape, part = [], [], [], []
    groups_v, groups_p = _groups(variables), _groups(parameters)
    for (shape_v, part_v), ours in groups_v.items():
        for (shape_p, part_p), theirs in groups_p.items():
            agreement = _agreement(part_v, part_p)
            if agreement is None:
                continue
            layouts = candidates(shape_v, shape_p, part_v)
            if not layouts:
                continue
            for group_v in ours:
                for group_p in theirs:
                    some, others = group_v.with_each(group_p)
                    first.append(some)
                    second.append(others)
                    shape.append(np.full(len(some), layouts[0].usual))
                    part.append(np.full(len(some), agreement))
    if not first:
        nothing = np.zeros(0, np.int64)
        return Pairs(nothing, nothing, {})
    v, p = np.concatenate(first), np.concatenate(second)
    series = _series(variables, parameters, v, p)
    position = 1 - np.abs(
        variables.order[v] / max(len(variables) - 1, 1) - parameters.order[p] / max(len(parameters) - 1, 1)
    )
    evidence = {
        "shape": np.concatenate(shape),
        "part": np.concatenate(part),
        "series": series,
        "position": position,
    }
    return Pairs(v, p, evidence)


def strongest(pairs: Pairs, score: np.ndarray) -> np.ndarray:
    """Which pairs to keep where there are many: the best of each variable and each parameter."""
    keep = np.zeros(len(pairs), bool)
    for index in (pairs.variable, pairs.parameter):
        order = np.lexsort((-score, index))
        starts = np.flatnonzero(np.r_[True, index[order][1:] != index[order][:-1]])
        lengths = np.diff(np.r_[starts, len(order)])
        place = np.arange(len(order)) - np.repeat(starts, lengths)
        keep[order[place < _PAIRS]] = True
    return keep


def _agreement(variable: Part, parameter: Part) -> float | None:
    if parameter == "counter":
        return None
    if (variable in _STATISTICS or parameter in _STATISTICS) and variable != parameter:
        return None
    return _PARTS.get((variable, parameter), _CONTRADICTION)


@dataclass(frozen=True)
class _Group:
    """Tensors of one shape and part: those of a long series, or all others.

    Attributes:
        members: Their indices.
        place: Their places in the series.
        count: How long the series is; 0 for tensors of no series.
    """

    members: np.ndarray
    place: np.ndarray
    count: int

    def with_each(self, other: _Group) -> tuple[np.ndarray, np.ndarray]:
        """All pairs with the other group; of two series of equal length those in the same place."""
        if self.count and self.count == other.count:
            _, some, others = np.intersect1d(self.place, other.place, return_indices=True)
            return self.members[some], other.members[others]
        return np.repeat(self.members, len(other.members)), np.tile(other.members, len(self.members))


def _groups(side: Side) -> dict[tuple[Shape, Part], list[_Group]]:
    place, count = side.series
    found: dict[tuple[Shape, Part], dict[tuple[str, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (shape, part) in enumerate(zip(side.shapes, side.parts, strict=True)):
        pattern = side.names[index].pattern if count[index] >= _SERIES else ()
        found[shape, part][pattern].append(index)
    return {
        key: [
            _Group(np.array(members), place[members], int(count[members[0]]) if pattern else 0)
            for pattern, members in groups.items()
        ]
        for key, groups in found.items()
    }


def _series(variables: Side, parameters: Side, v: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Evidence of the places in series."""
    (place_v, count_v), (place_p, count_p) = variables.series, parameters.series
    several = (count_v[v] > 1) & (count_p[p] > 1)
    equal = count_v[v] == count_p[p]
    same = place_v[v] == place_p[p]
    apart = np.abs(place_v[v] / np.maximum(count_v[v] - 1, 1) - place_p[p] / np.maximum(count_p[p] - 1, 1))
    found: np.ndarray = np.where(several, np.where(equal & same, 1.0, 0.5 - apart), np.where(equal, 0.5, 0.0))
    return found


class WordEvidence:
    """How much the words of two names have in common; it learns which words go together in this pair of models."""

    # How much of what was learnt counts: all of it, or less where one of the words occurs on the other side as it is.
    LEARNT, BESIDE_ITSELF = 1.2, 0.6

    def __init__(self, variables: Side, parameters: Side) -> None:
        self._known_v, self._sets_v, self.set_of_v = _word_sets(variables)
        self._known_p, self._sets_p, self.set_of_p = _word_sets(parameters)
        self._count_v = np.bincount(self.set_of_v, minlength=len(self._sets_v)) @ self._sets_v
        self._count_p = np.bincount(self.set_of_p, minlength=len(self._sets_p)) @ self._sets_p
        self._rare_v = np.log(1 + len(variables) / np.maximum(self._count_v, 1))
        self._rare_p = np.log(1 + len(parameters) / np.maximum(self._count_p, 1))
        self.likeness = np.array(
            [[likeness(one, other) for other in self._known_p] for one in self._known_v]
        ).reshape(len(self._known_v), len(self._known_p))
        on_both = np.isin(self._known_v, self._known_p)[:, None] | np.isin(self._known_p, self._known_v)[None]
        self._trust = np.where(on_both, self.BESIDE_ITSELF, 1.0)

    def of(self, pairs: Pairs, likeness: np.ndarray | None = None) -> np.ndarray:
        """The evidence for each pair: each word counts as much as its best counterpart, rare words more."""
        both = self._unlearnt if likeness is None else self._between(likeness)
        found: np.ndarray = both[self.set_of_v[pairs.variable], self.set_of_p[pairs.parameter]]
        return found

    def of_one(self, v: int, p: int) -> float:
        """The evidence for one pair, without what was learnt."""
        return float(self._unlearnt[self.set_of_v[v], self.set_of_p[p]])

    @cached_property
    def _unlearnt(self) -> np.ndarray:
        return self._between(self.likeness)

    def _between(self, alike: np.ndarray) -> np.ndarray:
        """The evidence for each set of words of one side and each of the other. [sets, sets]"""
        best_v = _best(alike.T, self._sets_p)  # [sets of parameters, words of variables]
        best_p = _best(alike, self._sets_v)  # [sets of variables, words of parameters]
        forth = (self._sets_v * self._rare_v) @ best_v.T / _total(self._sets_v @ self._rare_v)[:, None]
        back = best_p @ (self._sets_p * self._rare_p).T / _total(self._sets_p @ self._rare_p)[None]
        both: np.ndarray = (forth + back) / 2
        return both

    def learnt(self, pairs: Pairs, share: np.ndarray) -> np.ndarray:
        """The likeness of words, given how much of each variable goes to each parameter. [words, words]"""
        from scipy.sparse import coo_matrix

        together = coo_matrix(
            (share, (self.set_of_v[pairs.variable], self.set_of_p[pairs.parameter])),
            shape=(len(self._sets_v), len(self._sets_p)),
        )
        joint = self._sets_v.T @ (together @ self._sets_p)
        dice = 2 * joint / _total(self._count_v[:, None] + self._count_p[None])
        found: np.ndarray = np.maximum(self.likeness, np.minimum(1, dice * self.LEARNT) * self._trust)
        return found


def _total(sums: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.maximum(sums, 1e-9)
    return found


def _best(alike: np.ndarray, sets: np.ndarray) -> np.ndarray:
    """For each set of words, how alike the most similar of them is to each word of the other side."""
    found = np.zeros((len(sets), alike.shape[1]))
    for word, row in enumerate(alike):
        has = sets[:, word] > 0
        found[has] = np.maximum(found[has], row)
    return found


def _word_sets(side: Side) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words of a side; the distinct sets of them, each as zeros and ones; which set each tensor has."""
    known: dict[str, int] = {}
    sets: dict[frozenset[int], int] = {}
    which = []
    for name in side.names:
        words = frozenset(known.setdefault(word, len(known)) for word in name.pattern if word != "#")
        which.append(sets.setdefault(words, len(sets)))
    table = np.zeros((len(sets), len(known)))
    for words, index in sets.items():
        table[index, list(words)] = 1
    return np.array(list(known), dtype=str), table, np.array(which, np.int64)
