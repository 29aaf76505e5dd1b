"""Causes in branches: concatenated in another order, or with exchanged weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import combinations, permutations
from typing import Any

from torch import Tensor, nn

from tfpt.verification.diagnosis.calls import CONCATENATIONS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, exchanged
from tfpt.verification.diagnosis.trace import Context, FunctionCall

# Up to this many branches every order is tried; of more, only those that exchange two.
_MAX_BRANCHES = 4
# What of two modules is exchanged: everything, or a part of it.
_STATISTICS = ("running_mean", "running_var")
_PARTS: tuple[tuple[str, ...], ...] = ((), _STATISTICS, ("weight", "bias"), ("weight",), ("bias",))
# Pairs of modules that are tried, the likeliest first.
_MAX_PAIRS = 400


def orders(context: Context) -> Iterator[Hypothesis]:
    """Other orders of concatenated branches: first those that exchange two, then all others."""
    for call in context.trace.calls:
        if call.name not in CONCATENATIONS:
            continue
        names = _names(call)
        fixed = {place for place, name in enumerate(names) if name in context.agreeing}
        for order in _orders_of(len(names)):
            if any(order[place] != place for place in fixed):
                continue
            actual, expected = (
                ", ".join(_short(names, call.path)[i] for i in one) for one in (range(len(order)), order)
            )
            yield Hypothesis(
                "branch order",
                str(order),
                "branches are not concatenated in TensorFlow's order",
                (
                    (
                        Change(
                            call.path,
                            f"concatenates {actual}",
                            f"the order {expected}",
                            call=call.key,
                            answer=_reordered(order),
                        ),
                    ),
                ),
                f"concatenate {expected}, in this order",
            )


def exchanged_weights(context: Context) -> Iterator[Hypothesis]:
    """Pairs of modules with weights of the same shapes, exchanged: all of them, or the statistics of norms alone.

    At least one of the two ran in the span, and none before it, where everything agrees.
    """
    runs = {run.path: run.module for run in context.trace.runs}
    later = {
        path: module
        for path, module in context.model.named_modules()
        if path and path not in runs and path not in context.trace.earlier
    }
    for only in _PARTS:
        shapes = {path: _shapes(module, only) for path, module in {**runs, **later}.items()}
        alike: dict[Any, list[str]] = defaultdict(list)
        for path, shape in shapes.items():
            # A part alone only where there is more.
            if shape and (not only or len(shape) < len(_shapes({**runs, **later}[path], ()))):
                alike[shape].append(path)
        pairs = [
            (a, b)
            for paths in alike.values()
            for a, b in combinations(paths, 2)
            if a in runs and not a.startswith(f"{b}.") and not b.startswith(f"{a}.")
        ]
        # Siblings first, then outer modules before inner ones (a whole branch before its layers); later ones last.
        pairs.sort(
            key=lambda pair: (pair[1] in later, _parent(pair[0]) != _parent(pair[1]), pair[0].count("."))
        )
        for a, b in pairs[:_MAX_PAIRS]:
            modules = runs[a], runs.get(b, later.get(b, runs[a]))
            what = {"running_mean": "statistics", "weight": "weight and bias"}.get(
                next(iter(only), ""), "weights"
            )
            yield Hypothesis(
                "exchanged weights",
                " ".join(only),
                "two modules have each other's weights, which shapes cannot reveal",
                (
                    (
                        Change(
                            a,
                            f"has the {what} that belong to {b}",
                            f"those of {b}",
                            partial(_exchanged, *modules, only),
                            parameter=f"{a}.{shapes[a][0][0]}",
                        ),
                    ),
                ),
                f"check the rows of the mapping that write {a} and {b}",
            )


def _orders_of(number: int) -> list[tuple[int, ...]]:
    same = tuple(range(number))
    exchanged = []
    for i, j in combinations(same, 2):
        order = list(same)
        order[i], order[j] = j, i
        exchanged.append(tuple(order))
    if number > _MAX_BRANCHES:
        return exchanged
    return [*exchanged, *(order for order in permutations(same) if order != same and order not in exchanged)]


def _names(call: FunctionCall) -> list[str]:
    """The module that produced each tensor, or the tensor's number if that is ambiguous."""
    if len(set(call.sources)) == len(call.sources) and all(call.sources):
        return list(call.sources)
    return [f"input {index}" for index in range(len(call.sources))]


def _short(names: Sequence[str], path: str) -> list[str]:
    prefix = f"{path}." if path else ""
    return [name.removeprefix(prefix) for name in names]


def _reordered(order: Sequence[int]) -> Callable[..., Any]:
    def answer(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors: Sequence[Tensor] = args[0] if args else kwargs.pop("tensors")
        return function([tensors[place] for place in order], *args[1:], **kwargs)

    return answer


def _shapes(module: nn.Module, only: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The names and shapes of a module's weights; with `only`, of those."""
    state = module.state_dict()
    return tuple((name, tuple(value.shape)) for name, value in state.items() if not only or name in only)


def _exchanged(a: nn.Module, b: nn.Module, only: Sequence[str]) -> AbstractContextManager[None]:
    first, second = a.state_dict(keep_vars=True), b.state_dict(keep_vars=True)
    return exchanged(*((first[name], second[name]) for name in first if not only or name in only))


def _parent(path: str) -> str:
    return path.rpartition(".")[0]
