"""Which modules pad, and which normalize with an epsilon."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVG_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
PADDED = (*CONVS, *MAX_POOLS, *AVG_POOLS)

# Layers with windows of which it is not known how TensorFlow's rules would apply to them.
OTHER_WINDOWS = (
    nn.modules.conv._ConvTransposeNd,
    nn.LPPool1d,
    nn.LPPool2d,
    nn.FractionalMaxPool2d,
    nn.FractionalMaxPool3d,
    nn.Unfold,
    nn.Fold,
)

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_EPS_NAMES = ("eps", "variance_epsilon", "epsilon")


def is_stock(module: nn.Module) -> bool:
    """Whether a layer with windows is one of torch's own, so that its numbers say all of what it computes."""
    return type(module) in PADDED and "forward" not in vars(module)


def rule_of(module: nn.Module) -> str | None:
    """The padding rule of a layer of `tfpt.nn`.

    Example:
        >>> import tfpt.nn
        >>> rule_of(tfpt.nn.Conv2d(3, 5, 3)), rule_of(nn.Conv2d(3, 5, 3))
        ('same', None)
    """
    rule = getattr(module, "tf_padding", None)
    return rule if isinstance(module, PADDED) and isinstance(rule, str) else None


def eps_name(module: nn.Module) -> str:
    """The attribute that holds a normalization's epsilon; empty for a module that is no normalization.

    A norm with modules inside it, such as one that ends in an activation, is a norm; a block that passes an epsilon on
    to the norms inside it is none.

    Example:
        >>> eps_name(nn.BatchNorm2d(3)), eps_name(nn.Conv2d(3, 5, 3)), eps_name(nn.RMSNorm(5))
        ('eps', '', 'eps')
    """
    if isinstance(module, (*PADDED, *OTHER_WINDOWS)):
        return ""
    names = [name for name in _EPS_NAMES if hasattr(module, name)]
    if isinstance(module, _NORMS):
        return names[0] if names else ""
    leaf = next(module.children(), None) is None
    own = any(value is not None for value in (*module._parameters.values(), *module._buffers.values()))
    numbers = [name for name in names if eps_of(module, name) is not None]
    return numbers[0] if numbers and (leaf or own) else ""


def eps_of(module: nn.Module, name: str) -> float | None:
    """The epsilon as a number; ``None`` where it is none, or a tensor without values."""
    value: Any = getattr(module, name)
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 and not value.is_meta else None
    try:
        return None if value is None or isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        return None


def set_eps(module: nn.Module, name: str, eps: float) -> None:
    """Give a normalization another epsilon; one that is a buffer stays a buffer.

    Example:
        >>> norm = nn.BatchNorm2d(3)
        >>> set_eps(norm, "eps", 1e-3)
        >>> norm.eps
        0.001
    """
    held = getattr(module, name)
    registered = name in module._buffers or name in module._parameters
    if registered and isinstance(held, torch.Tensor):
        held.data = torch.full_like(held.data, eps)
    else:
        setattr(module, name, eps)


def same_eps(a: float, b: float) -> bool:
    """Whether two epsilons are one number in float32, which TensorFlow computes with.

    Example:
        >>> import numpy as np
        >>> same_eps(float(np.float32(1e-3)), 1e-3), same_eps(1e-3, 1.001e-3)
        (True, False)
    """
    return math.isclose(a, b, rel_tol=1e-7)
