"""Causes in branches: concatenated in another order, or with exchanged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import combinations, permutations
from typing import Any

from torch import Tensor, nn

from tfpt.verification.diagnosis.calls import CONCATENATIONS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, values
from tfpt.verification.diagnosis.trace import Context, FunctionCall

# Up to this many branches every order is tried; of more, only those that exchange two.
_MAX_BRANCHES = 4


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
    """Pairs of modules with weights of the same shapes, exchanged."""
    runs = {run.path: run.module for run in context.trace.runs}
    shapes = {path: _shapes(module) for path, module in runs.items()}
    pairs = [
        (a, b)
        for a, b in combinations(runs, 2)
        if shapes[a] and shapes[a] == shapes[b] and not a.startswith(f"{b}.") and not b.startswith(f"{a}.")
    ]
    # Siblings first, then outer modules before inner ones: a whole branch before its layers.
    for a, b in sorted(pairs, key=lambda pair: (_parent(pair[0]) != _parent(pair[1]), pair[0].count("."))):
        yield Hypothesis(
            "exchanged weights",
            "",
            "two modules have each other's weights, which shapes cannot reveal",
            (
                (
                    Change(
                        a,
                        f"has the weights that belong to {b}",
                        f"those of {b}",
                        partial(_exchanged, runs[a], runs[b]),
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


def _shapes(module: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((name, tuple(value.shape)) for name, value in module.state_dict().items())


@contextmanager
def _exchanged(a: nn.Module, b: nn.Module) -> Iterator[None]:
    first, second = a.state_dict(keep_vars=True), b.state_dict(keep_vars=True)
    pairs = [(first[name], second[name].data) for name in first]
    with values(*pairs, *((second[name], first[name].data) for name in first)):
        yield


def _parent(path: str) -> str:
    return path.rpartition(".")[0]
