"""Causes in normalization: another epsilon, exchanged or missing parameters, or batch statistics (training mode)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.networks.behavior.layers import eps_name, eps_of
from tfpt.verification.diagnosis.calls import NORMS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, attribute, mapped_values, values
from tfpt.verification.diagnosis.trace import Context, ModuleRun

# Of Keras and TensorFlow; torch; Inception and EfficientNet variants; BERT; keras.applications' DenseNet.
_USUAL = (1e-3, 1e-5, 1e-6, 1e-12, 1.001e-5)
# The position of eps among the arguments of torch's functions.
_POSITION = {"batch_norm": 7, "layer_norm": 4, "group_norm": 4, "instance_norm": 8}


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


def epsilons(context: Context) -> Iterator[Hypothesis]:
    """The mapping's epsilons first, then the usual ones."""
    stated = [behavior.eps for behavior in context.mapping.behaviors if behavior.eps is not None]
    for eps in dict.fromkeys((*stated, *_USUAL)):
        changes = [*_of_modules(context, eps), *_of_calls(context, eps)]
        if changes:
            yield Hypothesis(
                "epsilon",
                f"{eps:g}",
                "the epsilon of a normalization differs from TensorFlow's",
                tuple((change,) for change in changes),
                f"build it with eps={eps:g}",
                mapping_entry=f"eps: {eps:g}",
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


def _of_modules(context: Context, eps: float) -> Iterator[Change]:
    for run in _distinct_runs(context):
        name = eps_name(run.module)
        actual = eps_of(run.module, name) if name and name not in run.module._buffers else None
        if actual is not None and actual != eps:
            put = partial(attribute, run.module, name, eps)
            yield Change(run.path, f"has eps {actual:g}", f"eps {eps:g}", put)


def _distinct_runs(context: Context) -> Iterable[ModuleRun]:
    """The modules that ran, each once; not only leaves, since a norm may contain other modules."""
    return {run.path: run for run in context.trace.runs}.values()


def _of_calls(context: Context, eps: float) -> Iterator[Change]:
    """Calls of normalization functions outside of modules with an epsilon."""
    calls = context.trace.outside(NORMS, lambda module: eps_name(module) != "")
    for call in calls:
        position = _POSITION[call.name]
        actual = call.kwargs.get("eps", call.args[position] if len(call.args) > position else 1e-5)
        if actual != eps:

            def answer(
                function: Callable[..., Any],
                args: tuple[Any, ...],
                kwargs: dict[str, Any],
                position: int = position,
            ) -> Any:
                if len(args) > position:
                    return function(*args[:position], eps, *args[position + 1 :], **kwargs)
                return function(*args, **{**kwargs, "eps": eps})

            yield Change(call.path, f"has eps {actual:g}", f"eps {eps:g}", call=call.key, answer=answer)


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
        return lambda: values((a, b.data), (b, a.data))

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
