"""Causes in the epsilon of a normalization: in modules, and in calls of functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tfpt.networks.behavior.layers import eps_name, eps_of
from tfpt.verification.diagnosis.calls import NORMS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, attribute
from tfpt.verification.diagnosis.trace import Context, FunctionCall

# Of Keras and TensorFlow; torch; Inception and EfficientNet variants; BERT; keras.applications' DenseNet.
_USUAL = (1e-3, 1e-5, 1e-6, 1e-12, 1.001e-5)
# The position of eps among the arguments of torch's functions.
_POSITION = {"batch_norm": 7, "layer_norm": 4, "group_norm": 4, "instance_norm": 8}


@dataclass(frozen=True)
class EpsilonPlace:
    """One place that has an epsilon.

    Attributes:
        path: The module that has it, or that calls the function.
        now: The epsilon that it has.
        change: The change to another one.
    """

    path: str
    now: float
    change: Callable[[float], Change]


def epsilons(context: Context) -> Iterator[Hypothesis]:
    """The mapping's epsilons first, then the usual ones."""
    stated = [behavior.eps for behavior in context.mapping.behaviors if behavior.eps is not None]
    places = epsilon_places(context)
    for eps in dict.fromkeys((*stated, *_USUAL)):
        if others := [place for place in places if place.now != eps]:
            yield epsilon(eps, others)


def epsilon(value: float, places: Sequence[EpsilonPlace]) -> Hypothesis:
    """The hypothesis that these places should have another epsilon."""
    return Hypothesis(
        "epsilon",
        f"{value:g}",
        "the epsilon of a normalization differs from TensorFlow's",
        tuple((place.change(value),) for place in places),
        f"build it with eps={value:g}",
        mapping_entry=f"eps: {value:g}",
        elsewhere=partial(_everywhere, value=value),
    )


def epsilon_places(context: Context) -> list[EpsilonPlace]:
    """The modules with an epsilon, each once, and the calls of normalization functions outside of them."""
    found = []
    # Not only leaves, since a norm may contain other modules.
    for run in {run.path: run for run in context.trace.runs}.values():
        name = eps_name(run.module)
        now = eps_of(run.module, name) if name and name not in run.module._buffers else None
        if now is not None:
            put = partial(attribute, run.module, name)
            found.append(EpsilonPlace(run.path, now, partial(_of_module, run.path, now, put)))
    for call in context.trace.outside(NORMS, lambda module: eps_name(module) != ""):
        position = _POSITION[call.name]
        now = call.kwargs.get("eps", call.args[position] if len(call.args) > position else 1e-5)
        found.append(EpsilonPlace(call.path, now, partial(_of_call, call, now)))
    return found


def _everywhere(context: Context, value: float) -> Hypothesis | None:
    places = [place for place in epsilon_places(context) if place.now != value]
    return epsilon(value, places) if places else None


def _of_module(path: str, now: float, put: Callable[[float], Any], value: float) -> Change:
    return Change(path, f"has eps {now:g}", f"eps {value:g}", partial(put, value))


def _of_call(call: FunctionCall, now: float, value: float) -> Change:
    position = _POSITION[call.name]

    def answer(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) > position:
            return function(*args[:position], value, *args[position + 1 :], **kwargs)
        return function(*args, **{**kwargs, "eps": value})

    return Change(call.path, f"has eps {now:g}", f"eps {value:g}", call=call.key, answer=answer)
