"""The model to draw, and its layers by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tfpt.errors import ModelError
from tfpt.language import mapping as rows
from tfpt.language.loader import load_mapping
from tfpt.nearest import nearest
from tfpt.networks.endpoints import endpoints_in
from tfpt.networks.loading import load
from tfpt.targets.model import build_model

CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
)  # fmt: skip


def subject(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None,
    model: nn.Module | None,
    *,
    settings: Mapping[str, Any] | None,
    config: Mapping[str, Any] | str | None,
    dequantize: bool = False,
    trust: bool,
    device: str = "cpu",
    check: bool = True,
) -> tuple[rows.Mapping, nn.Module]:
    """A compiled mapping and its model: the given one, or one built with the given or random weights."""
    compiled = load_mapping(os.fspath(mapping), settings, config)
    if model is not None:
        return compiled, model
    if weights is not None:
        return compiled, load(
            mapping,
            weights,
            settings=settings,
            config=config,
            dequantize=dequantize,
            trust=trust,
            device=device,
            check=check,
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return compiled, build_model(compiled, device="cpu", trust=trust).to(device)


def layer_named(model: nn.Module, mapping: rows.Mapping, name: str) -> str:
    """The path of a module given by its path, or by the TensorFlow name of an endpoint.

    Raises:
        ModelError: There is no such module.

    Example:
        >>> from tfpt.targets.model import build_model
        >>> mapping = load_mapping("i3d_rgb")
        >>> layer_named(build_model(mapping), mapping, "Mixed_3b")
        'mixed_3b'
    """
    modules = [path for path, _ in model.named_modules() if path]
    if name in modules:
        return name
    if mapping.endpoints:
        for endpoint in endpoints_in(model, mapping):
            if endpoint.tf == name:
                return endpoint.pt
    raise ModelError(
        f"the model has no layer {name}",
        where=f"{type(model).__name__}, the model of {mapping.name}",
        nearest=nearest(name, modules),
        hint=f"tfpt profile --mapping {mapping.named} --forward-only --all lists the layers",
    )


def convolution_at(model: nn.Module, path: str) -> tuple[str, nn.Module]:
    """The convolution at a path, or the first one below it.

    Raises:
        ModelError: There is no convolution.

    Example:
        >>> convolution_at(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(3, 5, 7))), "")[0]
        '1.0'
    """
    for name, module in model.get_submodule(path).named_modules(prefix=path):
        if isinstance(module, CONVOLUTIONS):
            return name, module
    kind = type(model.get_submodule(path)).__name__
    convolutions = [name for name, module in model.named_modules() if isinstance(module, CONVOLUTIONS)]
    raise ModelError(
        f"{path or 'the model'} contains no convolution",
        expected="a convolution, or a module that contains one",
        got=kind,
        nearest=nearest(path, convolutions),
    )
