"""A video network of two matrices, its mappings and weights: small enough to be computed by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from tfpt.errors import ModelError

SIZE = 13
CLASSES = 5
LABELS = ("archery", "bowling", "crying [loud]", "diving", "eating")

MAPPING = """\
version: 1
summary: two matrices
params: {{num_classes: {classes}}}
model:
  factory: tests.video.clips.tiny_network:Net
  kwargs: {{channels: {channels}, classes: "${{num_classes}}"}}
weights:
  - {{tf: mean/w, pt: mean.weight, layout: "i o -> o i"}}
  - {{tf: mean/b, pt: mean.bias,   layout: "o -> o"}}
  - {{tf: step/w, pt: step.weight, layout: "i o -> o i"}}
input: {{kind: {kind}, layout: "{layout}", range: [-1, 1], size: 13, fps: 25}}
labels: {labels}
"""


class Net(nn.Module):
    """Logits from the mean over time and from the last frame less the first; of at least 2 frames."""

    def __init__(self, channels: int = 3, classes: int = CLASSES) -> None:
        super().__init__()
        self.mean = nn.Linear(channels * SIZE * SIZE, classes)
        self.step = nn.Linear(channels * SIZE * SIZE, classes, bias=False)
        self.windows: list[tuple[int, ...]] = []

    def forward(self, clip: Tensor) -> Tensor:
        self.windows.append(tuple(clip.shape))
        if clip.ndim == 4:  # single pictures
            return self.mean(clip.flatten(1))
        if clip.shape[2] < 2:
            raise ModelError("too short a clip", expected="at least 2 frames", got=f"{clip.shape[2]} frame")
        step = clip[:, :, -1] - clip[:, :, 0]
        return self.mean(clip.mean(2).flatten(1)) + self.step(step.flatten(1))


@dataclass
class Network:
    """A mapping, a file of weights, and what the network computes, by numpy in float64."""

    mapping: Path
    weights: Path
    values: dict[str, np.ndarray]

    def logits(self, frames: np.ndarray) -> np.ndarray:
        """Of float frames, (frames, height, width, channels)."""
        frames = np.moveaxis(frames.astype(np.float64), -1, 1)
        mean = self.values["mean.weight"] @ frames.mean(0).ravel() + self.values["mean.bias"]
        return mean + self.values["step.weight"] @ (frames[-1] - frames[0]).ravel()


def write_network(
    folder: Path,
    name: str,
    *,
    kind: str = "rgb",
    classes: int = CLASSES,
    labels: tuple[str, ...] | None = LABELS,
    layout: str = "b t h w c -> b c t h w",
    seed: int = 1,
) -> Network:
    """A mapping called `name`, beside it its labels and weights."""
    channels = {"rgb": 3, "flow": 2}[kind]
    mapping, weights = folder / f"{name}.yaml", folder / f"{name}.safetensors"
    file = "" if labels is None else f"{name}.txt"
    if labels is not None:
        (folder / file).write_text("".join(f"{label}\n" for label in labels))
    text = MAPPING.format(classes=classes, channels=channels, kind=kind, layout=layout, labels=file or "null")
    mapping.write_text(text)
    random = np.random.default_rng(seed)
    inputs = channels * SIZE * SIZE
    shapes = {"mean.weight": (classes, inputs), "mean.bias": (classes,), "step.weight": (classes, inputs)}
    values = {name: random.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(values, weights)
    return Network(mapping, weights, {name: array.astype(np.float64) for name, array in values.items()})


def reference(pictures: np.ndarray, size: int = SIZE) -> np.ndarray:
    """uint8 pictures as the network takes them: by torch's bilinear resize, rounded, cropped, from -1 to 1."""
    from torch.nn.functional import interpolate

    height, width = pictures.shape[1:3]
    shorter = round(size * 256 / 224)
    shape = (
        (shorter, round(width * shorter / height))
        if height <= width
        else (round(height * shorter / width), shorter)
    )
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).double()
    large = interpolate(tensor, shape, mode="bilinear", align_corners=False, antialias=False)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    cut = large.round().permute(0, 2, 3, 1).numpy()[:, top : top + size, left : left + size]
    return cut / 255 * 2 - 1
