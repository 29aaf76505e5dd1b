"""Activation functions by the names that Keras has for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from tfpt.errors import ModelError
from tfpt.nearest import nearest

__all__ = ["ACTIVATIONS", "activation"]


def _hard_sigmoid_of_keras_2(x: Tensor) -> Tensor:
    return (0.2 * x + 0.5).clamp(0.0, 1.0)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": functional.elu,
    "exponential": torch.exp,
    "hard_sigmoid": functional.hardsigmoid,
    "hard_sigmoid_keras2": _hard_sigmoid_of_keras_2,
    "linear": lambda x: x,
    "relu": torch.relu,
    "relu6": functional.relu6,
    "selu": torch.selu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "swish": functional.silu,
    "tanh": torch.tanh,
}


def activation(given: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The activation function of a name, or the function that is given.

    ``"hard_sigmoid"`` is that of Keras 3, ``relu6(x + 3) / 6`` (``keras/src/activations/activations.py``), and
    ``"hard_sigmoid_keras2"`` that of Keras 1 and 2, ``clip(0.2 * x + 0.5, 0, 1)``
    (``tensorflow/python/keras/backend.py``).

    Raises:
        ModelError: There is no such name.

    Example:
        >>> x = torch.tensor([-2.75, 0.0, 1.0])
        >>> [activation(name)(x).mul(30).round().tolist() for name in ("hard_sigmoid", "hard_sigmoid_keras2")]
        [[1.0, 15.0, 20.0], [0.0, 15.0, 21.0]]
    """
    if not isinstance(given, str):
        return given
    if given not in ACTIVATIONS:
        raise ModelError(
            "no such activation",
            expected=", ".join(ACTIVATIONS),
            got=repr(given),
            nearest=nearest(given, ACTIVATIONS),
            hint="a function can be given instead of a name",
        )
    return ACTIVATIONS[given]
