"""`tfpt check`: lint a mapping."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tfpt.commands.options import (
    config_option,
    json_option,
    parse_settings,
    reports_errors,
    settings_option,
    trust_option,
)


@click.command()
@click.argument("mapping")
@click.option("--write-manifest", is_flag=True, help="Rewrite the manifest from the model.")
@settings_option
@config_option
@trust_option
@json_option
@reports_errors
def command(
    mapping: str,
    write_manifest: bool,
    settings: Sequence[str],
    config: Path | None,
    trust: bool,
    as_json: bool,
) -> None:
    """Check a mapping file without a checkpoint.

    Reports syntax errors with file:line, rows that match no parameter, parameters that no row
    writes, a manifest that differs from the model, and layers whose padding or normalization
    contradicts the mapping.

    Exit code 0: no findings; 1: findings, or neither a manifest nor a model to check the rows
    against; 2: the file cannot be read.
    """
    from tfpt.checking.lint import check_mapping
    from tfpt.language.loader import load_mapping

    compiled = load_mapping(mapping, parse_settings(settings), config)
    found = check_mapping(compiled, trust=trust, update_manifest=write_manifest)
    if as_json:
        from tfpt.report.terminal import print_json

        print_json(found.to_json())
    else:
        from tfpt.report.mappings import print_check
        from tfpt.report.terminal import console, escape

        print_check(console(), found)
        if write_manifest:
            console().print(f"[green]wrote[/] {escape(str(compiled.manifest_path))}", soft_wrap=True)
    sys.exit(1 if found.findings else 0)
