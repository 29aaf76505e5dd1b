"""`tfpt inspect`: what is in a file."""

from __future__ import annotations

import click

from tfpt.commands.options import dequantize_option, json_option, reports_errors


@click.command()
@click.argument("path", metavar="CHECKPOINT")
@click.option("--grep", metavar="REGEX", help="Only tensors whose name holds this.")
@click.option(
    "--stats", is_flag=True, help="Read the values: minimum, maximum, mean, deviation, NaN, infinity."
)
@dequantize_option
@json_option
@reports_errors
def command(path: str, grep: str | None, stats: bool, dequantize: bool, as_json: bool) -> None:
    """Show what is in a file: names, shapes, dtypes, totals.

    Takes whatever tfpt reads, by path or URL: checkpoints (an index alone is enough without --stats),
    SavedModels, graphs, files of Keras, TensorFlow Lite, numpy and PyTorch.
    What cannot be read is marked, and --stats goes on with the rest.
    """
    from tfpt.checking.inspection import inspect

    found = inspect(path, grep=grep, stats=stats, dequantize=dequantize)
    if as_json:
        from tfpt.report.terminal import print_json

        print_json(found.to_json())
        return
    from tfpt.report.inspections import print_inspection
    from tfpt.report.terminal import console

    print_inspection(console(), found)
