"""The faster form of a model: it computes the same numbers, for inference alone.

A module offers its faster form as a method ``optimized()``, which returns a module to stand in its place; see
`tfpt.models.i3d` for one. Pairs of a convolution and a batch norm in a ``torch.nn.Sequential``, with or without a ReLU
behind them, are folded in any model. Classes derived from torch's that compute otherwise, and modules with hooks, are
left as they are.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from tfpt.errors import ModelError
from tfpt.nn import Conv1d, Conv2d, Conv3d
from tfpt.nn.inference import FoldedConv

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv1d, Conv2d, Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


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
                "a model whose parameters are not there yet cannot be optimized",
                where=name,
                expected="values",
                got="a lazy parameter",
                hint="run the model once",
            )
    faster = _optimized(copy.deepcopy(model), {})
    return faster.eval().requires_grad_(False)


def _optimized(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """The module's faster form; `done` has those of the modules before, so that one used twice stays one."""
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
    """Fold convolution, batch norm and ReLU that follow each other; an identity stays in the places of the last two."""
    for index, layer in enumerate(layers):
        after = list(layers[index + 1 : index + 3])
        if not _is(layer, _CONVS) or not after or not _folds(layer, after[0]):
            continue
        relu = len(after) == 2 and type(after[1]) is nn.ReLU and not _has_hooks(after[1])
        layers[index] = FoldedConv(layer, after[0], relu=relu)
        for place in range(index + 1, index + 2 + relu):
            layers[place] = nn.Identity()


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
    """Whether a module is of one of these classes, or of one derived from it that computes alike.

    A weight standardized on the way, or an activation behind the norm, is a method of a derived class; a
    parametrization (such as a weight norm) derives a class that has all methods of its own, and is one of these.
    """
    computes = ("forward", "_conv_forward")
    return "forward" not in vars(module) and any(
        isinstance(module, kind)
        and all(getattr(type(module), name, None) is getattr(kind, name, None) for name in computes)
        for kind in kinds
    )


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
