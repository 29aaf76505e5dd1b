"""`tfpt record`: what a TensorFlow network computes, kept in a file."""

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
    name_of,
    named_files,
    parse_settings,
    reports_errors,
    settings_option,
)


@click.command()
@click.argument("network", metavar="NETWORK")
@click.option("--mapping", help=f"{mapping_help} Its endpoints are recorded.")
@click.option(
    "--checkpoint", help="The graph's variables, where they are not beside it: a checkpoint's prefix."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The .npz file. [default: the mapping's or NETWORK's name]"
)
@click.option(
    "--input", "inputs", metavar="[NAME=]FILE", multiple=True,
    help="What it is fed: .npy or .npz, in TensorFlow's layout; repeatable. [default: values from the seed]",
)  # fmt: skip
@click.option(
    "--feed", "feeds", metavar="NAME=VALUE", multiple=True,
    help="A value for a placeholder, such as keep_prob=1.0, or a .npy file for any tensor; repeatable.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same input."
)
@click.option(
    "--frames", type=click.IntRange(min=1), help="Frames of a seeded clip. [default: the network's, or 16]"
)
@click.option(
    "--batch", type=click.IntRange(min=1), help="Size of a seeded batch. [default: the network's, or 1]"
)
@click.option(
    "--size", type=click.IntRange(min=1), help="Height and width. [default: the network's, or the mapping's]"
)
@click.option(
    "--endpoint", "endpoints", metavar="NAME", multiple=True,
    help="Record this operation, name scope or layer, or this endpoint of the mapping; repeatable.",
)  # fmt: skip
@click.option(
    "--all-layers", is_flag=True, help="Record every layer of a Keras model, or all that a graph computes."
)
@click.option("--whole", is_flag=True, help="Keep every value, not samples of activations over 2,000 values.")
@click.option(
    "--no-input", "store_input", is_flag=True, flag_value=False, default=True,
    help="Leave the input out of the file; one from a seed can be made again.",
)  # fmt: skip
@click.option("--signature", help="The signature of a SavedModel. [default: serving_default]")
@click.option("--list", "only_list", is_flag=True, help="Only list what can be recorded; run nothing.")
@click.option("--grep", metavar="REGEX", help="With --list: only names that hold this.")
@click.option("--force", is_flag=True, help="Replace the output file.")
@settings_option
@config_option
@click.option(
    "--trust", is_flag=True,
    help="Build the mapping's model from anywhere; let the network run code, read and write files.",
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
    """Record what a TensorFlow network computes, for `tfpt verify` to compare with.

    NETWORK is a .meta file or the checkpoint beside it, a SavedModel, a frozen graph (.pb), or a
    whole Keras model (.keras, .h5). It is run once, outside training, on one input; each endpoint
    goes into an .npz file that numpy reads, with the input. `--list` shows what has a name.

    It needs TensorFlow: pip install "tfpt[tensorflow]".
    """
    if only_list:
        _list(network, checkpoint, options["signature"], options["trust"], grep, everything, as_json)
        return
    if grep is not None:
        raise click.UsageError("--grep chooses from --list")
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
    """Values, or files of arrays, by the names of tensors."""
    import yaml

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--feed")
        try:
            found[name] = value if value.endswith((".npy", ".npz")) else yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise click.BadParameter(f"{text!r} has no value that can be read", param_hint="--feed") from None
    return found
