"""The input clip for drawing activations: as network input, and as pictures to display."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice

import einops
import numpy as np
from torch import nn

from tfpt.language import mapping as rows
from tfpt.networks.inputs import channels_of, input_axes, input_shape, seeded_input
from tfpt.report import color_maps as colors
from tfpt.video.clips import check_clip, open_clip, prepared, scaled
from tfpt.video.clips.preparation import check_input

_MOST_FRAMES = 64
_NOISE_FRAMES = 16
# The frame rate if none is known.
_FPS = 10.0


@dataclass(frozen=True)
class Footage:
    """A clip as network input, and as pictures to display.

    Attributes:
        values: In TensorFlow's layout, float32.
        pictures: (frames, height, width, 3), uint8.
        label: The label of the pictures.
        text: Their origin.
        fps: Frames per second.
        over_time: Whether the network takes the clip as a whole, rather than frame by frame.
    """

    values: np.ndarray
    pictures: np.ndarray
    label: str
    text: str
    fps: float
    over_time: bool

    def middles(self, steps: int) -> np.ndarray:
        """For each of `steps` output steps, the frame in the middle of its span.

        Example:
            >>> frames = np.zeros((8, 1, 1, 3), np.uint8)
            >>> Footage(np.zeros(0), frames, "", "", 25, True).middles(2).tolist()
            [2, 6]
        """
        number = len(self.pictures)
        return np.minimum((np.arange(steps) + 0.5) * number / steps, number - 1).astype(np.intp)


def read_footage(
    mapping: rows.Mapping,
    clip: str | os.PathLike[str] | None,
    frames: int | None,
    start: float | None,
    model: nn.Module,
) -> Footage:
    """The frames of a clip, prepared as the mapping says; without a clip, noise with a fixed seed.

    Raises:
        SourceError: The clip cannot be read, or does not fit the network.
        MappingError: The mapping does not define the network's input.

    Example:
        >>> from tfpt.language.loader import load_mapping
        >>> found = read_footage(load_mapping("i3d_flow"), None, 3, None, nn.Identity())
        >>> found.values.shape, found.pictures.shape, found.label
        ((1, 3, 224, 224, 2), (3, 224, 224, 3), 'input, full color 1.41')
    """
    axes = input_axes(mapping)
    fps = mapping.input.fps or _FPS
    if clip is None:
        number = frames or _NOISE_FRAMES
        shape = dict(zip("bthwc", (1, number, *_picture(mapping, model)), strict=True))
        values = seeded_input(tuple(shape.values()), mapping)[0]
        text = "random noise"
    else:
        check_input(mapping)
        opened = open_clip(clip, default_fps=mapping.input.fps)
        check_clip(opened, mapping)
        found = list(islice(prepared(opened, mapping, start=start), frames or _MOST_FRAMES))
        values = scaled(np.stack(found), mapping, opened)
        name = _short(os.path.basename(opened.location.rstrip(os.sep)))
        text = f"{len(found)} frame{'s' * (len(found) != 1)} of {name}"
        fps = float(opened.fps) if opened.kind != "pictures" and opened.fps is not None else fps
    pictures, label = _pictures(values, mapping)
    # A network that takes single pictures gets the frames as a batch.
    over_time = "t" in axes
    batch = "1" if over_time else "t"
    order = " ".join({"b": batch}.get(axis, axis) for axis in axes)
    return Footage(
        np.ascontiguousarray(einops.rearrange(values, f"t h w c -> {order}")),
        pictures,
        label,
        text,
        fps,
        over_time,
    )


def _short(name: str, most: int = 48) -> str:
    """A name shortened to fit in a picture of a few tiles.

    Example:
        >>> _short("cricket.mp4"), _short("a_very_long_name_of_a_clip.mp4", 13)
        ('cricket.mp4', 'a_very…ip.mp4')
    """
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def _picture(mapping: rows.Mapping, model: nn.Module) -> tuple[int, int, int]:
    """Height, width and channels of the network's input."""
    sizes = dict(zip(input_axes(mapping), input_shape(mapping, channels=channels_of(model)), strict=True))
    return sizes["h"], sizes["w"], sizes["c"]


def _pictures(values: np.ndarray, mapping: rows.Mapping) -> tuple[np.ndarray, str]:
    """Frames (time, height, width, channels) in color, and a label for them."""
    low, high = mapping.input.range or (float(values.min()), float(values.max()))
    channels = values.shape[-1]
    if channels == 2:
        limit = float(np.hypot(values[..., 0], values[..., 1]).max()) or 1.0
        return colors.flow(values, limit), f"input, full color {limit:.3g}"
    if channels != 3:
        values = values.mean(-1, keepdims=True).repeat(3, -1)
    share = np.clip((values - low) / ((high - low) or 1.0), 0, 1)
    label = "input" if channels in (1, 3) else f"input, mean of {channels} channels"
    return np.floor(share * 255 + 0.5).astype(np.uint8), label
