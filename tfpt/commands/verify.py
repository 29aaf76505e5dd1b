"""`tfpt verify`: the same input through both networks, endpoint by endpoint."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tfpt.commands.options import (
    all_option,
    config_option,
    dequantize_option,
    device_option,
    json_option,
    mapping_help,
    named_files,
    optimize_option,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)


@click.command()
@click.argument("weights", metavar="[WEIGHTS]", required=False)
@click.option("--mapping", required=True, help=mapping_help)
@click.option(
    "--recording", metavar="FILE", help="What TensorFlow computed, as `tfpt record` wrote it (.npz)."
)
@click.option(
    "--network", metavar="PATH",
    help="In its place, the TensorFlow network, which is run now: .meta, SavedModel, .pb, .keras.",
)  # fmt: skip
@click.option("--checkpoint", help="The network's variables, where they are not beside it.")
@click.option(
    "--input", "inputs", metavar="[NAME=]FILE", multiple=True,
    help="What TensorFlow was fed, where the recording does not hold it: .npy or .npz, its axes in "
    "TensorFlow's order; with --network, what both are fed. Repeatable.",
)  # fmt: skip
@click.option(
    "--tolerance", type=click.FloatRange(min=0, max=1, min_open=True, max_open=True), default=1e-5,
    show_default=True, help="Relative difference up to which two activations are the same.",
)  # fmt: skip
@click.option(
    "--adapt", is_flag=True, help="Replace stock layers that do not pad as TensorFlow does before comparing."
)
@optimize_option
@device_option
@click.option(
    "--dtype", type=click.Choice(["float32", "float64", "bfloat16", "float16"]),
    help="Run the model in this dtype: float64 leaves only TensorFlow's rounding. [default: the weights']",
)  # fmt: skip
@click.option(
    "--no-diagnose", "diagnose", is_flag=True, flag_value=False, default=True,
    help="Do not look for what makes endpoints depart.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=60.0, show_default=True,
    help="How long to look for it.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), help="With --network: the seed of the input. [default: 0]"
)
@click.option("--frames", type=click.IntRange(min=1), help="With --network: frames of a seeded clip.")
@click.option(
    "--size", type=click.IntRange(min=1), help="With --network: height and width of a seeded input."
)
@click.option(
    "--whole", is_flag=True, help="With --network: compare every value, not samples of large activations."
)
@click.option("--signature", help="With --network: the signature of a SavedModel.")
@click.option(
    "--html", type=click.Path(path_type=Path),
    help="Also write a report with pictures: one HTML file that needs nothing else.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the report file.")
@settings_option
@config_option
@dequantize_option
@trust_option
@all_option
@json_option
@reports_errors
def command(
    weights: str | None,
    mapping: str,
    inputs: Sequence[str],
    settings: Sequence[str],
    config: Path | None,
    html: Path | None,
    force: bool,
    everything: bool,
    as_json: bool,
    seed: int | None,
    frames: int | None,
    size: int | None,
    signature: str | None,
    whole: bool,
    **options: Any,
) -> None:
    """Compare what both networks compute, layer by layer, and say where they depart and why.

    WEIGHTS is a TensorFlow checkpoint, which is translated in memory, or a file that `tfpt convert`
    wrote; with --network it may be left out, and both sides take the same checkpoint. TensorFlow's
    side is a recording, which needs no TensorFlow, or a network that is run on the spot.

    Exit code 0: every recorded endpoint agrees; 1: one departs; 2: error.
    """
    if html is not None:
        from tfpt.report.verification_page import check_page

        check_page(html, force)
    from tfpt.verification import verify

    running: dict[str, Any] = {
        "seed": seed,
        "frames": frames,
        "size": size,
        "signature": signature,
        "whole": whole or None,
    }
    result = verify(
        mapping,
        weights,
        inputs=named_files(inputs),
        settings=parse_settings(settings),
        config=str(config) if config else None,
        **options,
        **{name: value for name, value in running.items() if value is not None},
    )
    if html is not None:
        from tfpt.report.verification_page import write_page

        write_page(html, result, overwrite=force)
    if as_json:
        from tfpt.report.terminal import print_json

        print_json({**result.to_json(), "html": None if html is None else str(html)})
    else:
        from tfpt.report.terminal import console, escape
        from tfpt.report.verifications import print_verification

        out = console()
        print_verification(out, result, everything=everything)
        if html is not None:
            out.print(f"[green]wrote[/] {escape(str(html))}", soft_wrap=True)
    sys.exit(0 if result.agrees else 1)
