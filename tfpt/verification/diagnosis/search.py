"""The search for a cause: hypotheses are tried one after another until the endpoint agrees."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from tfpt.verification.agreement import DEFAULT_TOLERANCE, Measure, reals
from tfpt.verification.diagnosis.advice import row_of
from tfpt.verification.diagnosis.branches import exchanged_weights
from tfpt.verification.diagnosis.changes import Change, Hypothesis
from tfpt.verification.diagnosis.evidence import is_constant
from tfpt.verification.diagnosis.inputs import affine_input
from tfpt.verification.diagnosis.kinds import KINDS, hypotheses_of
from tfpt.verification.diagnosis.solve import solve, solve_all
from tfpt.verification.diagnosis.trial import Trials
from tfpt.verification.diagnosis.unknowns import unknowns

# A real cause explains most of the difference; a change that merely shifts rounding errors does not.
_MAX_SHARE_LEFT = 1 / 3
# A change that leaves no more than this share is kept while a second one is sought.
_HELPFUL = 0.5
_MAX_COMBINED = 3
# Pairs are made of so many hypotheses, those that leave the least difference.
_MAX_RANKED = 150
# The input of more channels is not an image.
_MAX_CHANNELS = 4
# Above this, which rounding alone rarely reaches, another value of the same kind may be the true one: where
# TensorFlow's epsilon is 1e-12, one of 1e-5 leaves 6e-6.
_ROUNDING_LIMIT = 1e-6
# A place is left unchanged if the difference then grows by no more than this factor, or is within rounding.
_COMPARABLE = 2.0
_ROUNDING = 5e-7


@dataclass(frozen=True)
class Proof:
    """Hypotheses that together make an endpoint agree.

    Attributes:
        hypotheses: What is changed, each reduced to the parts that are needed.
        measure: The difference that is left with all of them.
    """

    hypotheses: tuple[Hypothesis, ...]
    measure: Measure


@dataclass
class Search:
    """The search for the cause at one endpoint.

    Attributes:
        trials: Runs the trials.
        tolerance: The relative difference up to which an endpoint agrees.
        deadline: When to give up, on the clock of `time.monotonic`.
        best: The unproven hypothesis that came closest, and the difference it left.
        untried: How many hypotheses were left when the time was up.
    """

    trials: Trials
    tolerance: float
    deadline: float
    best: tuple[Hypothesis, float] | None = None
    untried: int = 0

    def __post_init__(self) -> None:
        self.tolerance = max(self.tolerance, DEFAULT_TOLERANCE)
        self._tried: list[tuple[Hypothesis, float]] = []
        self._hypotheses: list[Hypothesis] | None = None

    def run(self) -> Proof | None:
        """A proof, or ``None`` if nothing that was tried makes the endpoint agree.

        A recording with one value everywhere, such as the output of a dead ReLU, proves nothing: any change that
        silences the layers before it would agree.
        """
        if is_constant(self.trials.replay.recorded(self.trials.path).values):
            return None
        accepted: tuple[Hypothesis, ...] = ()
        rel = _rel(self.trials.baseline.measure)
        for _ in range(_MAX_COMBINED):
            found, best = self._try_all(accepted, rel)
            if found is not None:
                return found
            if not accepted and (found := self._solved()) is not None:
                return found
            if best is None or best[1] > _HELPFUL * rel:
                break
            accepted, rel = (*accepted, best[0]), best[1]
            if self.best is None or rel < self.best[1]:
                self.best = best
        return self._try_pairs()

    def _try_all(
        self, accepted: tuple[Hypothesis, ...], rel: float
    ) -> tuple[Proof | None, tuple[Hypothesis, float] | None]:
        """Try each hypothesis together with those accepted so far; without proof, return the one that helps most."""
        best: tuple[Hypothesis, float] | None = None
        candidates = self._candidates()
        for hypothesis in candidates:
            if time.monotonic() > self.deadline:
                self.untried = 1 + sum(1 for _ in candidates)
                break
            if any(hypothesis.key == one.key and hypothesis.parts == one.parts for one in accepted):
                continue
            measure = self._measure((*accepted, hypothesis))
            if self._proves(measure, rel):
                return self._proof(accepted, hypothesis, measure, rel), None
            if not accepted:
                self._tried.append((hypothesis, _rel(measure)))
            if measure is not None and measure.finite and (best is None or measure.rel < best[1]):
                best = hypothesis, measure.rel
        return None, best

    def _proof(
        self,
        accepted: tuple[Hypothesis, ...],
        hypothesis: Hypothesis,
        measure: Measure | None,
        rel: float,
    ) -> Proof:
        found = self._prefer_exchanged_weights(accepted, self._best_value(accepted, hypothesis, measure), rel)
        return self._minimal((*accepted, found), rel)

    def _candidates(self) -> Iterator[Hypothesis]:
        """Every hypothesis with all of its places at once, kind by kind; then row by row, and place by place.

        Places near the endpoint come first.
        """
        if self._hypotheses is None:
            self._hypotheses = []
            agreeing = self.trials.context.agreeing
            for kind in KINDS:
                for hypothesis in hypotheses_of(kind, self.trials.context):
                    parts = tuple(part for part in hypothesis.parts if not _within(part[0].path, agreeing))
                    if parts:
                        self._hypotheses.append(replace(hypothesis, parts=parts))
                        yield self._hypotheses[-1]
        else:
            yield from self._hypotheses
        for hypothesis in self._hypotheses:
            if len(hypothesis.parts) > 2:
                yield from self._by_row(hypothesis)
        for hypothesis in self._hypotheses:
            if len(hypothesis.parts) > 1:
                yield from (replace(hypothesis, parts=(part,)) for part in reversed(hypothesis.parts))

    def _by_row(self, hypothesis: Hypothesis) -> Iterator[Hypothesis]:
        """The places that one row of the mapping writes, where it writes several but not all."""
        found: dict[object, list[tuple[Change, ...]]] = {}
        for part in hypothesis.parts:
            row = row_of(self.trials.context.mapping, part[0].parameter) if part[0].parameter else None
            if row is not None:
                found.setdefault(id(row), []).append(part)
        for parts in found.values():
            if 1 < len(parts) < len(hypothesis.parts):
                yield replace(hypothesis, parts=tuple(parts))

    def _solved(self) -> Proof | None:
        """A proof by a number that is solved for: an epsilon, a scale."""
        baseline = self.trials.values([])
        recorded = reals(self.trials.replay.recorded(self.trials.path).values)
        if baseline is None or not np.isfinite(baseline).all():
            return None
        rel = _rel(self.trials.baseline.measure)
        found: list[tuple[float, Hypothesis]] = []
        sought = unknowns(self.trials.context)
        for unknown in sought:
            if time.monotonic() > self.deadline:
                self.untried = self.untried or 1 + sum(1 for _ in sought)
                break
            number = solve(
                unknown, baseline, lambda hypothesis: self.trials.values(hypothesis.changes), recorded
            )
            if number is None:
                continue
            for written in unknown.rounded(number):
                hypothesis = unknown.hypothesis(written)
                measure = self._measure((hypothesis,))
                if self._proves(measure, rel):
                    found.append((_rel(measure), hypothesis))
            if found:
                # Of numbers that leave as little, the first is the one that a person would write.
                least = min(left for left, _ in found)
                enough = max(_COMPARABLE * least, _ROUNDING)
                return self._minimal((next(one for left, one in found if left <= enough),), rel)
        return self._solved_input()

    def _solved_input(self) -> Proof | None:
        """A proof by means and deviations of the input's channels."""
        context = self.trials.context
        given = context.inputs
        if not context.trace.from_start or not isinstance(given, Tensor) or not given.is_floating_point():
            return None
        if given.ndim < 3 or given.shape[1] > _MAX_CHANNELS:
            return None
        recorded = reals(self.trials.replay.recorded(self.trials.path).values)
        rel = _rel(self.trials.baseline.measure)
        number = given.shape[1]
        for reverse in (False, True):
            if time.monotonic() > self.deadline:
                break

            def hypothesis(numbers: np.ndarray, reverse: bool = reverse) -> Hypothesis:
                means = -numbers[number:] / numbers[:number]
                return affine_input(context.model, [*means, *(1 / numbers[:number])], reverse)

            def computed(
                numbers: np.ndarray, hypothesis: Callable[[np.ndarray], Hypothesis] = hypothesis
            ) -> np.ndarray | None:
                return self.trials.values(hypothesis(numbers).changes)

            start = np.array([1.0] * number + [0.0] * number)
            baseline = computed(start)
            if baseline is None or not np.isfinite(baseline).all():
                continue
            solved = solve_all(start, baseline, computed, recorded)
            if solved is None:
                continue
            exact = [*(-solved[number:] / solved[:number]), *(1 / solved[:number])]
            for digits in range(3, 7):
                rounded = [float(f"{one:.{digits}g}") if abs(one) > 1e-6 else 0.0 for one in exact]
                found = affine_input(context.model, rounded, reverse)
                if self._proves(self._measure((found,)), rel):
                    return self._minimal((found,), rel)
        return None

    def _try_pairs(self) -> Proof | None:
        """Two independent mistakes of different kinds, those first that help most by themselves."""
        rel = _rel(self.trials.baseline.measure)
        ranked = sorted(self._tried, key=lambda pair: pair[1])
        number = min(len(ranked), _MAX_RANKED)
        places = ((i, total - i) for total in range(1, 2 * number) for i in range((total + 1) // 2))
        pairs = ((ranked[i][0], ranked[j][0]) for i, j in places if j < number)
        for a, b in pairs:
            if time.monotonic() > self.deadline:
                self.untried = self.untried or 1 + sum(1 for _ in pairs)
                break
            if a.key == b.key or (a.kind == b.kind and _paths(a) & _paths(b)):
                continue
            measure = self._measure((a, b))
            if self._proves(measure, rel):
                return self._minimal((a, b), rel)
        return None

    def _best_value(
        self, accepted: tuple[Hypothesis, ...], found: Hypothesis, measure: Measure | None
    ) -> Hypothesis:
        """The value of the same kind that leaves the least difference: the first within the tolerance may be wrong."""
        best, left = found, _rel(measure)
        if left <= _ROUNDING_LIMIT:
            return found
        paths = {part[0].path for part in found.parts}
        for other in hypotheses_of(found.kind, self.trials.context):
            parts = tuple(part for part in other.parts if part[0].path in paths)
            if not parts or other.key == found.key:
                continue
            if time.monotonic() > self.deadline:
                break
            other = replace(other, parts=parts)
            if (rel := _rel(self._measure((*accepted, other)))) < left / _COMPARABLE:
                best, left = other, rel
        return best

    def _prefer_exchanged_weights(
        self, accepted: tuple[Hypothesis, ...], found: Hypothesis, rel: float
    ) -> Hypothesis:
        """Instead of another order of branches, blame exchanged weights, if that has the same effect.

        No trial can distinguish the two; weights that were just converted are the likelier culprit.
        """
        if found.kind != "branch order":
            return found
        keys = [change.call for change in found.changes]
        sources = {
            source for call in self.trials.context.trace.calls if call.key in keys for source in call.sources
        }
        for other in exchanged_weights(self.trials.context):
            if other.parts[0][0].path not in sources or time.monotonic() > self.deadline:
                continue
            if self._proves(self._measure((*accepted, other)), rel):
                same = "or their outputs are concatenated in the other order, which has the same effect"
                cause = f"{other.cause} ({same})"
                return replace(other, cause=cause, advice=f"{other.advice_text}; or {found.advice_text}")
        return found

    def _minimal(self, hypotheses: tuple[Hypothesis, ...], rel: float) -> Proof:
        """The proof reduced to the parts that are needed.

        The difference that is left must stay as small, not merely within the tolerance: where many norms have a wrong
        epsilon, repairing half of them may be enough for that.
        """
        measure = self._measure(hypotheses)
        assert measure is not None
        enough = max(_COMPARABLE * measure.rel, _ROUNDING)
        for hypothesis in hypotheses:
            for part in hypothesis.parts:
                fewer = _without(hypotheses, part)
                if not fewer or time.monotonic() > self.deadline:
                    continue
                other = self._measure(fewer)
                if other is not None and self._proves(other, rel) and other.rel <= enough:
                    hypotheses, measure = fewer, other
        return Proof(hypotheses, measure)

    def _measure(self, hypotheses: Sequence[Hypothesis]) -> Measure | None:
        changes = [change for hypothesis in hypotheses for change in hypothesis.changes]
        observed = self.trials.run(changes)
        return None if observed is None else observed.measure

    def _proves(self, measure: Measure | None, rel: float) -> bool:
        return (
            measure is not None and measure.agrees(self.tolerance) and not measure.rel > _MAX_SHARE_LEFT * rel
        )


def _without(hypotheses: Sequence[Hypothesis], part: tuple[Change, ...]) -> tuple[Hypothesis, ...]:
    """All parts but one; a hypothesis without parts is dropped."""
    left = (replace(each, parts=tuple(one for one in each.parts if one is not part)) for each in hypotheses)
    return tuple(each for each in left if each.parts)


def _within(path: str, branches: Sequence[str]) -> bool:
    return any(path == branch or path.startswith(f"{branch}.") for branch in branches)


def _paths(hypothesis: Hypothesis) -> set[str]:
    return {change.path for change in hypothesis.changes}


def _rel(measure: Measure | None) -> float:
    return math.inf if measure is None or not measure.finite else measure.rel
