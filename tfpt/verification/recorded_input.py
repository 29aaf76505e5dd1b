"""The recorded input, from the recording, a file of the user's or a seed, as tensors for the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from tfpt.errors import ModelError, SourceError
from tfpt.language import mapping as rows
from tfpt.nearest import nearest
from tfpt.networks.arguments import accepted_arguments
from tfpt.networks.endpoints import Inputs
from tfpt.networks.inputs import rearrange, to_pytorch_range
from tfpt.networks.recording.generated import regenerated_input
from tfpt.networks.recording.inputs import Given, given_inputs
from tfpt.networks.recording.recordings import INPUT, Recording
from tfpt.operations.layout import Layout
from tfpt.tensors import format_shape


@dataclass(frozen=True)
class ModelInput:
    """The input of both networks.

    Attributes:
        inputs: The arguments of the model: one tensor, or several by name.
        shapes: Their shapes in TensorFlow's order of axes, by their names in the recording.
        origin: Where the values come from, in words.
        numbers: For integer inputs, the number of distinct values, the smallest and the largest.
    """

    inputs: Inputs
    shapes: dict[str, tuple[int, ...]]
    origin: str
    numbers: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "origin": self.origin,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "numbers": {
                name: {"distinct": distinct, "least": least, "largest": largest}
                for name, (distinct, least, largest) in self.numbers.items()
            },
        }


def model_input(
    recording: Recording,
    mapping: rows.Mapping,
    model: nn.Module,
    inputs: Given | Mapping[str, Given] | None = None,
) -> ModelInput:
    """The recorded input in the form the model takes, on its device and in its floating-point dtype.

    Args:
        recording: Contains the input, or says how to regenerate it.
        mapping: Gives the layout of a single input.
        model: Several inputs are passed to its arguments of the same names, or those in the mapping's `names`.
        inputs: The input, if the recording does not contain it.

    Raises:
        SourceError: There is no input, it differs from the recorded one, or a file cannot be read.
        ModelError: It does not fit the layout in the mapping, or the model has no argument of that name.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> recording = Recording({}, {"input": np.zeros((1, 16, 7, 5, 3), np.float32)})
        >>> found = model_input(recording, load_mapping("i3d_rgb"), nn.Conv3d(3, 5, 1))
        >>> found.inputs.shape, found.shapes, found.origin
        (torch.Size([1, 3, 16, 7, 5]), {'input': (1, 16, 7, 5, 3)}, 'an array in memory')
    """
    arrays, origin = _arrays(recording, inputs)
    scaled = {name: to_pytorch_range(array, mapping) for name, array in arrays.items()}
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    numbers = {
        name: (int(np.unique(array).size), int(array.min()), int(array.max()))
        for name, array in arrays.items()
        if array.dtype.kind in "iu" and array.size
    }
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    if list(arrays) == [INPUT]:
        array = scaled[INPUT]
        layout = mapping.input.layout
        try:
            rearranged = rearrange(array, Layout.parse(layout) if layout else None)
        except ModelError as error:
            raise ModelError(
                "the input does not fit the layout in the mapping",
                where=str(mapping.path),
                expected=f"input: {{layout: {layout}}}",
                got=format_shape(tuple(array.shape)),
                hint="inputs must be in TensorFlow's order of axes, batch first",
            ) from error
        return ModelInput(_tensor(rearranged, like), shapes, origin, numbers)
    named = {mapping.input.names.get(name, name): array for name, array in scaled.items()}
    _check_arguments(model, list(named), recording.location, mapping)
    return ModelInput({name: _tensor(array, like) for name, array in named.items()}, shapes, origin, numbers)


def _arrays(
    recording: Recording, inputs: Given | Mapping[str, Given] | None
) -> tuple[dict[str, np.ndarray], str]:
    given = given_inputs(inputs)
    known = _input_names(recording)
    if given and len(known) > 1:
        _refuse_missing(given, known, recording)
    if len(given) == 1 and len(known) <= 1:
        given = {INPUT: next(iter(given.values()))}  # a single array is the single input, whatever its name
    if not given:
        if recording.inputs:
            return dict(recording.inputs), _recorded_origin(recording)
        return _regenerated(recording)
    arrays = {name: array for name, (array, _) in given.items()}
    for name, held in recording.inputs.items():
        if name in arrays and not np.array_equal(arrays[name], held):
            raise SourceError(
                "the input differs from the one in the recording",
                where=recording.location or None,
                expected=f"{format_shape(tuple(held.shape))} {held.dtype}, the recorded values",
                got=f"{format_shape(tuple(arrays[name].shape))} {arrays[name].dtype}",
                hint="omit --input, or make a new recording with this input",
            )
    file = next((str(origin["file"]) for _, origin in given.values() if "file" in origin), "")
    return {**recording.inputs, **arrays}, file or "an array in memory"


def _input_names(recording: Recording) -> list[str]:
    """The names of a recording's inputs, whether it contains them or only says what they were."""
    facts = recording.facts.get("inputs")
    described = list(facts) if isinstance(facts, dict) else []
    return list(dict.fromkeys([*recording.inputs, *described]))


def _refuse_missing(given: Mapping[str, Any], known: list[str], recording: Recording) -> None:
    """Refuse inputs that the network does not have, or not all of several that the recording does not contain."""
    unknown = [name for name in given if name not in known]
    missing = [name for name in known if name not in given and name not in recording.inputs]
    if unknown or missing:
        raise SourceError(
            f"the network has no input {unknown[0]}"
            if unknown and unknown != [INPUT]
            else "the network has several inputs",
            where=recording.location or None,
            expected=", ".join(known),
            got=", ".join(given),
            nearest=nearest(unknown[0], known) if unknown else (),
            hint=" ".join(f"--input {name}=FILE" for name in (missing or known)),
        )


def _recorded_origin(recording: Recording) -> str:
    """The origin of an input in the recording, as far as it is recorded."""
    facts = recording.facts.get("inputs")
    origins = []
    for fact in facts.values() if isinstance(facts, dict) else ():
        if isinstance(fact, dict) and fact.get("file") is not None:
            origins.append(str(fact["file"]))
        elif isinstance(fact, dict) and fact.get("seed") is not None:
            origins.append(f"seed {fact['seed']}")
    if not recording.location:  # made just now
        return ", ".join(origins) or "an array in memory"
    return f"the recording ({', '.join(origins)})" if origins else "the recording"


def _regenerated(recording: Recording) -> tuple[dict[str, np.ndarray], str]:
    """The input regenerated from the seed with which the recording was made."""
    facts = recording.facts.get("inputs")
    if isinstance(facts, dict) and facts:
        try:
            found = {name: regenerated_input(fact) for name, fact in facts.items()}
            seeds = ", ".join(str(fact["seed"]) for fact in facts.values())
            return found, f"seed {seeds}, from the recording"
        except (KeyError, TypeError, ValueError, OverflowError, MemoryError):
            pass  # the input was a file, or these facts were not written by tfpt
    names = _input_names(recording)
    named = " ".join(f"--input {name}=F.npy" for name in names) if len(names) > 1 else "--input F.npy"
    raise SourceError(
        "the recording does not contain its input",
        where=recording.location or None,
        hint=f"pass {named}, what TensorFlow was fed, in its order of axes",
    )


def _check_arguments(model: nn.Module, names: list[str], where: str, mapping: rows.Mapping) -> None:
    known = accepted_arguments(model)
    if known is None:
        return
    for name in names:
        if name not in known:
            theirs = next((tf for tf, pt in mapping.input.names.items() if pt == name), name)
            raise ModelError(
                f"the model has no argument {name}",
                where=where or None,
                expected=", ".join(known),
                got=", ".join(names),
                nearest=nearest(name, known),
                hint="inputs are passed to the model's arguments of the same names; in the mapping, "
                f"input: {{names: {{{theirs}: ARGUMENT}}}} gives another name",
            )


def _tensor(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    # Copied because recorded arrays are read-only; torch indexes only with int32 and int64.
    if array.dtype.kind in "iu" and array.dtype not in (np.int32, np.int64):
        array = array.astype(np.int64)
    tensor = torch.tensor(np.ascontiguousarray(array))
    dtype = like.dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=like.device, dtype=dtype)
