"""`tfpt predict`: classify a clip with one stream or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tfpt.commands.options import (
    check_option,
    config_option,
    dequantize_option,
    device_option,
    json_option,
    mapping_help,
    mapping_type,
    optimize_option,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)

_ORDER = "tfpt.predict.order"


class _InOrder(click.Command):
    """Remembers the order of the options, so that an option can belong to the `--mapping` before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        order = self.make_parser(ctx).parse_args(args=list(args))[2]
        ctx.meta[_ORDER] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


@click.command(cls=_InOrder)
@click.argument("clip", metavar="[CLIP]", required=False)
@click.option(
    "--mapping",
    "mappings",
    type=mapping_type,
    required=True,
    multiple=True,
    help=f"{mapping_help} Repeatable: one for each stream.",
)
@click.option(
    "--weights",
    multiple=True,
    help="PyTorch weights or a TensorFlow checkpoint, for the --mapping before it. "
    "[default: the checkpoint published for the mapping, downloaded]",
)
@click.option("--clip", "clips", multiple=True, help="A separate clip for the --mapping before it.")
@click.option(
    "--weight", "factors", type=float, multiple=True,
    help="Factor for the logits of the --mapping before it in the sum.  [default: 1]",
)  # fmt: skip
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Number of classes to list, most likely first.",
)
@click.option(
    "--window", type=click.IntRange(min=1),
    help="Frames per window.  [default: the whole clip up to 300 frames, else 64]",
)  # fmt: skip
@click.option(
    "--stride", type=click.IntRange(min=1),
    help="Frames from the start of one window to the next.  [default: the window's length]",
)  # fmt: skip
@click.option(
    "--loop",
    is_flag=True,
    help="Repeat a clip that is shorter than a window (64 frames) until it fills the window.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Windows to run at once."
)
@click.option("--fps", type=float, help="Frame rate of the clip, instead of the rate in the file.")
@click.option("--start", type=float, help="Start at this second of the clip.")
@click.option("--end", type=float, help="Stop before this second of the clip.")
@click.option(
    "--save-clips", "save", type=click.Path(path_type=Path), metavar="DIR",
    help="Write the networks' inputs to this folder, as MAPPING.npy.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace existing files in that folder.")
@click.option("--dtype", default="float32", show_default=True, help="Run in this dtype, such as bfloat16.")
@device_option
@optimize_option
@check_option
@settings_option
@config_option
@dequantize_option
@trust_option
@json_option
@reports_errors
@click.pass_context
def command(
    ctx: click.Context,
    /,
    clip: str | None,
    mappings: Sequence[str],
    weights: Sequence[str],
    clips: Sequence[str],
    factors: Sequence[float],
    settings: Sequence[str],
    as_json: bool,
    force: bool,
    **options: Any,
) -> None:
    """Classify a video clip with one network (stream), or with several whose logits are added.

    CLIP is a video, an animated GIF, a folder of pictures, or a .npy array. For an optical-flow
    stream, TV-L1 flow is computed from the pictures.

    \b
    tfpt predict cricket.mp4 --mapping i3d_rgb --weights i3d_rgb.safetensors \\
                             --mapping i3d_flow --weights i3d_flow.safetensors
    """
    from tfpt.report.progress import fetching_progress
    from tfpt.video.prediction import Stream, predict
    from tfpt.video.reports.predictions import prediction_progress

    order = ctx.meta[_ORDER]
    streams = [
        Stream(mapping, of_mapping, own, 1.0 if factor is None else factor)
        for mapping, of_mapping, own, factor in zip(
            mappings,
            _assigned(order, "weights", weights, len(mappings)),
            _assigned(order, "clips", clips, len(mappings)),
            _assigned(order, "factors", factors, len(mappings)),
            strict=True,
        )
    ]
    if weights and any(stream.weights is None for stream in streams):
        raise click.UsageError(
            f"{len(mappings)} --mapping and {len(weights)} --weights: give weights for each mapping, or for none"
        )
    if clip is None and any(stream.clip is None for stream in streams):
        raise click.UsageError("Missing argument 'CLIP', or --clip after each --mapping.")
    with fetching_progress(quiet=as_json) as fetching, prediction_progress(quiet=as_json) as progress:
        found = predict(
            streams,
            clip,
            settings=parse_settings(settings),
            overwrite=force,
            fetching=fetching,
            progress=progress,
            **options,
        )
    if as_json:
        from tfpt.report.terminal import print_json

        print_json(found.to_json())
    else:
        from tfpt.report.terminal import console
        from tfpt.video.reports.predictions import print_prediction

        print_prediction(console(), found)


def _assigned(order: Sequence[str], name: str, values: Sequence[Any], number: int) -> list[Any]:
    """The value of an option for each mapping: in order if there is one for each, else for the mapping before it."""
    if len(values) == number:
        return list(values)
    assigned: list[Any] = [None] * number
    left, current = list(values), -1
    for option in order:
        current += option == "mappings"
        if option == name:
            flag = {"factors": "--weight", "clips": "--clip"}.get(name, f"--{name}")
            if current < 0:
                raise click.UsageError(
                    f"{flag} comes before every --mapping: put it after the one that it belongs to."
                )
            if assigned[current] is not None:
                raise click.UsageError(f"{flag} is given twice for one --mapping.")
            assigned[current] = left.pop(0)
    return assigned
