"""Replaces the stock layers of a model that contradict its mapping with those of `tfpt.nn`."""

from __future__ import annotations

from torch import nn

from tfpt.errors import ModelError
from tfpt.language.mapping import Mapping
from tfpt.networks.behavior.check import Check, layers_in
from tfpt.networks.behavior.layers import (
    PADDED,
    TRANSPOSED,
    eps_name,
    eps_of,
    is_stock,
    own_contradiction,
    rule_of,
    same_eps,
    set_eps,
)
from tfpt.networks.behavior.operations import replacements
from tfpt.nn.adapt import adapt


def adapt_model(model: nn.Module, mapping: Mapping) -> list[str]:
    """Replace stock layers that contradict the mapping with those of `tfpt.nn`, and set the mapping's epsilon.

    A stock layer that agrees only at the sizes the model was run with is also replaced, if possible.

    Returns:
        The paths of the modules that were changed.

    Raises:
        ModelError: A layer has options that are incompatible with what the mapping states.
    """
    changed: dict[str, None] = {}
    check = Check(model, mapping)
    for behavior, reached in check.reached:
        found = [each for one in reached for each in layers_in(*one)]
        for path, module in found:
            if behavior.padding is not None and isinstance(module, PADDED):
                layer = _adapted(check, path, module, behavior.padding)
                if layer is not None:
                    _replace(model, path, layer)
                    changed[path] = None
            if behavior.padding is not None and isinstance(module, TRANSPOSED):
                verdict = check.crop(path, module, behavior.padding)
                if verdict.contradiction is not None and verdict.decided:
                    _replace(model, path, adapt(module, behavior.padding))
                    changed[path] = None
            name = eps_name(module)
            if behavior.eps is not None and name:
                eps = eps_of(module, name)
                if eps is None or not same_eps(eps, behavior.eps):
                    set_eps(module, name, behavior.eps)
                    changed[path] = None
        for one in reached:
            for path, layer in replacements(*one, behavior):
                _replace(model, path, layer)
                changed[path] = None
    return list(changed)


def _replace(model: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)


def _adapted(check: Check, path: str, module: nn.Module, padding: str) -> nn.Module | None:
    """The replacement for a module; ``None`` if the module can stay.

    Raises:
        ModelError: The module has to be replaced, but cannot be adapted.
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
    # Undecided whether something else pads the input; a layer that pads by itself would not be padded twice.
    if not exact or (verdict.contradiction is not None and not _pads(module)):
        return None
    try:
        return adapt(module, padding)
    except ModelError:
        return None


def _pads(module: nn.Module) -> bool:
    stated = getattr(module, "padding", 0)
    return rule_of(module) is not None or any(stated if isinstance(stated, tuple | list) else (stated,))
