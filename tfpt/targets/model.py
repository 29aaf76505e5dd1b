"""The PyTorch model that a mapping names: imported only from trusted packages, built on the meta device.

Trusted are a fixed list of packages and, for a mapping that an installed package registered, the code of that package.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfpt.errors import MappingError, ModelError, UntrustedError
from tfpt.language.configuration import Configuration
from tfpt.language.mapping import Mapping, ModelReference
from tfpt.language.mapping_packages import package_of
from tfpt.targets.model_arguments import check_made_configuration, checked_arguments, checked_configuration
from tfpt.tensors import TensorSpec

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("tfpt")

# Mappings may come from untrusted sources, so the packages they can import are a fixed list.
TRUSTED = ("tfpt.models", "torchvision.models", "timm", "transformers", "torch.nn")

# Parts of timm that only build layers; its `task` modules load pretrained models.
_TIMM_LAYERS = ("timm.models", "timm.layers")


def build_model(mapping: Mapping, *, device: str = "meta", trust: bool = False) -> torch.nn.Module:
    """Build the model of a mapping, in evaluation mode.

    Args:
        mapping: The mapping, with its factory, arguments and configuration.
        device: ``meta`` for names and shapes only; a real device for a model with values.
        trust: Also import a factory from outside the trusted packages, and pass on any arguments.

    Raises:
        ModelError: There is no factory, it or an argument is not trusted, its package is not installed, or it rejects
            its arguments.
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
    _log.info("building %s on %s", reference.factory, device)
    folder = mapping.path.parent if trust else None
    factory = import_factory(mapping, trust=trust)
    import torch

    try:
        if reference.config is not None:
            configure = _configuration(mapping, folder)
            values = {**reference.kwargs, **(mapping.config or {})}
            if not trust:  # checked before they are used
                values = checked_configuration(values, reference.config, where)
                checked_configuration(reference.kwargs, reference.config, where)
            if mapping.config:
                known = _keys_of(configure, reference.kwargs)
                Configuration(mapping.config).check_against(known, reference.config, where)
            positional, arguments = [configure(**values)], dict[str, Any]()
            if not trust:
                check_made_configuration(positional[0], reference.config, where)
        else:
            positional, arguments = [], dict(reference.kwargs)
            if not trust:
                arguments = checked_arguments(factory, reference.factory, arguments, where)
        with torch.device(device):
            model = factory(*positional, **arguments)
    except (MappingError, ModelError):
        raise
    except Exception as error:  # third-party constructors raise anything
        raise ModelError(
            f"{reference.factory} rejects its arguments: {error}",
            where=where,
            got=", ".join(f"{key}={value!r}" for key, value in reference.kwargs.items()) or "no arguments",
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise ModelError(
            f"{reference.factory} does not return a torch.nn.Module", where=where, got=type(model).__name__
        )
    return model.eval()


def import_factory(mapping: Mapping, *, trust: bool = False) -> Callable[..., Any]:
    """The class or function that builds the model of a mapping with a `factory`.

    Raises:
        ModelError: It is not trusted, or cannot be imported.
    """
    reference, where = mapping.model.factory or "", str(mapping.model.position)
    own = _own_package(mapping.model)
    factory = _import(reference, where, mapping.path.parent if trust else None, own)
    if not trust and not _builds_models(factory, own):
        raise UntrustedError(
            f"{reference} is not a class of layers",
            where=where,
            expected="a class derived from torch.nn.Module, a function of "
            f"{' or '.join(('tfpt.models', *own))}, a model of torchvision.models, or timm:create_model",
            hint="--trust, if you know that code",
        )
    return factory


def _own_package(reference: ModelReference) -> tuple[str, ...]:
    """The package whose code a mapping may use because the package registered the mapping; empty for other mappings.

    What counts is the file that states the factory, and the configuration if there is one: a mapping from elsewhere may
    extend that of a package.
    """
    trusted = (reference.factory, reference.config if reference.config is not None else reference.factory)
    if all(_is_trusted(str(each).partition(":")[0]) for each in trusted):
        return ()  # no other package is needed, so none has to be found
    stated = [reference.position] + [reference.config_position] * (reference.config is not None)
    homes = {package.home if (package := package_of(each.file)) else "" for each in stated}
    return tuple(homes) if len(homes) == 1 and "" not in homes else ()


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


def _import(reference: str, where: str, folder: Path | None, own: tuple[str, ...] = ()) -> Callable[..., Any]:
    """The object that the reference names.

    Args:
        reference: Its name.
        where: The location in the mapping, for errors.
        folder: That of a trusted mapping: allows any object from anywhere.
        own: The package that registered the mapping, which is trusted, too.
    """
    trust = folder is not None
    module_name, colon, name = reference.partition(":")
    if (
        not colon
        or not name.isidentifier()
        or not all(part.isidentifier() for part in module_name.split("."))
    ):
        raise ModelError(
            "the factory cannot be read", where=where, expected="package.module:Name", got=reference
        )
    if not trust and not _is_trusted(module_name, own):
        raise UntrustedError(
            f"the factory {reference} lies outside the packages that tfpt imports from",
            where=where,
            expected=", ".join((*TRUSTED, *own)),
            got=module_name,
            hint="--trust, if you know that code",
        )
    try:
        with _also_from(folder):
            module = importlib.import_module(module_name)
            found = getattr(module, name, None)
    except ImportError as error:
        # A package on PyPI may share the name of the user's module: suggest pip only for known packages.
        beside = f"put {module_name.partition('.')[0]}.py beside the mapping, or its folder on PYTHONPATH"
        raise ModelError(
            f"{module_name} cannot be imported: {error}",
            where=where,
            hint=f"pip install {module_name.partition('.')[0]}" if _is_trusted(module_name) else beside,
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
    if not trust and not _is_trusted(str(getattr(found, "__module__", "")), own):
        raise UntrustedError(
            f"{reference} was defined outside the packages that tfpt imports from",
            where=where,
            expected=", ".join((*TRUSTED, *own)),
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
def _also_from(folder: Path | None) -> Iterator[None]:
    """Also import from this folder and the working directory, after all installed packages."""
    before = list(sys.path)
    if folder is not None:
        sys.path += [str(folder.resolve()), os.getcwd()]
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
        return issubclass(factory, torch.nn.Module) and (package != "timm" or _below(home, _TIMM_LAYERS))
    if package == "timm":
        return name == "create_model"
    if package == "torchvision":
        from torchvision.models import get_model, list_models

        return factory is get_model or name in list_models()
    return _below(home, ("tfpt.models", *own))


def _configuration(mapping: Mapping, folder: Path | None) -> Callable[..., Any]:
    reference, where = str(mapping.model.config), str(mapping.model.position)
    trust, own = folder is not None, _own_package(mapping.model)
    found = _import(reference, where, folder, own)
    # Every configuration class of transformers has `model_type`, and no other callable there does.
    if not trust and not (
        isinstance(found, type)
        and hasattr(found, "model_type")
        and _below(found.__module__, ("transformers", *own))
    ):
        raise UntrustedError(
            f"{reference} is not a configuration class",
            where=where,
            expected="such as transformers:BertConfig",
            hint="--trust, if you know that code",
        )
    return found


def _is_trusted(module: str, own: tuple[str, ...] = ()) -> bool:
    # The folder models/ of the repository is installed as tfpt.models.
    return _below(module, (*TRUSTED, *own))


def _below(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)
