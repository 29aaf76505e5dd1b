"""`tfpt visualize`: pictures of filters, and of the activations that a clip gives."""

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
    name_of,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)

_PATH = click.Path(path_type=Path)


def _drawing_options(function: F) -> F:
    """What both subcommands take, as far as it stands at the end of their help."""
    options: list[Callable[[Any], Any]] = [
        click.option(
            "--scale", type=click.Choice(["common", "each"]), default="common", show_default=True,
            help="Full color for the largest value of all tiles, or of each.",
        ),
        click.option(
            "--limit", type=click.FloatRange(min=0, min_open=True),
            help="The value of full color, in place of the largest.",
        ),
        click.option("--zoom", type=click.IntRange(min=1), help="Pixels a value. [default: what fits]"),
        click.option("--force", is_flag=True, help="Replace pictures that exist."),
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
    """Draw a model's filters, or the activations that a clip gives.

    Both write an animated GIF (--out FILE.gif) and sheets (--sheet FILE.png) on which all times
    stand beside each other. --json prints what was drawn, and where each tile is.
    """


@command.command(short_help="Draw the filters of a convolution.")
@click.option("--mapping", required=True, help=mapping_help)
@click.option("--weights", required=True, help="A checkpoint, or a file that `convert` wrote.")
@click.option("--layer", help="A convolution, or what has one in it. [default: the model's first]")
@click.option("--out", type=_PATH, help="A GIF, or a PNG for the sheet. [default: MAPPING_filters.gif]")
@click.option("--sheet", type=_PATH, help="Also a PNG with the times from left to right.")
@click.option("--filters", help="Which: 0,5,7-11, top 16 or all. [default: the first 256]")
@click.option(
    "--channels", type=click.Choice(["color", "each", "norm"]),
    help="Input channels as a color (of two: a motion), each by itself, or their norm. "
    "[default: color for the first layer, else norm]",
)  # fmt: skip
@click.option("--input-channel", type=click.IntRange(min=0), help="Show this input channel alone.")
@click.option(
    "--fps", type=click.FloatRange(min=0, min_open=True), default=4.0, show_default=True,
    help="Steps of the kernel a second.",
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
    """Draw the filters of a convolution, animated over the time of their kernel.

    One tile for each filter. Three input channels are drawn as a color, in which gray is 0; two
    as a motion, in which white is 0 and the hue is the direction. Full color is the largest
    weight, the same for all tiles and symmetric about 0, unless --scale says otherwise.
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


@command.command(short_help="Draw the activations that a clip gives.")
@click.option("--mapping", required=True, help=mapping_help)
@click.option("--weights", required=True, help="A checkpoint, or a file that `convert` wrote.")
@click.option("--clip", help="A .npy, GIF, folder of pictures or video. [default: noise from a seed]")
@click.option("--layer", help="A module, or an endpoint's name. [default: the first endpoint]")
@click.option("--out", type=_PATH, help="A GIF, or a PNG for the sheet. [default: MAPPING_activations.gif]")
@click.option("--sheet", type=_PATH, help="Also a PNG with the times from left to right.")
@click.option(
    "--channels", default="top 16", show_default=True,
    help="Which: 0,5,7-11, all, or the top so many by their mean.",
)  # fmt: skip
@click.option(
    "--frames", type=click.IntRange(min=1), help="At most so many frames. [default: 64; of noise 16]"
)
@click.option("--start", type=click.FloatRange(min=0), help="Seconds into the clip.")
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    help="Steps a second. [default: as fast as the clip]",
)
@device_option
@check_option
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
    """Draw the activations that a clip gives in a layer, beside the clip.

    One tile for each channel. The model runs up to the layer and no further. Values from 0 on, as
    behind a ReLU, are drawn from 0 to the largest; where some are negative, symmetric about 0.
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
