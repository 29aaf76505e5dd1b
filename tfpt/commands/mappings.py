"""`tfpt mappings`: list the mappings that have a name."""

from __future__ import annotations

import logging

import click

from tfpt.commands.options import json_option, reports_errors

_log = logging.getLogger("tfpt")


@click.command()
@json_option
@click.option("--layers", is_flag=True, help="List the layers that a mapping can place with use:.")
@click.option(
    "--for",
    "checkpoint",
    metavar="CHECKPOINT",
    help="Only list mappings that fit the names in this checkpoint, the best first.",
)
@reports_errors
def command(as_json: bool, layers: bool, checkpoint: str | None) -> None:
    """List the mappings that come with tfpt and with installed packages."""
    from tfpt.language.mapping_packages import unusable_packages
    from tfpt.report.terminal import console, print_json

    for error in unusable_packages():
        _log.warning("%s", error)
    if checkpoint is not None:
        from tfpt.checking.ranking import rank
        from tfpt.report.candidates import print_candidates

        found = rank(checkpoint)
        if as_json:
            print_json([candidate.to_json() for candidate in found])
        else:
            print_candidates(console(), found, checkpoint)
        return
    from tfpt.report.mappings import layer_table, layers_to_json, mapping_table, mappings_to_json

    if as_json:
        print_json(layers_to_json() if layers else mappings_to_json())
    else:
        console().print(layer_table() if layers else mapping_table())
