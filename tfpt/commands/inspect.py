"""`tfpt inspect`: list what a file contains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfpt.commands.options import (
    dequantize_option,
    json_option,
    parse_settings,
    reports_errors,
    trust_option,
)

if TYPE_CHECKING:
    from tfpt.checking.inspection import Order
    from tfpt.formats.renamed import Names


@click.command()
@click.argument("path", metavar="CHECKPOINT")
@click.option("--grep", metavar="REGEX", help="Only list tensors whose name matches this.")
@click.option(
    "--stats",
    is_flag=True,
    help="Also read the values: minimum, maximum, mean, standard deviation; and name the tensors with NaN, infinity, "
    "variances below 0, one value throughout or many denormals.",
)
@click.option(
    "--names",
    type=click.Choice(["readable", "path", "keras"]),
    default="readable",
    show_default=True,
    help="What tensors are called, as in source.names of a mapping: keras is LAYER/WEIGHT, the same "
    "for all files of a Keras model.",
)
@click.option(
    "--order",
    type=click.Choice(["name", "file"]),
    default="name",
    show_default=True,
    help="How tensors are listed; file is the order in which they were created, where the file keeps it.",
)
@click.option(
    "--beside",
    metavar="TARGET",
    help="Print names, shapes and order next to those of a model (PACKAGE.MODULE:NAME), a mapping, a "
    "manifest or a file of weights, aligned by what probably belongs together.",
)
@click.option(
    "--kwargs",
    metavar="NAME=VALUE",
    multiple=True,
    help="With --beside: an argument of the model. Repeatable.",
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="With --beside: the config.json of the model."
)
@trust_option
@dequantize_option
@json_option
@reports_errors
def command(
    path: str,
    grep: str | None,
    stats: bool,
    names: Names,
    order: Order,
    beside: str | None,
    kwargs: Sequence[str],
    config: Path | None,
    trust: bool,
    dequantize: bool,
    as_json: bool,
) -> None:
    """List what a file contains: names, shapes, dtypes, totals.

    CHECKPOINT is the path or URL of any file that tfpt reads: a checkpoint (without --stats, its
    index is enough), a SavedModel, a graph, a Keras, TensorFlow Lite, numpy, JAX or PyTorch file.
    Unreadable tensors are marked; --stats skips them.
    """
    if beside is not None:
        if stats or order == "file" or dequantize:
            raise click.UsageError("--beside cannot be combined with --stats, --order or --dequantize")
        _print_beside(path, beside, parse_settings(kwargs), config, grep, names, trust, as_json)
        return
    if kwargs or config is not None:
        raise click.UsageError("--kwargs and --config are for a model --beside")
    from tfpt.checking.inspection import inspect

    found = inspect(path, grep=grep, stats=stats, dequantize=dequantize, names=names, order=order)
    if as_json:
        from tfpt.report.terminal import print_json

        print_json(found.to_json())
        return
    from tfpt.report.inspections import print_inspection
    from tfpt.report.terminal import console

    print_inspection(console(), found)


def _print_beside(
    path: str,
    target: str,
    kwargs: Mapping[str, Any],
    config: Path | None,
    grep: str | None,
    names: Names,
    trust: bool,
    as_json: bool,
) -> None:
    from tfpt.proposal.beside import beside
    from tfpt.report.both_sides import print_beside
    from tfpt.report.terminal import console, print_json

    both = beside(path, target, kwargs=kwargs, config=config, grep=grep, names=names, trust=trust)
    if as_json:
        print_json(both.to_json())
    else:
        print_beside(console(), both)
