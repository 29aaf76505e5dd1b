"""Both sides of a verification: check which ones were given, and prepare the model."""

from __future__ import annotations

import copy
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tfpt._version import __version__
from tfpt.errors import TfptError
from tfpt.language import mapping as rows
from tfpt.language.loader import load_mapping
from tfpt.networks.averages import averages_read
from tfpt.networks.behavior import adapt_model
from tfpt.networks.devices import device_of
from tfpt.networks.loading import load
from tfpt.networks.recording import record
from tfpt.networks.recording.inputs import Given
from tfpt.networks.recording.recordings import Recording, read_recording
from tfpt.verification.agreement import DEFAULT_TOLERANCE, default_tolerance

DTYPES = ("float32", "float64", "bfloat16", "float16")


@dataclass(frozen=True)
class Sides:
    """Both sides of a verification.

    Attributes:
        mapping: The compiled mapping.
        model: The PyTorch model with its weights.
        weights: Where the weights come from.
        recording: What TensorFlow computed.
        name: Where that comes from.
        tolerance: The relative difference up to which two activations count as the same.
        inputs: The input supplied by the user, unless the network has just been run on it.
        averages: How many moving averages the weights were read from, although TensorFlow ran with the variables
            themselves; 0 if that is not known to be so.
    """

    mapping: rows.Mapping
    model: nn.Module
    weights: str
    recording: Recording
    name: str
    tolerance: float
    inputs: Given | Mapping[str, Given] | None
    averages: int = 0


def both_sides(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None,
    recording: str | os.PathLike[str] | Recording | None,
    *,
    network: Any,
    checkpoint: str | os.PathLike[str] | None,
    inputs: Given | Mapping[str, Given] | None,
    model: nn.Module | None,
    tolerance: float | None,
    settings: Mapping[str, Any] | None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None,
    dequantize: bool,
    trust: bool,
    adapt: bool,
    device: str | None,
    dtype: str | None,
    options: Mapping[str, Any],
) -> Sides:
    """Load the model and read the recording, or run the network.

    Args:
        options: What to record, and on which input, if the network is run; ``None`` and ``False`` are not given.

    Raises:
        TfptError: A side is missing or given twice, or cannot be read.
    """
    options = {name: value for name, value in options.items() if value is not None and value is not False}
    check_sides(weights, recording, network, model, options)
    config = os.fspath(config) if isinstance(config, os.PathLike) else config
    if tolerance is not None and not 0 < tolerance < 1:
        raise TfptError("invalid tolerance", expected="a number between 0 and 1", got=f"{tolerance:g}")
    compiled = load_mapping(os.fspath(mapping), settings, config)
    common: dict[str, Any] = {"settings": settings, "config": config, "trust": trust}
    chosen = weights if weights is not None else weights_of(network, checkpoint)
    if model is not None:
        ours = prepared(model, compiled, adapt=adapt, dtype=dtype, device=device)
    else:
        assert chosen is not None
        loaded = load(mapping, chosen, dequantize=dequantize, adapt=adapt, check=False, **common)
        ours = moved_to(loaded, dtype=dtype, device=device)
    if network is not None:
        theirs = record(mapping, network, checkpoint=checkpoint, inputs=inputs, **common, **options)
        inputs = None
    else:
        assert recording is not None
        theirs = recording if isinstance(recording, Recording) else read_recording(recording)
    return Sides(
        compiled,
        ours,
        "a model in memory" if model is not None else str(chosen),
        theirs,
        theirs.location or (str(network) if network is not None else "a recording in memory"),
        _default_tolerance(ours) if tolerance is None else tolerance,
        inputs,
        0 if model is not None or chosen is None else _only_ours(compiled, chosen, theirs),
    )


def _default_tolerance(model: nn.Module) -> float:
    """The tolerance for the coarsest dtype in which a model computes."""
    dtypes = {each.dtype for each in model.parameters() if each.is_floating_point()}
    known = [default_tolerance(dtype) for dtype in dtypes if dtype.itemsize > 1]
    return max(known, default=DEFAULT_TOLERANCE)


def _only_ours(mapping: rows.Mapping, weights: str | os.PathLike[str], recording: Recording) -> int:
    """How many averages the mapping reads from the weights, if the network is known to have run without any.

    Of a frozen graph, and of recordings that do not say what their network's variables were, this is not known.
    """
    used = recording.facts.get("averages")
    if used is None and not recording.facts.get("checkpoint"):
        return 0
    return 0 if used else len(averages_read(mapping, os.fspath(weights)))


def check_sides(
    weights: object, recording: object, network: object, model: object, options: Mapping[str, Any]
) -> None:
    """Refuse sides that are given twice or not at all.

    Raises:
        TfptError: The TensorFlow or the PyTorch side is missing or ambiguous.
    """
    if (recording is None) == (network is None):
        raise TfptError(
            "TensorFlow's side is given twice" if network else "TensorFlow's side is missing",
            expected="either a recording or a network to run",
            hint="tfpt record --mapping MAPPING NETWORK --out R.npz, then --recording R.npz",
        )
    if weights is not None and model is not None:
        raise TfptError("the PyTorch side is given twice", expected="either weights or a model")
    if weights is None and model is None and network is None:
        raise TfptError(
            "the PyTorch side is missing",
            expected="WEIGHTS: a TensorFlow checkpoint, or a file written by tfpt convert",
        )
    if options and network is None:
        raise TfptError(
            f"{next(iter(options))} applies to a network that is run, not to a recording",
            hint="pass it to tfpt record",
        )


def weights_of(
    network: str | os.PathLike[str] | None, checkpoint: str | os.PathLike[str] | None
) -> str | None:
    """The checkpoint that both sides use if no weights are given.

    Example:
        >>> weights_of("model.ckpt-12.meta", None), weights_of("net.pb", "model.ckpt-12")
        ('model.ckpt-12', 'model.ckpt-12')
    """
    if checkpoint is not None:
        return os.fspath(checkpoint)
    return None if network is None else os.fspath(network).removesuffix(".meta")


def prepared(
    model: nn.Module, mapping: rows.Mapping, *, adapt: bool, dtype: str | None, device: str | None
) -> nn.Module:
    """The user's model, or a changed copy of it.

    Raises:
        ModelError: It cannot be adapted.
        TfptError: The dtype is not supported, or this machine does not have the device.
    """
    if adapt or dtype is not None or device is not None:
        model = copy.deepcopy(model)
    if adapt:
        adapt_model(model, mapping)
    return moved_to(model, dtype=dtype, device=device)


def moved_to(model: nn.Module, *, dtype: str | None, device: str | None) -> nn.Module:
    """The model in this floating-point dtype and on this device.

    Raises:
        TfptError: The dtype is not supported, or this machine does not have the device.

    Example:
        >>> moved_to(nn.Linear(2, 3), dtype="float64", device=None).weight.dtype
        torch.float64
    """
    if dtype is not None and dtype not in DTYPES:
        raise TfptError("unsupported dtype", expected=", ".join(DTYPES), got=str(dtype))
    target = None if device is None else device_of(device)
    return model.to(device=target, dtype=None if dtype is None else getattr(torch, dtype))


def facts_of(model: nn.Module, recording: Recording, fed: dict[str, Any], optimize: bool) -> dict[str, Any]:
    """Both sides, the input and the versions, as JSON values."""
    parameter = next(model.parameters(), torch.zeros(()))
    return {
        "input": fed,
        "tensorflow": recording.facts,
        "pytorch": {
            "torch": torch.__version__,
            "tfpt": __version__,
            "python": platform.python_version(),
            "device": str(parameter.device),
            "dtype": str(parameter.dtype).removeprefix("torch."),
            "optimize": optimize,
            "threads": torch.get_num_threads(),
        },
    }
