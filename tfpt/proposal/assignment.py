"""Which variable becomes which parameter.

Words, shapes and numbers give a first, soft answer: how much of each variable goes to each parameter. From that follows
how well whole scopes agree, which tensors are neighbors, and which words go together, which is evidence for a better
answer. After a few rounds one variable is assigned to each parameter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from tfpt.proposal.evidence import Pairs, Weights, WordEvidence, possible_pairs, strongest
from tfpt.proposal.sides import Side

_ROUNDS = 6
# How decided the soft answer is: in the first round, and by how much more in each further one.
_DECIDED, _GROWTH = 2.0, 1.5
_BALANCING = 12
# With more pairs than this for each tensor, only the strongest are kept.
_MANY = 30
# Numbered scopes agree as much as their numbers: at least this much of what they hold in common counts.
_ANY_NUMBER, _SAME_NUMBER = 0.3, 0.7
_IMPOSSIBLE = -50.0


@dataclass(frozen=True)
class Assignment:
    """The answer.

    Attributes:
        pairs: All pairs considered.
        score: The evidence for each.
        evidence: Its parts, by the name of the weight.
        chosen: The variable of each parameter, by index.
    """

    pairs: Pairs
    score: np.ndarray
    evidence: dict[str, np.ndarray]
    chosen: dict[int, int]


class Assigner:
    """The pairs of two sides, prepared once for several assignments with different weights."""

    def __init__(
        self,
        variables: Side,
        parameters: Side,
        without: Collection[int] = (),
        decided: Mapping[int, int] | None = None,
    ) -> None:
        """Prepare the pairs.

        Args:
            variables, parameters: Both sides.
            without: Parameters that get no variable of their own.
            decided: The variable of parameters for which it is known; -1 for none.
        """
        self.variables = variables
        self.parameters = parameters
        self.words = WordEvidence(variables, parameters)
        pairs = possible_pairs(variables, parameters)
        if without:
            pairs = pairs.select(~np.isin(pairs.parameter, list(without)))
        for p, v in (decided or {}).items():
            pairs = pairs.select((pairs.parameter == p) == (pairs.variable == v))
        if len(pairs):
            first = pairs.weighed(Weights()) + Weights().words * self.words.of(pairs)
            if len(pairs) > _MANY * (len(variables) + len(parameters)):
                pairs = pairs.select(strongest(pairs, first))
        self.pairs = pairs
        if len(pairs):
            self._prepare_scopes()
            self._prepare_neighbors()

    def assign(self, weights: Weights | None = None, *, reverse: bool = False) -> Assignment:
        """Assign variables to parameters.

        Args:
            weights: How much each kind of evidence counts.
            reverse: Take the variables in the reverse order, to see what depends on it.
        """
        weights = weights or Weights()
        if not len(self.pairs):
            return Assignment(self.pairs, np.zeros(0), {}, {})
        known = dict(self.pairs.evidence)
        if reverse:
            known["position"] = 1 - known["position"]
        fixed = np.zeros(len(self.pairs))
        for name, values in known.items():
            fixed += getattr(weights, name) * values
        learnt = self.words.of(self.pairs)
        scopes = neighbors = np.zeros(len(self.pairs))
        score = fixed + weights.words * learnt
        near = weights.neighbors
        if self.variables.ordered:
            near = weights.created if self.variables.counted else weights.listed
        for turn in range(_ROUNDS):
            share = self._shares(score, weights.nothing, _DECIDED * _GROWTH**turn)
            scopes = self._scope_evidence(share)
            neighbors = self._neighbor_evidence(share, reverse)
            learnt = self.words.of(self.pairs, self.words.learnt(self.pairs, share))
            score = fixed + weights.words * learnt + weights.scopes * scopes + near * neighbors
        evidence = {**known, "words": learnt, "scopes": scopes, "neighbors": neighbors}
        return Assignment(self.pairs, score, evidence, self._best(score, weights.nothing))

    def _shares(self, score: np.ndarray, nothing: float, decided: float) -> np.ndarray:
        """How much of each variable goes to each parameter: at most all of it, and each parameter is at most full."""
        v, p = self.pairs.variable, self.pairs.parameter
        top = score.max()
        share = np.exp(decided * (score - top))
        idle = np.exp(decided * (nothing - top))
        idle_v, idle_p = np.full(len(self.variables), idle), np.full(len(self.parameters), idle)
        for _ in range(_BALANCING):
            total = np.bincount(v, share, len(self.variables)) + idle_v
            share, idle_v = share / total[v], idle_v / total
            total = np.bincount(p, share, len(self.parameters)) + idle_p
            share, idle_p = share / total[p], idle_p / total
        found: np.ndarray = share
        return found

    def _prepare_scopes(self) -> None:
        """For each pair of tensors the pairs of scopes above them, and what is known of these."""
        ours, theirs = self.variables.scopes, self.parameters.scopes
        above_v, above_p = ours.above[self.pairs.variable], theirs.above[self.pairs.parameter]
        key = above_v[:, :, None] * len(theirs.size) + above_p[:, None, :]
        key = np.where((above_v[:, :, None] >= 0) & (above_p[:, None, :] >= 0), key, -1)
        known, where = np.unique(key, return_inverse=True)
        self._where = where.reshape(key.shape)
        first, second = np.maximum(known, 0) // len(theirs.size), np.maximum(known, 0) % len(theirs.size)
        numbered = (ours.siblings[first] > 1) & (theirs.siblings[second] > 1)
        near = 1 - np.abs(ours.rank[first] - theirs.rank[second])
        equal = ours.siblings[first] == theirs.siblings[second]
        alike = np.where(equal, near**4, 0.6 * near**2)
        alike = np.maximum(alike, np.where(ours.number[first] == theirs.number[second], 0.7, 0.0))
        prior = np.where(numbered, _ANY_NUMBER + _SAME_NUMBER * alike, 1.0)
        larger = np.maximum(ours.size[first], theirs.size[second])
        self._prior = np.where(known >= 0, prior / larger, 0.0)
        # Small scopes say more about a tensor than large ones.
        self._weight_v = np.where(above_v >= 0, 1 / np.log2(1.5 + ours.size[np.maximum(above_v, 0)]), 0.0)
        self._weight_p = np.where(above_p >= 0, 1 / np.log2(1.5 + theirs.size[np.maximum(above_p, 0)]), 0.0)

    def _scope_evidence(self, share: np.ndarray) -> np.ndarray:
        per_pair = self._where.size // len(self._where)
        common = np.bincount(self._where.ravel(), np.repeat(share, per_pair), len(self._prior)) * self._prior
        table = common[self._where]
        best_v = (table.max(2) * self._weight_v).sum(1) / np.maximum(self._weight_v.sum(1), 1e-9)
        best_p = (table.max(1) * self._weight_p).sum(1) / np.maximum(self._weight_p.sum(1), 1e-9)
        found: np.ndarray = (best_v + best_p) / 2
        return found

    def _prepare_neighbors(self) -> None:
        """Which pair consists of the next variable and the next parameter of the same part; and of those before."""
        next_v, before_v = _neighbors(self.variables)
        next_p, before_p = _neighbors(self.parameters)
        key = self.pairs.variable * len(self.parameters) + self.pairs.parameter
        order = np.argsort(key)
        ordered = key[order]

        def find(v: np.ndarray, p: np.ndarray) -> np.ndarray:
            wanted = v * len(self.parameters) + p
            place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
            return np.where((v >= 0) & (p >= 0) & (ordered[place] == wanted), order[place], -1)

        v, p = self.pairs.variable, self.pairs.parameter
        self._beside = find(next_v[v], next_p[p]), find(before_v[v], before_p[p])
        self._crossed = find(before_v[v], next_p[p]), find(next_v[v], before_p[p])

    def _neighbor_evidence(self, share: np.ndarray, reverse: bool) -> np.ndarray:
        one, other = self._crossed if reverse else self._beside
        found: np.ndarray = (np.where(one >= 0, share[one], 0) + np.where(other >= 0, share[other], 0)) / 2
        return found

    def _best(self, score: np.ndarray, nothing: float) -> dict[int, int]:
        """The assignment with the largest sum of scores; what does not reach `nothing` stays without."""
        # Imported here: most commands never assign anything.
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching

        good = score > nothing
        v, p, gain = self.pairs.variable[good], self.pairs.parameter[good], score[good] - nothing
        # Each variable can also go to a place of its own, which gains nothing. Weights must be positive.
        own = np.arange(len(self.variables))
        rows = np.concatenate([v, own])
        columns = np.concatenate([p, len(self.parameters) + own])
        weight = np.concatenate([gain, np.zeros(len(own))]) + 1.0
        shape = (len(self.variables), len(self.parameters) + len(self.variables))
        table = coo_matrix((weight, (rows, columns)), shape=shape).tocsr()
        found, places = min_weight_full_bipartite_matching(table, maximize=True)
        return {int(p): int(v) for v, p in zip(found, places, strict=True) if p < len(self.parameters)}


def _neighbors(side: Side) -> tuple[np.ndarray, np.ndarray]:
    """The tensor of the same part after each, and the one before; -1 if there is none."""
    after, before = np.full(len(side), -1), np.full(len(side), -1)
    last: dict[str, int] = {}
    for index in np.argsort(side.order):
        part = side.parts[index]
        if part in last:
            after[last[part]], before[index] = index, last[part]
        last[part] = int(index)
    return after, before
