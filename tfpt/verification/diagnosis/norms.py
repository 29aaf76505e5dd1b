"""Normalization as a cause: another epsilon, exchanged or missing statistics, or those of the batch (training mode)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.networks.behavior.layers import eps_name, eps_of
from tfpt.verification.diagnosis.calls import NORMS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, attribute, moved, values
from tfpt.verification.diagnosis.context import Scene
from tfpt.verification.diagnosis.trace import Ran

# Keras and TensorFlow; torch; Inception and EfficientNet variants; BERT; keras.applications' DenseNet.
_USUAL = (1e-3, 1e-5, 1e-6, 1e-12, 1.001e-5)
# Where torch's functions take it, when it is not given by name.
_PLACE = {"batch_norm": 7, "layer_norm": 4, "group_norm": 4, "instance_norm": 8}


def training_mode(scene: Scene) -> Iterator[Hypothesis]:
    """The model in evaluation mode."""
    training = [(path, module) for path, module in scene.model.named_modules() if module.training]
    if not training:
        return
    modules = [one for _, one in training]
    # The outermost one is named: whoever calls eval() calls it there.
    path = training[0][0]
    yield Hypothesis(
        "training mode",
        "",
        "the model is in training mode: batch norms take the batch's statistics, and dropout drops",
        ((Change(path, "is in training mode", "evaluation mode", partial(_evaluating, modules)),),),
        "call model.eval() before the model is run" + (f" (on {path} alone is enough)" if path else ""),
    )


def epsilons(scene: Scene) -> Iterator[Hypothesis]:
    """The mapping's epsilons first, then the usual ones."""
    stated = [behavior.eps for behavior in scene.mapping.behaviors if behavior.eps is not None]
    for eps in dict.fromkeys((*stated, *_USUAL)):
        changes = [*_of_modules(scene, eps), *_of_calls(scene, eps)]
        if changes:
            yield Hypothesis(
                "epsilon",
                f"{eps:g}",
                "the epsilon of a normalization is not TensorFlow's",
                tuple((change,) for change in changes),
                f"build it with eps={eps:g}",
                stated=f"eps: {eps:g}",
            )


def statistics(scene: Scene) -> Iterator[Hypothesis]:
    """Batch norms whose parameters stand in each other's places, or that have a gamma or beta too many."""
    for name, has, had, make in _STATISTICS:
        changes = []
        for run in _once(scene):
            module: Any = run.module
            if isinstance(module, nn.modules.batchnorm._NormBase) and make(module) is not None:
                changes.append(Change(run.path, has, had, make(module), parameter=f"{run.path}.{name}"))
        if changes:
            yield Hypothesis(
                "statistics",
                had,
                "the values of a batch norm do not stand where they belong",
                tuple((change,) for change in changes),
                "look at the rows that write the batch norm's parameters",
            )


def _of_modules(scene: Scene, eps: float) -> Iterator[Change]:
    for run in _once(scene):
        name = eps_name(run.module)
        has = eps_of(run.module, name) if name and name not in run.module._buffers else None
        if has is not None and has != eps:
            put = partial(attribute, run.module, name, eps)
            yield Change(run.path, f"has eps {has:g}", f"eps {eps:g}", put)


def _once(scene: Scene) -> Iterable[Ran]:
    """The modules that ran, each once: a norm with modules inside it is a norm."""
    return {run.path: run for run in scene.trace.runs}.values()


def _of_calls(scene: Scene, eps: float) -> Iterator[Change]:
    """Those of functions that no module with an epsilon calls."""
    calls = scene.trace.outside(NORMS, lambda module: eps_name(module) != "")
    for call in calls:
        place = _PLACE[call.name]
        has = call.kwargs.get("eps", call.args[place] if len(call.args) > place else 1e-5)
        if has != eps:

            def answer(
                function: Callable[..., Any],
                args: tuple[Any, ...],
                kwargs: dict[str, Any],
                place: int = place,
            ) -> Any:
                if len(args) > place:
                    return function(*args[:place], eps, *args[place + 1 :], **kwargs)
                return function(*args, **{**kwargs, "eps": eps})

            yield Change(call.path, f"has eps {has:g}", f"eps {eps:g}", call=call.key, answer=answer)


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


def _exchanged(first: str, second: str) -> Callable[[Any], Put | None]:
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
        return partial(moved, tensor, partial(torch.full_like, fill_value=value))

    return make


def _made(name: str, function: Callable[[Tensor], Tensor]) -> Callable[[Any], Put | None]:
    def make(module: Any) -> Put | None:
        tensor = getattr(module, name, None)
        return None if tensor is None else partial(moved, tensor, function)

    return make


# The parameter to look at, what is wrong, what TensorFlow had, and what is done about it.
_STATISTICS: tuple[tuple[str, str, str, Callable[[Any], Put | None]], ...] = (
    (
        "running_mean",
        "has moving mean and beta in each other's place",
        "the two exchanged",
        _exchanged("running_mean", "bias"),
    ),
    (
        "weight",
        "has moving variance and gamma in each other's place",
        "these two exchanged",
        _exchanged("running_var", "weight"),
    ),
    (
        "weight",
        "has gamma and beta in each other's place",
        "gamma and beta exchanged",
        _exchanged("weight", "bias"),
    ),
    ("weight", "has a gamma", "none, which is a gamma of 1", _constant("weight", 1.0)),
    ("bias", "has a beta", "none, which is a beta of 0", _constant("bias", 0.0)),
    (
        "running_var",
        "has the deviation where the variance belongs",
        "its square as variance",
        _made("running_var", lambda tensor: tensor**2),
    ),
    (
        "running_mean",
        "has the moving mean with the other sign",
        "the moving mean negated",
        _made("running_mean", lambda tensor: -tensor),
    ),
)
