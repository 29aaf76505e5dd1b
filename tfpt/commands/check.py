"""`tfpt check`: lint a mapping."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfpt.commands.options import (
    all_option,
    config_option,
    json_option,
    mapping_type,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)

if TYPE_CHECKING:
    from tfpt.checking.lint import Check


@click.command()
@click.argument("mapping", type=mapping_type)
@click.option(
    "--checkpoint", help="Also check against the names and shapes of this checkpoint; a path or a URL."
)
@click.option("--write-manifest", is_flag=True, help="Rewrite the manifest from the model.")
@click.option(
    "--fix", is_flag=True, help="Change the mapping where only one change is possible, and show it."
)
@click.option(
    "--watch", is_flag=True, help="Check again whenever the mapping or a file that it extends changes."
)
@settings_option
@config_option
@trust_option
@all_option
@json_option
@reports_errors
def command(
    mapping: str,
    checkpoint: str | None,
    write_manifest: bool,
    fix: bool,
    watch: bool,
    settings: Sequence[str],
    config: Path | None,
    trust: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Check a mapping file without weights.

    Reports with file:line:column: syntax errors, rows that match no parameter or have no effect,
    parameters that no row writes, layouts that cannot fit and those that no shape can confirm,
    fields with a single value, arguments that the model does not accept, a manifest that differs
    from the model, and layers whose padding or normalization contradicts the mapping.

    --fix corrects names after a rename and layouts of which one order of axes alone fits; with
    --checkpoint also names of variables, and it ignores variables that are not weights by role.

    Exit code 0: no findings; 1: findings, or neither a manifest nor a model to check the rows
    against; 2: the file cannot be read.
    """
    from tfpt.checking.lint import check_mapping
    from tfpt.language.loader import load_mapping

    if watch and (fix or as_json or write_manifest):
        raise click.UsageError("--watch cannot be combined with --fix, --json and --write-manifest")
    if fix and write_manifest:
        raise click.UsageError("--fix and --write-manifest cannot be combined")

    def check() -> Check:
        compiled = load_mapping(mapping, parse_settings(settings), config)
        return check_mapping(compiled, trust=trust, update_manifest=write_manifest, checkpoint=checkpoint)

    if watch:
        _watch(mapping, check, everything)
    fixed = None
    if fix:
        from tfpt.checking.fixing import fix as fix_mapping

        fixed = fix_mapping(check)
    found = check() if fixed is None else fixed.check
    if as_json:
        from tfpt.report.terminal import print_json

        made = {} if fixed is None else {"fixed": [edit.to_json() for edit in fixed.edits]}
        print_json({**found.to_json(), **made})
    else:
        from tfpt.report.mappings import print_check, print_fixes
        from tfpt.report.terminal import console, escape

        if fixed is not None:
            print_fixes(console(), fixed)
        print_check(console(), found, everything=everything)
        if write_manifest:
            console().print(f"[green]wrote[/] {escape(str(found.mapping.manifest_path))}", soft_wrap=True)
    sys.exit(1 if found.findings else 0)


def _watch(mapping: str, check: Callable[[], Check], everything: bool) -> None:
    """Check until Ctrl-C."""
    from tfpt.checking.watching import changes
    from tfpt.errors import TfptError
    from tfpt.report.mappings import print_check
    from tfpt.report.terminal import console, print_error

    out = console()
    for number in changes(mapping):
        if number:
            out.print()
        try:
            print_check(out, check(), everything=everything)
        except TfptError as error:
            print_error(str(error))
        out.print("[dim]watching for changes; Ctrl-C ends[/]")
        sys.stdout.flush()
