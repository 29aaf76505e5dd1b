"""`tfpt verify`: compare both networks on the same input, endpoint by endpoint."""

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
    mapping_type,
    named_files,
    optimize_option,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)


@click.command()
@click.argument("weights", metavar="[WEIGHTS]", required=False)
@click.option("--mapping", type=mapping_type, required=True, help=mapping_help)
@click.option(
    "--recording", metavar="FILE", help="A recording of the TensorFlow network, from `tfpt record` (.npz)."
)
@click.option(
    "--network", metavar="PATH",
    help="Instead, the TensorFlow network to run: .meta, SavedModel, .pb, .keras, .tflite.",
)  # fmt: skip
@click.option("--checkpoint", help="Checkpoint of the network, if it is not next to it.")
@click.option(
    "--input", "inputs", metavar="[NAME=]FILE", multiple=True,
    help="The input, if the recording does not contain it, or with --network: .npy or .npz, in "
    "TensorFlow's layout. Repeatable.",
)  # fmt: skip
@click.option(
    "--discover", "discovering", is_flag=True,
    help="Find the endpoints instead: print those that agree, as rows for the mapping, and where the networks part.",
)  # fmt: skip
@click.option(
    "--tolerance", type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    help="Relative difference up to which two activations count as equal. [default: 1e-05; in float16 and "
    "bfloat16 16 times their rounding error]",
)  # fmt: skip
@click.option("--adapt", is_flag=True, help="First replace stock layers that do not pad as TensorFlow does.")
@optimize_option
@device_option
@click.option(
    "--dtype", type=click.Choice(["float32", "float64", "bfloat16", "float16"]),
    help="Run the model in this dtype; float64 excludes PyTorch's rounding. [default: the weights']",
)  # fmt: skip
@click.option(
    "--no-diagnose", "diagnose", is_flag=True, flag_value=False, default=True,
    help="Do not search for the cause of differences.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=60.0, show_default=True,
    help="Time limit of that search.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), help="With --network: seed of a random input. [default: 0]"
)
@click.option("--frames", type=click.IntRange(min=1), help="With --network: frames of a random clip.")
@click.option(
    "--size", type=click.IntRange(min=1), help="With --network: height and width of a random input."
)
@click.option(
    "--whole", is_flag=True, help="With --network: compare every value, not samples of large activations."
)
@click.option("--signature", help="With --network: the signature of a SavedModel.")
@click.option(
    "--html", type=click.Path(path_type=Path),
    help="Also write an illustrated report: one self-contained HTML file.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an existing report.")
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
    discovering: bool,
    **options: Any,
) -> None:
    """Compare what both networks compute, layer by layer; show where and why they differ.

    WEIGHTS is a TensorFlow checkpoint, translated in memory, or a file written by `tfpt convert`;
    with --network it may be omitted, and both sides use the same checkpoint. The TensorFlow side is
    a recording (TensorFlow is not required), or a network that is run now.

    With --discover the mapping needs no endpoints: everything that TensorFlow computes is compared
    with every module, and the endpoints that agree are printed, to be pasted into the mapping.

    Exit code 0: every recorded endpoint agrees (with --discover: the output); 1: one differs; 2: error.
    """
    running: dict[str, Any] = {
        "seed": seed,
        "frames": frames,
        "size": size,
        "signature": signature,
        "whole": whole or None,
    }
    common: dict[str, Any] = {
        "inputs": named_files(inputs),
        "settings": parse_settings(settings),
        "config": str(config) if config else None,
        **{name: value for name, value in running.items() if value is not None},
    }
    if discovering:
        if html is not None or options["optimize"]:
            raise click.UsageError(f"--discover cannot be combined with {'--html' if html else '--optimize'}")
        for name in ("optimize", "diagnose", "seconds"):
            del options[name]
        _discover(mapping, weights, everything, as_json, {**options, **common})
    if html is not None:
        from tfpt.report.pages.verification import check_page

        check_page(html, force)
    from tfpt.verification import verify

    result = verify(mapping, weights, **common, **options)
    if html is not None:
        from tfpt.report.pages.verification import write_page

        write_page(html, result, overwrite=force)
    if as_json:
        from tfpt.report.terminal import print_json

        print_json({**result.to_json(), "html": None if html is None else str(html)})
    else:
        from tfpt.report.terminal import console, print_written
        from tfpt.report.verifications import print_verification

        out = console()
        print_verification(out, result, everything=everything)
        if html is not None:
            print_written(out, html)
    sys.exit(0 if result.agrees else 1)


def _discover(
    mapping: str, weights: str | None, everything: bool, as_json: bool, options: dict[str, Any]
) -> None:
    from tfpt.verification import discover

    result = discover(mapping, weights, **options)
    if as_json:
        from tfpt.report.terminal import print_json

        print_json(result.to_json())
    else:
        from tfpt.report.discoveries import print_discovery
        from tfpt.report.terminal import console

        print_discovery(console(), result, everything=everything)
    sys.exit(0 if result.agrees else 1)
