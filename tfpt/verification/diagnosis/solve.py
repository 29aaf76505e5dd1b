"""Numbers that are solved for rather than listed: an epsilon, a scale, a constant that is added.

The recorded values are a function of the unknown number. Gauss-Newton steps with a secant slope find the number that
leaves the least difference, in a handful of trials; it is then rounded to the nearest number that a person would write.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from tfpt.networks.behavior.layers import eps_name, eps_of
from tfpt.verification.diagnosis.calls import PRODUCTS, SUMS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, attribute, forward
from tfpt.verification.diagnosis.trace import Context

_MAX_STEPS = 10
# What a solved number may leave of the difference, and of the recorded values, which float32 rounds.
_SHARE_LEFT = 1e-3
_FLOOR = 3e-6
# A direction that explains no more than this of the difference is not followed.
_LEAST_COSINE = 0.2
# A solved number is written as a person would if that changes it by no more than this.
_ROUNDING = 2e-4
_MAX_DIVISOR = 128
# Widths whose roots scale attentions and embeddings.
_MAX_ROOT = 4096
# One unknown number fits a few values by chance.
MIN_VALUES = 16


@dataclass(frozen=True)
class Unknown:
    """A hypothesis with a number in it.

    Attributes:
        name: What the number is, for reports.
        now: The number that the model has.
        hypothesis: The hypothesis with the number filled in.
        positive: Whether the number is positive, and is searched for on a logarithmic scale.
        rounded: Numbers near a solved one that a person would write, best first.
        step: The first step, in logarithms of positive numbers: large for an epsilon, which may have little effect.
    """

    name: str
    now: float
    hypothesis: Callable[[float], Hypothesis]
    positive: bool
    rounded: Callable[[float], Iterator[float]]
    step: float = 0.05


def unknowns(context: Context) -> Iterator[Unknown]:
    """The numbers that may be wrong: epsilons at once and one by one, then scales near the endpoint first."""
    yield from _epsilons(context)
    yield from _attributes(context)
    yield from _scales(context)


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


def written(value: float) -> Iterator[float]:
    """Numbers near `value` that a person would write: small fractions, roots of integers, short decimals.

    Example:
        >>> next(written(0.499998)), next(written(0.3535533)), next(written(0.0010009999))
        (0.5, 0.35355339059327373, 0.001001)
    """
    if not value or not math.isfinite(value):
        return
    found: list[float] = []
    fraction = Fraction(abs(value)).limit_denominator(16)
    found.append(float(fraction))
    if 1 / _MAX_DIVISOR < abs(value) < 1:
        found.append(1 / round(1 / abs(value)))
    square = abs(value) ** 2
    if 1 <= square <= _MAX_ROOT:
        found.append(math.sqrt(round(square)))
    elif 1 / _MAX_ROOT <= square < 1:
        found.append(1 / math.sqrt(round(1 / square)))
    found += [float(f"{abs(value):.{digits}e}") for digits in range(4)]
    sign = math.copysign(1.0, value)
    for one in found:
        if one and abs(one - abs(value)) <= _ROUNDING * abs(value):
            yield sign * one


def written_epsilons(value: float) -> Iterator[float]:
    """Epsilons near `value`: of one digit, of two, of four.

    Example:
        >>> list(written_epsilons(1.0004e-4)), list(written_epsilons(1.00101e-5))
        ([0.0001], [1e-05, 1.001e-05])
    """
    found: list[float] = []
    for digits, allowed in ((0, 0.02), (1, 0.002), (3, 0.0002)):
        one = float(f"{value:.{digits}e}")
        if abs(one - value) <= allowed * value and one not in found:
            found.append(one)
    yield from found


def _epsilons(context: Context) -> Iterator[Unknown]:
    by_eps: dict[float, list[tuple[str, nn.Module, str]]] = {}
    for run in {run.path: run for run in context.trace.runs}.values():
        name = eps_name(run.module)
        eps = eps_of(run.module, name) if name and name not in run.module._buffers else None
        if eps:
            by_eps.setdefault(eps, []).append((run.path, run.module, name))
    for eps, places in by_eps.items():
        for chosen in (places, *([one] for one in reversed(places) if len(places) > 1)):
            yield Unknown(
                "eps", eps, partial(_epsilon, eps=eps, places=chosen), True, written_epsilons, math.log(10)
            )


def _epsilon(value: float, eps: float, places: list[tuple[str, nn.Module, str]]) -> Hypothesis:
    return Hypothesis(
        "epsilon",
        f"{value:g}",
        "the epsilon of a normalization differs from TensorFlow's",
        tuple(
            (Change(path, f"has eps {eps:g}", f"eps {value:g}", partial(attribute, module, name, value)),)
            for path, module, name in places
        ),
        f"build it with eps={value:g}",
        mapping_entry=f"eps: {value:g}",
    )


def _attributes(context: Context) -> Iterator[Unknown]:
    """Numbers that modules have as attributes: slopes, the alpha of a local response normalization, scales."""
    for run in {run.path: run for run in context.trace.runs}.values():
        for name, value in vars(run.module).items():
            if type(value) is float and value > 0 and name not in ("momentum", "p", eps_name(run.module)):
                yield Unknown(
                    name, value, partial(_attribute, run.path, run.module, name, value), True, written
                )


def _attribute(path: str, module: nn.Module, name: str, now: float, value: float) -> Hypothesis:
    change = Change(
        path, f"has {name} {now:g}", f"{name} {value:.6g}", partial(attribute, module, name, value)
    )
    return Hypothesis(
        "number",
        f"{name} {value:.6g}",
        f"the {name} of a layer is not TensorFlow's",
        ((change,),),
        f"build it with {name}={value:.6g}",
    )


def _scales(context: Context) -> Iterator[Unknown]:
    if context.trace.from_start and isinstance(context.inputs, Tensor) and context.inputs.is_floating_point():
        yield Unknown("scale", 1.0, partial(_input_scale, context.model), True, written)
    seen = set()
    for run in reversed(context.trace.runs):
        if run.output and run.path not in seen:
            seen.add(run.path)
            yield Unknown("scale", 1.0, partial(_result_scale, run.path, run.module), True, written)
    for call in reversed(context.trace.calls):
        if call.name in SUMS and len(call.shapes) == 2:
            for index in (0, 1):
                yield Unknown("scale", 1.0, partial(_term_scale, call, index), True, written)
        elif call.name in PRODUCTS or call.name in ("softmax", "embedding"):
            yield Unknown("scale", 1.0, partial(_call_scale, call), True, written)


def _scaled(where: str, path: str, value: float, change: Change) -> Hypothesis:
    return Hypothesis(
        "scale",
        f"{where} {value:.6g}",
        "something is scaled by another factor than in TensorFlow",
        ((change,),),
        f"multiply {where} by {value:.6g}",
    )


def _input_scale(model: nn.Module, value: float) -> Hypothesis:
    change = Change(
        "", "takes its input as given", f"{value:.6g} times the input", partial(_times_input, model, value)
    )
    return _scaled("the input", "", value, change)


def _result_scale(path: str, module: nn.Module, value: float) -> Hypothesis:
    put = partial(_times, module, value)
    return _scaled(
        f"the result of {path or 'the model'}",
        path,
        value,
        Change(path, "gives its result as it is", f"{value:.6g} times that", put),
    )


def _term_scale(call: Any, index: int, value: float) -> Hypothesis:
    def answer(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scaled = list(args)
        scaled[index] = scaled[index] * value
        return function(*scaled, **kwargs)

    term = call.sources[index] or f"term {index + 1}"
    change = Change(
        call.path, f"adds {term} as it is", f"{value:.6g} times {term}", call=call.key, answer=answer
    )
    return _scaled(f"{term}, where it is added in {call.path or 'the model'},", call.path, value, change)


def _call_scale(call: Any, value: float) -> Hypothesis:
    def answer(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if call.name == "softmax":
            return function(args[0] * value, *args[1:], **kwargs)
        return function(*args, **kwargs) * value

    what = "the argument of softmax" if call.name == "softmax" else f"the result of {call.name.rstrip('_')}"
    change = Change(
        call.path, f"takes {what} as it is", f"{value:.6g} times that", call=call.key, answer=answer
    )
    return _scaled(f"{what} in {call.path or 'the model'}", call.path, value, change)


@contextmanager
def _times(module: nn.Module, value: float) -> Iterator[None]:
    compute = module.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        output = compute(*args, **kwargs)
        if isinstance(output, Tensor):
            return output * value
        return type(output)((output[0] * value, *output[1:]))

    with forward(module, run):
        yield


@contextmanager
def _times_input(model: nn.Module, value: float) -> Iterator[None]:
    handle = model.register_forward_pre_hook(lambda _, args: (args[0] * value, *args[1:]))
    try:
        yield
    finally:
        handle.remove()


def _is_small(residual: np.ndarray, baseline: np.ndarray, recorded: np.ndarray) -> bool:
    """Whether little more than rounding is left of a difference."""
    before, left = (float(np.linalg.norm(one)) for one in (baseline - recorded, residual))
    return left <= max(_SHARE_LEFT * before, _FLOOR * float(np.linalg.norm(recorded))) and left < before / 3


def _place(positive: bool, value: float) -> float:
    return math.log(value) if positive else value


def _number(positive: bool, place: float) -> float:
    return math.exp(min(place, 60.0)) if positive else place
