"""An input that a PyTorch model accepts, generated from a seed: pictures, clips, or rows of an embedding table."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from tfpt.errors import ModelError
from tfpt.language import mapping as rows
from tfpt.networks.inputs import channels_of, input_axes, input_shape, rearrange, seeded_input
from tfpt.networks.recording.generated import random_integers, row_limits

Sample = Literal["picture", "clip", "sequence"]

_OTHERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def embedding_rows(model: nn.Module) -> int | None:
    """The number of rows of the embedding that a model looks its input up in; ``None`` if its input is not indices.

    The model's first layer, in the order of its modules, decides: an embedding is looked up by integers, a convolution
    or a linear layer takes floating-point numbers.

    Example:
        >>> embedding_rows(nn.Sequential(nn.Embedding(101, 8), nn.Linear(8, 3)))
        101
        >>> embedding_rows(nn.Sequential(nn.Linear(8, 3), nn.Embedding(101, 8))) is None
        True
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            return module.num_embeddings
        if isinstance(module, _OTHERS):
            return None
    return None


def takes_sequences(model: nn.Module, mapping: rows.Mapping) -> bool:
    """Whether a model's input is sequences of indices, such as token ids: (batch, length).

    This is so if it starts with an embedding, and its mapping describes no input with pixels or channels.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> takes_sequences(nn.Embedding(101, 8), load_mapping("bert"))
        True
        >>> takes_sequences(nn.Embedding(101, 8), load_mapping("i3d_rgb"))
        False
    """
    if embedding_rows(model) is None:
        return False
    return mapping.input.layout is None or set(input_axes(mapping)) == {"b", "t"}


def sample_of(model: nn.Module, mapping: rows.Mapping) -> Sample:
    """What one element of a batch is.

    Raises:
        MappingError: The mapping does not describe the input, and the model does not start with an embedding.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> sample_of(nn.Conv3d(3, 5, 1), load_mapping("i3d_rgb"))
        'clip'
    """
    if takes_sequences(model, mapping):
        return "sequence"
    return "clip" if "t" in input_axes(mapping) else "picture"


def random_input(
    model: nn.Module,
    mapping: rows.Mapping,
    *,
    batch: int = 1,
    frames: int = 16,
    size: int | None = None,
    channels: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Random values in PyTorch's layout, reproducible from the seed.

    Args:
        model: Defines the channels, and whether the input is indices.
        mapping: Defines the axes, the size and the range.
        frames: Frames of a clip, or length of a sequence.
        size: Height and width in pixels; the mapping's by default.
        channels: The model's by default.

    Returns:
        Float32 in the mapping's range, or -1 to 1. If the model starts with an embedding, int64 instead, from 0 to the
        last row of its table, (batch, frames).

    Raises:
        MappingError: The mapping does not describe the input, or not completely.
        ModelError: A size was given that the input does not have.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> random_input(nn.Conv3d(3, 5, 1), load_mapping("i3d_rgb"), frames=9, size=11).shape
        torch.Size([1, 3, 9, 11, 11])
        >>> ids = random_input(nn.Embedding(101, 8), load_mapping("bert"), batch=2, frames=7)
        >>> ids.shape, ids.dtype, int(ids.min()), int(ids.max())
        (torch.Size([2, 7]), torch.int64, 0, 100)
    """
    if takes_sequences(model, mapping):
        given = {"size": size, "channels": channels}
        if refused := [name for name, value in given.items() if value is not None]:
            raise ModelError(
                f"{type(model).__name__} takes sequences of ids, which have no {' and no '.join(refused)}",
                expected="batch and frames (the length of a sequence)",
                got=", ".join(f"{name} {given[name]}" for name in refused),
            )
        limits = row_limits(embedding_rows(model), mapping.input.range)
        order = input_axes(mapping) if mapping.input.layout else ["b", "t"]
        shape = tuple({"b": batch, "t": frames}[axis] for axis in order)
        ids = random_integers("rows", shape, "int64", seed, limits)
        return rearrange(torch.from_numpy(ids), mapping.input.layout)
    channels = channels_of(model) if channels is None else channels
    shape = input_shape(mapping, batch=batch, frames=frames, size=size, channels=channels)
    return rearrange(torch.from_numpy(seeded_input(shape, mapping, seed)), mapping.input.layout)
