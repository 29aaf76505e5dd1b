"""The PyTorch model that a mapping names: imported with the permission that it has, built on the meta device."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tfpt.errors import MappingError, ModelError, UntrustedError
from tfpt.language.configuration import Configuration
from tfpt.language.mapping import Mapping
from tfpt.targets.model_arguments import check_made_configuration, checked_arguments, checked_configuration
from tfpt.targets.permission import (
    TRUSTED,
    Permission,
    below,
    explained,
    from_list,
    note_trust,
    with_trust,
    without_trust,
)
from tfpt.tensors import TensorSpec

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("tfpt")

T = TypeVar("T")

# Parts of timm that only build layers; its `task` modules load pretrained models.
_TIMM_LAYERS = ("timm.models", "timm.layers")


def build_model(
    mapping: Mapping, *, device: str = "meta", trust: bool = False, listed: bool = True
) -> torch.nn.Module:
    """Build the model of a mapping, in evaluation mode.

    Args:
        mapping: The mapping, with its factory, arguments and configuration.
        device: ``meta`` for names and shapes only; a real device for a model with values.
        trust: Also import a factory from outside the trusted packages, and pass on any arguments.
        listed: Whether the mapping may be in the user's list of trusted mappings: not one that was written just now.

    Raises:
        ModelError: There is no factory, it or an argument is not trusted, its package is not installed, or it rejects
            its arguments.
        TfptError: The mapping needs trust, and the user's list is damaged.
    """
    if mapping.model.factory is None:
        raise ModelError(
            f"the mapping {mapping.name} names no model",
            where=str(mapping.model.position),
            expected="model: {factory: package.module:Class}",
            hint="use the written weights with the model's own code",
        )
    _log.info("building %s on %s", mapping.model.factory, device)
    return _permitted(lambda permission: _build(mapping, device, permission), mapping, trust, listed)


def import_factory(mapping: Mapping, *, trust: bool = False) -> Callable[..., Any]:
    """The class or function that builds the model of a mapping with a `factory`.

    Raises:
        ModelError: It is not trusted, or cannot be imported.
        TfptError: The mapping needs trust, and the user's list is damaged.
    """
    return _permitted(lambda permission: _factory(mapping, permission), mapping, trust, True)


def _permitted(use: Callable[[Permission], T], mapping: Mapping, trust: bool, listed: bool) -> T:
    """What `use` returns with the least permission that suffices."""
    if trust:
        if listed:
            note_trust(mapping)
        return use(with_trust(mapping))
    try:
        return use(without_trust(mapping))
    except UntrustedError as error:
        if not listed:
            raise
        permission = from_list(mapping)
        if permission is None:
            raise explained(error, mapping) from None
    return use(permission)


def _build(mapping: Mapping, device: str, permission: Permission) -> torch.nn.Module:
    reference = mapping.model
    where, name = str(reference.position), str(reference.factory)
    factory = _factory(mapping, permission)
    import torch

    check = not permission.any_arguments
    try:
        if reference.config is not None:
            configure = _configuration(mapping, permission)
            values = {**reference.kwargs, **(mapping.config or {})}
            if check:  # before they are used
                values = checked_configuration(values, reference.config, where)
                checked_configuration(reference.kwargs, reference.config, where)
            if mapping.config:
                known = _keys_of(configure, reference.kwargs)
                Configuration(mapping.config).check_against(known, reference.config, where)
            positional, arguments = [configure(**values)], dict[str, Any]()
            if check:
                check_made_configuration(positional[0], reference.config, where)
        else:
            positional, arguments = [], dict(reference.kwargs)
            if check:
                arguments = checked_arguments(factory, name, arguments, where)
        with torch.device(device):
            model = factory(*positional, **arguments)
    except (MappingError, ModelError):
        raise
    except Exception as error:  # third-party constructors raise anything
        raise ModelError(
            f"{name} rejects its arguments: {error}",
            where=where,
            got=", ".join(f"{key}={value!r}" for key, value in reference.kwargs.items()) or "no arguments",
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise ModelError(f"{name} does not return a torch.nn.Module", where=where, got=type(model).__name__)
    return model.eval()


def _factory(mapping: Mapping, permission: Permission) -> Callable[..., Any]:
    reference, where = mapping.model.factory or "", str(mapping.model.position)
    factory = _import(reference, where, permission)
    if not permission.any_code and not _builds_models(factory, permission.own):
        raise UntrustedError(
            f"{reference} is not a class of layers",
            where=where,
            expected="a class derived from torch.nn.Module, a function of "
            f"{' or '.join(('tfpt.models', *permission.own))}, a model of torchvision.models, or "
            "timm:create_model",
            hint="--trust, if you know that code",
        )
    return factory


def _keys_of(configure: Callable[..., Any], kwargs: dict[str, Any]) -> Collection[str]:
    """The keys that a configuration class knows; empty if it cannot be built with these arguments."""
    try:
        return set(vars(configure(**kwargs)))
    except Exception:  # third-party constructors raise anything
        return ()


def model_specs(model: torch.nn.Module) -> dict[str, TensorSpec]:
    """Name, shape and dtype of every parameter and buffer in the model's state dict, in its order."""
    return {
        name: TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in model.state_dict().items()
    }


def _import(reference: str, where: str, permission: Permission) -> Callable[..., Any]:
    """The object that the reference names."""
    module_name, colon, name = reference.partition(":")
    if (
        not colon
        or not name.isidentifier()
        or not all(part.isidentifier() for part in module_name.split("."))
    ):
        raise ModelError(
            "the factory cannot be read", where=where, expected="package.module:Name", got=reference
        )
    if not permission.imports(module_name):
        raise UntrustedError(
            f"the factory {reference} lies outside the packages that tfpt imports from",
            where=where,
            expected=", ".join(permission.packages),
            got=module_name,
            hint="--trust, if you know that code",
        )
    try:
        with _also_from(permission.folders):
            module = importlib.import_module(module_name)
            found = getattr(module, name, None)
    except ImportError as error:
        # A package on PyPI may share the name of the user's module: suggest pip only for known packages.
        beside = f"put {module_name.partition('.')[0]}.py beside the mapping, or its folder on PYTHONPATH"
        raise ModelError(
            f"{module_name} cannot be imported: {error}",
            where=where,
            hint=f"pip install {module_name.partition('.')[0]}" if below(module_name, TRUSTED) else beside,
        ) from error
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        raise ModelError(
            f"{module_name} cannot be imported: {type(error).__name__}: {str(error) or 'without a message'}",
            where=where,
            got=f"raised at {_origin(error)}",
            hint=f'the whole traceback: python -c "import {module_name}"',
        ) from error
    if not callable(found):
        raise ModelError(f"{module_name} has no callable {name}", where=where, got=reference)
    # An object that a trusted module imported from elsewhere is not trusted.
    if not permission.imports(str(getattr(found, "__module__", ""))):
        raise UntrustedError(
            f"{reference} was defined outside the packages that tfpt imports from",
            where=where,
            expected=", ".join(permission.packages),
            got=str(getattr(found, "__module__", "")),
            hint="--trust, if you know that code",
        )
    return found  # type: ignore[no-any-return]


def _origin(error: BaseException) -> str:
    """The file and line that raised an error, or that is not Python."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}"


@contextmanager
def _also_from(folders: Sequence[str]) -> Iterator[None]:
    """Also import from these folders, after all installed packages."""
    before = list(sys.path)
    sys.path += folders
    try:
        yield
    finally:
        sys.path[:] = before


def _builds_models(factory: Callable[..., Any], own: tuple[str, ...]) -> bool:
    """Whether this only builds layers, or is a function of the package that registered the mapping.

    Classes of layers do. Functions may do anything: with suitable arguments, transformers:pipeline downloads and runs
    code. So only functions known to build models are called.
    """
    import torch

    home, name = str(getattr(factory, "__module__", "")), str(getattr(factory, "__name__", ""))
    package = home.partition(".")[0]
    if isinstance(factory, type):
        return issubclass(factory, torch.nn.Module) and (package != "timm" or below(home, _TIMM_LAYERS))
    if package == "timm":
        return name == "create_model"
    if package == "torchvision":
        from torchvision.models import get_model, list_models

        return factory is get_model or name in list_models()
    return below(home, ("tfpt.models", *own))


def _configuration(mapping: Mapping, permission: Permission) -> Callable[..., Any]:
    reference, where = str(mapping.model.config), str(mapping.model.position)
    found = _import(reference, where, permission)
    # Every configuration class of transformers has `model_type`, and no other callable there does.
    if not permission.any_code and not (
        isinstance(found, type)
        and hasattr(found, "model_type")
        and below(found.__module__, ("transformers", *permission.own))
    ):
        raise UntrustedError(
            f"{reference} is not a configuration class",
            where=where,
            expected="such as transformers:BertConfig",
            hint="--trust, if you know that code",
        )
    return found
