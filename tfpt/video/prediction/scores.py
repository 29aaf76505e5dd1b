"""Scores from logits, of one network or several: norm, probabilities, most likely classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Guess:
    """One class and its score.

    Attributes:
        index: Its index in the logits.
        label: Its name, if there are names.
        probability: From softmax.
        logit: The network's output.
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
    """The scores of a clip, from one network or several together.

    Attributes:
        logits: float64 of (classes,): averaged over windows, or added over streams.
        norm: Their Euclidean norm.
        probabilities: float64 of (classes,), their softmax.
        top: The most likely classes, best first.
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
    """The result of one stream.

    Attributes:
        mapping: The mapping's name.
        weights: The source of the weights.
        clip: The clip that was classified.
        kind: The network's input, ``rgb`` or ``flow``.
        frames: The number of pictures or flows.
        windows: The number of windows.
        window: Frames per window.
        fps: Frames per second; ``None`` if unknown.
        size: Height and width of the network's input.
        weight: Factor for its logits in the joint scores.
        scores: Its logits and scores.
        labels: The names of its classes, if there are any.
        notes: Notes for the user about clip and labels.
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
    """The result of all streams, separately and together.

    Attributes:
        streams: In the order in which they were given.
        joint: The scores of the sum of their logits; ``None`` for a single stream.
        saved: The prepared clips that were written.
    """

    streams: tuple[StreamScores, ...]
    joint: Scores | None = None
    saved: tuple[Path, ...] = ()

    @property
    def scores(self) -> Scores:
        """The final scores: the joint ones, or those of the only stream."""
        return self.streams[0].scores if self.joint is None else self.joint

    def to_json(self) -> dict[str, Any]:
        return {
            "streams": [stream.to_json() for stream in self.streams],
            "joint": None if self.joint is None else self.joint.to_json(),
            "saved": [str(path) for path in self.saved],
        }


def scores_of(logits: np.ndarray, labels: Sequence[str] | None, top: int) -> Scores:
    """Norm, probabilities and the `top` classes (all, if there are fewer); ties are ordered by index.

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
