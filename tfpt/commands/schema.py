"""`tfpt schema`: the JSON schema of mapping files."""

from __future__ import annotations

from pathlib import Path

import click

from tfpt.commands.options import reports_errors


@click.command()
@click.option(
    "--write",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the schema to a file, and print the line with which a mapping names it.",
)
@reports_errors
def command(file: Path | None) -> None:
    """Print the JSON schema of mapping files, for editors.

    An editor with a YAML language server completes, checks and explains the keys of a mapping
    that begins with

        # yaml-language-server: $schema=SCHEMA

    where SCHEMA is the path of the schema, relative to the mapping, or its URL.
    """
    from tfpt.language.json_schema import json_schema
    from tfpt.report.terminal import console, escape, json_text

    text = json_text(json_schema())
    if file is None:
        click.echo(text)
        return
    from tfpt.io.output_file import write_text

    write_text(file, f"{text}\n")
    console().print(f"[green]wrote[/] {escape(str(file))}", soft_wrap=True)
    console().print(f"  next      # yaml-language-server: $schema={escape(file.name)}", soft_wrap=True)
