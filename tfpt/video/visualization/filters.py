"""The filters of a convolution, one tile each, animated over the time of their kernel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import nn
from torch.nn.parameter import is_lazy

from tfpt.errors import ModelError, TfptError
from tfpt.tensors import format_shape
from tfpt.video.visualization.board import (
    Board,
    Tile,
    check_tiles,
    columns_for,
    fitting_zoom,
    magnified,
    strip,
)
from tfpt.video.visualization.choices import check_choices
from tfpt.video.visualization.drawing import Drawing
from tfpt.video.visualization.files import outputs
from tfpt.video.visualization.legends import legend
from tfpt.video.visualization.scale import Kind, Scale, fit_scale
from tfpt.video.visualization.selection import select
from tfpt.video.visualization.subject import convolution_at, layer_named, subject

Channels = Literal["color", "each", "norm"]

_CHANNELS = ("color", "each", "norm")
_NAMES: dict[str | None, tuple[str, ...]] = {"rgb": ("R", "G", "B"), "flow": ("u", "v")}
# What fits on a screen, and what still makes a picture that programs open.
_SHOWN, _MOST = 256, 2048
_TILE, _STRIP = 56, 40


def draw_filters(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    sheet: str | os.PathLike[str] | None = None,
    layer: str | None = None,
    filters: str | None = None,
    channels: Channels | None = None,
    input_channel: int | None = None,
    scale: Literal["common", "each"] = "common",
    limit: float | None = None,
    zoom: int | None = None,
    fps: float = 4.0,
    overwrite: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | None = None,
    dequantize: bool = False,
    trust: bool = False,
    model: nn.Module | None = None,
) -> Drawing:
    """Draw the filters of a convolution: a GIF over the time of the kernel, a PNG with all times beside each other.

    A filter over three channels is drawn as a color (gray is 0), one over two as a motion (Baker's color wheel,
    white is 0), any other by the norm over its input channels. Weights are scaled by one limit, the largest there is
    among the tiles, symmetric about zero; nothing is normalized or shifted. Kernels are magnified by whole numbers,
    without smoothing, and never flipped: left, upper and early are where they are in the weight.

    Args:
        mapping: A bundled name or a path.
        weights: Anything `tfpt.load` reads; random weights without.
        out: A ``.gif``, or a ``.png`` for the sheet.
        sheet: A ``.png``: a strip for each filter, time from left to right.
        layer: A module's path or the name of an endpoint, a convolution or what has one in it; the model's first
            convolution unless given.
        filters: Which: ``0,5,7-11``, ``top 16`` (those of the largest norm), ``all``; the first 256 unless given.
        channels: ``color``; ``each``: a tile for each input channel, blue to red; or ``norm``.
        input_channel: This input channel alone, blue to red.
        scale: ``common``: one limit for all tiles; ``each``: its own for every tile.
        limit: The value of full color, in place of the largest.
        zoom: Pixels a weight; chosen unless given.
        fps: Steps of the kernel a second in a GIF.
        overwrite: Replace files that exist.
        settings: Values for the mapping's parameters.
        config: The model's configuration, as a dict or a JSON file.
        dequantize: Take quantized weights as the float32 values that they stand for.
        trust: Import the model even from outside the trusted packages.
        model: A model to draw in place of the mapping's.

    Raises:
        TfptError: Choices that cannot be met; an optional package is missing.
        ModelError: No such layer, or not one of filters.
        SinkError: A file exists or cannot be written.

    Example:
        >>> import tempfile
        >>> found = draw_filters("i3d_rgb", None, f"{tempfile.mkdtemp()}/filters.gif")
        >>> found.layer, found.shape, len(found.pictures[0].tiles), found.pictures[0].frames
        ('conv3d_1a_7x7.conv3d', (64, 3, 7, 7, 7), 64, 7)
    """
    if channels is not None and channels not in _CHANNELS:
        raise TfptError("no such way to show channels", expected=", ".join(_CHANNELS), got=str(channels))
    check_choices(scale=scale, zoom=zoom, fps=fps)
    with outputs(out, sheet, overwrite, inputs=(weights,)) as files:
        # However the layers pad, the filters are these.
        compiled, network = subject(
            mapping,
            weights,
            model,
            settings=settings,
            config=config,
            dequantize=dequantize,
            trust=trust,
            check=False,
        )
        at = "" if layer is None else layer_named(network, compiled, layer)
        path, module = convolution_at(network, at)
        kernels = _kernels(path, module)
        first = convolution_at(network, "")[0] == path
        view = _view(kernels, channels, input_channel, compiled.input.kind if first else None, first)
        shown = _shown(filters, kernels, view)
        tiles = [(label, values) for index in shown for label, values in view.tiles(kernels, index)]
        fitted = fit_scale(
            [values for _, values in tiles],
            view.kind,
            each=scale == "each",
            what=f"the weights of {path}",
            limit=limit,
        )
        shape = _weight(module).shape
        title = f"{compiled.name}: filters of {path or 'the model'}"
        lines = (
            f"{_selected(shown, len(kernels))} · weight {format_shape(shape)} · {view.text}",
            f"scale: {fitted.text}",
        )

        def board(over_time: bool) -> Board:
            pixels = zoom or fitting_zoom(kernels.shape[-2:], _TILE if over_time else _STRIP)
            steps, height, width = kernels.shape[-3:]
            check_tiles(len(tiles), steps, height * pixels, width * pixels)
            return _board(title, lines, tiles, fitted, pixels, over_time, len(view.each) or 1)

        pictures = files.write(
            animation=board(True) if files.animation else None,
            sheet=board(False) if files.sheet else None,
            fps=fps,
        )
        return Drawing(compiled.name, path, shape, shown, fitted, pictures)


@dataclass(frozen=True)
class _View:
    """What of a kernel becomes a tile.

    Attributes:
        kind: How its values become colors.
        text: In words.
        each: The names of the input channels, each of which gets a tile; empty where all make one.
        channel: The only input channel that is shown.
    """

    kind: Kind
    text: str
    each: tuple[str, ...] = ()
    channel: int | None = None

    def tiles(self, kernels: np.ndarray, index: int) -> list[tuple[str, np.ndarray]]:
        """Labels and values of a filter's tiles: (time, height, width), with channels behind if they are a color."""
        kernel = kernels[index]  # (input channels, time, height, width)
        if self.each:
            return [(f"{index} {name}", kernel[channel]) for channel, name in enumerate(self.each)]
        if self.channel is not None:
            return [(str(index), kernel[self.channel])]
        if self.kind in ("rgb", "flow"):
            return [(str(index), np.moveaxis(kernel, 0, -1))]
        return [(str(index), np.sqrt((kernel**2).sum(0)))]


def _view(
    kernels: np.ndarray, channels: str | None, input_channel: int | None, kind: str | None, first: bool
) -> _View:
    inputs = kernels.shape[1]
    if input_channel is not None:
        if channels is not None:
            raise TfptError("one input channel and a way to show several do not go together", got=channels)
        if not 0 <= input_channel < inputs:
            raise TfptError("no such input channel", expected=f"0 to {inputs - 1}", got=str(input_channel))
        return _View("diverging", f"input channel {input_channel} of {inputs}", channel=input_channel)
    if channels is None and inputs == 1:
        return _View("diverging", "one input channel", channel=0)
    if channels is None:
        channels = "color" if first and inputs in (2, 3) else "norm"
    if channels == "each":
        known = _NAMES.get(kind, ())
        names = known if len(known) == inputs else tuple(f"in {index}" for index in range(inputs))
        return _View("diverging", f"{inputs} input channels, each by itself", each=names)
    if channels == "norm":
        return _View("sequential", f"norm over {inputs} input channels")
    if inputs == 3:
        return _View("rgb", "three input channels as a color")
    if inputs == 2:
        return _View("flow", "two input channels as a motion")
    raise TfptError(
        f"a filter over {inputs} input channels is no color",
        expected="2 (flow) or 3 (RGB) input channels",
        hint="--channels norm, --channels each or --input-channel 0",
    )


def _kernels(path: str, module: nn.Module) -> np.ndarray:
    """The weight as (filters, input channels, time, height, width), float64."""
    kernels = _weight(module)
    if getattr(module, "transposed", False):
        if module.groups != 1:
            raise ModelError(
                f"{path} is a transposed convolution in groups, of which filters are not one tensor",
                got=f"groups={module.groups}",
            )
        kernels = kernels.swapaxes(0, 1)
    for _ in range(5 - kernels.ndim):
        kernels = kernels[:, :, None]
    return kernels


def _weight(module: nn.Module) -> np.ndarray:
    weight: Any = module.weight
    if is_lazy(weight):
        raise ModelError(
            f"{type(module).__name__} has no weights before its first run",
            hint="run the model once on an input, then draw it",
        )
    array: np.ndarray = weight.detach().cpu().double().numpy()
    return array


def _shown(filters: str | None, kernels: np.ndarray, view: _View) -> tuple[int, ...]:
    number = len(kernels)
    for_each = len(view.each) or 1

    def norms() -> np.ndarray:
        lengths: np.ndarray = np.sqrt((kernels.reshape(number, -1) ** 2).sum(1))
        return lengths

    shown = select(filters or f"0-{min(number, max(_SHOWN // for_each, 1)) - 1}", number, norms, "filter")
    if len(shown) * for_each > _MOST:
        raise TfptError(
            f"{len(shown) * for_each:,} tiles are too many for one picture",
            expected=f"at most {_MOST:,}",
            hint="--filters 0-63, or --channels norm",
        )
    return shown


def _selected(shown: tuple[int, ...], number: int) -> str:
    if len(shown) == number:
        return f"all {number} filters"
    if shown == tuple(range(len(shown))):
        return f"the first {len(shown)} of {number} filters"
    return f"{len(shown)} of {number} filters"


def _board(
    title: str,
    lines: tuple[str, ...],
    tiles: list[tuple[str, np.ndarray]],
    scale: Scale,
    zoom: int,
    over_time: bool,
    together: int,
) -> Board:
    drawn = []
    for label, values in tiles:
        images = magnified(scale.color(values), zoom)
        drawn.append(Tile(label, images if over_time else strip(images)))
    steps = len(tiles[0][1])
    if not over_time and steps > 1:
        lines = (*lines, f"time of the kernel from left to right: {steps} steps")
    _, height, width, _ = drawn[0].images.shape
    # The input channels of a filter stay in one row.
    columns = together * columns_for(len(drawn) // together, height, width * together)
    return Board(title, lines, tuple(drawn), columns, legend(scale), scale.kept)
