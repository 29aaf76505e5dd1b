"""`tfpt sample`: write a checkpoint of random weights, to try out a mapping."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tfpt.commands.options import (
    config_option,
    json_option,
    mapping_help,
    mapping_type,
    name_of,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)


@click.command()
@click.option("--mapping", type=mapping_type, required=True, help=mapping_help)
@click.option("--out", help="The checkpoint's prefix. [default: MAPPING/model.ckpt]")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random weights."
)
@click.option("--force", is_flag=True, help="Replace an existing checkpoint.")
@settings_option
@config_option
@trust_option
@json_option
@reports_errors
def command(
    mapping: str,
    out: str | None,
    seed: int,
    force: bool,
    settings: Sequence[str],
    config: Path | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Write a TensorFlow checkpoint of random weights that fits a mapping."""

    from tfpt.execution.jobs import sample
    from tfpt.report.terminal import console, escape, print_json

    prefix = out or f"{name_of(mapping)}/model.ckpt"
    options = {
        "settings": parse_settings(settings),
        "config": str(config) if config else None,
        "trust": trust,
    }
    number = sample(mapping, prefix, seed=seed, overwrite=force, **options)  # type: ignore[arg-type]
    if as_json:
        print_json({"checkpoint": prefix, "variables": number, "seed": seed})
    else:
        console().print(f"[green]wrote[/] {escape(prefix)} ({number} variables)", soft_wrap=True)
