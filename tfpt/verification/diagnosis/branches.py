"""Branches as a cause: concatenated in another order, or with each other's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import combinations, permutations
from typing import Any

from torch import Tensor, nn

from tfpt.verification.diagnosis.calls import CONCATENATIONS
from tfpt.verification.diagnosis.changes import Change, Hypothesis, values
from tfpt.verification.diagnosis.context import Scene
from tfpt.verification.diagnosis.trace import Called

# Every order of up to four branches; of more only those that exchange two.
_MOST_BRANCHES = 4


def orders(scene: Scene) -> Iterator[Hypothesis]:
    """Other orders of what is concatenated: two exchanged first, then all others."""
    for call in scene.trace.calls:
        if call.name not in CONCATENATIONS:
            continue
        names = _names(call)
        fixed = {place for place, name in enumerate(names) if name in scene.sound}
        for order in _orders_of(len(names)):
            if any(order[place] != place for place in fixed):
                continue
            has, had = (
                ", ".join(_short(names, call.path)[i] for i in one) for one in (range(len(order)), order)
            )
            yield Hypothesis(
                "branch order",
                str(order),
                "branches are concatenated in another order than TensorFlow's",
                (
                    (
                        Change(
                            call.path,
                            f"concatenates {has}",
                            f"the order {had}",
                            call=call.key,
                            answer=_reordered(order),
                        ),
                    ),
                ),
                f"concatenate {had}, in this order",
            )


def exchanged_weights(scene: Scene) -> Iterator[Hypothesis]:
    """Modules of one parent, or layers of one kind, with each other's weights."""
    runs = {run.path: run.module for run in scene.trace.runs}
    shapes = {path: _shapes(module) for path, module in runs.items()}
    pairs = [
        (a, b)
        for a, b in combinations(runs, 2)
        if shapes[a] and shapes[a] == shapes[b] and not a.startswith(f"{b}.") and not b.startswith(f"{a}.")
    ]
    # Siblings first, and of several pairs the outermost modules: a whole branch before the layers within.
    for a, b in sorted(pairs, key=lambda pair: (_parent(pair[0]) != _parent(pair[1]), pair[0].count("."))):
        yield Hypothesis(
            "exchanged weights",
            "",
            "two modules have each other's weights, which no shape can show",
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
            f"look at the rows of the mapping that write {a} and {b}",
        )


def _orders_of(number: int) -> list[tuple[int, ...]]:
    same = tuple(range(number))
    exchanged = []
    for i, j in combinations(same, 2):
        order = list(same)
        order[i], order[j] = j, i
        exchanged.append(tuple(order))
    if number > _MOST_BRANCHES:
        return exchanged
    return [*exchanged, *(order for order in permutations(same) if order != same and order not in exchanged)]


def _names(call: Called) -> list[str]:
    """What made each of the tensors, or its number where that cannot tell two apart."""
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
