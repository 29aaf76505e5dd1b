"""`tfpt visualize`: draw filters, or the activations for a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tfpt.commands.options import (
    F,
    check_option,
    config_option,
    dequantize_option,
    device_option,
    json_option,
    mapping_help,
    mapping_type,
    name_of,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)

_PATH = click.Path(path_type=Path)


def _drawing_options(function: F) -> F:
    """The options of both subcommands that come last in their help."""
    options: list[Callable[[Any], Any]] = [
        click.option(
            "--limit", type=click.FloatRange(min=0, min_open=True),
            help="Value drawn in full color, instead of the largest.",
        ),
        click.option("--zoom", type=click.IntRange(min=1), help="Pixels per value. [default: chosen to fit]"),
        click.option("--force", is_flag=True, help="Replace existing pictures."),
        settings_option,
        config_option,
        dequantize_option,
        trust_option,
        json_option,
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.group()
def command() -> None:
    """Draw a model's filters, or its activations for a clip.

    Both write an animated GIF (--out FILE.gif), a sheet with all time steps side by side
    (--sheet FILE.png), or both. --json prints what was drawn, and where each tile is.
    """


@command.command(short_help="Draw the filters of a convolution.")
@click.option("--mapping", type=mapping_type, required=True, help=mapping_help)
@click.option("--weights", required=True, help="A checkpoint, or a file written by `convert`.")
@click.option("--layer", help="A convolution, or a module with one. [default: the model's first]")
@click.option("--out", type=_PATH, help="A GIF; or a PNG, for the sheet. [default: MAPPING_filters.gif]")
@click.option("--sheet", type=_PATH, help="Also a PNG, with time from left to right.")
@click.option("--filters", help="Filters to draw: 0,5,7-11, top 16 or all. [default: the first 256]")
@click.option(
    "--channels", type=click.Choice(["color", "each", "norm"]),
    help="Input channels as a color (two: as optical flow), each in its own tile, or their norm. "
    "[default: color for the first layer, else norm]",
)  # fmt: skip
@click.option("--input-channel", type=click.IntRange(min=0), help="Draw only this input channel.")
@click.option(
    "--fps", type=click.FloatRange(min=0, min_open=True), default=4.0, show_default=True,
    help="Kernel steps per second.",
)  # fmt: skip
@click.option(
    "--scale", type=click.Choice(["common", "each"]),
    help="Scale colors to the largest value of all tiles, or of each. [default: each; common with --limit]",
)  # fmt: skip
@_drawing_options
@reports_errors
def filters(
    mapping: str,
    weights: str,
    layer: str | None,
    out: Path | None,
    sheet: Path | None,
    filters: str | None,
    channels: Any,
    input_channel: int | None,
    fps: float,
    scale: Any,
    limit: float | None,
    zoom: int | None,
    force: bool,
    settings: Sequence[str],
    config: Path | None,
    dequantize: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Draw the filters of a convolution, animated over the time axis of the kernel.

    One tile per filter. Three input channels are drawn in RGB, gray being 0; two as optical flow,
    white being 0 and the hue the direction. Full color is the largest absolute weight of each tile,
    symmetric about 0, without outliers; --scale common or --limit make tiles comparable.
    """
    from tfpt.video.visualization import draw_filters

    drawing = draw_filters(
        mapping,
        weights,
        out or (None if sheet else Path(f"{name_of(mapping)}_filters.gif")),
        sheet=sheet,
        layer=layer,
        filters=filters,
        channels=channels,
        input_channel=input_channel,
        scale=scale,
        limit=limit,
        zoom=zoom,
        fps=fps,
        overwrite=force,
        settings=parse_settings(settings),
        config=str(config) if config else None,
        dequantize=dequantize,
        trust=trust,
    )
    _report(drawing, "filter", as_json)


@command.command(short_help="Draw the activations for a clip.")
@click.option("--mapping", type=mapping_type, required=True, help=mapping_help)
@click.option("--weights", required=True, help="A checkpoint, or a file written by `convert`.")
@click.option("--clip", help="A .npy, GIF, folder of pictures or video. [default: random noise]")
@click.option("--layer", help="A module or an endpoint. [default: the first endpoint]")
@click.option("--out", type=_PATH, help="A GIF; or a PNG, for the sheet. [default: MAPPING_activations.gif]")
@click.option("--sheet", type=_PATH, help="Also a PNG, with time from left to right.")
@click.option(
    "--channels", default="top 16", show_default=True,
    help="Channels to draw: 0,5,7-11, all, or the top N by mean.",
)  # fmt: skip
@click.option(
    "--frames", type=click.IntRange(min=1), help="Maximum number of frames. [default: 64; 16 of noise]"
)
@click.option("--start", type=click.FloatRange(min=0), help="Start at this second of the clip.")
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    help="Frames per second. [default: the speed of the clip]",
)
@device_option
@check_option
@click.option(
    "--scale", type=click.Choice(["common", "each"]), default="common", show_default=True,
    help="Scale colors to the largest value of all tiles, or of each.",
)  # fmt: skip
@_drawing_options
@reports_errors
def activations(
    mapping: str,
    weights: str,
    clip: str | None,
    layer: str | None,
    out: Path | None,
    sheet: Path | None,
    channels: str,
    frames: int | None,
    start: float | None,
    fps: float | None,
    device: str,
    check: bool,
    scale: Any,
    limit: float | None,
    zoom: int | None,
    force: bool,
    settings: Sequence[str],
    config: Path | None,
    dequantize: bool,
    trust: bool,
    as_json: bool,
) -> None:
    """Draw a layer's activations for a clip, next to the clip.

    One tile per channel. The model only runs up to the layer. Non-negative activations (after a
    ReLU) are drawn from 0 to the largest; if any is negative, symmetric about 0.
    """
    from tfpt.video.visualization import draw_activations

    drawing = draw_activations(
        mapping,
        weights,
        clip,
        out or (None if sheet else Path(f"{name_of(mapping)}_activations.gif")),
        sheet=sheet,
        layer=layer,
        channels=channels,
        frames=frames,
        start=start,
        scale=scale,
        limit=limit,
        zoom=zoom,
        fps=fps,
        device=device,
        check=check,
        overwrite=force,
        settings=parse_settings(settings),
        config=str(config) if config else None,
        dequantize=dequantize,
        trust=trust,
    )
    _report(drawing, "channel", as_json)


def _report(drawing: Any, noun: str, as_json: bool) -> None:
    from tfpt.report.terminal import console, print_json
    from tfpt.video.reports.drawings import print_drawing

    if as_json:
        print_json(drawing.to_json())
    else:
        print_drawing(console(), drawing, noun)
