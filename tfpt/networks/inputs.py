"""The inputs of a network as its mapping describes them: shapes, generated values, and conversion of the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import einops
import numpy as np
import torch
from torch import nn

from tfpt.errors import MappingError, ModelError
from tfpt.language import mapping as rows
from tfpt.operations.layout import Layout

Array = TypeVar("Array", np.ndarray, torch.Tensor)

_CHANNELS = {"rgb": 3, "flow": 2}


def input_axes(mapping: rows.Mapping) -> list[str]:
    """The letters of the input's axes in TensorFlow's order, such as ``b t h w c``.

    Raises:
        MappingError: The mapping does not describe the input.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> input_axes(load_mapping("i3d_rgb"))
        ['b', 't', 'h', 'w', 'c']
    """
    if mapping.input.layout is None:
        raise MappingError(
            f"the mapping {mapping.name} does not describe the network's input",
            where=str(mapping.path),
            expected='input: {layout: "b h w c -> b c h w", size: 224}',
        )
    return mapping.input.layout.partition("->")[0].split()


def input_shape(
    mapping: rows.Mapping,
    *,
    batch: int = 1,
    frames: int = 16,
    size: int | None = None,
    channels: int | None = None,
) -> tuple[int, ...]:
    """The shape of an input, in TensorFlow's order of axes.

    Args:
        frames: The size of axis ``t``, if there is one.
        size: Height and width in pixels; the mapping's by default.
        channels: By default 3 for ``kind: rgb`` and 2 for ``kind: flow``; see also `channels_of`.

    Raises:
        MappingError: The mapping does not state a size, or has an axis other than ``b t h w c``.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> input_shape(load_mapping("i3d_flow"), frames=17)
        (1, 17, 224, 224, 2)
    """
    size = mapping.input.size if size is None else size
    channels = _CHANNELS.get(mapping.input.kind or "") if channels is None else channels
    sizes = {"b": batch, "t": frames, "h": size, "w": size, "c": channels}
    axes = input_axes(mapping)
    for axis in axes:
        if sizes.get(axis) is None:
            raise MappingError(
                f"the mapping {mapping.name} does not say the size of the input's axis {axis!r}",
                where=str(mapping.path),
                expected="input: with kind: (for c) and size: (for h and w), and only the axes b t h w c",
                got=f"layout: {mapping.input.layout}",
            )
    return tuple(int(sizes[axis] or 0) for axis in axes)


def channels_of(model: nn.Module) -> int | None:
    """The number of input channels of a model's first convolution; ``None`` if it has no convolution.

    Example:
        >>> channels_of(nn.Sequential(nn.ReLU(), nn.Conv2d(6, 4, 3, groups=2)))
        6
    """
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            return module.in_channels
    return None


def seeded_input(shape: tuple[int, ...], mapping: rows.Mapping, seed: int = 0) -> np.ndarray:
    """Uniform float32 values in the mapping's ``range:`` (by default -1 to 1), reproducible from the seed.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> values = seeded_input((1, 2, 5, 5, 3), load_mapping("i3d_rgb"), seed=3)
        >>> values.dtype.name, bool(abs(values).max() <= 1), round(float(values[0, 0, 0, 0, 0]), 4)
        ('float32', True, -0.8287)
    """
    low, high = mapping.input.range or (-1.0, 1.0)
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def tf_range(mapping: rows.Mapping) -> Sequence[float] | None:
    """The range of values that the TensorFlow network takes: ``tf_range:``, else ``range:``."""
    return mapping.input.tf_range or mapping.input.range


def to_pytorch_range(array: np.ndarray, mapping: rows.Mapping) -> np.ndarray:
    """TensorFlow's input in the range that the PyTorch model takes, if the mapping states two.

    Args:
        array: Floating-point or uint8 values; other integers are ids, which are returned unchanged.
        mapping: Its ``tf_range:`` and ``range:``.

    Returns:
        Float32 (float64 from float64), the same shape.

    Example:
        >>> from tfpt.language.schema import InputEntry
        >>> from types import SimpleNamespace
        >>> mapping = SimpleNamespace(input=InputEntry(tf_range=[0, 255], range=[-1, 1]))
        >>> to_pytorch_range(np.uint8([0, 51, 255]), mapping).tolist()
        [-1.0, -0.6000000238418579, 1.0]
    """
    if mapping.input.tf_range is None or array.dtype.kind not in "fu":
        return array
    assert mapping.input.range is not None  # the schema requires it
    (low, high), (to_low, to_high) = mapping.input.tf_range, mapping.input.range
    scaled = (array.astype(np.float64) - low) / (high - low) * (to_high - to_low) + to_low
    return scaled if array.dtype == np.float64 else scaled.astype(np.float32)


def rearrange(array: Array, layout: Layout | str | None, *, back: bool = False) -> Array:
    """Rearrange the axes of an array or tensor by a layout; with `back`, from its right side to its left.

    Raises:
        ModelError: The shape does not match the layout.

    Example:
        >>> rearrange(np.zeros((1, 16, 7, 5, 3)), "b t h w c -> b c t h w").shape
        (1, 3, 16, 7, 5)
        >>> rearrange(np.zeros((1, 3, 16, 7, 5)), "b t h w c -> b c t h w", back=True).shape
        (1, 16, 7, 5, 3)
    """
    if layout is None:
        return array
    pattern = str(layout)
    sizes: dict[str, Any] = dict(layout.sizes) if isinstance(layout, Layout) else {}
    if back:
        pattern = "->".join(reversed(pattern.split("->")))
    try:
        return einops.rearrange(array, pattern, **sizes)
    except einops.EinopsError as error:
        raise ModelError(
            "an array does not have the axes of its layout", expected=pattern, got=str(tuple(array.shape))
        ) from error
