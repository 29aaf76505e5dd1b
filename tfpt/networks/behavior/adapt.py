"""Layers that contradict their mapping, mended."""

from __future__ import annotations

from torch import nn

from tfpt.errors import ModelError
from tfpt.language.mapping import Mapping
from tfpt.networks.behavior.check import Check, layers_in
from tfpt.networks.behavior.kinds import PADDED, eps_name, eps_of, is_stock, rule_of, same_eps, set_eps
from tfpt.networks.behavior.rules import own_contradiction
from tfpt.nn.adapt import adapt


def adapt_model(model: nn.Module, mapping: Mapping) -> list[str]:
    """Replace the stock layers that contradict the mapping by those of `tfpt.nn`, and set the mapping's epsilon.

    A stock layer that agrees at the sizes which the model sees, but not at all, is replaced, too, if it can be.

    Returns:
        The paths of the modules that were changed.

    Raises:
        ModelError: A layer has options that leave no room for the mapping's padding.
    """
    changed: dict[str, None] = {}
    check = Check(model, mapping)
    for behavior, reached in check.reached:
        found = [each for one in reached for each in layers_in(*one)]
        for path, module in found:
            if behavior.padding is not None and isinstance(module, PADDED):
                layer = _adapted(check, path, module, behavior.padding)
                if layer is not None:
                    parent, _, name = path.rpartition(".")
                    setattr(model.get_submodule(parent), name, layer)
                    changed[path] = None
            name = eps_name(module)
            if behavior.eps is not None and name:
                has = eps_of(module, name)
                if has is None or not same_eps(has, behavior.eps):
                    set_eps(module, name, behavior.eps)
                    changed[path] = None
    return list(changed)


def _adapted(check: Check, path: str, module: nn.Module, padding: str) -> nn.Module | None:
    """The layer to put in a module's place; ``None`` where it may stay.

    Raises:
        ModelError: It may not, and cannot be adapted.
    """
    exact = is_stock(module) or rule_of(module) is not None
    own = own_contradiction(module, padding, check.size) if exact else None
    if exact and own is None:
        return None
    verdict = check.padding(path, module, padding)
    wrong = verdict.contradiction is not None and verdict.decided
    if check.runs.pads_around(path):
        if wrong:
            raise ModelError(
                f"{path} ({type(module).__name__}) cannot be given TensorFlow's {padding} padding: "
                "the code around it pads its input",
                got=repr(module),
                hint="change that code, or load with check=False",
            )
        return None
    if wrong:
        return adapt(module, padding)
    # Where it cannot be told whether something pads the input: a layer that pads by itself is not padded twice.
    if not exact or (verdict.contradiction is not None and not _pads(module)):
        return None
    try:
        return adapt(module, padding)
    except ModelError:
        return None


def _pads(module: nn.Module) -> bool:
    stated = getattr(module, "padding", 0)
    return rule_of(module) is not None or any(stated if isinstance(stated, tuple | list) else (stated,))
