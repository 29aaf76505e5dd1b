"""The search for a cause: one hypothesis after the other is put into effect, until the endpoint agrees."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tfpt.verification.agreement import DEFAULT_TOLERANCE, Measure
from tfpt.verification.diagnosis.activations import (
    missing_activations,
    other_activations,
    resizing,
    softmax_axes,
)
from tfpt.verification.diagnosis.branches import exchanged_weights, orders
from tfpt.verification.diagnosis.changes import Change, Hypothesis
from tfpt.verification.diagnosis.context import Scene
from tfpt.verification.diagnosis.evidence import constant
from tfpt.verification.diagnosis.inputs import inputs
from tfpt.verification.diagnosis.norms import epsilons, statistics, training_mode
from tfpt.verification.diagnosis.padding import counted_pads, paddings, zero_pads
from tfpt.verification.diagnosis.trial import Bench
from tfpt.verification.diagnosis.weights import flattening, kernel_axes, mirrored_kernels, square_weights

# The commonest and cheapest first: what ports get wrong, by how few trials it takes to say so.
KINDS: dict[str, Callable[[Scene], Iterator[Hypothesis]]] = {
    "training mode": training_mode,
    "zero pads": zero_pads,
    "padding": paddings,
    "counted pads": counted_pads,
    "epsilon": epsilons,
    "flattening": flattening,
    "branch order": orders,
    "kernel axes": kernel_axes,
    "square weight": square_weights,
    "activation": other_activations,
    "missing activation": missing_activations,
    "input": inputs,
    "statistics": statistics,
    "softmax axis": softmax_axes,
    "resize": resizing,
    "mirrored kernel": mirrored_kernels,
    "exchanged weights": exchanged_weights,
}

# A cause that is one explains nearly all of the difference; a change that merely nudges rounding does not.
_EXPLAINS = 1 / 3
# What is kept, of changes that do not suffice by themselves, while a second one is looked for.
_HELPS = 0.5
_MOST_TOGETHER = 3
# Above this, which rounding alone seldom makes, another value of the same kind may be the true one: of TensorFlow's
# epsilon of 1e-12, one of 1e-5 leaves 6e-6.
_SHARP = 1e-6
# A place may stay as it is if that leaves no more than this many times as much, or what rounding makes.
_AS_GOOD = 2.0
_ROUNDING = 5e-7


@dataclass(frozen=True)
class Proof:
    """Hypotheses that together make an endpoint agree.

    Attributes:
        hypotheses: What is changed, each with the parts that are needed alone.
        measure: The endpoint with all of them.
    """

    hypotheses: tuple[Hypothesis, ...]
    measure: Measure

    @property
    def changes(self) -> tuple[Change, ...]:
        """All of it at once."""
        return tuple(change for one in self.hypotheses for change in one.changes)


@dataclass
class Search:
    """A search on one bench.

    Attributes:
        bench: Where trials are made.
        tolerance: Up to which an endpoint agrees.
        deadline: When to give up, on the clock of `time.monotonic`.
        best: The hypothesis that came closest without proof, and how close.
    """

    bench: Bench
    tolerance: float
    deadline: float
    best: tuple[Hypothesis, float] | None = None

    def __post_init__(self) -> None:
        self.tolerance = max(self.tolerance, DEFAULT_TOLERANCE)
        self._known: list[Hypothesis] | None = None

    def run(self) -> Proof | None:
        """A proof, or ``None`` where nothing that was tried makes the endpoint agree.

        Of a recording with one value everywhere, such as behind a dead ReLU, nothing is proven: whatever silences the
        layers before it agrees with that.
        """
        if constant(self.bench.replay.recorded(self.bench.path).values):
            return None
        held: tuple[Hypothesis, ...] = ()
        rel = _rel(self.bench.base.measure)
        for _ in range(_MOST_TOGETHER):
            found, best = self._round(held, rel)
            if found is not None:
                return found
            if best is None or best[1] > _HELPS * rel:
                return None
            held, rel = (*held, best[0]), best[1]
            if self.best is None or rel < self.best[1]:
                self.best = best
        return None

    def _round(
        self, held: tuple[Hypothesis, ...], rel: float
    ) -> tuple[Proof | None, tuple[Hypothesis, float] | None]:
        """Each hypothesis beside those that are held; in the end the one that helps most."""
        best: tuple[Hypothesis, float] | None = None
        for hypothesis in self._candidates():
            if time.monotonic() > self.deadline:
                break
            if any(hypothesis.key == one.key and hypothesis.parts == one.parts for one in held):
                continue
            measure = self._measured((*held, hypothesis))
            if self._proves(measure, rel):
                found = self._likelier(held, self._sharpest(held, hypothesis, measure), rel)
                return self._least((*held, found), rel), None
            if measure is not None and measure.finite and (best is None or measure.rel < best[1]):
                best = hypothesis, measure.rel
        return None, best

    def _candidates(self) -> Iterator[Hypothesis]:
        """All places at once, kind by kind; then place by place."""
        if self._known is None:
            self._known = []
            sound = self.bench.scene.sound
            for kind in KINDS.values():
                for hypothesis in kind(self.bench.scene):
                    parts = tuple(part for part in hypothesis.parts if not _within(part[0].path, sound))
                    if parts:
                        self._known.append(replace(hypothesis, parts=parts))
                        yield self._known[-1]
        else:
            yield from self._known
        for hypothesis in self._known:
            if len(hypothesis.parts) > 1:
                yield from (replace(hypothesis, parts=(part,)) for part in hypothesis.parts)

    def _sharpest(
        self, held: tuple[Hypothesis, ...], found: Hypothesis, measure: Measure | None
    ) -> Hypothesis:
        """Of a kind with several values the one that leaves least: the first within the tolerance need not be true."""
        best, left = found, _rel(measure)
        if left <= _SHARP:
            return found
        paths = {part[0].path for part in found.parts}
        for other in KINDS[found.kind](self.bench.scene):
            parts = tuple(part for part in other.parts if part[0].path in paths)
            if not parts or other.key == found.key:
                continue
            if time.monotonic() > self.deadline:
                break
            other = replace(other, parts=parts)
            if (rel := _rel(self._measured((*held, other)))) < left / _AS_GOOD:
                best, left = other, rel
        return best

    def _likelier(self, held: tuple[Hypothesis, ...], found: Hypothesis, rel: float) -> Hypothesis:
        """Of branches that seem to be in another order, two with each other's weights, if that gives the same.

        Which of the two it is, no trial can tell; the weights are what somebody has just moved.
        """
        if found.kind != "branch order":
            return found
        keys = [change.call for change in found.changes]
        sources = {
            source for call in self.bench.scene.trace.calls if call.key in keys for source in call.sources
        }
        for other in exchanged_weights(self.bench.scene):
            if other.parts[0][0].path not in sources or time.monotonic() > self.deadline:
                continue
            if self._proves(self._measured((*held, other)), rel):
                cause = (
                    f"{other.cause} (or what they give is concatenated in the other order: it is the same)"
                )
                return replace(other, cause=cause, advice=f"{other.told}; or {found.told}")
        return found

    def _least(self, hypotheses: tuple[Hypothesis, ...], rel: float) -> Proof:
        """The proof with what is needed alone: a place that may stay as it is, stays.

        What is left must be as good as before, and not merely within the tolerance: of many norms with one wrong
        epsilon each, half put right may do for that.
        """
        measure = self._measured(hypotheses)
        assert measure is not None
        enough = max(_AS_GOOD * measure.rel, _ROUNDING)
        for hypothesis in hypotheses:
            for part in hypothesis.parts:
                fewer = _without(hypotheses, part)
                if not fewer or time.monotonic() > self.deadline:
                    continue
                other = self._measured(fewer)
                if other is not None and self._proves(other, rel) and other.rel <= enough:
                    hypotheses, measure = fewer, other
        return Proof(hypotheses, measure)

    def _measured(self, hypotheses: Sequence[Hypothesis]) -> Measure | None:
        changes = [change for hypothesis in hypotheses for change in hypothesis.changes]
        seen = self.bench.trial(changes)
        return None if seen is None else seen.measure

    def _proves(self, measure: Measure | None, rel: float) -> bool:
        return measure is not None and measure.agrees(self.tolerance) and not measure.rel > _EXPLAINS * rel


def _without(hypotheses: Sequence[Hypothesis], part: tuple[Change, ...]) -> tuple[Hypothesis, ...]:
    """All but one part; a hypothesis of which none is left goes, too."""
    left = (replace(each, parts=tuple(one for one in each.parts if one is not part)) for each in hypotheses)
    return tuple(each for each in left if each.parts)


def _within(path: str, branches: Sequence[str]) -> bool:
    return any(path == branch or path.startswith(f"{branch}.") for branch in branches)


def _rel(measure: Measure | None) -> float:
    return math.inf if measure is None or not measure.finite else measure.rel
