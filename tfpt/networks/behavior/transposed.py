"""How the settings of a transposed convolution compare with a padding rule of TensorFlow."""

from __future__ import annotations

from typing import Any

from torch import nn

from tfpt.networks.behavior.layers import TRANSPOSED, Contradiction
from tfpt.nn.padding import span
from tfpt.nn.transposed import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, crop, extent, extents

_OURS = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)


def is_transposed(module: nn.Module) -> bool:
    """Whether a transposed convolution is one of torch or `tfpt.nn`, so that its settings say what it computes."""
    return type(module) in (*TRANSPOSED, *_OURS) and "forward" not in vars(module)


def crop_contradiction(module: Any, padding: str) -> Contradiction | None:
    """How a transposed convolution of torch or `tfpt.nn` differs from a rule; ``None`` if it computes the same.

    Under ``same`` and ``valid`` the output has to have the size that Keras gives it without `output_padding`; a layer
    of `tfpt.nn` with the rule may have one. Under ``symmetric`` every `output_padding` of torch will do.

    Example:
        >>> crop_contradiction(nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1), "same")
        Contradiction(expected='which cuts off (0, 1)', got='the module cuts off (1, 0)')
        >>> crop_contradiction(nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1), "same") is None
        True
    """
    ours = isinstance(module, _OURS)
    if ours and module.tf_padding == padding:
        return None
    for axis, (kernel, stride, dilation) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True)
    ):
        reach = span(kernel, dilation)
        if ours:
            more = None if module.tf_output_padding is None else module.tf_output_padding[axis]
            kept = extent(module.tf_padding, kernel, stride, dilation, more)
            before = crop(module.tf_padding, kernel, dilation, kept)
        else:
            before = module.padding[axis]
            kept = reach - 2 * before + module.output_padding[axis]
        wanted = extent(padding, kernel, stride, dilation)
        if padding == "symmetric" and kept in extents(padding, kernel, stride, dilation):
            wanted = kept
        start = crop(padding, kernel, dilation, wanted)
        if (before, kept) == (start, wanted):
            continue
        if ours:
            return Contradiction("", f"padding: {module.tf_padding}")
        return Contradiction(
            f"which cuts off {(start, reach - start - wanted)}",
            f"the module cuts off {(before, reach - before - kept)}",
            recoverable=before <= start and before + kept >= start + wanted,
        )
    return None
