"""The chain of causes: the first endpoint that departs, then the next with the first put right, to the end."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tfpt.language import mapping as rows
from tfpt.verification.agreement import Compared
from tfpt.verification.diagnosis.changes import Change, Hypothesis, applied
from tfpt.verification.diagnosis.context import Scene, look
from tfpt.verification.diagnosis.evidence import Sign, signs
from tfpt.verification.diagnosis.result import Diagnosis, Explanation, Place
from tfpt.verification.diagnosis.search import KINDS, Proof, Search
from tfpt.verification.diagnosis.suspects import suspects
from tfpt.verification.diagnosis.trial import Bench
from tfpt.verification.diagnosis.weights import row_of
from tfpt.verification.replay import Replay

# A model with more separate mistakes is better looked at by its author.
_MOST_CAUSES = 5


def explain(
    replay: Replay,
    results: Sequence[Compared],
    mapping: rows.Mapping,
    tolerance: float,
    seconds: float = 60.0,
) -> Explanation:
    """Find what makes endpoints depart, by trial.

    Args:
        replay: The model and the recording; the model is as before when this returns.
        results: What comparing them gave.
        mapping: What the model was loaded through.
        tolerance: Up to which relative difference two activations count as the same.
        seconds: After which no further trial is begun.
    """
    chain = _Chain(replay, mapping, tolerance, time.monotonic() + seconds)
    begin = time.monotonic()
    mended = chain.follow(tuple(results))
    return Explanation(tuple(chain.diagnoses), mended, time.monotonic() - begin)


@dataclass
class _Chain:
    replay: Replay
    mapping: rows.Mapping
    tolerance: float
    deadline: float

    def __post_init__(self) -> None:
        self.diagnoses: list[Diagnosis] = []
        self.kept: list[tuple[Hypothesis, ...]] = []

    def follow(self, results: tuple[Compared, ...]) -> bool:
        """Cause after cause; whether everything agrees in the end."""
        while len(self.diagnoses) < _MOST_CAUSES:
            first = _first(results)
            if first is None:
                return not any(one.bad for one in results)
            try:
                if (further := self._everywhere(results, first)) is not None:
                    results = further
                    continue
                proof = self._diagnose(results, first)
                if proof is None:
                    return False
                self.kept.append(proof.hypotheses)
                results = self._results(self.kept)
            except Exception as error:  # a stranger's model may do anything when it is looked at so closely
                self.diagnoses.append(_broken_off(first, error))
                return False
        return False

    def _diagnose(self, results: Sequence[Compared], first: Compared) -> Proof | None:
        before = [one.path for one in results[: results.index(first)] if one.verdict == "agrees"]
        bench = Bench(
            self.replay, self.mapping, first.path, before[-1] if before else None, self._changes(self.kept)
        )
        search = Search(bench, self.tolerance, self.deadline)
        proof = search.run()
        shown = tuple(signs(bench.difference)) if bench.difference is not None else ()
        rel = bench.base.measure.rel if bench.base.measure else math.inf
        if proof is None:
            usual = suspects(bench.scene, first, shown, search.best)
            self.diagnoses.append(
                Diagnosis(
                    first.name, first.path, False, (), "", (), False, rel, rel, (), shown, usual, bench.trials
                )
            )
        else:
            self.diagnoses.append(self._proven(first, proof.hypotheses, rel, proof.measure.rel, shown, bench))
        return proof

    def _proven(
        self,
        first: Compared,
        hypotheses: tuple[Hypothesis, ...],
        rel: float,
        after: float,
        shown: tuple[Sign, ...],
        bench: Bench,
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
            bench.trials,
        )

    def _everywhere(self, results: Sequence[Compared], first: Compared) -> tuple[Compared, ...] | None:
        """The results with the last mistake put right in the whole model, if that is what `first` departs by, too."""
        if not self.diagnoses or self.diagnoses[-1].everywhere or len(self.kept[-1]) != 1:
            return None
        (found,) = self.kept[-1]
        scene = look(self.replay, self.mapping, _last(results, first), None, self._changes(self.kept[:-1]))
        wider = _wider(found, scene)
        if wider is None or time.monotonic() > self.deadline:
            return None
        kept = [*self.kept[:-1], (wider,)]
        again = self._results(kept)
        after = _first(again)
        order = [one.name for one in again]
        if after is not None and order.index(after.name) <= order.index(first.name):
            return None
        self.kept = kept
        places = tuple(_places((wider,), self.mapping))
        advice = (_advice(wider, places),)
        self.diagnoses[-1] = replace(self.diagnoses[-1], everywhere=True, places=places, advice=advice)
        return again

    def _results(self, kept: Sequence[tuple[Hypothesis, ...]]) -> tuple[Compared, ...]:
        with applied(self.replay.model, self._changes(kept)):
            return self.replay.results(self.tolerance, own=False)

    def _changes(self, kept: Sequence[tuple[Hypothesis, ...]]) -> list[Change]:
        return [change for hypotheses in kept for one in hypotheses for change in one.changes]


def faster_form(first: Compared, plain: Compared) -> Diagnosis:
    """The cause where a model's faster form departs and the model itself does not."""
    return Diagnosis(
        first.name,
        first.path,
        True,
        ("faster form",),
        "the faster form of the model does not compute what the model computes",
        (Place("faster form", "", "runs in its faster form", "its own layers"),),
        True,
        math.inf if first.free is None else first.free.rel,
        math.inf if plain.free is None else plain.free.rel,
        ("run it without optimize, and report this: both should be the same but for rounding",),
        (),
        (),
        1,
    )


def _broken_off(first: Compared, error: Exception) -> Diagnosis:
    rel = math.inf if first.free is None else first.free.rel
    why = f"the search broke off, {type(error).__name__}: {error}"
    return Diagnosis(first.name, first.path, False, (), "", (), False, rel, rel, (), (), (why,), 0)


def _first(results: Sequence[Compared]) -> Compared | None:
    return next((one for one in results if one.departs and one.path), None)


def _last(results: Sequence[Compared], first: Compared) -> str:
    """The last endpoint that the model reached."""
    return next((one.path for one in reversed(results) if one.path and one.shape is not None), first.path)


def _wider(found: Hypothesis, scene: Scene) -> Hypothesis | None:
    """The same mistake in all places of the model; ``None`` if there is no other place."""
    alike = {part[0].alike or part[0].has for part in found.parts}
    for hypothesis in KINDS[found.kind](scene):
        if hypothesis.key == found.key:
            parts = tuple(part for part in hypothesis.parts if (part[0].alike or part[0].has) in alike)
            return replace(hypothesis, parts=parts) if len(parts) > len(found.parts) else None
    return None


def _places(hypotheses: Sequence[Hypothesis], mapping: rows.Mapping) -> Iterator[Place]:
    for hypothesis in hypotheses:
        for part in hypothesis.parts:
            yield Place(
                hypothesis.kind,
                part[0].path,
                part[0].has,
                part[0].had,
                _row(part[0], hypothesis.kind, mapping),
            )


def _advice(hypothesis: Hypothesis, places: Sequence[Place]) -> str:
    """What to do; where the mapping does not state how the layer must behave, also that it could."""
    if not hypothesis.stated or any(place.row for place in places if place.kind == hypothesis.kind):
        return hypothesis.told
    return f"{hypothesis.told} (a row of the mapping with {hypothesis.stated} checks it from then on)"


def _row(change: Change, kind: str, mapping: rows.Mapping) -> str:
    """Where the mapping says how the module must behave, or writes the parameter."""
    if change.parameter:
        row = row_of(mapping, change.parameter)
        return "" if row is None else row.where
    stated = {"padding": "padding", "epsilon": "eps"}.get(kind)
    parts = change.path.split(".")
    ancestors = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    for behavior in mapping.behaviors if stated else ():
        reached = any(behavior.pt.match(path) is not None for path in ancestors)
        if reached and getattr(behavior, stated or "") is not None:
            return behavior.position.row
    return ""
