"""The role of each tensor of a file: from the file if it has roles, otherwise from TensorFlow's naming conventions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from tfpt.formats.source import Role, Source
from tfpt.io.limits import MOST_SCOPES

# tf.train.ExponentialMovingAverage (tensorflow/python/training/moving_averages.py).
_AVERAGE = re.compile(r"ExponentialMovingAverage(_\d+)?")
# Optimizers of TensorFlow 1 name a slot after its variable (tensorflow/python/training/slot_creator.py); Mesh
# TensorFlow's, which T5 was trained with, without a slash (mesh_tensorflow/optimize.py).
_BELOW = re.compile(r"(?P<base>.+)/[^/]+")
_JOINED = re.compile(r"(?P<base>.+)_slot_(v|vr|vc|m)")
# Adam's variables that are shared by all weights.
_POWERS = re.compile(r"(.*/)?beta[12]_power(_\d+)?")
_COUNTERS = re.compile(
    r"(.*/)?(global_step|save_counter|iterations?|iter|num_batches_tracked|local_step)"
    # Keras' random generators: keras/src/random/seed_generator.py.
    r"|(.*/)?seed_generator_state(_\d+)?"
)

# Optimizers of TensorFlow 1, Keras and TensorFlow Addons by their default names.
_OPTIMIZER = re.compile(
    r"(Adam|AdamW|AdamWeightDecay|Adamax|AMSGrad|Nadam|LazyAdam|RectifiedAdam|Adafactor|RMSProp|RMSprop|SGD|SGDW|Momentum"
    r"|Adagrad|AdagradDA|ProximalAdagrad|Adadelta|Ftrl|FTRL|Lion|LAMB|Lamb|LARS|NovoGrad|Yogi|Lookahead|MovingAverage|SWA"
    r"|LossScaleOptimizer)(Optimizer)?(_\d+)?"
)
# The scopes of optimizer variables in Keras 2 and Estimators.
_TRAINING = re.compile(r"(training|train|optimizer|train_op)(_\d+)?")
# Slot names of Keras 2 optimizers (keras/optimizers/optimizer_v2), and those of its first ones, numbered.
_SLOTS = frozenset(
    (
        "m",
        "v",
        "vhat",
        "rms",
        "mg",
        "momentum",
        "momentums",
        "velocity",
        "velocities",
        "accumulator",
        "accum_grad",
        "accum_var",
        "accumulated_grad",
        "accumulated_delta_var",
        "average_gradient",
        "linear",
        "average",
        "slow",
    )
)
_NUMBERED = re.compile(r"(Variable|m|v|vhat|moment|accumulator|delta_accumulator)(_\d+)?")
_SETTINGS = frozenset(
    (
        "learning_rate",
        "_learning_rate",
        "current_learning_rate",
        "lr",
        "decay",
        "beta_1",
        "beta_2",
        "rho",
        "momentum",
        "epsilon",
        "schedule_decay",
        "m_cache",
        "momentum_cache",
        "good_steps",
        "current_loss_scale",
    )
)

# Why a mapping can leave out the variables of each role, as written under `source.ignore`.
REASONS: dict[str, str] = {
    "slot": "optimizer slot",
    "average": "moving average",
    "counter": "step counter",
    "metric": "metric",
    "constant": "constant of the graph",
    "record": "record of the checkpoint itself",
}

# Sonnet's snt.ExponentialMovingAverage (sonnet/src/moving_averages.py): the average itself is what a network uses.
_SONNET = {"counter": "counter", "_counter": "counter", "hidden": "average", "_hidden": "average"}


def roles_of(source: Source) -> dict[str, Role]:
    """The role of every tensor that is not a weight, by name."""
    return {**roles_by_name(source.specs), **source.roles}


def roles_by_name(names: Iterable[str]) -> dict[str, Role]:
    """The roles that follow from names alone.

    A tensor below another tensor is a slot of it: `w/Adam` if there is a `w`; so is one in an optimizer's own scope:
    `training/w/Adam`, `RMSprop/w/rms`.

    Example:
        >>> roles_by_name(["w", "w/Adam", "w/ExponentialMovingAverage", "beta1_power", "global_step"])
        {'w/Adam': 'slot', 'w/ExponentialMovingAverage': 'average', 'beta1_power': 'slot', 'global_step': 'counter'}
        >>> roles_by_name(["w", "training/w/Adam", "training/RMSprop/Variable_3", "training/w"])
        {'training/w/Adam': 'slot', 'training/RMSprop/Variable_3': 'slot'}
    """
    # Names of operations' outputs, as Keras writes them, end in a number of the output.
    plain = {name: name.removesuffix(":0") for name in names}
    present = frozenset(plain.values())
    roles: dict[str, Role] = {}
    for name, short in plain.items():
        role = _role_of(short, present)
        if role is not None:
            roles[name] = role
    return roles


def _role_of(name: str, present: Collection[str]) -> Role | None:
    base, _, last = name.rpartition("/")
    if _is_variable(base, last, present) and _AVERAGE.fullmatch(last):
        return "average"
    if _is_slot(name, present) or _POWERS.fullmatch(name):
        return "slot"
    if _COUNTERS.fullmatch(name):
        return "counter"
    if _is_variable(base, last, present):
        return "slot"
    return _kept_by_optimizer(name.split("/", 3)) or _of_sonnet(base, last, present)


def _is_slot(name: str, present: Collection[str]) -> bool:
    return any(
        found is not None and found["base"] in present
        for found in (_BELOW.fullmatch(name), _JOINED.fullmatch(name))
    )


def _is_variable(base: str, last: str, present: Collection[str]) -> bool:
    """Whether `base` is a variable, itself or below scopes in which an optimizer named `last` keeps its slots."""
    if not base or not (_AVERAGE.fullmatch(last) or _OPTIMIZER.fullmatch(last)):
        return False
    for _ in range(MOST_SCOPES):
        if base in present:
            return True
        _, slash, base = base.partition("/")
        if not slash:
            return False
    return False


def _kept_by_optimizer(parts: list[str]) -> Role | None:
    """The role of a tensor in an optimizer's own scope: the first component, or the second after ``training``.

    Args:
        parts: The first three parts of the name, and the rest of it.
    """
    if len(parts) > 1 and _TRAINING.fullmatch(parts[0]) and _OPTIMIZER.fullmatch(parts[1]):
        below = parts[2:]
    elif _OPTIMIZER.fullmatch(parts[0]):
        below = parts[1:]
    else:
        return None
    if not below:
        return None
    first, last = below[0], below[-1].rpartition("/")[2]
    alone = len(below) == 1 and "/" not in below[0]
    if alone:
        return "slot" if first in _SETTINGS or _NUMBERED.fullmatch(first) else None
    if "average" in (first, last):
        return "average"
    return "slot" if first in _SLOTS or last in _SLOTS else None


def _of_sonnet(base: str, last: str, present: Collection[str]) -> Role | None:
    if last not in _SONNET:
        return None
    scope = f"{base}/" if base else ""
    mark = "_" if last.startswith("_") else ""
    siblings = (f"{scope}{mark}counter", f"{scope}{mark}hidden", f"{scope}average")
    if not all(sibling in present for sibling in siblings):
        return None
    return "counter" if _SONNET[last] == "counter" else "average"
