"""Which modules pad or normalize, and how a layer's settings compare with a padding rule of TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tfpt.nn.padding import output_size, pads, span

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVG_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
PADDED = (*CONVS, *MAX_POOLS, *AVG_POOLS)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

# Layers with windows for which TensorFlow's padding rules have no defined meaning here.
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
    """Whether a layer with windows is one of torch's own, so that its settings determine what it computes."""
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
    """The attribute with a normalization's epsilon; empty if the module is not a normalization.

    A norm with submodules, such as one that ends in an activation, counts as a norm; a block that only passes an
    epsilon on to the norms inside it does not.

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
    """The epsilon as a number; ``None`` if it is not a number, or a tensor without values."""
    value: Any = getattr(module, name)
    if isinstance(value, torch.Tensor):
        return float(value) if value.numel() == 1 and not value.is_meta else None
    try:
        return None if value is None or isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError):
        return None


def set_eps(module: nn.Module, name: str, eps: float) -> None:
    """Change a normalization's epsilon; if it is a buffer, it remains a buffer.

    Example:
        >>> norm = nn.BatchNorm2d(3)
        >>> set_eps(norm, "eps", 1e-3)
        >>> norm.eps
        0.001
    """
    current = getattr(module, name)
    registered = name in module._buffers or name in module._parameters
    if registered and isinstance(current, torch.Tensor):
        current.data = torch.full_like(current.data, eps)
    else:
        setattr(module, name, eps)


def same_eps(a: float, b: float) -> bool:
    """Whether two epsilons are equal in float32, which TensorFlow computes with.

    Example:
        >>> import numpy as np
        >>> same_eps(float(np.float32(1e-3)), 1e-3), same_eps(1e-3, 1.001e-3)
        (True, False)
    """
    return math.isclose(a, b, rel_tol=1e-7)


@dataclass(frozen=True)
class Contradiction:
    """A difference between TensorFlow's rule and a module.

    Attributes:
        expected: What TensorFlow does, in addition to the name of the rule; may be empty.
        got: What the module does.
        recoverable: Whether code after the module can make up for it, because it keeps more than TensorFlow does.
    """

    expected: str
    got: str
    recoverable: bool = field(default=False, repr=False)


def own_contradiction(
    module: nn.Module, padding: str, size: int, *, at: Sequence[int] = (), axes: Iterable[int] | None = None
) -> Contradiction | None:
    """How the settings of a layer of torch or `tfpt.nn` differ from a padding rule; ``None`` if they agree.

    Args:
        module: A convolution or pool; only its settings are read.
        padding: The rule.
        size: The input size for the example in the message, if they differ there.
        at: The input sizes that matter; all by default.
        axes: The spatial axes that matter; all by default.

    Example:
        >>> own_contradiction(nn.Conv2d(3, 5, 7, stride=2, padding=3), "same", 224)
        Contradiction(expected='which pads (2, 3) at size 224', got='the module pads (3, 3)')
        >>> own_contradiction(nn.Conv2d(3, 5, 1, padding="valid"), "same", 224) is None
        True
    """
    dimensions = int(
        next(k.__name__[-2] for k in type(module).__mro__ if k.__module__.startswith("torch.nn"))
    )
    settings = [
        _per_axis(getattr(module, name, 1), dimensions) for name in ("kernel_size", "stride", "dilation")
    ]
    mode = getattr(module, "padding_mode", "zeros")
    stated, ceil_mode = getattr(module, "padding", 0), bool(getattr(module, "ceil_mode", False))
    rule = rule_of(module)
    chosen = range(dimensions) if axes is None else axes
    for axis in chosen:
        kernel, stride, dilation = (values[axis] for values in settings)
        least = span(kernel, dilation)
        for tried in at or (size, *range(least, least + 2 * stride)):
            if rule is not None:
                own = pads(rule, tried, kernel, stride, dilation)
            elif isinstance(stated, str):
                # torch's own "same" requires stride 1, where it agrees with TensorFlow's.
                own = pads(stated, tried, kernel, stride, dilation)
            else:
                own = (_per_axis(stated, dimensions)[axis],) * 2
            count = window_count(tried, own, kernel, stride, dilation, ceil_mode=ceil_mode)
            if not has_windows_of(padding, tried, own[0], count, kernel, stride, dilation):
                named = rule or (stated if isinstance(stated, str) else None)
                if named is not None:
                    return Contradiction("", f"padding: {named}")
                got = f"the module pads {own}{' with ceil_mode' if ceil_mode else ''}"
                wanted = pads(padding, tried, kernel, stride, dilation)
                return Contradiction(f"which pads {wanted} at size {tried}", got)
            if mode != "zeros" and any(own):
                return Contradiction("with zeros", f"padding_mode={mode!r}")
            if padding == "same" and any(own) and isinstance(module, AVG_POOLS) and module.count_include_pad:
                return Contradiction("pads not counted in averages", "count_include_pad=True")
    divisor = getattr(module, "divisor_override", None)
    if divisor is not None and not (padding == "valid" and divisor == math.prod(settings[0])):
        return Contradiction("which divides by the number of kernel positions", f"divisor_override={divisor}")
    return None


def has_windows_of(
    rule: str, size: int, before: int, count: int, kernel: int, stride: int, dilation: int
) -> bool:
    """Whether `count` windows, the first beginning `before` positions ahead of the input, are those of a rule.

    Padding after the last window is never read, so it does not matter.

    Example:
        >>> [has_windows_of("same", size, 3, 112, 7, 2, 1) for size in (223, 224)]  # a port that pads (3, 3)
        [True, False]
    """
    wanted = pads(rule, size, kernel, stride, dilation)
    return before == wanted[0] and count == output_size(rule, size, kernel, stride, dilation)


def window_count(
    size: int, own: Sequence[int], kernel: int, stride: int, dilation: int, *, ceil_mode: bool = False
) -> int:
    """The number of windows of a torch layer on `size` positions, with its own padding (before, after).

    Example:
        >>> window_count(7, (1, 1), 3, 2, 1), window_count(6, (0, 0), 3, 2, 1, ceil_mode=True)
        (4, 3)
    """
    free = size + sum(own) - span(kernel, dilation)
    if not ceil_mode:
        return free // stride + 1
    found = -(-free // stride) + 1
    # torch drops a window that would begin in the padding at the end.
    return found - 1 if (found - 1) * stride >= size + own[0] else found


def _per_axis(value: object, dimensions: int) -> tuple[int, ...]:
    """One number for each axis, from one number, a sequence of one, or a sequence of all."""
    if isinstance(value, str):
        return ()
    numbers = tuple(int(each) for each in value) if isinstance(value, Sequence) else (int(str(value)),)
    return numbers * dimensions if len(numbers) == 1 else numbers
