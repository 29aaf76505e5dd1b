"""The logits of one network for a clip of any length, computed in batches of windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import nn

from tfpt.errors import ModelError, TfptError
from tfpt.language.mapping import Mapping
from tfpt.networks.devices import enough_memory
from tfpt.networks.endpoints import first_tensor
from tfpt.networks.inputs import input_axes, rearrange

# The axes of a batch of windows.
_AXES = "b t h w c"


def mean_logits(
    model: nn.Module,
    mapping: Mapping,
    windows: Iterable[np.ndarray],
    *,
    batch: int = 1,
    location: str = "",
    seen: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, int]:
    """The logits of a network, averaged over the windows of a clip with equal weights.

    Args:
        model: In evaluation mode. Windows are converted to the device and dtype of its parameters.
        mapping: Gives the layout of the model's input.
        windows: Float arrays of (frames, height, width, channels); at most one batch is in memory.
        batch: Windows to run at once.
        location: The clip, for errors.
        seen: Called with the number of windows after each batch.

    Returns:
        float64 of (classes,), and the number of windows.

    Raises:
        ModelError: The network rejects a window, its output is not logits, or they are not finite.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> class Mean(nn.Module):
        ...     def forward(self, clip):
        ...         return clip.mean(dim=(2, 3, 4))
        >>> clips = [np.full((2, 4, 4, 3), value, np.float32) for value in (1, 2, 6)]
        >>> mean_logits(Mean(), load_mapping("i3d_rgb"), clips, batch=2)
        (array([3., 3., 3.]), 3)
    """
    total: np.ndarray = np.zeros(0)
    number = 0
    for together in batched(windows, batch):
        logits = _run(model, mapping, together, location)
        total = logits.sum(axis=0) if number == 0 else total + logits.sum(axis=0)
        number += len(together)
        if seen is not None:
            seen(number)
    return total / max(number, 1), number


def batched(windows: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Windows stacked into batches of `size`, the last one perhaps smaller; nothing is read ahead.

    Example:
        >>> [array.shape for array in batched([np.zeros((5, 2))] * 3, 2)]
        [(2, 5, 2), (1, 5, 2)]
    """
    held: list[np.ndarray] = []
    for window in windows:
        held.append(window)
        if len(held) == size:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


def layout_of(mapping: Mapping) -> str:
    """The rearrangement from a batch of windows to the model's input.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> layout_of(load_mapping("i3d_rgb"))
        'b t h w c -> b c t h w'
    """
    right = str(mapping.input.layout).partition("->")[2] or " ".join(input_axes(mapping))
    # For a network that takes single pictures, a window is one frame.
    axes = _AXES if "t" in input_axes(mapping) else _AXES.replace(" t", "")
    return f"{axes} -> {right.strip()}"


def _run(model: nn.Module, mapping: Mapping, together: np.ndarray, location: str) -> np.ndarray:
    if "t" not in input_axes(mapping):
        together = together[:, 0]
    parameter = next(model.parameters(), torch.empty(0))
    clip = torch.from_numpy(together).to(device=parameter.device, dtype=parameter.dtype)
    try:
        with torch.no_grad(), enough_memory(tuple(clip.shape), "lower --batch or --window"):
            output = model(rearrange(clip, layout_of(mapping)))
    except TfptError as error:
        raise type(error)(
            error.what,
            where=location,
            expected=error.expected,
            got=error.got,
            nearest=error.nearest,
            hint=error.hint,
            causes=error.causes,
        ) from error
    except Exception as error:  # third-party models may raise anything
        said = str(error).splitlines()[:1] or [type(error).__name__]
        raise ModelError(
            "the network cannot be run on the clip",
            where=location,
            got=f"windows of {tuple(together.shape)}: {said[0]}",
        ) from error
    logits = first_tensor(output, mapping.name)
    if logits.ndim != 2 or len(logits) != len(together):
        raise ModelError(
            "the network's output is not logits",
            where=str(mapping.model.position),
            expected=f"({len(together)}, classes)",
            got=str(tuple(logits.shape)),
        )
    values = logits.double().cpu().numpy()
    if not np.isfinite(values).all():
        raise ModelError(
            "the network's logits are not finite",
            where=location,
            got=f"{int((~np.isfinite(values)).sum())} of {values.size} are NaN or infinite",
            hint="tfpt inspect --stats WEIGHTS shows whether the weights are finite",
        )
    return np.asarray(values, np.float64)
