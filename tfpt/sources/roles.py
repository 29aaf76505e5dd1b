"""What each tensor of a file is for: said by the file where it says so, else told by TensorFlow's ways of naming."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tfpt.sources.source import Role, Source

# tf.train.ExponentialMovingAverage (tensorflow/python/training/moving_averages.py).
_AVERAGE = re.compile(r"(?P<base>.+)/ExponentialMovingAverage(_\d+)?")
# Optimizers of TensorFlow 1 name a slot after its variable (tensorflow/python/training/slot_creator.py); Mesh
# TensorFlow's, which T5 was trained with, without a slash (mesh_tensorflow/optimize.py).
_BELOW = re.compile(r"(?P<base>.+)/[^/]+")
_JOINED = re.compile(r"(?P<base>.+)_slot_(v|vr|vc|m)")
# What Adam and its kin keep once for all variables.
_POWERS = re.compile(r"(.*/)?beta[12]_power(_\d+)?")
_COUNTERS = re.compile(
    r"(.*/)?(global_step|save_counter|iterations?|iter|num_batches_tracked|local_step)(:0)?"
)


def roles_of(source: Source) -> dict[str, Role]:
    """The role of every tensor that is no weight, by name."""
    return {**roles_by_name(source.specs), **source.roles}


def roles_by_name(names: Iterable[str]) -> dict[str, Role]:
    """The roles that names alone tell, for checkpoints that hold nothing but names.

    A tensor below another tensor is a slot of it: `w/Adam` where there is a `w`.

    Example:
        >>> roles_by_name(["w", "w/Adam", "w/ExponentialMovingAverage", "beta1_power", "global_step"])
        {'w/Adam': 'slot', 'w/ExponentialMovingAverage': 'average', 'beta1_power': 'slot', 'global_step': 'counter'}
    """
    present = dict.fromkeys(names)
    roles: dict[str, Role] = {}
    for name in present:
        average = _AVERAGE.fullmatch(name)
        if average and average["base"] in present:
            roles[name] = "average"
        elif _is_slot(name, present) or _POWERS.fullmatch(name):
            roles[name] = "slot"
        elif _COUNTERS.fullmatch(name):
            roles[name] = "counter"
    return roles


def _is_slot(name: str, present: Mapping[str, None]) -> bool:
    return any(
        found is not None and found["base"] in present
        for found in (_BELOW.fullmatch(name), _JOINED.fullmatch(name))
    )
