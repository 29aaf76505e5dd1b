"""Causes in normalization: exchanged or missing parameters, or batch statistics (training mode)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.networks.behavior.layers import eps_name
from tfpt.verification.diagnosis.changes import Change, Hypothesis, exchanged, mapped_values
from tfpt.verification.diagnosis.trace import Context, ModuleRun


def training_mode(context: Context) -> Iterator[Hypothesis]:
    """The model in evaluation mode."""
    training = [(path, module) for path, module in context.model.named_modules() if module.training]
    if not training:
        return
    modules = [one for _, one in training]
    # Name the outermost module, on which eval() would be called.
    path = training[0][0]
    yield Hypothesis(
        "training mode",
        "",
        "the model is in training mode: batch norms use the statistics of the batch, and dropout is active",
        ((Change(path, "is in training mode", "evaluation mode", partial(_evaluating, modules)),),),
        "call model.eval() before running the model" + (f" (on {path} is enough)" if path else ""),
    )


def statistics(context: Context) -> Iterator[Hypothesis]:
    """Normalizations with exchanged or transformed parameters, or with a superfluous gamma or beta."""
    for name, actual, expected, make in _STATISTICS:
        changes = []
        for run in _distinct_runs(context):
            module: Any = run.module
            if eps_name(module) and make(module) is not None:
                changes.append(
                    Change(run.path, actual, expected, make(module), parameter=f"{run.path}.{name}")
                )
        if changes:
            yield Hypothesis(
                "statistics",
                expected,
                "parameters of a normalization are exchanged or wrong",
                tuple((change,) for change in changes),
                "check the rows of the mapping that write the normalization's parameters",
            )


def _distinct_runs(context: Context) -> Iterable[ModuleRun]:
    """The modules that ran, each once; not only leaves, since a norm may contain other modules."""
    return {run.path: run for run in context.trace.runs}.values()


@contextmanager
def _evaluating(modules: list[nn.Module]) -> Iterator[None]:
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module in modules:
            module.training = True


Put = Callable[[], AbstractContextManager[None]]


def _swapped(first: str, second: str) -> Callable[[Any], Put | None]:
    def make(module: Any) -> Put | None:
        a, b = getattr(module, first, None), getattr(module, second, None)
        if a is None or b is None or torch.equal(a.data, b.data):
            return None
        return partial(exchanged, (a, b))

    return make


def _constant(name: str, value: float) -> Callable[[Any], Put | None]:
    def make(module: Any) -> Put | None:
        tensor = getattr(module, name, None)
        if tensor is None or bool((tensor.data == value).all()):
            return None
        return partial(mapped_values, tensor, partial(torch.full_like, fill_value=value))

    return make


def _with_values(name: str, function: Callable[[Tensor], Tensor]) -> Callable[[Any], Put | None]:
    def make(module: Any) -> Put | None:
        tensor = getattr(module, name, None)
        return None if tensor is None else partial(mapped_values, tensor, function)

    return make


# The parameter, what is wrong with it, what TensorFlow has, and a function that returns the change.
_STATISTICS: tuple[tuple[str, str, str, Callable[[Any], Put | None]], ...] = (
    (
        "running_mean",
        "has moving mean and beta exchanged",
        "moving mean and beta swapped back",
        _swapped("running_mean", "bias"),
    ),
    (
        "weight",
        "has moving variance and gamma exchanged",
        "moving variance and gamma swapped back",
        _swapped("running_var", "weight"),
    ),
    (
        "weight",
        "has gamma and beta exchanged",
        "gamma and beta swapped back",
        _swapped("weight", "bias"),
    ),
    ("weight", "has a gamma", "no gamma (a gamma of 1)", _constant("weight", 1.0)),
    ("bias", "has a beta", "no beta (a beta of 0)", _constant("bias", 0.0)),
    (
        "running_var",
        "has the standard deviation as its moving variance",
        "its square as the variance",
        _with_values("running_var", lambda tensor: tensor**2),
    ),
    (
        "running_var",
        "has the square of the variance as its moving variance",
        "its root as the variance",
        _with_values("running_var", lambda tensor: tensor.abs().sqrt()),
    ),
    (
        "running_var",
        "has the reciprocal of the variance as its moving variance",
        "its reciprocal as the variance",
        _with_values("running_var", lambda tensor: 1 / tensor),
    ),
    (
        "running_var",
        "has the reciprocal of the deviation as its moving variance",
        "the square of its reciprocal as the variance",
        _with_values("running_var", lambda tensor: 1 / tensor**2),
    ),
    (
        "running_mean",
        "has the moving mean with the wrong sign",
        "the moving mean negated",
        _with_values("running_mean", lambda tensor: -tensor),
    ),
)
