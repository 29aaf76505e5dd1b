"""The repair loop: find the cause at the first endpoint that departs, repair it, and go on to the next."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tfpt.language import mapping as rows
from tfpt.verification.agreement import ComparedEndpoint
from tfpt.verification.diagnosis.advice import row_of
from tfpt.verification.diagnosis.changes import Change, Hypothesis, applied
from tfpt.verification.diagnosis.evidence import Sign, signs
from tfpt.verification.diagnosis.kinds import hypotheses_of
from tfpt.verification.diagnosis.result import Diagnosis, Explanation, Place
from tfpt.verification.diagnosis.search import Proof, Search
from tfpt.verification.diagnosis.suspects import suspects
from tfpt.verification.diagnosis.trace import Context, context_at
from tfpt.verification.diagnosis.trial import Trials
from tfpt.verification.replay import Replay

# A model with more separate mistakes than this needs its author.
_MAX_CAUSES = 5


def explain(
    replay: Replay,
    results: Sequence[ComparedEndpoint],
    mapping: rows.Mapping,
    tolerance: float,
    seconds: float = 60.0,
) -> Explanation:
    """Find what makes endpoints depart, by trial.

    Args:
        replay: The model and the recording; the model is left unchanged.
        results: The comparison of their endpoints.
        mapping: The mapping that the model was loaded with.
        tolerance: The relative difference up to which two activations count as the same.
        seconds: No new trial starts after this time.
    """
    loop = _RepairLoop(replay, mapping, tolerance, time.monotonic() + seconds)
    start = time.monotonic()
    repaired = loop.run(tuple(results))
    return Explanation(tuple(loop.diagnoses), repaired, time.monotonic() - start)


@dataclass
class _RepairLoop:
    replay: Replay
    mapping: rows.Mapping
    tolerance: float
    deadline: float

    def __post_init__(self) -> None:
        self.diagnoses: list[Diagnosis] = []
        self.repairs: list[tuple[Hypothesis, ...]] = []

    def run(self, results: tuple[ComparedEndpoint, ...]) -> bool:
        """Find cause after cause; return whether everything agrees in the end."""
        while len(self.diagnoses) < _MAX_CAUSES:
            first = _first(results)
            if first is None:
                return not any(one.bad for one in results)
            try:
                if (further := self._widen(results, first)) is not None:
                    results = further
                    continue
                proof = self._diagnose(results, first)
                if proof is None:
                    return False
                self.repairs.append(proof.hypotheses)
                results = self._results(self.repairs)
            except Exception as error:  # the user's model may raise anything while it is being changed
                self.diagnoses.append(_search_failed(first, error))
                return False
        return False

    def _diagnose(self, results: Sequence[ComparedEndpoint], first: ComparedEndpoint) -> Proof | None:
        before = [one.path for one in results[: results.index(first)] if one.verdict == "agrees"]
        trials = Trials(
            self.replay, self.mapping, first.path, before[-1] if before else None, self._changes(self.repairs)
        )
        search = Search(trials, self.tolerance, self.deadline)
        proof = search.run()
        shown = tuple(signs(trials.difference)) if trials.difference is not None else ()
        rel = trials.baseline.measure.rel if trials.baseline.measure else math.inf
        if proof is None:
            usual = suspects(trials.context, first, shown, search.best)
            self.diagnoses.append(
                Diagnosis(
                    *(first.name, first.path, False, (), "", (), False, rel, rel, ()),
                    signs=shown,
                    suspects=usual,
                    trials=trials.count,
                    untried=search.untried,
                )
            )
        else:
            self.diagnoses.append(
                self._proven(first, proof.hypotheses, rel, proof.measure.rel, shown, trials)
            )
        return proof

    def _proven(
        self,
        first: ComparedEndpoint,
        hypotheses: tuple[Hypothesis, ...],
        rel: float,
        after: float,
        shown: tuple[Sign, ...],
        trials: Trials,
    ) -> Diagnosis:
        places = tuple(_places(hypotheses, self.mapping))
        return Diagnosis(
            first.name,
            first.path,
            True,
            tuple(one.kind for one in hypotheses),
            "; and ".join(dict.fromkeys(one.cause for one in hypotheses)),
            places,
            False,
            rel,
            after,
            tuple(dict.fromkeys(_advice(one, places) for one in hypotheses)),
            shown,
            (),
            trials.count,
        )

    def _widen(
        self, results: Sequence[ComparedEndpoint], first: ComparedEndpoint
    ) -> tuple[ComparedEndpoint, ...] | None:
        """The results with the last mistake repaired throughout the model, if that also repairs `first`."""
        if not self.diagnoses or self.diagnoses[-1].everywhere or len(self.repairs[-1]) != 1:
            return None
        (found,) = self.repairs[-1]
        context = context_at(
            self.replay, self.mapping, _last(results, first), None, self._changes(self.repairs[:-1])
        )
        widened = _widened(found, context)
        if widened is None or time.monotonic() > self.deadline:
            return None
        repairs = [*self.repairs[:-1], (widened,)]
        again = self._results(repairs)
        after = _first(again)
        order = [one.name for one in again]
        if after is not None and order.index(after.name) <= order.index(first.name):
            return None
        self.repairs = repairs
        places = tuple(_places((widened,), self.mapping))
        advice = (_advice(widened, places),)
        self.diagnoses[-1] = replace(self.diagnoses[-1], everywhere=True, places=places, advice=advice)
        return again

    def _results(self, repairs: Sequence[tuple[Hypothesis, ...]]) -> tuple[ComparedEndpoint, ...]:
        with applied(self.replay.model, self._changes(repairs)):
            return self.replay.results(self.tolerance, own=False)

    def _changes(self, repairs: Sequence[tuple[Hypothesis, ...]]) -> list[Change]:
        return [change for hypotheses in repairs for one in hypotheses for change in one.changes]


def faster_form(first: ComparedEndpoint, plain: ComparedEndpoint) -> Diagnosis:
    """The diagnosis if the optimized form of a model departs and the model itself does not."""
    return Diagnosis(
        first.name,
        first.path,
        True,
        ("faster form",),
        "the optimized form of the model does not compute what the model computes",
        (Place("faster form", "", "runs in its optimized form", "its original layers"),),
        True,
        math.inf if first.free is None else first.free.rel,
        math.inf if plain.free is None else plain.free.rel,
        ("run it without optimize, and report this as a bug: the two should differ by rounding only",),
        (),
        (),
        1,
    )


def _search_failed(first: ComparedEndpoint, error: Exception) -> Diagnosis:
    rel = math.inf if first.free is None else first.free.rel
    why = f"the search ended with an error, {type(error).__name__}: {error}"
    return Diagnosis(first.name, first.path, False, (), "", (), False, rel, rel, (), (), (why,), 0)


def _first(results: Sequence[ComparedEndpoint]) -> ComparedEndpoint | None:
    return next((one for one in results if one.departs and one.path), None)


def _last(results: Sequence[ComparedEndpoint], first: ComparedEndpoint) -> str:
    """The last endpoint that the model reached."""
    return next((one.path for one in reversed(results) if one.path and one.shape is not None), first.path)


def _widened(found: Hypothesis, context: Context) -> Hypothesis | None:
    """The same hypothesis for all places in the model that make the mistake; ``None`` if there are no more."""
    mistakes = {part[0].mistake or part[0].actual for part in found.parts}
    if found.elsewhere is not None:
        every = found.elsewhere(context)
    else:
        every = next((one for one in hypotheses_of(found.kind, context) if one.key == found.key), None)
    if every is None:
        return None
    parts = tuple(part for part in every.parts if (part[0].mistake or part[0].actual) in mistakes)
    return replace(every, parts=parts) if len(parts) > len(found.parts) else None


def _places(hypotheses: Sequence[Hypothesis], mapping: rows.Mapping) -> Iterator[Place]:
    for hypothesis in hypotheses:
        for part in hypothesis.parts:
            yield Place(
                hypothesis.kind,
                part[0].path,
                part[0].actual,
                part[0].expected,
                _row(part[0], hypothesis.kind, mapping),
            )


def _advice(hypothesis: Hypothesis, places: Sequence[Place]) -> str:
    """What to do, and the mapping entry that would check the layer, if the mapping has none yet."""
    if not hypothesis.mapping_entry or any(place.row for place in places if place.kind == hypothesis.kind):
        return hypothesis.advice_text
    entry = f"add {hypothesis.mapping_entry} under modules in the mapping"
    return f"{hypothesis.advice_text} (to have tfpt check it from now on, {entry})"


def _row(change: Change, kind: str, mapping: rows.Mapping) -> str:
    """The line of the mapping that says how the module must behave, or that writes the parameter."""
    if change.parameter:
        row = row_of(mapping, change.parameter)
        return "" if row is None else row.where
    key = {"padding": "padding", "epsilon": "eps"}.get(kind)
    parts = change.path.split(".")
    ancestors = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    for behavior in mapping.behaviors if key else ():
        reached = any(behavior.pt.match(path) is not None for path in ancestors)
        if reached and getattr(behavior, key or "") is not None:
            return behavior.position.row
    return ""
