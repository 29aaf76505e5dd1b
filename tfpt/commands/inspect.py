"""`tfpt inspect`: list what a file contains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tfpt.commands.options import dequantize_option, json_option, reports_errors

if TYPE_CHECKING:
    from tfpt.checking.inspection import Order
    from tfpt.formats.renamed import Names


@click.command()
@click.argument("path", metavar="CHECKPOINT")
@click.option("--grep", metavar="REGEX", help="Only list tensors whose name matches this.")
@click.option(
    "--stats",
    is_flag=True,
    help="Also read the values: minimum, maximum, mean, standard deviation, NaN, infinity.",
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
@dequantize_option
@json_option
@reports_errors
def command(
    path: str,
    grep: str | None,
    stats: bool,
    names: Names,
    order: Order,
    dequantize: bool,
    as_json: bool,
) -> None:
    """List what a file contains: names, shapes, dtypes, totals.

    CHECKPOINT is the path or URL of any file that tfpt reads: a checkpoint (without --stats, its
    index is enough), a SavedModel, a graph, a Keras, TensorFlow Lite, numpy, JAX or PyTorch file.
    Unreadable tensors are marked; --stats skips them.
    """
    from tfpt.checking.inspection import inspect

    found = inspect(path, grep=grep, stats=stats, dequantize=dequantize, names=names, order=order)
    if as_json:
        from tfpt.report.terminal import print_json

        print_json(found.to_json())
        return
    from tfpt.report.inspections import print_inspection
    from tfpt.report.terminal import console

    print_inspection(console(), found)
