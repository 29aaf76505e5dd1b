"""What a layer's own numbers come to, and what TensorFlow's rule would: compared at every size, or at one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from tfpt.networks.behavior.kinds import AVG_POOLS, rule_of
from tfpt.nn.padding import pads, span


@dataclass(frozen=True)
class Contradiction:
    """What TensorFlow would do, and what the module does instead.

    Attributes:
        expected: Behind the name of the rule; may be empty.
        got: What the module does.
        size: The first size at which they differ; ``None`` where they differ at every size.
    """

    expected: str
    got: str
    size: int | None = None


def own_contradiction(
    module: nn.Module, padding: str, size: int, *, at: Sequence[int] = (), axes: Iterable[int] | None = None
) -> Contradiction | None:
    """How a layer of torch or `tfpt.nn` differs from a padding rule; ``None`` if the two are the same.

    Args:
        module: Its numbers say what it computes.
        padding: The rule.
        size: The size to work an example out at, if they differ there.
        at: The sizes that count; all unless given.
        axes: The spatial axes that count; all unless given.

    Example:
        >>> own_contradiction(nn.Conv2d(3, 5, 7, stride=2, padding=3), "same", 224)
        Contradiction(expected='which pads (2, 3) at size 224', got='the module pads (3, 3)', size=224)
        >>> own_contradiction(nn.Conv2d(3, 5, 1, padding="valid"), "same", 224) is None
        True
    """
    dimensions = int(
        next(k.__name__[-2] for k in type(module).__mro__ if k.__module__.startswith("torch.nn"))
    )
    along = [_each(getattr(module, name, 1), dimensions) for name in ("kernel_size", "stride", "dilation")]
    mode = getattr(module, "padding_mode", "zeros")
    stated, ceil = getattr(module, "padding", 0), bool(getattr(module, "ceil_mode", False))
    rule = rule_of(module)
    chosen = range(dimensions) if axes is None else axes
    for axis in chosen:
        kernel, stride, dilation = (values[axis] for values in along)
        least = span(kernel, dilation)
        for tried in at or (size, *range(least, least + 2 * stride)):
            wanted = pads(padding, tried, kernel, stride, dilation)
            if rule is not None:
                own = pads(rule, tried, kernel, stride, dilation)
            elif isinstance(stated, str):
                # torch's own "same" exists for stride 1 only, where it is TensorFlow's.
                own = pads(stated, tried, kernel, stride, dilation)
            else:
                own = (_each(stated, dimensions)[axis],) * 2
            windows = (tried + sum(wanted) - least) // stride + 1
            got = windows_of(tried, own, kernel, stride, dilation, ceil=ceil)
            if (wanted[0], windows) != (own[0], got):
                named = rule or (stated if isinstance(stated, str) else None)
                if named is not None:
                    return Contradiction("", f"padding: {named}", tried)
                does = f"the module pads {own}{' with ceil_mode' if ceil else ''}"
                return Contradiction(f"which pads {wanted} at size {tried}", does, tried)
            if mode != "zeros" and any(own):
                return Contradiction("with zeros", f"padding_mode={mode!r}")
            if padding == "same" and any(own) and isinstance(module, AVG_POOLS) and module.count_include_pad:
                return Contradiction("pads not counted in averages", "count_include_pad=True")
    divisor = getattr(module, "divisor_override", None)
    if divisor is not None and not (padding == "valid" and divisor == math.prod(along[0])):
        return Contradiction("which divides by the taps of each window", f"divisor_override={divisor}")
    return None


def windows_of(
    size: int, both: Sequence[int], kernel: int, stride: int, dilation: int, *, ceil: bool = False
) -> int:
    """How many windows torch puts on `size` positions with these pads before and after.

    Example:
        >>> windows_of(7, (1, 1), 3, 2, 1), windows_of(6, (0, 0), 3, 2, 1, ceil=True)
        (4, 3)
    """
    room = size + sum(both) - span(kernel, dilation)
    if not ceil:
        return room // stride + 1
    found = -(-room // stride) + 1
    # torch drops a window that would begin in the pads behind.
    return found - 1 if (found - 1) * stride >= size + both[0] else found


def _each(value: object, dimensions: int) -> tuple[int, ...]:
    """One number for each axis, from a number, a sequence of one, or a sequence of as many."""
    if isinstance(value, str):
        return ()
    numbers = tuple(int(each) for each in value) if isinstance(value, Sequence) else (int(str(value)),)
    return numbers * dimensions if len(numbers) == 1 else numbers
