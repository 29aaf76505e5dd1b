"""What a diagnosis tells: why an endpoint departs, where, and what proves it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tfpt.verification.diagnosis.evidence import Sign


@dataclass(frozen=True)
class Place:
    """One module that is otherwise than TensorFlow's.

    Attributes:
        kind: The sort of mistake.
        path: The module; empty for the model as a whole, or its input.
        has: What it has or does.
        had: What makes the endpoint agree.
        row: Where the mapping states how it must behave, or writes its weights; empty where it does not.
    """

    kind: str
    path: str
    has: str
    had: str
    row: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """Why one endpoint departs.

    Attributes:
        name, path: The endpoint.
        proven: Whether doing it otherwise made the endpoint agree.
        kinds: What sorts of mistake, of `tfpt.verification.diagnosis.search.KINDS`; empty without proof.
        cause: In plain words.
        places: Where, and what is there.
        everywhere: Whether these are all such places of the model, beyond the endpoint.
        rel, rel_after: The difference before and after, in proportion; infinite where it has none (another shape).
        advice: What to do.
        signs: What the difference itself shows.
        suspects: Without proof: the usual causes, likeliest first.
        trials: How many things were done otherwise.
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

    def to_json(self) -> dict[str, Any]:
        return {
            "endpoint": self.name,
            "path": self.path,
            "proven": self.proven,
            "kinds": list(self.kinds),
            "cause": self.cause,
            "places": [vars(place) for place in self.places],
            "everywhere": self.everywhere,
            "rel": _number(self.rel),
            "rel_after": _number(self.rel_after),
            "advice": list(self.advice),
            "signs": [vars(sign) for sign in self.signs],
            "suspects": list(self.suspects),
            "trials": self.trials,
        }


@dataclass(frozen=True)
class Explanation:
    """All causes that were found.

    Attributes:
        diagnoses: In network order, each with those before it put right.
        mended: Whether every endpoint agrees once all of it is put right.
        seconds: How long the search took.
    """

    diagnoses: tuple[Diagnosis, ...] = ()
    mended: bool = False
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "diagnoses": [diagnosis.to_json() for diagnosis in self.diagnoses],
            "mended": self.mended,
            "seconds": round(self.seconds, 3),
        }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
