"""`tfpt trust`: the mappings that need no `--trust`."""

from __future__ import annotations

import click

from tfpt.commands.options import json_option, mapping_type, reports_errors


@click.group()
def command() -> None:
    """Trust mappings in every run, so that they need no --trust.

    A trusted mapping may import any code that it names, from installed packages or from its own
    folder. It is known by its path and content: after a change of the file, or of one that it
    extends, it is not trusted until it is added again. The code itself is not compared. --json prints
    the entries with their digests.
    """


@command.command(short_help="Trust mappings as they are now.")
@click.argument("mappings", metavar="FILE...", nargs=-1, required=True, type=mapping_type)
@json_option
@reports_errors
def add(mappings: tuple[str, ...], as_json: bool) -> None:
    """Trust mappings as they are now, in every run."""
    from tfpt.report.terminal import console, print_json
    from tfpt.report.trust import print_added, to_json
    from tfpt.targets.trust import add_trusted

    added = [add_trusted(mapping) for mapping in mappings]
    if as_json:
        print_json([to_json(each) for each in added])
    else:
        print_added(console(), added)


@command.command("list", short_help="List the trusted mappings.")
@json_option
@reports_errors
def list_command(as_json: bool) -> None:
    """List the trusted mappings, and those that have changed since."""
    from tfpt.report.terminal import console, print_json
    from tfpt.report.trust import print_trusted, to_json
    from tfpt.targets.trust import trust_file, trusted_mappings

    found = trusted_mappings()
    if as_json:
        print_json([to_json(each) for each in found])
    else:
        print_trusted(console(), found, trust_file())


@command.command(short_help="Trust mappings no longer.")
@click.argument("mappings", metavar="FILE...", nargs=-1, required=True, type=mapping_type)
@json_option
@reports_errors
def remove(mappings: tuple[str, ...], as_json: bool) -> None:
    """Trust mappings no longer. The files need not exist."""
    from tfpt.report.terminal import console, print_json
    from tfpt.report.trust import print_removed, to_json
    from tfpt.targets.trust import remove_trusted

    removed = [remove_trusted(mapping) for mapping in mappings]
    if as_json:
        print_json([to_json(each) for each in removed])
    else:
        print_removed(console(), removed)
