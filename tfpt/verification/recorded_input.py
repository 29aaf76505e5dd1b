"""The recorded input once more: from the recording, from a person's file or from a seed, to the tensors of a model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from tfpt.errors import ModelError, SourceError
from tfpt.language import mapping as rows
from tfpt.nearest import nearest
from tfpt.networks.endpoints import Inputs
from tfpt.networks.inputs import rearrange
from tfpt.networks.recording.generated import regenerated_input
from tfpt.networks.recording.inputs import Given, given_inputs
from tfpt.networks.recording.recordings import INPUT, Recording
from tfpt.operations.layout import Layout
from tfpt.tensors import format_shape


@dataclass(frozen=True)
class Refed:
    """What both networks were given.

    Attributes:
        inputs: What the model is called with: one tensor, or several by the names of its arguments.
        shapes: Of each in TensorFlow's order of axes, by its name in the recording.
        origin: Where the values come from, in words.
        numbers: Of inputs of whole numbers how many different ones there are, the least and the largest.
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


def refeed(
    recording: Recording,
    mapping: rows.Mapping,
    model: nn.Module,
    inputs: Given | Mapping[str, Given] | None = None,
) -> Refed:
    """The recorded input as the model takes it, on the model's device and in its floating-point dtype.

    Args:
        recording: Holds the input, or says how it is made again.
        mapping: Says how the axes of a single input lie on both sides.
        model: Several inputs go to its arguments of the same names.
        inputs: The input, where the recording has none.

    Raises:
        SourceError: There is no input, or another one than the recorded; a file cannot be read.
        ModelError: It does not have the axes that the mapping says, or the model has no such argument.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> recording = Recording({}, {"input": np.zeros((1, 16, 7, 5, 3), np.float32)})
        >>> found = refeed(recording, load_mapping("i3d_rgb"), nn.Conv3d(3, 5, 1))
        >>> found.inputs.shape, found.shapes, found.origin
        (torch.Size([1, 3, 16, 7, 5]), {'input': (1, 16, 7, 5, 3)}, 'an array given')
    """
    arrays, origin = _arrays(recording, inputs)
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    numbers = {
        name: (int(np.unique(array).size), int(array.min()), int(array.max()))
        for name, array in arrays.items()
        if array.dtype.kind in "iu" and array.size
    }
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    if list(arrays) == [INPUT]:
        array = arrays[INPUT]
        layout = mapping.input.layout
        try:
            rearranged = rearrange(array, Layout.parse(layout) if layout else None)
        except ModelError as error:
            raise ModelError(
                "the input does not have the axes that the mapping says",
                where=str(mapping.path),
                expected=f"input: {{layout: {layout}}}",
                got=format_shape(tuple(array.shape)),
                hint="inputs are in TensorFlow's order of axes, with the batch in front",
            ) from error
        return Refed(_tensor(rearranged, like), shapes, origin, numbers)
    _check_arguments(model, list(arrays), recording.location)
    return Refed({name: _tensor(array, like) for name, array in arrays.items()}, shapes, origin, numbers)


def _arrays(
    recording: Recording, inputs: Given | Mapping[str, Given] | None
) -> tuple[dict[str, np.ndarray], str]:
    given = given_inputs(inputs)
    if len(given) == 1 and len(recording.inputs) <= 1:
        given = {
            INPUT: next(iter(given.values()))
        }  # a lone array is the lone input, whatever its file calls it
    if not given:
        if recording.inputs:
            return dict(recording.inputs), _kept(recording)
        return _made_again(recording)
    arrays = {name: array for name, (array, _) in given.items()}
    for name, held in recording.inputs.items():
        if name in arrays and not np.array_equal(arrays[name], held):
            raise SourceError(
                "the recording holds the input that it was made with, and this is another",
                where=recording.location or None,
                expected=f"{format_shape(tuple(held.shape))} {held.dtype}, the recorded values",
                got=f"{format_shape(tuple(arrays[name].shape))} {arrays[name].dtype}",
                hint="leave out --input, or record TensorFlow with this one",
            )
    file = next((str(origin["file"]) for _, origin in given.values() if "file" in origin), "")
    return {**recording.inputs, **arrays}, file or "an array given"


def _kept(recording: Recording) -> str:
    """Where an input that the recording holds came from, as far as its facts say."""
    facts = recording.facts.get("inputs")
    origins = []
    for fact in facts.values() if isinstance(facts, dict) else ():
        if isinstance(fact, dict) and fact.get("file") is not None:
            origins.append(str(fact["file"]))
        elif isinstance(fact, dict) and fact.get("seed") is not None:
            origins.append(f"seed {fact['seed']}")
    if not recording.location:  # made on the spot
        return ", ".join(origins) or "an array given"
    return f"the recording ({', '.join(origins)})" if origins else "the recording"


def _made_again(recording: Recording) -> tuple[dict[str, np.ndarray], str]:
    """The values that a seed gave when the recording was made."""
    facts = recording.facts.get("inputs")
    if isinstance(facts, dict) and facts:
        try:
            found = {name: regenerated_input(fact) for name, fact in facts.items()}
            seeds = ", ".join(str(fact["seed"]) for fact in facts.values())
            return found, f"seed {seeds}, as the recording says"
        except (KeyError, TypeError, ValueError, OverflowError, MemoryError):
            pass  # it was a file, or the facts are somebody else's
    raise SourceError(
        "the recording does not hold the input that it was made with",
        where=recording.location or None,
        hint="--input F.npy, the array that TensorFlow was fed, in its order of axes",
    )


def _check_arguments(model: nn.Module, names: list[str], where: str) -> None:
    parameters = inspect.signature(model.forward).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in names:
        if name not in parameters:
            raise ModelError(
                f"the model takes no argument {name}",
                where=where or None,
                expected=", ".join(parameters),
                got=", ".join(names),
                nearest=nearest(name, parameters),
                hint="the inputs of a recording go to the model's arguments of the same names; "
                "--input NAME=FILE gives others",
            )


def _tensor(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    # A copy: what a recording holds cannot be written to, and torch's index types are int32 and int64 alone.
    if array.dtype.kind in "iu" and array.dtype not in (np.int32, np.int64):
        array = array.astype(np.int64)
    tensor = torch.tensor(np.ascontiguousarray(array))
    dtype = like.dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.to(device=like.device, dtype=dtype)
