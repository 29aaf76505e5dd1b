"""The faster form of a model: it computes the same numbers, for inference alone.

A module offers its faster form as a method ``optimized()``, which returns a module to stand in its place; see
`tfpt.models.i3d` for one. Pairs of a convolution and a batch norm in a ``torch.nn.Sequential``, with or without a ReLU
behind them, are folded in any model.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from tfpt.errors import ModelError
from tfpt.nn.inference import FoldedConv

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def optimize(model: nn.Module) -> nn.Module:
    """A copy of the model that computes the same, faster, and is for inference only.

    Batch norms are folded into the convolutions before them, so outputs agree to rounding (1e-6 of the largest), not
    in every bit; parameters are frozen and their names change. Modules keep their paths, except for those inside a
    folded one. On a CPU, activations are kept in the channels-last format.

    Args:
        model: In evaluation mode: folding takes the running statistics as they are.

    Raises:
        ModelError: The model is in training mode.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()).eval()
        >>> faster, x = optimize(model), torch.randn(1, 3, 7, 7)
        >>> faster
        Sequential(
          (0): FoldedConv(3, 5, kernel_size=(3, 3), stride=(1, 1), padding=(0, 0), relu=True)
          (1): Identity()
          (2): Identity()
        )
        >>> torch.testing.assert_close(faster(x), model(x).detach())
    """
    if model.training:
        raise ModelError(
            "a model in training mode cannot be optimized: folding fixes the batch norms' statistics",
            hint="model.eval()",
        )
    faster = _optimized(copy.deepcopy(model)).eval()
    return faster.requires_grad_(False)


def _optimized(module: nn.Module) -> nn.Module:
    own = getattr(module, "optimized", None)
    if callable(own):
        replacement: nn.Module = own()
        return replacement
    if type(module) is nn.Sequential:
        _fold_pairs(module)
    for name, child in list(module.named_children()):
        setattr(module, name, _optimized(child))
    return module


def _fold_pairs(layers: Any) -> None:
    """Fold convolution, batch norm and ReLU that follow each other; an identity stays in the places of the last two."""
    for index, layer in enumerate(layers):
        after = list(layers[index + 1 : index + 3])
        if not isinstance(layer, _CONVS) or not after or not _folds(layer, after[0]):
            continue
        relu = len(after) == 2 and type(after[1]) is nn.ReLU and not _has_hooks(after[1])
        layers[index] = FoldedConv(layer, after[0], relu=relu)
        for place in range(index + 1, index + 2 + relu):
            layers[place] = nn.Identity()


def _folds(conv: Any, norm: Any) -> bool:
    return (
        isinstance(norm, _NORMS)
        and norm.running_var is not None
        and norm.num_features == conv.out_channels
        and conv.padding_mode == "zeros"
        and not _has_hooks(conv)
        and not _has_hooks(norm)
    )


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
