"""Draws a layer's activations for a clip: one tile per channel, over time, next to the clip."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from tfpt.errors import ModelError, TfptError
from tfpt.language import mapping as rows
from tfpt.networks.devices import device_of, enough_memory
from tfpt.networks.endpoints import activations
from tfpt.networks.inputs import rearrange
from tfpt.networks.model_inputs import takes_sequences
from tfpt.packages import package
from tfpt.tensors import format_shape
from tfpt.video.visualization.board import (
    Board,
    Tile,
    check_tiles,
    columns_for,
    fitting_zoom,
    magnified,
    reduced,
    strip,
)
from tfpt.video.visualization.choices import check_choices, select
from tfpt.video.visualization.drawing import Drawing
from tfpt.video.visualization.files import outputs
from tfpt.video.visualization.footage import Footage, read_footage
from tfpt.video.visualization.scale import Scale, fit_scale, legend
from tfpt.video.visualization.subject import convolution_at, layer_named, subject

_TILE, _LARGEST = 64, 128
_INPUT = 224
# The maximum number of steps in a strip; of more, evenly spaced ones are shown.
_STEPS = 12
# Up to this many strips are placed below each other.
_BELOW = 33


def draw_activations(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    clip: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    sheet: str | os.PathLike[str] | None = None,
    layer: str | None = None,
    channels: str = "top 16",
    frames: int | None = None,
    start: float | None = None,
    scale: Literal["common", "each"] = "common",
    limit: float | None = None,
    zoom: int | None = None,
    fps: float | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    trust: bool = False,
    check: bool = True,
    model: nn.Module | None = None,
) -> Drawing:
    """See `tfpt.api.draw_activations`."""
    if frames is not None and frames < 1:
        raise TfptError("too few frames", expected="1 or more", got=str(frames))
    if start is not None and not 0 <= start < float("inf"):
        raise TfptError("start must be a time in the clip", expected="seconds, 0 or more", got=f"{start:g}")
    check_choices(scale=scale, zoom=zoom, fps=fps)
    target = device_of(device)
    with outputs(out, sheet, overwrite, inputs=(weights, clip)) as files:
        compiled, network = subject(
            mapping,
            weights,
            model,
            settings=settings,
            config=config,
            dequantize=dequantize,
            trust=trust,
            device=device,
            check=check,
        )
        if takes_sequences(network, compiled):
            raise ModelError(
                "activations are drawn of networks that take pictures or clips",
                where=str(compiled.path),
                expected='input: with axes for pictures, such as {layout: "b h w c -> b c h w", size: 224}',
                got=f"{type(network).__name__}, which takes sequences of ids",
            )
        path = _layer(network, compiled, layer)
        footage = read_footage(compiled, clip, frames, start, network)
        values, shape = _activation(network, compiled, footage, path, target)

        def strengths() -> np.ndarray:
            means: np.ndarray = np.abs(values).mean((1, 2, 3))
            return means

        shown = select(channels, len(values), strengths, "channel")
        tiles = [reduced(values[index], _LARGEST).astype(np.float64) for index in shown]
        negative = any((tile < 0).any() for tile in tiles)
        fitted = fit_scale(
            tiles,
            "diverging" if negative else "sequential",
            each=scale == "each",
            what=f"the activations of {path}",
            limit=limit,
        )
        for tile in tiles:
            pixels = zoom or _zoom(tile)
            check_tiles(len(tiles), len(tile), tile.shape[1] * pixels, tile.shape[2] * pixels)
        picture = _ClipPicture(
            title=f"{compiled.name}: activations of {path or 'the model'}",
            lines=(
                f"{len(shown)} of {len(values)} channels · output {format_shape(shape)} · {footage.text}",
                f"scale: {fitted.text}",
            ),
            labels=tuple(map(str, shown)),
            images=[magnified(fitted.color(tile), zoom or _zoom(tile)) for tile in tiles],
            scale=fitted,
            footage=footage,
        )
        pictures = files.write(
            animation=picture.animation() if files.animation else None,
            sheet=picture.sheet() if files.sheet else None,
            fps=fps or footage.fps * values.shape[1] / len(footage.pictures),
        )
        return Drawing(compiled.name, path, shape, shown, fitted, pictures)


def _layer(model: nn.Module, mapping: rows.Mapping, name: str | None) -> str:
    if name is not None:
        return layer_named(model, mapping, name)
    if mapping.endpoints:
        from tfpt.networks.endpoints import endpoints_in

        return endpoints_in(model, mapping)[0].pt
    return convolution_at(model, "")[0]


def _activation(
    model: nn.Module, mapping: rows.Mapping, footage: Footage, path: str, device: torch.device
) -> tuple[np.ndarray, tuple[int, ...]]:
    """A layer's output as (channels, time, height, width), and its original shape."""
    inputs = rearrange(torch.from_numpy(footage.values), mapping.input.layout).contiguous()
    shape = tuple(inputs.shape)
    try:
        with enough_memory(shape, "lower --frames"), _at(model, device):
            found = activations(model, inputs.to(device), [path])
    except TfptError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the model cannot be run on this input: {first}",
            got=f"{format_shape(shape)} on {device}",
        ) from error
    if path not in found:
        raise ModelError(
            f"{path} is not run for this input", hint="choose a layer that the forward pass calls"
        )
    output: Tensor = found[path].detach().float().cpu()
    shape = tuple(output.shape)
    if output.ndim == 5 and footage.over_time:
        return output[0].numpy(), shape
    if output.ndim == 4 and not footage.over_time:
        return output.transpose(0, 1).numpy(), shape
    raise ModelError(
        f"the output of {path} is not an image",
        expected="(batch, channels, time, height, width)"
        if footage.over_time
        else "(batch, channels, height, width)",
        got=format_shape(shape),
        hint="choose a layer before the features are pooled or flattened; tfpt predict shows logits",
    )


@contextmanager
def _at(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Moves the model to a device, in evaluation mode, and restores both afterwards."""
    modes = {module: module.training for module in model.modules()}
    home = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), device)
    model.eval().to(device)
    try:
        yield
    finally:
        model.to(home)
        for module, training in modes.items():
            module.training = training


def _zoom(tile: np.ndarray) -> int:
    return fitting_zoom(tile.shape[-2:], _TILE)


@dataclass(frozen=True)
class _ClipPicture:
    """Colored tiles, to be arranged with the clip in an animation or a sheet."""

    title: str
    lines: tuple[str, ...]
    labels: tuple[str, ...]
    images: list[np.ndarray]
    scale: Scale
    footage: Footage

    def animation(self) -> Board:
        tiles = tuple(map(Tile, self.labels, self.images))
        _, height, width, _ = tiles[0].images.shape
        steps = len(tiles[0].images)
        pictures = self.footage.pictures[self.footage.middles(steps)]
        lead = Tile(self.footage.label, _shown(pictures, _INPUT))
        columns = columns_for(len(tiles), height, width)
        return Board(self.title, self.lines, tiles, columns, legend(self.scale), self.scale.kept, lead)

    def sheet(self) -> Board:
        steps = len(self.images[0])
        chosen = np.unique(np.linspace(0, steps - 1, min(steps, _STEPS)).round().astype(int))
        _, height, width, _ = self.images[0].shape
        pictures = self.footage.pictures[self.footage.middles(steps)][chosen]
        first = _fitted(pictures, height, width)
        tiles = [Tile(self.footage.label, strip(first))]
        tiles += [
            Tile(f"channel {label}", strip(images[chosen]))
            for label, images in zip(self.labels, self.images, strict=True)
        ]
        lines = self.lines
        if steps > 1:
            numbers = ", ".join(str(index + 1) for index in chosen)
            lines = (*lines, f"from left to right: t = {numbers} of {steps}")
        # A few strips go below each other, so that their time steps line up; many would make the sheet too narrow.
        _, height, width, _ = tiles[0].images.shape
        columns = 1 if steps > 1 and len(tiles) <= _BELOW else columns_for(len(tiles), height, width)
        return Board(self.title, lines, tuple(tiles), columns, legend(self.scale), self.scale.kept)


def _shown(pictures: np.ndarray, longest: int) -> np.ndarray:
    """Pictures (time, height, width, 3) of at most that size, small ones magnified by a whole number."""
    sides = pictures.shape[1:3]
    if max(sides) <= longest:
        return magnified(pictures, longest // max(sides))
    height, width = (max(1, round(side * longest / max(sides))) for side in sides)
    return _fitted(pictures, height, width)


def _fitted(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pictures resized by averaging over the area of each new pixel."""
    module = package("PIL.Image")
    return np.stack(
        [
            np.asarray(module.fromarray(picture).resize((width, height), module.Resampling.BOX))
            for picture in pictures
        ]
    )
