"""The numbers that may be wrong: epsilons, numbers that modules have as attributes, scales, added constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from tfpt.networks.behavior.layers import eps_name
from tfpt.verification.diagnosis.calls import PRODUCTS, SUMS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, attribute, forward
from tfpt.verification.diagnosis.epsilons import EpsilonPlace, epsilon, epsilon_places
from tfpt.verification.diagnosis.trace import Context
from tfpt.verification.diagnosis.written import written, written_epsilons


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
    """The numbers that may be wrong: epsilons at once and one by one, then attributes, then scales and constants."""
    yield from _epsilons(context)
    yield from _attributes(context)
    yield from _scales(context)


def _epsilons(context: Context) -> Iterator[Unknown]:
    by_eps: dict[float, list[EpsilonPlace]] = {}
    for place in epsilon_places(context):
        if place.now > 0:
            by_eps.setdefault(place.now, []).append(place)
    for now, places in by_eps.items():
        for chosen in (places, *([one] for one in reversed(places) if len(places) > 1)):
            hypothesis = partial(epsilon, places=chosen)
            yield Unknown("eps", now, hypothesis, True, written_epsilons, math.log(10))


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
            yield Unknown("offset", 0.0, partial(_result_offset, run.path, run.module), False, written)
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
    put = partial(_mapped_result, module, lambda output: output * value)
    return _scaled(
        f"the result of {path or 'the model'}",
        path,
        value,
        Change(path, "gives its result as it is", f"{value:.6g} times that", put),
    )


def _result_offset(path: str, module: nn.Module, value: float) -> Hypothesis:
    where = f"the result of {path or 'the model'}"
    expected = f"{abs(value):.6g} {'more' if value > 0 else 'less'}"
    put = partial(_mapped_result, module, lambda output: output + value)
    return Hypothesis(
        "offset",
        f"{where} {value:.6g}",
        "a constant is added that differs from TensorFlow's",
        ((Change(path, "gives its result as it is", expected, put),),),
        f"add {value:.6g} to {where}",
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
def _mapped_result(module: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace a module's result, or the first of several, by a function of it."""
    compute = module.forward

    def run(*args: Any, **kwargs: Any) -> Any:
        output = compute(*args, **kwargs)
        if isinstance(output, Tensor):
            return function(output)
        return type(output)((function(output[0]), *output[1:]))

    with forward(module, run):
        yield


@contextmanager
def _times_input(model: nn.Module, value: float) -> Iterator[None]:
    handle = model.register_forward_pre_hook(lambda _, args: (args[0] * value, *args[1:]))
    try:
        yield
    finally:
        handle.remove()
