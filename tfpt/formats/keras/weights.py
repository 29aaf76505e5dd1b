"""Keras 3's ``.weights.h5``: one group for each object of a model, its variables numbered in ``vars``.

The layout (keras/src/saving/saving_lib.py, `_save_state`): ``layers/conv2d_1/vars/0`` is the first variable of the
second Conv2D of the model. The file has no names of variables: what layer a number belongs to is in the model's
configuration, which a ``.keras`` archive has beside it (`tfpt.formats.keras.archive`). Names here are the paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tfpt.formats.hdf5.dataset import Tree
from tfpt.formats.keras.tensors import Tensor
from tfpt.formats.source import Role

_VARIABLE = re.compile(r"(^|/)vars/[^/]+$")
# What Keras 2.12 to 3 call the model's attributes that hold metrics and running losses.
_METRICS = re.compile(r"^_?(compiled?_|loss_|mean_)?(metrics|tracker)/|^metrics/|^_?loss_tracker/")
# Keras 3.0 to 3.2 and Keras 2 save the state of random generators among the layers.
_RANDOM = re.compile(r"(^|/)_?(seed_generator|random_generator|generator)/vars/0$")


def is_keras3(paths: Iterable[str]) -> bool:
    """Whether datasets lie as Keras 3 lays them.

    Example:
        >>> is_keras3(["layers/dense/vars/0"]), is_keras3(["dense/dense/kernel:0"])
        (True, False)
    """
    return any(_VARIABLE.search(path) for path in paths)


def role_of(path: str) -> Role | None:
    """What the variable at a path is for; `None` for a weight.

    Example:
        >>> role_of("optimizer/vars/0"), role_of("optimizer/vars/2"), role_of("layers/dense/vars/0")
        ('counter', 'slot', None)
    """
    if path.startswith(("optimizer/", "_optimizer/")):
        # The first variable is the number of steps: keras/src/optimizers/base_optimizer.py, __init__.
        return "counter" if path.endswith("optimizer/vars/0") else "slot"
    if _METRICS.search(path):
        return "metric"
    return "counter" if _RANDOM.search(path) else None


def weight_tensors(file: Tree, names: Mapping[str, str] | None = None) -> list[Tensor]:
    """The datasets of a file as tensors, under the names given for their paths, else under the paths.

    Those that have a name come first, in the order of `names`.
    """
    known = names or {}
    order = dict.fromkeys((*known, *file.datasets))
    return [Tensor(known.get(path, path), file.datasets[path], file, role_of(path)) for path in order]
