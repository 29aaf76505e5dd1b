"""`tfpt record`: record the activations of a TensorFlow network in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tfpt.commands.options import (
    all_option,
    config_option,
    json_option,
    mapping_help,
    mapping_type,
    name_of,
    named_files,
    parse_settings,
    reports_errors,
    settings_option,
)


@click.command()
@click.argument("network", metavar="NETWORK")
@click.option("--mapping", type=mapping_type, help=f"{mapping_help} Its endpoints are recorded.")
@click.option(
    "--checkpoint",
    help="Prefix of the checkpoint with the graph's variables, if it is not next to the graph.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The .npz file. [default: the mapping's or NETWORK's name]"
)
@click.option(
    "--input", "inputs", metavar="[NAME=]FILE", multiple=True,
    help="The input: .npy or .npz, in TensorFlow's layout. Repeatable. [default: random, from the seed]",
)  # fmt: skip
@click.option(
    "--feed", "feeds", metavar="NAME=VALUE", multiple=True,
    help="A value for a placeholder, such as keep_prob=1.0, or a .npy file for any tensor. Repeatable.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of a random input."
)
@click.option(
    "--frames", type=click.IntRange(min=1), help="Frames of a random clip. [default: the network's, or 16]"
)
@click.option(
    "--batch", type=click.IntRange(min=1), help="Batch size of a random input. [default: the network's, or 1]"
)
@click.option(
    "--size",
    type=click.IntRange(min=1),
    help="Height and width of a random input. [default: the network's or mapping's]",
)
@click.option(
    "--endpoint", "endpoints", metavar="NAME", multiple=True,
    help="Record this operation, name scope or layer, or this endpoint of the mapping. Repeatable.",
)  # fmt: skip
@click.option(
    "--all-layers", is_flag=True, help="Record every layer of a Keras model, or everything a graph computes."
)
@click.option(
    "--whole",
    is_flag=True,
    help="Store every value; by default, activations of more than 2,000 values are sampled.",
)
@click.option(
    "--no-input", "store_input", is_flag=True, flag_value=False, default=True,
    help="Do not store the input; a random input can be regenerated from its seed.",
)  # fmt: skip
@click.option("--signature", help="The signature of a SavedModel. [default: serving_default]")
@click.option(
    "--list", "only_list", is_flag=True, help="List what can be recorded, without running the network."
)
@click.option("--grep", metavar="REGEX", help="With --list: only names that match this.")
@click.option("--force", is_flag=True, help="Replace the output file.")
@settings_option
@config_option
@click.option(
    "--trust", is_flag=True,
    help="Allow models from any package, and networks that run their own code or access files.",
)  # fmt: skip
@all_option
@json_option
@reports_errors
def command(
    network: str,
    mapping: str | None,
    checkpoint: str | None,
    out: Path | None,
    inputs: Sequence[str],
    feeds: Sequence[str],
    only_list: bool,
    grep: str | None,
    force: bool,
    settings: Sequence[str],
    config: Path | None,
    everything: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Record the activations of a TensorFlow network, as a reference for `tfpt verify`.

    NETWORK is a .meta file or the checkpoint next to it, a SavedModel, a frozen graph (.pb), a
    whole Keras model (.keras, .h5), or a TensorFlow Lite model (.tflite). It is run once, in inference
    mode, on one input; the endpoints and the input are written to an .npz file. `--list` shows what
    can be recorded.

    Requires TensorFlow: pip install "tfpt[tensorflow]". Without it, Keras models run on torch
    (pip install keras), and TensorFlow Lite models with pip install ai-edge-litert.
    """
    if only_list:
        _list(network, checkpoint, options["signature"], options["trust"], grep, everything, as_json)
        return
    if grep is not None:
        raise click.UsageError("--grep only works with --list")
    from tfpt.networks.recording import record

    target = out or Path(f"{name_of(mapping) if mapping else Path(network.rstrip('/')).stem}.npz")
    result = record(
        mapping,
        network,
        target,
        checkpoint=checkpoint,
        inputs=named_files(inputs),
        feeds=_feeds(feeds),
        settings=parse_settings(settings),
        config=str(config) if config else None,
        overwrite=force,
        **options,
    )
    if as_json:
        from tfpt.report.recordings import recording_json
        from tfpt.report.terminal import print_json

        print_json(recording_json(result))
    else:
        from tfpt.report.recordings import print_recording
        from tfpt.report.terminal import console

        print_recording(console(), result, target.stat().st_size)


def _list(
    network: str,
    checkpoint: str | None,
    signature: str | None,
    trust: bool,
    grep: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    from tfpt.networks.recording import recordable
    from tfpt.report.recordings import matching, print_recordable

    found = recordable(network, checkpoint=checkpoint, signature=signature, trust=trust)
    shown = found if grep is None else matching(found, grep)
    if as_json:
        from tfpt.report.terminal import print_json

        print_json([each.to_json() for each in shown])
    else:
        from tfpt.report.terminal import console

        print_recordable(console(), shown, len(found), everything=everything)


def _feeds(texts: Sequence[str]) -> dict[str, Any]:
    """Values, or files of arrays, by tensor name."""
    import yaml

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--feed")
        try:
            found[name] = value if value.endswith((".npy", ".npz")) else yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise click.BadParameter(f"{text!r} is not a valid value", param_hint="--feed") from None
    return found
