"""Loads a mapping's model with weights: from a TensorFlow checkpoint, or from a file that `convert` wrote."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from tfpt.errors import DtypeError, ModelError, TfptError, UntrustedError
from tfpt.execution.kept_values import kept_of, with_random
from tfpt.execution.translate import translated
from tfpt.formats import Source
from tfpt.formats.joined import open_for
from tfpt.formats.roles import roles_of
from tfpt.language import mapping as rows
from tfpt.language.loader import load_mapping
from tfpt.nearest import nearest
from tfpt.operations.casting import cast, loss
from tfpt.planning import Finding, PlanError, make_plan
from tfpt.targets.model import build_model, model_specs
from tfpt.tensors import DTYPES, TensorSpec, format_shape

if TYPE_CHECKING:
    import torch


def load(
    mapping: str | os.PathLike[str],
    path: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    *,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    adapt: bool = False,
    trust: bool = False,
    device: str = "cpu",
    optimize: bool = False,
    check: bool = True,
) -> torch.nn.Module:
    """See `tfpt.api.load`."""
    from tfpt.networks.devices import device_of

    torch_device = device_of(device)
    compiled = load_mapping(os.fspath(mapping), settings, config)
    with closing(open_for(compiled.files, path, dequantize=dequantize, names=compiled.names)) as source:
        model = _filled(
            compiled,
            source,
            source.location if isinstance(path, Mapping) else str(path),
            adapt=adapt,
            trust=trust,
            check=check,
        )
    model = model.to(torch_device)
    if optimize:
        from tfpt.networks.optimization import optimize as faster

        model = faster(model)
    return model


def _filled(
    compiled: rows.Mapping, source: Source, path: str, *, adapt: bool, trust: bool, check: bool
) -> torch.nn.Module:
    """The mapping's model with the values of a source loaded."""
    from tfpt.networks.behavior import adapt_model, check_behavior

    def build(device: str) -> torch.nn.Module:
        model = build_model(compiled, device=device, trust=trust)
        if adapt:
            adapt_model(model, compiled)
        return model

    try:
        model = build("meta")
    except UntrustedError:
        raise
    except ModelError:  # perhaps its constructor computes with values, which meta tensors do not have
        model = build("cpu")
    if check:
        contradictions = [finding for finding in check_behavior(model, compiled) if finding.stops]
        if contradictions:
            raise _contradiction(compiled.name, contradictions)
    if source.side == "pt":
        _check_fit(model, source.specs, path)
        wanted = model_specs(model)
        tensors: Mapping[str, np.ndarray] = {
            name: _in_model_dtype(source.read(name), wanted[name], path) for name in source.specs
        }
    else:
        plan = make_plan(
            compiled,
            source.specs,
            model_specs(model),
            source=path,
            roles=roles_of(source),
            quantized=source.quantized,
            skipped=source.skipped,
        )
        kept = kept_of(plan, lambda: build("cpu")) if plan.kept else None
        if kept is not None:
            plan = with_random(plan, kept.random)
        if not plan.ok:
            raise PlanError(plan)
        tensors = translated(plan, source, None if kept is None else kept.values)
    if not _state_is_complete(model):
        model = build("cpu")
    _fill(model, {name: _tensor(array) for name, array in tensors.items()})
    return model


def _state_is_complete(model: torch.nn.Module) -> bool:
    """Whether loading the state dict into a model on the meta device completes it; otherwise it is built again.

    If so, no random initial values have to be drawn, which for most models takes longer than everything else.
    """
    import torch

    parameters = dict(model.named_parameters(remove_duplicate=False))
    named = {**parameters, **dict(model.named_buffers(remove_duplicate=False))}
    tied = len({id(tensor) for tensor in named.values()}) < len(named)
    unregistered = any(
        isinstance(tensor, torch.Tensor)
        for module in model.modules()
        for name, value in vars(module).items()
        if name not in ("_parameters", "_buffers", "_modules")
        for tensor in (
            value.values()
            if isinstance(value, dict)
            else value
            if isinstance(value, list | tuple)
            else (value,)
        )
    )
    return not tied and not unregistered and set(named) == set(model.state_dict())


def _fill(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    state = model.state_dict()
    if not any(value.is_meta for value in state.values()):
        _untie(model, tensors)
        model.load_state_dict(tensors)
        return
    # Copied, because what is read may be a view of a file.
    own = {name: tensor.to(state[name].dtype, copy=True) for name, tensor in tensors.items()}
    model.load_state_dict(own, assign=True)


def _untie(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Gives parameters that the model ties, but whose values differ, tensors of their own.

    Some classes of transformers tie their output layer whatever the configuration says, until weights are loaded.
    """
    import torch

    tied: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in tensors:
            tied.setdefault(id(parameter), []).append(name)
    for first, *others in tied.values():
        for name in others:
            if torch.equal(tensors[name], tensors[first]):
                continue
            path, _, leaf = name.rpartition(".")
            module = model.get_submodule(path)
            if module is model.get_submodule(first.rpartition(".")[0]):
                raise ModelError(
                    f"{first} and {name} are one parameter of the model, but have different values",
                    expected="equal values",
                )
            own = getattr(module, leaf)
            setattr(module, leaf, torch.nn.Parameter(own.detach().clone(), own.requires_grad))


def _tensor(array: np.ndarray) -> torch.Tensor:
    import torch

    kind = array.dtype.name
    with warnings.catch_warnings():
        # The values are copied into the model at once, so it does not matter that they are a read-only view of a file.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        if array.dtype.isbuiltin == 2:  # a dtype of ml_dtypes, which torch.from_numpy does not know
            if not hasattr(torch, kind):  # nor torch itself: float32 represents all of its values
                return torch.from_numpy(array.astype(np.float32))
            return torch.from_numpy(array.view(f"i{array.dtype.itemsize}")).view(getattr(torch, kind))
        return torch.from_numpy(array)


def _in_model_dtype(array: np.ndarray, spec: TensorSpec, path: str) -> np.ndarray:
    """A file's values in the dtype of the model's parameter, which may be narrower."""
    dtype = DTYPES[spec.dtype].numpy if spec.dtype in DTYPES else None
    if dtype is None or array.dtype.kind == "O":
        return array
    written = cast(array, dtype)
    lost = loss(array, written)
    if lost is not None:
        raise DtypeError(
            f"{spec.dtype}, the model's dtype of {spec.name}, cannot represent "
            f"{_count(lost.count, 'value')} of the file",
            where=path,
            expected=f"values that {spec.dtype} can represent",
            got=f"{lost.largest}{' among them' if lost.count != 1 else ''}",
        )
    return np.ascontiguousarray(written).reshape(array.shape)


def _check_fit(model: torch.nn.Module, specs: Mapping[str, TensorSpec], path: str) -> None:
    wanted = model_specs(model)
    mistakes = [
        TfptError(f"the model's {name} is not in the file", expected=str(spec), nearest=nearest(name, specs))
        for name, spec in wanted.items()
        if name not in specs
    ]
    for name, spec in specs.items():
        if name not in wanted:
            mistakes.append(
                TfptError(f"the model has no {name}", got=str(spec), nearest=nearest(name, wanted))
            )
        elif wanted[name].shape != spec.shape:
            mistakes.append(
                TfptError(
                    f"{name} has another shape in the model",
                    expected=format_shape(wanted[name].shape),
                    got=format_shape(spec.shape),
                )
            )
    if mistakes:
        raise ModelError(
            f"the file does not have the weights of this model: {_count(len(mistakes), 'difference')}",
            where=path,
            hint="tfpt diff --mapping MAPPING CHECKPOINT WEIGHTS",
            causes=mistakes[:20],
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _contradiction(name: str, findings: list[Finding]) -> ModelError:
    verb = "does" if len(findings) == 1 else "do"
    return ModelError(
        f"the model of {name} has {_count(len(findings), 'layer')} that {verb} not compute what TensorFlow computed",
        causes=[
            TfptError(finding.what, where=finding.where, expected=finding.expected, got=finding.got)
            for finding in findings[:20]
        ],
        hint=findings[0].hint,
    )
