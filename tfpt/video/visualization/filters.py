"""Draws the filters of a convolution, one tile each, animated over the time axis of the kernel."""

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
from tfpt.video.visualization.choices import check_choices, select
from tfpt.video.visualization.drawing import Drawing
from tfpt.video.visualization.files import outputs
from tfpt.video.visualization.scale import Kind, Scale, fit_scale, legend
from tfpt.video.visualization.subject import convolution_at, layer_named, subject

Channels = Literal["color", "each", "norm"]

_CHANNELS = ("color", "each", "norm")
_NAMES: dict[str | None, tuple[str, ...]] = {"rgb": ("R", "G", "B"), "flow": ("u", "v")}
# The default number of filters, which fits on a screen, and the maximum, which image viewers can open.
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
    scale: Literal["common", "each"] | None = None,
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
    """See `tfpt.api.draw_filters`."""
    if channels is not None and channels not in _CHANNELS:
        raise TfptError("no such way to draw channels", expected=", ".join(_CHANNELS), got=str(channels))
    if scale is None:
        # Filters of one layer may differ in magnitude by orders, so that a common scale shows only the largest.
        scale = "each" if limit is None else "common"
    check_choices(scale=scale, zoom=zoom, fps=fps)
    with outputs(out, sheet, overwrite, inputs=(weights,)) as files:
        # The check is not needed: padding does not change the filters.
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
            outliers=True,
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
    """How a kernel is drawn as tiles.

    Attributes:
        kind: How its values become colors.
        text: A description.
        each: The names of the input channels if each has its own tile; empty if all share one.
        channel: The only input channel that is drawn.
    """

    kind: Kind
    text: str
    each: tuple[str, ...] = ()
    channel: int | None = None

    def tiles(self, kernels: np.ndarray, index: int) -> list[tuple[str, np.ndarray]]:
        """Labels and values of a filter's tiles: (time, height, width), or with channels last if they form a color."""
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
            raise TfptError(
                "a single input channel cannot be combined with a way to draw several", got=channels
            )
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
        return _View("diverging", f"{inputs} input channels separately", each=names)
    if channels == "norm":
        return _View("sequential", f"norm over {inputs} input channels")
    if inputs == 3:
        return _View("rgb", "three input channels as a color")
    if inputs == 2:
        return _View("flow", "two input channels as optical flow")
    raise TfptError(
        f"a filter with {inputs} input channels cannot be drawn as a color",
        expected="2 (flow) or 3 (RGB) input channels",
        hint="--channels norm, --channels each or --input-channel 0",
    )


def _kernels(path: str, module: nn.Module) -> np.ndarray:
    """The weight as (filters, input channels, time, height, width), float64."""
    kernels = _weight(module)
    if getattr(module, "transposed", False):
        if module.groups != 1:
            raise ModelError(
                f"{path} is a grouped transposed convolution, whose filters cannot be drawn",
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
    # Keep the input channels of a filter in one row.
    columns = together * columns_for(len(drawn) // together, height, width * together)
    return Board(title, lines, tuple(drawn), columns, legend(scale), scale.kept)
