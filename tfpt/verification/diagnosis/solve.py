"""Numbers that are solved for rather than listed: an epsilon, a scale, the means of the input.

The recorded values are a function of unknown numbers. Gauss-Newton steps find those that leave the least difference, in
a handful of trials; they are then rounded to the nearest numbers that a person would write.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from tfpt.verification.diagnosis.changes import Hypothesis
from tfpt.verification.diagnosis.unknowns import Unknown

_MAX_STEPS = 10
# What a solved number may leave of the difference, and of the recorded values, which float32 rounds.
_SHARE_LEFT = 1e-3
_FLOOR = 3e-6
# A direction that explains no more than this of the difference is not followed.
_LEAST_COSINE = 0.2
# One unknown number fits a few values by chance.
MIN_VALUES = 16


def solve(
    unknown: Unknown,
    baseline: np.ndarray,
    values: Callable[[Hypothesis], np.ndarray | None],
    recorded: np.ndarray,
) -> float | None:
    """The number that leaves the least difference; ``None`` if none makes it much smaller.

    Args:
        unknown: What is sought.
        baseline: The endpoint's values as the model computes them, in float64.
        values: The endpoint's values with a hypothesis applied.
        recorded: The recorded values.

    Example:
        >>> from tfpt.verification.diagnosis.written import written
        >>> x = np.linspace(1, 2, 50)
        >>> scale = Unknown("scale", 1.0, lambda s: s, True, written)
        >>> round(solve(scale, x, lambda s: s * x, 0.25 * x), 6)
        0.25
    """
    if recorded.size < MIN_VALUES or baseline.shape != recorded.shape:
        return None
    place = partial(_place, unknown.positive)
    number = partial(_number, unknown.positive)
    residual = baseline - recorded
    at = place(unknown.now)
    step = unknown.step
    trial = at + step
    for turn in range(_MAX_STEPS):
        found = values(unknown.hypothesis(number(trial)))
        if found is None or not np.isfinite(found).all():
            return None
        other = found - recorded
        slope = (other - residual) / (trial - at)
        square = float(slope @ slope)
        if not square:
            break  # nothing but rounding is left, or the number has no effect
        norm = float(np.linalg.norm(residual))
        if not norm:
            return number(at)
        along = float(slope @ residual)
        if turn == 0 and abs(along) < _LEAST_COSINE * math.sqrt(square) * norm:
            return None
        # Keep the better of the two points, and step from it.
        if np.linalg.norm(other) < norm:
            at, residual = trial, other
            along = float(slope @ residual)
        step = -along / square
        if unknown.positive:
            step = max(-3.0, min(3.0, step))
        if abs(step) < 1e-7:
            break
        trial = at + step
    return number(at) if _is_small(residual, baseline, recorded) else None


def solve_all(
    start: np.ndarray,
    baseline: np.ndarray,
    values: Callable[[np.ndarray], np.ndarray | None],
    recorded: np.ndarray,
) -> np.ndarray | None:
    """Several numbers at once, by Gauss-Newton steps with a Jacobian of finite differences.

    Args:
        start: The numbers that the model has.
        baseline: The endpoint's values with these.
        values: The endpoint's values with other numbers.
        recorded: The recorded values.

    Example:
        >>> x = np.linspace(-1, 1, 50)
        >>> solve_all(np.array([1.0, 0.0]), x, lambda v: v[0] * x + v[1], 3 * x - 2).round(6).tolist()
        [3.0, -2.0]
    """
    if recorded.size < MIN_VALUES * start.size or baseline.shape != recorded.shape:
        return None
    residual = baseline - recorded
    at = start
    for _ in range(_MAX_STEPS):
        columns = []
        for index in range(at.size):
            other = at.copy()
            step = 1e-2 * max(abs(at[index]), 0.1)
            other[index] += step
            found = values(other)
            if found is None or not np.isfinite(found).all():
                return None
            columns.append((found - recorded - residual) / step)
        direction = -np.linalg.lstsq(np.stack(columns, 1), residual, rcond=None)[0]
        for shorter in (1.0, 0.5, 0.25):
            found = values(at + shorter * direction)
            if found is None or not np.isfinite(found).all():
                continue
            if np.linalg.norm(found - recorded) < np.linalg.norm(residual):
                at, residual = at + shorter * direction, found - recorded
                break
        else:
            break
        if np.abs(direction).max() < 1e-7 * np.abs(at).max():
            break
    return at if _is_small(residual, baseline, recorded) else None


def _is_small(residual: np.ndarray, baseline: np.ndarray, recorded: np.ndarray) -> bool:
    """Whether little more than rounding is left of a difference."""
    before, left = (float(np.linalg.norm(one)) for one in (baseline - recorded, residual))
    return left <= max(_SHARE_LEFT * before, _FLOOR * float(np.linalg.norm(recorded))) and left < before / 3


def _place(positive: bool, value: float) -> float:
    return math.log(value) if positive else value


def _number(positive: bool, place: float) -> float:
    return math.exp(min(place, 60.0)) if positive else place
