"""Optimizes a model for inference: it computes the same numbers faster.

A module may offer its own faster form as a method ``optimized()``, which returns a replacement; see `tfpt.models.i3d`.
In any model, a convolution and a batch norm that follow each other in a ``torch.nn.Sequential``, with or without a ReLU
after them, are folded. Subclasses of torch's layers that compute something else, and modules with hooks, are not
changed.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from tfpt.errors import ModelError
from tfpt.nn import BatchNorm1d, BatchNorm2d, BatchNorm3d, Conv1d, Conv2d, Conv3d
from tfpt.nn.inference import FoldedConv

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv1d, Conv2d, Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, BatchNorm1d, BatchNorm2d, BatchNorm3d)


def optimize(model: nn.Module) -> nn.Module:
    """See `tfpt.api.optimize`."""
    for path, module in model.named_modules():
        if module.training:
            raise ModelError(
                "a model in training mode cannot be optimized: folding fixes the batch norms' statistics",
                where=path or None,
                hint="model.eval()",
            )
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(value):
            raise ModelError(
                "a model with uninitialized parameters cannot be optimized",
                where=name,
                expected="values",
                got="a lazy parameter",
                hint="run the model once to initialize it",
            )
    faster = _optimized(copy.deepcopy(model), {})
    return faster.eval().requires_grad_(False)


def _optimized(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """The module's faster form; `done` maps modules to theirs, so that a shared module stays shared."""
    if module in done:
        return done[module]
    own = getattr(module, "optimized", None)
    if callable(own) and not any(_has_hooks(part) for part in module.modules()):
        done[module] = own()
        return done[module]
    done[module] = module
    if type(module) is nn.Sequential:
        _fold_pairs(module)
    for name, child in list(module._modules.items()):
        if child is not None:
            setattr(module, name, _optimized(child, done))
    return module


def _fold_pairs(layers: Any) -> None:
    """Fold consecutive convolution, batch norm and ReLU; identities take the places of the last two."""
    for index, layer in enumerate(layers):
        after = list(layers[index + 1 : index + 3])
        if not _is(layer, _CONVS) or not after or not _folds(layer, after[0]):
            continue
        relu = len(after) == 2 and type(after[1]) is nn.ReLU and not _has_hooks(after[1])
        layers[index] = FoldedConv(layer, after[0], relu=relu)
        for folded in range(index + 1, index + 2 + relu):
            layers[folded] = nn.Identity()


def _folds(conv: Any, norm: Any) -> bool:
    return (
        _is(norm, _NORMS)
        and norm.running_var is not None
        and norm.num_features == conv.out_channels
        and conv.padding_mode == "zeros"
        and not _has_hooks(conv)
        and not _has_hooks(norm)
    )


def _is(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a module is an instance of one of these classes, or of a subclass that computes the same.

    A subclass that standardizes its weight, or adds an activation after the norm, overrides a method; parametrization
    (such as weight norm) creates a subclass that overrides none of them, and counts.
    """
    computes = ("forward", "_conv_forward")
    return "forward" not in vars(module) and any(
        isinstance(module, kind)
        and all(getattr(type(module), name, None) is getattr(kind, name, None) for name in computes)
        for kind in kinds
    )


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
