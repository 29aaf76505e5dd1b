"""The values that a model generates itself, for `keep` rows, and which of them are random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tfpt.errors import ModelError
from tfpt.language.mapping import Mapping as TfptMapping
from tfpt.planning import Finding, Plan
from tfpt.targets.model import build_model

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Kept:
    """A model's own values.

    Attributes:
        values: Parameters and buffers by name, on the CPU.
        random: The names of those that differ with another seed.
    """

    values: Mapping[str, torch.Tensor]
    random: frozenset[str]


def kept_values(
    build: Callable[[], torch.nn.Module], names: Iterable[str], *, random_too: bool = True
) -> Kept:
    """The values of some parameters and buffers in a model as it is built.

    The model is built twice, with two seeds; values that differ in any bit are random. The states of the random
    generators of torch, numpy and Python are restored.

    Args:
        build: Builds the model on the CPU.
        names: The parameters and buffers.
        random_too: Whether the values of those that are random are used. Otherwise large tensors are initialized with
            fewer random numbers, which takes a fraction of the time, and `Kept.values` has other values for them.

    Example:
        >>> import torch
        >>> kept = kept_values(lambda: torch.nn.BatchNorm1d(3), ["weight", "running_var"])
        >>> kept.values["running_var"].tolist(), sorted(kept.random)
        ([1.0, 1.0, 1.0], [])
        >>> sorted(kept_values(lambda: torch.nn.Linear(3, 2), ["weight"]).random)
        ['weight']
    """
    from tfpt.execution.few_draws import FewDraws

    wanted = list(names)
    # A fixed seed, so that each conversion writes the same values.
    first = _built(build, wanted, 1, nullcontext() if random_too else FewDraws())
    second = _built(build, wanted, 2, FewDraws())
    return Kept(first, frozenset(name for name in first if not _same(first[name], second.get(name))))


def kept_of(plan: Plan, build: Callable[[], torch.nn.Module]) -> Kept:
    """The values that a plan keeps of the model that `build` makes on the CPU."""
    return kept_values(build, plan.kept, random_too=any(step.random for step in plan.kept.values()))


def with_kept(plan: Plan, mapping: TfptMapping, *, trust: bool = False) -> tuple[Plan, Kept | None]:
    """The plan with findings for random kept values, and the kept values. A plan without `keep` is returned unchanged.

    A model that cannot be built is a note here: carrying out the plan builds it again, and raises the error.
    """
    if not plan.kept:
        return plan, None
    try:
        kept = kept_of(plan, lambda: build_model(mapping, device="cpu", trust=trust))
    except ModelError as error:
        note = Finding(
            "unchecked",
            f"whether the kept values are random: {error.what}",
            where=error.where or "",
            hint=error.hint or "",
        )
        return replace(plan, notes=(*plan.notes, note)), None
    return with_random(plan, kept.random), kept


def with_random(plan: Plan, drawn: Iterable[str]) -> Plan:
    """The plan with a finding for each kept parameter that is random although its row does not say so."""
    random = set(drawn)
    return replace(
        plan,
        findings=(
            *plan.findings,
            *(
                random_finding(name, step.where)
                for name, step in plan.kept.items()
                if name in random and not step.random
            ),
        ),
    )


def random_finding(name: str, where: str) -> Finding:
    """The finding that a row keeps a random value.

    Example:
        >>> random_finding("conv.weight_v", "m.yaml:7").what
        'conv.weight_v is kept from the model, which draws it at random'
    """
    return Finding(
        "random",
        f"{name} is kept from the model, which draws it at random",
        name=name,
        where=where,
        expected="a value that is the same in every model, such as sinusoids or a mask",
        got="different values with a different seed: every run would write a different file",
        hint="a row that reads it from the checkpoint, or fill:; or keep: random, for a new layer to be trained",
    )


def _built(
    build: Callable[[], torch.nn.Module], names: list[str], seed: int, drawing: AbstractContextManager[object]
) -> dict[str, torch.Tensor]:
    with _seeded(seed), drawing:
        state = build().state_dict()
    # Copies, so that only one of two large models is in memory.
    return {name: state[name].detach().cpu().clone() for name in names if name in state}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _same(first: torch.Tensor, second: torch.Tensor | None) -> bool:
    import torch

    if second is None or first.shape != second.shape or first.dtype != second.dtype:
        return False
    # Compared as bytes: equal NaNs are the same, 0 and -0 are not.
    one, other = (value.contiguous().reshape(-1).view(torch.uint8) for value in (first, second))
    return bool(torch.equal(one, other))
