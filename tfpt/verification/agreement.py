"""Agreement: how much an activation differs from the recorded one, and whether the two count as the same."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from tfpt.networks.recording.recordings import RecordedEndpoint, mean_abs

# Two float32 implementations of one deep network differ by about 2e-6; a wrong layer changes activations by at least
# 1e-4.
DEFAULT_TOLERANCE = 1e-5

# Each layer rounds its weights and its result, and these errors add up as the root of their number: 16 roundings of the
# dtype are those of about a hundred layers.
_ROUNDINGS = 16

# The largest of many rounding errors is about five times their root mean square, whatever the network.
_MARGIN = 10

Verdict = Literal["agrees", "departs", "follows", "shape", "missing", "not finite", "unrecorded"]

# What each verdict means, as reports explain it.
VERDICTS: dict[Verdict, str] = {
    "agrees": "within the tolerance, or differs only by rounding carried over from earlier endpoints",
    "departs": "differs because of its own layers, or is the first endpoint that differs",
    "follows": "differs because an earlier endpoint does",
    "shape": "its shape differs from the recorded one",
    "missing": "recorded, but the model has no such endpoint or did not reach it",
    "not finite": "contains NaN or infinity, in the model or in the recording",
    "unrecorded": "not in the recording; not compared",
}


def default_tolerance(dtype: torch.dtype) -> float:
    """The tolerance for a model that computes in this dtype: 1e-5, or 16 times the rounding error of the dtype.

    Example:
        >>> [default_tolerance(dtype) for dtype in (torch.float32, torch.float64)]
        [1e-05, 1e-05]
        >>> [default_tolerance(dtype) for dtype in (torch.float16, torch.bfloat16)]
        [0.0078125, 0.0625]
    """
    return max(DEFAULT_TOLERANCE, _ROUNDINGS * torch.finfo(dtype).eps / 2)


@dataclass(frozen=True)
class Measure:
    """How much one activation differs from the recorded one, over the recorded positions.

    Attributes:
        rel: The L2 norm of the difference, relative to that of the recorded values.
        max_abs: The largest absolute difference.
        max_rel: The same relative to the largest recorded value.
        cosine: The cosine of the angle between the two, as vectors.
        mean_abs: The mean absolute value of the whole computed activation.
        mean_abs_tf: The same of the recorded one; ``None`` if not recorded.
        finite: Whether every value on both sides is finite.
        whole: Whether every position was compared, rather than samples.
    """

    rel: float
    max_abs: float
    max_rel: float
    cosine: float
    mean_abs: float
    mean_abs_tf: float | None
    finite: bool
    whole: bool

    @property
    def mean_rel(self) -> float:
        """The relative difference of the two means; 0 if the recorded one is unknown."""
        if self.mean_abs_tf is None:
            return 0.0
        return _ratio(abs(self.mean_abs - self.mean_abs_tf), self.mean_abs_tf)

    def agrees(self, tolerance: float) -> bool:
        """Whether the two count as the same; NaN never does.

        If samples were compared, the means must agree too: they cover the values between the samples.
        """
        close = self.rel <= tolerance and self.max_rel <= _MARGIN * tolerance
        return self.finite and close and (self.whole or self.mean_rel <= _MARGIN * tolerance)

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON values; NaN and infinity as text."""
        values = {
            "rel": self.rel,
            "max_abs": self.max_abs,
            "max_rel": self.max_rel,
            "cosine": self.cosine,
            "mean_abs": self.mean_abs,
            "mean_abs_tf": self.mean_abs_tf,
        }
        return {
            name: value if value is None or math.isfinite(value) else str(value)
            for name, value in values.items()
        } | {"finite": self.finite, "whole": self.whole}


def measure(recorded: RecordedEndpoint, computed: np.ndarray) -> Measure:
    """How much an array differs from the recorded one; it has the endpoint's shape, in TensorFlow's order of axes.

    Example:
        >>> recorded = RecordedEndpoint("relu", (2,), np.float32([3, 4]), 3.5)
        >>> found = measure(recorded, np.float32([3, 5]))
        >>> found.rel, found.max_abs, found.max_rel, found.mean_abs
        (0.2, 1.0, 0.25, 4.0)
        >>> found.agrees(1e-5), found.agrees(0.2)
        (False, True)
        >>> measure(recorded, np.float32([3, np.nan])).agrees(1e9)
        False
    """
    a, b = reals(recorded.samples_of(computed)), reals(recorded.values)
    mean = mean_abs(computed)
    finite = bool(np.isfinite(a).all() and np.isfinite(b).all() and math.isfinite(mean))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(a - b)
        greatest = float(apart.max(initial=0.0))
        largest = float(np.abs(b).max(initial=0.0))
        norms = _norm(a), _norm(b)
        rel = _ratio(_norm(apart), norms[1])
        cosine = float((a * b).sum()) / (norms[0] * norms[1]) if all(norms) else float(norms[0] == norms[1])
    return Measure(
        rel, greatest, _ratio(greatest, largest), cosine, mean, recorded.mean_abs, finite, recorded.whole
    )


def _norm(values: np.ndarray) -> float:
    # Not by numpy's norm, whose dot product runs on all processors and waits for the busy ones.
    return math.sqrt(float((values * values).sum()))


def reals(values: np.ndarray) -> np.ndarray:
    """Values flattened in float64; for complex values all real parts, followed by all imaginary parts.

    Example:
        >>> reals(np.int8([[-128], [3]])), reals(np.complex64([1 + 2j, 3]))
        (array([-128.,    3.]), array([1., 3., 2., 0.]))
    """
    flat = values.reshape(-1)
    if flat.dtype.kind == "c":
        flat = np.concatenate([flat.real, flat.imag])
    return flat.astype(np.float64)


@dataclass(frozen=True)
class ComparedEndpoint:
    """One endpoint on both sides.

    Attributes:
        name, path: Its name in TensorFlow, and the PyTorch module; empty if that side does not have it.
        shape_tf, shape: The recorded and the computed shape in TensorFlow's order of axes; ``None`` if missing.
        free: The difference when the model runs unchanged; ``None`` if the shapes differ or a side is missing.
        own: The difference when every endpoint before it is replaced by the recorded one: what its own layers
            contribute. ``None`` if the recording has only samples of the endpoint before.
        verdict: One of `VERDICTS`.
        note: Further information.
    """

    name: str
    path: str
    shape_tf: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None
    free: Measure | None = None
    own: Measure | None = None
    verdict: Verdict = "missing"
    note: str = ""

    @property
    def bad(self) -> bool:
        """Whether it prevents the model from agreeing."""
        return self.verdict not in ("agrees", "unrecorded")

    @property
    def departs(self) -> bool:
        """Whether it differs by itself, rather than because of an earlier endpoint."""
        return self.verdict in ("departs", "shape", "not finite")

    @property
    def all_zero(self) -> bool:
        """Whether it agrees only because both sides are all zeros, or have no values."""
        free = self.free
        return self.verdict == "agrees" and free is not None and free.mean_abs == 0 == free.max_abs

    @property
    def carries_rounding(self) -> bool:
        """Whether it agrees although it exceeds the tolerance, by rounding carried over from earlier endpoints."""
        return self.verdict == "agrees" and self.note.startswith("own")

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": self.path,
            "verdict": self.verdict,
            "note": self.note,
            "shape_tf": None if self.shape_tf is None else list(self.shape_tf),
            "shape": None if self.shape is None else list(self.shape),
            "free": self.free.to_json() if self.free else None,
            "own": self.own.to_json() if self.own else None,
        }


def with_verdicts(compared: Iterable[ComparedEndpoint], tolerance: float) -> tuple[ComparedEndpoint, ...]:
    """Add verdicts to endpoints, which are in the order in which the model runs.

    Example:
        >>> def at(rel, own=None):
        ...     figures = [None if r is None else Measure(r, r, r, 1, 1, 1, True, True) for r in (rel, own)]
        ...     return ComparedEndpoint("x", "x", (1,), (1,), *figures)
        >>> [c.verdict for c in with_verdicts([at(1e-6), at(2e-5, 1e-6), at(0.1), at(0.2), at(0.3, 1e-6)], 1e-5)]
        ['agrees', 'agrees', 'departs', 'follows', 'follows']
    """
    departed = False
    found = []
    for one in compared:
        verdict, note = _verdict(one, tolerance, departed)
        departed = departed or verdict in ("departs", "shape", "not finite")
        found.append(replace(one, verdict=verdict, note=one.note or note))
    return tuple(found)


def _verdict(one: ComparedEndpoint, tolerance: float, departed: bool) -> tuple[Verdict, str]:
    if one.shape_tf is None or one.shape is None:
        return ("unrecorded" if one.shape_tf is None else "missing"), ""
    if one.free is None:
        return "shape", ""
    if not one.free.finite:
        return "not finite", ""
    if one.free.agrees(tolerance):
        return "agrees", ""
    if one.own is None:
        return ("follows" if departed else "departs"), ""
    if not one.own.agrees(tolerance):
        return "departs", "also by itself" if departed else ""
    return ("follows", "") if departed else ("agrees", f"own {one.own.rel:.1e}: carried rounding")


def _ratio(value: float, scale: float) -> float:
    return 0.0 if value == 0 else value / scale if scale else math.inf
