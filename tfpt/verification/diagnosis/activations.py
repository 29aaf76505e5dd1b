"""Activation functions as a cause: another one, one too many, one missing; softmax and resizing besides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tfpt.verification.diagnosis.calls import ACTIVATIONS, CallKey
from tfpt.verification.diagnosis.changes import Change, Hypothesis, forward
from tfpt.verification.diagnosis.context import Scene
from tfpt.verification.diagnosis.trace import Called
from tfpt.verification.diagnosis.windows import CONVS

# What TensorFlow's networks have, likeliest first. Its leaky ReLU has a slope of 0.2 by default, Keras's one of 0.3.
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
    # Keras 2's, clip(0.2 x + 0.5, 0, 1); torch's and Keras 3's has a slope of 1/6.
    "hard sigmoid of slope 0.2": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "sigmoid": lambda x: x.sigmoid(),
    "tanh": lambda x: x.tanh(),
    "elu": functional.elu,
    "softplus": functional.softplus,
}


def other_activations(scene: Scene) -> Iterator[Hypothesis]:
    """Every activation in place of those that are called; all calls of one function at once."""
    by_name: dict[str, list[CallKey]] = {}
    for call in scene.trace.calls:
        if call.name in ACTIVATIONS:
            by_name.setdefault(call.name.rstrip("_"), []).append(call.key)
    for has, keys in by_name.items():
        for had, function in _FUNCTIONS.items():
            if had != has:
                yield _hypothesis(has, had, [(key, _instead(function)) for key in keys])


def missing_activations(scene: Scene) -> Iterator[Hypothesis]:
    """A ReLU behind the endpoint itself, or behind layers whose result goes on without one."""
    linear = (*CONVS, nn.Linear, nn.modules.batchnorm._NormBase)
    bare = [
        run
        for run in scene.trace.leaves()
        if isinstance(run.module, linear) and run.path not in scene.trace.activated
    ]
    ends = [run for run in scene.trace.runs if run.path == scene.path and run not in bare]
    for had in ("relu", "relu6", "swish (silu)", "gelu by erf"):
        parts = tuple(
            (
                Change(
                    run.path,
                    "has no activation behind it",
                    had,
                    partial(_followed, run.module, _FUNCTIONS[had]),
                ),
            )
            for run in (*ends, *bare)
        )
        if parts:
            yield Hypothesis(
                "missing activation",
                had,
                "an activation function is missing",
                parts,
                f"put {had} behind it",
            )


def softmax_axes(scene: Scene) -> Iterator[Hypothesis]:
    """A softmax along another axis."""
    for call in scene.trace.calls:
        if call.name != "softmax" or len(call.shape) < 2:
            continue
        for axis in range(1, len(call.shape)):
            words = "has a softmax along its axis", f"one along axis {axis}"
            change = Change(call.path, *words, call=call.key, answer=_softmax_along(axis))
            yield Hypothesis(
                "softmax axis", str(axis), "a softmax runs along another axis", ((change,),), words[1]
            )


def resizing(scene: Scene) -> Iterator[Hypothesis]:
    """A resize with its corners aligned, or not."""
    calls = [call for call in scene.trace.calls if call.name == "interpolate"]
    for align in (True, False):
        parts = tuple(
            (_aligned(call, align),) for call in calls if bool(call.kwargs.get("align_corners")) != align
        )
        if parts:
            cause = "a resize aligns its corners otherwise than TensorFlow's"
            yield Hypothesis("resize", str(align), cause, parts, f"pass align_corners={align}")


def _hypothesis(has: str, had: str, calls: list[tuple[CallKey, Callable[..., Any]]]) -> Hypothesis:
    parts = tuple((Change(key[0], f"calls {has}", had, call=key, answer=answer),) for key, answer in calls)
    cause = "an activation function is not TensorFlow's"
    return Hypothesis("activation", f"{has} {had}", cause, parts, f"call {had} there")


def _aligned(call: Called, align: bool) -> Change:
    def answer(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(*args, **{**kwargs, "align_corners": align})

    words = f"passes align_corners={call.kwargs.get('align_corners')}", f"align_corners={align}"
    return Change(call.path, *words, call=call.key, answer=answer)


def _instead(function: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    def answer(_function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        return function(args[0] if args else kwargs["input"])

    return answer


@contextmanager
def _followed(module: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    compute = module.forward
    with forward(module, lambda *args, **kwargs: function(compute(*args, **kwargs))):
        yield


def _softmax_along(axis: int) -> Callable[..., Any]:
    def answer(_function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        tensor: Tensor = args[0] if args else kwargs["input"]
        return tensor.softmax(axis)

    return answer
