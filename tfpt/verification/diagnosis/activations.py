"""Causes in activation functions: a wrong, missing or superfluous one; also softmax axes and resizing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tfpt.verification.diagnosis.calls import ACTIVATIONS, CallKey
from tfpt.verification.diagnosis.changes import Change, Hypothesis, forward
from tfpt.verification.diagnosis.trace import Context, FunctionCall, ModuleRun

# The functions that TensorFlow's networks use, likeliest first. The default slope of its leaky ReLU is 0.2, of
# Keras's 0.3.
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "no activation": lambda x: x,
    "gelu by erf": functional.gelu,
    "gelu by tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu6": functional.relu6,
    "swish (silu)": functional.silu,
    "leaky relu of slope 0.2": lambda x: functional.leaky_relu(x, 0.2),
    "leaky relu of slope 0.3": lambda x: functional.leaky_relu(x, 0.3),
    "leaky relu of slope 0.1": lambda x: functional.leaky_relu(x, 0.1),
    "hard swish": functional.hardswish,
    # Keras 2's is clip(0.2 x + 0.5, 0, 1); torch's and Keras 3's has a slope of 1/6.
    "hard sigmoid of slope 0.2": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "sigmoid": lambda x: x.sigmoid(),
    "tanh": lambda x: x.tanh(),
    "elu": functional.elu,
    "softplus": functional.softplus,
}


def other_activations(context: Context) -> Iterator[Hypothesis]:
    """Every other activation in place of those that are called; all calls of one function at once."""
    by_name: dict[str, list[CallKey]] = {}
    for call in context.trace.calls:
        if call.name in ACTIVATIONS:
            by_name.setdefault(call.name.rstrip("_"), []).append(call.key)
    for actual, keys in by_name.items():
        for expected, function in _FUNCTIONS.items():
            if expected != actual:
                yield _hypothesis(actual, expected, [(key, _replacing(function)) for key in keys])


def missing_activations(context: Context) -> Iterator[Hypothesis]:
    """An activation after the endpoint itself, or after layers whose result has none."""
    bare = [
        run
        for run in context.trace.leaves()
        if run.path not in context.trace.activated
        and (isinstance(run.module, nn.Identity) or next(run.module.parameters(), None) is not None)
    ]
    ends = [run for run in context.trace.runs if run.path == context.path and run not in bare]
    last = [run for run in context.trace.runs if run.path == context.path]
    firsts = _first_of_span(context)
    usual = ("relu", "relu6", "swish (silu)", "gelu by erf", "gelu by tanh", "sigmoid", "tanh")
    for expected in (*usual, "softmax", *(name for name in _FUNCTIONS if name not in usual)):
        if expected == "no activation":
            continue
        parts = tuple(
            (
                Change(
                    run.path,
                    "has no activation after it",
                    expected,
                    partial(_followed_by, run.module, _FUNCTIONS.get(expected, _softmax)),
                ),
            )
            for run in (last if expected == "softmax" else (*ends, *bare))
        )
        parts += tuple(
            (
                Change(
                    run.path,
                    "has no activation before it",
                    expected,
                    partial(_preceded_by, run.module, _FUNCTIONS[expected]),
                ),
            )
            for run in (firsts if expected in _FUNCTIONS else ())
        )
        if parts:
            yield Hypothesis(
                "missing activation",
                expected,
                "an activation function is missing",
                parts,
                f"add {expected} there",
            )


def softmax_axes(context: Context) -> Iterator[Hypothesis]:
    """A softmax along another axis."""
    for call in context.trace.calls:
        if call.name != "softmax" or len(call.shape) < 2:
            continue
        for axis in range(1, len(call.shape)):
            words = "has a softmax along another axis", f"a softmax along axis {axis}"
            change = Change(call.path, *words, call=call.key, answer=_softmax_along(axis))
            yield Hypothesis(
                "softmax axis",
                str(axis),
                "a softmax runs along the wrong axis",
                ((change,),),
                f"use {words[1]}",
            )
    parts = tuple(
        (Change(call.path, "has a softmax", "none", call=call.key, answer=_replacing(lambda x: x)),)
        for call in context.trace.calls
        if call.name == "softmax"
    )
    if parts:
        yield Hypothesis(
            "softmax axis",
            "none",
            "a softmax is superfluous",
            parts,
            "leave the softmax out: TensorFlow has logits",
        )


def resizing(context: Context) -> Iterator[Hypothesis]:
    """Resizing with or without aligned corners."""
    calls = [call for call in context.trace.calls if call.name == "interpolate"]
    for align in (True, False):
        parts = tuple(
            (_aligned(call, align),) for call in calls if bool(call.kwargs.get("align_corners")) != align
        )
        if parts:
            cause = "a resize does not align corners as TensorFlow does"
            yield Hypothesis("resize", str(align), cause, parts, f"pass align_corners={align}")


def _hypothesis(actual: str, expected: str, calls: list[tuple[CallKey, Callable[..., Any]]]) -> Hypothesis:
    parts = tuple(
        (Change(key[0], f"calls {actual}", expected, call=key, answer=answer),) for key, answer in calls
    )
    cause = "an activation function differs from TensorFlow's"
    return Hypothesis("activation", f"{actual} {expected}", cause, parts, f"use {expected} there")


def _aligned(call: FunctionCall, align: bool) -> Change:
    def answer(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(*args, **{**kwargs, "align_corners": align})

    words = f"passes align_corners={call.kwargs.get('align_corners')}", f"align_corners={align}"
    return Change(call.path, *words, call=call.key, answer=answer)


def _replacing(function: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    def answer(_function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        return function(args[0] if args else kwargs["input"])

    return answer


def _first_of_span(context: Context) -> list[ModuleRun]:
    """The outermost modules that take what ran before the span."""
    found: dict[str, ModuleRun] = {}
    taking = {run.path: run for run in context.trace.runs if run.source in context.trace.earlier}
    for path, run in taking.items():
        parts = path.split(".")
        if not any(".".join(parts[:end]) in taking for end in range(1, len(parts))):
            found[path] = run
    return list(found.values())


@contextmanager
def _preceded_by(module: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    compute = module.forward
    with forward(module, lambda x, *args, **kwargs: compute(function(x), *args, **kwargs)):
        yield


def _softmax(x: Tensor) -> Tensor:
    """Over the channels: the last axis of a matrix or a sequence, the second of images."""
    return x.softmax(-1 if x.ndim < 4 else 1)


@contextmanager
def _followed_by(module: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    compute = module.forward
    with forward(module, lambda *args, **kwargs: function(compute(*args, **kwargs))):
        yield


def _softmax_along(axis: int) -> Callable[..., Any]:
    def answer(_function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        tensor: Tensor = args[0] if args else kwargs["input"]
        return tensor.softmax(axis)

    return answer
