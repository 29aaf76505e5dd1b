"""`tfpt diff`: compare two sets of weights."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tfpt.commands.options import (
    all_option,
    checksums_option,
    config_option,
    dequantize_option,
    html_option,
    json_option,
    mapping_help,
    mapping_type,
    model_option,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)


@click.command()
@click.argument("left", metavar="CHECKPOINT")
@click.argument("right", metavar="[WEIGHTS]", required=False)
@click.option("--mapping", type=mapping_type, help=mapping_help)
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=0.0, show_default=True,
    help="Relative difference up to which two tensors count as equal.",
)  # fmt: skip
@settings_option
@config_option
@trust_option
@model_option
@checksums_option
@dequantize_option
@all_option
@html_option
@click.option("--force", is_flag=True, help="Replace an existing page.")
@json_option
@reports_errors
def command(
    left: str,
    right: str | None,
    mapping: str | None,
    tolerance: float,
    settings: Sequence[str],
    config: Path | None,
    trust: bool,
    use_model: bool,
    verify_checksums: bool,
    dequantize: bool,
    everything: bool,
    html: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Show what differs between two sets of weights, worst first.

    With --mapping, compare a TensorFlow CHECKPOINT, translated by the mapping, with PyTorch WEIGHTS;
    without WEIGHTS, check only names, shapes and dtypes. Without --mapping, compare two files of the
    same kind.

    Exit code 0: equal; 1: different; 2: error.
    """
    if html is not None:
        from tfpt.report.pages.document import check_path

        check_path(html, force)
    from tfpt.checking.comparison import diff

    result = diff(
        left,
        right,
        mapping=mapping,
        tolerance=tolerance,
        verify_checksums=verify_checksums,
        dequantize=dequantize,
        settings=parse_settings(settings),
        config=config,
        trust=trust,
        use_model=use_model,
        histograms=html is not None,
    )
    if html is not None:
        from tfpt.report.pages.matching_of import of_diff
        from tfpt.report.pages.trees import write_page

        write_page(html, [of_diff(result)], overwrite=force)
    if as_json:
        from tfpt.proposal.causes import causes_to_json
        from tfpt.report.terminal import print_json

        causes = causes_to_json(result.plan) if result.plan else {}
        print_json({**result.to_json(), **causes, "html": None if html is None else str(html)})
    else:
        from tfpt.report.diffs import print_diff
        from tfpt.report.terminal import console, print_written

        out = console()
        print_diff(out, result, everything=everything)
        if html is not None:
            print_written(out, html)
    sys.exit(0 if result.same else 1)
