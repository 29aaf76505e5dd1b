"""The PyTorch model that a mapping names: imported only from trusted packages, built on the meta device."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfpt.errors import ModelError
from tfpt.mapping.rows import Mapping
from tfpt.tensors import TensorSpec

if TYPE_CHECKING:
    import torch

# A mapping is data that strangers send each other: what it may have imported is a closed list.
TRUSTED = ("tfpt.models", "torchvision.models", "timm", "transformers", "torch.nn")


def build_model(mapping: Mapping, *, device: str = "meta", trust: bool = False) -> torch.nn.Module:
    """Build the model of a mapping, in evaluation mode.

    Args:
        mapping: The mapping, with its factory, arguments and configuration.
        device: ``meta`` for names and shapes only; a real device for a model with values.
        trust: Also import a factory from outside the trusted packages.

    Raises:
        ModelError: There is no factory, it is not trusted, its package is not installed, or it refuses its arguments.
    """
    reference = mapping.model
    where = str(reference.position)
    if reference.factory is None:
        raise ModelError(
            f"the mapping {mapping.name} names no model",
            where=where,
            expected="model: {factory: package.module:Class}",
            hint="use the written weights with the model's own code",
        )
    factory = _import(reference.factory, where, trust)
    import torch

    try:
        if reference.config is not None:
            config = _import(reference.config, where, trust)(**{**reference.kwargs, **(mapping.config or {})})
            arguments: dict[str, Any] = {}
            positional = [config]
        else:
            positional, arguments = [], reference.kwargs
        with torch.device(device):
            model = factory(*positional, **arguments)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{reference.factory} refuses its arguments: {error}",
            where=where,
            got=", ".join(f"{key}={value!r}" for key, value in reference.kwargs.items()) or "no arguments",
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise ModelError(
            f"{reference.factory} makes no torch.nn.Module", where=where, got=type(model).__name__
        )
    return model.eval()


def model_specs(model: torch.nn.Module) -> dict[str, TensorSpec]:
    """Name, shape and dtype of every parameter and buffer in the model's state dict, in its order."""
    return {
        name: TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in model.state_dict().items()
    }


def _import(reference: str, where: str, trust: bool) -> Callable[..., Any]:
    module_name, colon, name = reference.partition(":")
    if (
        not colon
        or not name.isidentifier()
        or not all(part.isidentifier() for part in module_name.split("."))
    ):
        raise ModelError(
            "the factory cannot be read", where=where, expected="package.module:Name", got=reference
        )
    if not trust and not _is_trusted(module_name):
        raise ModelError(
            f"the factory {reference} lies outside the packages that tfpt imports from",
            where=where,
            expected=", ".join(TRUSTED),
            got=module_name,
            hint="--trust, if you know that code",
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ModelError(
            f"{module_name} cannot be imported: {error}",
            where=where,
            hint=f"pip install {module_name.partition('.')[0]}",
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        raise ModelError(f"{module_name} has no {name} to call", where=where, got=reference)
    # What a trusted module has merely imported from elsewhere is not thereby trusted.
    if not trust and not _is_trusted(str(getattr(found, "__module__", ""))):
        raise ModelError(
            f"{reference} was defined outside the packages that tfpt imports from",
            where=where,
            expected=", ".join(TRUSTED),
            got=str(getattr(found, "__module__", "")),
            hint="--trust, if you know that code",
        )
    return found  # type: ignore[no-any-return]


def _is_trusted(module: str) -> bool:
    # The checkout names the folder models/; installed it is tfpt.models. Both are the same files.
    return any(module == name or module.startswith(f"{name}.") for name in TRUSTED)
