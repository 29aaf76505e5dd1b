"""The PyTorch side of a proposal: a model, built with shapes only, or a file with names and shapes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfpt.errors import ModelError
from tfpt.formats import open_source
from tfpt.io.temporary import TemporaryFolder
from tfpt.language.loader import load_mapping
from tfpt.targets.manifest import read_manifest
from tfpt.targets.model import build_model, model_specs
from tfpt.tensors import TensorSpec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Target:
    """The PyTorch side.

    Attributes:
        specs: Parameters and buffers, in the model's order.
        kinds: The class of the module that each is in, by name; empty if only names and shapes are known.
        tied: Parameters that are the same tensor as an earlier one, by name, and that one.
        model: The section `model` of the mapping; empty if there is no model.
    """

    specs: Mapping[str, TensorSpec]
    kinds: Mapping[str, str] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)


def target_of_model(
    factory: str,
    kwargs: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    trust: bool = False,
) -> Target:
    """The parameters of a model that is built for the purpose, without memory for its weights.

    Args:
        factory: ``package.module:Class``, as under `model` in a mapping.
        kwargs: Its arguments.
        config: For models of transformers, the configuration: a dict or a JSON file.
        trust: Also import it from outside the packages that tfpt trusts.

    Raises:
        ModelError: The model cannot be built.

    Example:
        >>> target = target_of_model("tfpt.models.i3d:I3D", {"in_channels": 2, "num_classes": 7})
        >>> target.specs["conv3d_1a_7x7.conv3d.weight"].shape, target.kinds["conv3d_1a_7x7.conv3d.weight"]
        ((64, 2, 7, 7, 7), 'Conv3d')
    """
    built, model = build(factory, kwargs, config, trust=trust)
    return Target(model_specs(built), _kinds(built), _tied(built), model)


def build(
    factory: str,
    kwargs: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    device: str = "meta",
    trust: bool = False,
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The model, and the section `model` of a mapping that says how to build it; arguments as in `target_of_model`."""
    model: dict[str, Any] = {"factory": factory}
    if config is not None:
        model["config"] = _configuration(factory)
    if kwargs:
        model["kwargs"] = dict(kwargs)
    with TemporaryFolder() as folder:
        path = Path(folder) / "model.yaml"
        path.write_text(json.dumps({"version": 1, "model": model}), encoding="utf-8")
        given = os.fspath(config) if isinstance(config, os.PathLike) else config
        mapping = load_mapping(path, None, given)
        return build_model(mapping, device=device, trust=trust, listed=False), model


def _configuration(factory: str) -> str:
    """The configuration class of a model of transformers."""
    module, _, name = factory.partition(":")
    if module.partition(".")[0] != "transformers":
        raise ModelError(
            f"{factory} is not built from a configuration",
            where="--config",
            expected="a model of transformers",
            hint="--kwargs NAME=VALUE for the arguments of other models",
        )
    import transformers

    config = getattr(getattr(transformers, name, None), "config_class", None)
    if config is None:
        raise ModelError(
            f"transformers has no model {name} with a configuration", where="--model", got=factory
        )
    return f"transformers:{config.__name__}"


def _kinds(model: torch.nn.Module) -> dict[str, str]:
    return {
        f"{path}.{name}" if path else name: type(module).__name__
        for path, module in model.named_modules()
        for name in (*module._parameters, *module._buffers)
    }


def _tied(model: torch.nn.Module) -> dict[str, str]:
    first: dict[int, str] = {}
    tied: dict[str, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        origin = first.setdefault(id(tensor), name)
        if origin != name:
            tied[name] = origin
    return tied


def target_of_file(path: str | os.PathLike[str]) -> Target:
    """The names and shapes in a manifest, or in a file of weights.

    Args:
        path: A manifest (``.json``), or any file of PyTorch weights.

    Raises:
        SourceError: The file cannot be read.
        MappingError: It is JSON, but not a manifest.
    """
    text = os.fspath(path)
    if text.endswith(".json") and not text.endswith(".index.json"):
        return Target(read_manifest(Path(text)))
    with closing(open_source(text)) as source:
        return Target(dict(source.specs))
