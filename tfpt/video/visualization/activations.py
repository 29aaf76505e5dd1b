"""The activations that a clip gives in a layer: a tile for each channel, over time, beside the clip."""

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
from tfpt.video.visualization.choices import check_choices
from tfpt.video.visualization.drawing import Drawing
from tfpt.video.visualization.files import outputs
from tfpt.video.visualization.footage import Footage, read_footage
from tfpt.video.visualization.legends import legend
from tfpt.video.visualization.scale import Scale, fit_scale
from tfpt.video.visualization.selection import select
from tfpt.video.visualization.subject import convolution_at, layer_named, subject

_TILE, _LARGEST = 64, 128
_INPUT = 224
# As many steps as a strip has room for; of more, some are shown, evenly spaced.
_STEPS = 12
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
    """Draw what a layer gives for a clip: a GIF over time with the clip beside it, a PNG with times from left to right.

    The model runs up to that layer and no further. Values from 0 on (behind a ReLU) are drawn from 0 to the largest
    among the tiles; where some are negative, blue to red and symmetric about zero. Each step of the output stands
    beside the frame of the clip in the middle of its span. A network that takes pictures is shown each frame of the
    clip by itself.

    Args:
        mapping: A bundled name or a path.
        weights: Anything `tfpt.load` reads; random weights without.
        clip: A ``.npy`` in TensorFlow's layout, a GIF, a folder of pictures or a video, prepared as for
            `tfpt.predict`; noise from a seed without.
        out: A ``.gif``, or a ``.png`` for the sheet.
        sheet: A ``.png``: the clip and each channel as strips, at most 12 steps from left to right.
        layer: A module's path or the name of an endpoint; the mapping's first endpoint unless given, or else the
            model's first convolution.
        channels: Which: ``0,5,7-11``, ``top 16`` (those whose values are largest in the mean), ``all``.
        frames: At most so many frames of the clip; 64 unless given, or 16 of noise.
        start: Seconds into the clip.
        scale: ``common``: one limit for all tiles; ``each``: its own for every tile.
        limit: The value of full color, in place of the largest; what is above it is cut off.
        zoom: Pixels a value; chosen unless given. Of activations above 128 pixels, whole blocks are averaged first.
        fps: Frames a second in the GIF; as fast as the clip unless given.
        device: Where the model runs.
        overwrite: Replace files that exist.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dequantize: Take quantized weights as the float32 values that they stand for.
        trust: Import the model even from outside the trusted packages.
        check: Refuse a model whose layers contradict the mapping.
        model: A model to run in place of the mapping's.

    Raises:
        TfptError: Choices that cannot be met; an optional package is missing; not enough memory.
        ModelError: No such layer, or its output is no picture.
        SourceError: The clip cannot be read, or is not one for this network.
        SinkError: A file exists or cannot be written.

    Example:
        >>> import tempfile
        >>> found = draw_activations("i3d_flow", None, None, f"{tempfile.mkdtemp()}/act.gif", channels="0-3")
        >>> found.layer, found.shape, found.shown, found.pictures[0].frames
        ('conv3d_1a_7x7', (1, 64, 8, 112, 112), (0, 1, 2, 3), 8)
    """
    if frames is not None and frames < 1:
        raise TfptError("too few frames", expected="1 or more", got=str(frames))
    if start is not None and not 0 <= start < float("inf"):
        raise TfptError("no such place in a clip", expected="seconds, 0 or more", got=f"{start:g}")
    check_choices(scale=scale, zoom=zoom, fps=fps)
    place = device_of(device)
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
        path = _layer(network, compiled, layer)
        footage = read_footage(compiled, clip, frames, start, network)
        values, shape = _activation(network, compiled, footage, path, place)

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
        scene = _Scene(
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
            animation=scene.animation() if files.animation else None,
            sheet=scene.sheet() if files.sheet else None,
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
    """A layer's output as (channels, time, height, width), and the shape that it had."""
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
        f"the output of {path} is no picture",
        expected="(batch, channels, time, height, width)"
        if footage.over_time
        else "(batch, channels, height, width)",
        got=format_shape(shape),
        hint="choose a layer before the features are pooled or flattened; tfpt predict shows logits",
    )


@contextmanager
def _at(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model on a device and in evaluation mode; behind, it is as it was."""
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
class _Scene:
    """Colored tiles, to be put beside the clip in one picture or the other."""

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
        # A few strips stand below each other, so that their times do; of many the sheet would become a ribbon.
        _, height, width, _ = tiles[0].images.shape
        columns = 1 if steps > 1 and len(tiles) <= _BELOW else columns_for(len(tiles), height, width)
        return Board(self.title, lines, tuple(tiles), columns, legend(self.scale), self.scale.kept)


def _shown(pictures: np.ndarray, longest: int) -> np.ndarray:
    """Pictures (time, height, width, 3) at most that large, small ones magnified by a whole number."""
    sides = pictures.shape[1:3]
    if max(sides) <= longest:
        return magnified(pictures, longest // max(sides))
    height, width = (max(1, round(side * longest / max(sides))) for side in sides)
    return _fitted(pictures, height, width)


def _fitted(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pictures resized: a mean over the area of each new pixel."""
    module = package("PIL.Image")
    return np.stack(
        [
            np.asarray(module.fromarray(picture).resize((width, height), module.Resampling.BOX))
            for picture in pictures
        ]
    )
