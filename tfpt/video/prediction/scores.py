"""What is made of logits: their norm, probabilities, the classes they favor; of one network and of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Guess:
    """One class, as a network sees it.

    Attributes:
        index: Its place among the logits.
        label: Its name, where there are names.
        probability: By softmax.
        logit: What the network gave.
    """

    index: int
    label: str | None
    probability: float
    logit: float

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "label": self.label,
            "probability": self.probability,
            "logit": self.logit,
        }


@dataclass(frozen=True, eq=False)
class Scores:
    """What a network, or several together, make of a clip.

    Attributes:
        logits: float64 of (classes,): averaged over windows, or added over streams.
        norm: Their Euclidean norm.
        probabilities: float64 of (classes,), their softmax.
        top: The likeliest classes, best first.
    """

    logits: np.ndarray
    norm: float
    probabilities: np.ndarray
    top: tuple[Guess, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "norm": self.norm,
            "top": [guess.to_json() for guess in self.top],
            "logits": self.logits.tolist(),
            "probabilities": self.probabilities.tolist(),
        }


@dataclass(frozen=True, eq=False)
class StreamScores:
    """What one stream makes of its clip.

    Attributes:
        mapping: The mapping's name.
        weights: Where the weights came from.
        clip: The clip that was classified.
        kind: ``rgb`` or ``flow``, what the network takes.
        frames: How many pictures, or flows, it was fed.
        windows: In how many windows.
        window: Frames in each.
        fps: Frames a second; ``None`` if nobody says.
        size: Height and width of what the network was fed.
        weight: By what its logits are multiplied in the joint scores.
        scores: Its logits and what follows from them.
        labels: The names of its classes, if there are any.
        notes: What a reader should know of clip and labels.
    """

    mapping: str
    weights: str
    clip: str
    kind: str
    frames: int
    windows: int
    window: int
    fps: float | None
    size: tuple[int, int]
    weight: float
    scores: Scores
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "mapping": self.mapping,
            "weights": self.weights,
            "clip": self.clip,
            "kind": self.kind,
            "frames": self.frames,
            "windows": self.windows,
            "window": self.window,
            "fps": self.fps,
            "size": list(self.size),
            "weight": self.weight,
            "notes": list(self.notes),
            **self.scores.to_json(),
        }


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the streams make of a clip, each alone and together.

    Attributes:
        streams: In the order in which they were given.
        joint: Of the sum of their logits; ``None`` for a single stream.
        saved: The prepared clips that were written.
    """

    streams: tuple[StreamScores, ...]
    joint: Scores | None = None
    saved: tuple[Path, ...] = ()

    @property
    def scores(self) -> Scores:
        """What it comes to: the joint scores, or those of the only stream."""
        return self.streams[0].scores if self.joint is None else self.joint

    def to_json(self) -> dict[str, Any]:
        return {
            "streams": [stream.to_json() for stream in self.streams],
            "joint": None if self.joint is None else self.joint.to_json(),
            "saved": [str(path) for path in self.saved],
        }


def scores_of(logits: np.ndarray, labels: Sequence[str] | None, top: int) -> Scores:
    """Norm, probabilities and the `top` classes of logits (all of them, if they are fewer); ties go by number.

    Example:
        >>> scores = scores_of(np.array([1.0, 3.0, 2.0]), ["a", "b", "c"], 2)
        >>> round(scores.norm, 4), [(guess.label, round(guess.probability, 3)) for guess in scores.top]
        (3.7417, [('b', 0.665), ('c', 0.245)])
    """
    logits = logits.astype(np.float64)
    exponentials = np.exp(logits - logits.max())
    probabilities = exponentials / exponentials.sum()
    order = np.argsort(-logits, kind="stable")[:top].tolist()
    best = tuple(
        Guess(
            index,
            None if labels is None else labels[index],
            float(probabilities[index]),
            float(logits[index]),
        )
        for index in order
    )
    return Scores(logits, float(np.linalg.norm(logits)), probabilities, best)
