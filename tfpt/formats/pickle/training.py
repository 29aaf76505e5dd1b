"""What stands beside the weights in a saved state of training of JAX: known by the keys that Flax and Optax give."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tfpt.formats.source import Role

# flax.training.train_state.TrainState, and flax.optim.Optimizer before it.
_OPTIMIZER = re.compile(r"(?:.*/)?(?:opt_state|optimizer_state|optimizer/state|state/param_states)(?:/.*)?")
_COUNTER = re.compile(r"(?:.*/)?(?:count|step|mini_step|gradient_step|notfinite_count|total_notfinite)")
_STEP = re.compile(r"(?:(?:.*/)?state/)?step")


def training_roles(names: Iterable[str]) -> dict[str, Role]:
    """The roles of those that are no weights, by name.

    Example:
        >>> training_roles(["params/w", "opt_state/0/mu/w", "opt_state/0/count", "step"])
        {'opt_state/0/mu/w': 'slot', 'opt_state/0/count': 'counter', 'step': 'counter'}
    """
    roles: dict[str, Role] = {}
    for name in names:
        if _OPTIMIZER.fullmatch(name):
            roles[name] = "counter" if _COUNTER.fullmatch(name) else "slot"
        elif _STEP.fullmatch(name):
            roles[name] = "counter"
    return roles
