"""The result of a diagnosis: why an endpoint departs, where, and what proves it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tfpt.verification.diagnosis.evidence import Sign


@dataclass(frozen=True)
class Place:
    """One place in the model that does not do what TensorFlow does.

    Attributes:
        kind: The kind of mistake.
        path: The module; empty for the model as a whole or its input.
        actual: What it has or does (`has` in JSON).
        expected: What makes the endpoint agree (`had` in JSON).
        row: Where the mapping says how it must behave, or writes its weights; empty if it does neither.
    """

    kind: str
    path: str
    actual: str
    expected: str
    row: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "path": self.path,
            "has": self.actual,
            "had": self.expected,
            "row": self.row,
        }


@dataclass(frozen=True)
class Diagnosis:
    """Why one endpoint departs.

    Attributes:
        name, path: The endpoint.
        proven: Whether a change to the model made the endpoint agree.
        kinds: The kinds of mistake, from `tfpt.verification.diagnosis.search.KINDS`; empty without proof.
        cause: The cause in plain words.
        places: Where the mistake is.
        everywhere: Whether these are all places in the whole model with that mistake.
        rel, rel_after: The relative difference before and after the change; infinite if the shapes differ.
        advice: What to do.
        signs: What the difference itself shows.
        suspects: Without proof: the usual causes, likeliest first.
        trials: How many trials were run.
        untried: How many changes were left to try when the time was up.
    """

    name: str
    path: str
    proven: bool
    kinds: tuple[str, ...]
    cause: str
    places: tuple[Place, ...]
    everywhere: bool
    rel: float
    rel_after: float
    advice: tuple[str, ...]
    signs: tuple[Sign, ...]
    suspects: tuple[str, ...]
    trials: int
    untried: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "endpoint": self.name,
            "path": self.path,
            "proven": self.proven,
            "kinds": list(self.kinds),
            "cause": self.cause,
            "places": [place.to_json() for place in self.places],
            "everywhere": self.everywhere,
            "rel": _number(self.rel),
            "rel_after": _number(self.rel_after),
            "advice": list(self.advice),
            "signs": [vars(sign) for sign in self.signs],
            "suspects": list(self.suspects),
            "trials": self.trials,
            "untried": self.untried,
        }


@dataclass(frozen=True)
class Explanation:
    """All causes found.

    Attributes:
        diagnoses: In network order, each was made with the causes before it repaired.
        mended: Whether every endpoint agrees once all causes are repaired (`mended` in JSON).
        seconds: How long the search took.
    """

    diagnoses: tuple[Diagnosis, ...] = ()
    repaired: bool = False
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "diagnoses": [diagnosis.to_json() for diagnosis in self.diagnoses],
            "mended": self.repaired,
            "seconds": round(self.seconds, 3),
        }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
