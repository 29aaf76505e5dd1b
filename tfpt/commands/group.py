"""The command `tfpt` and its subcommands, each imported when it is called."""

from __future__ import annotations

import importlib
import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from tfpt.visible import visible

# Name → module and help text. The texts are here so that `--help` imports none of the modules.
COMMANDS = {
    "init": ("tfpt.commands.init", "Propose a mapping for a checkpoint and a model."),
    "convert": ("tfpt.commands.convert", "Translate TensorFlow checkpoints into PyTorch weights."),
    "diff": ("tfpt.commands.diff", "Show what differs between two sets of weights."),
    "inspect": ("tfpt.commands.inspect", "List what a file contains."),
    "mappings": (
        "tfpt.commands.mappings",
        "List the mappings that come with tfpt and with installed packages.",
    ),
    "check": ("tfpt.commands.check", "Check a mapping file."),
    "trust": ("tfpt.commands.trust", "Trust mappings in every run; list them."),
    "completion": ("tfpt.commands.completion", "Print the script for command-line completion in a shell."),
    "schema": ("tfpt.commands.schema", "Print the JSON schema of mapping files, for editors."),
    "sample": ("tfpt.commands.sample", "Write a checkpoint of random weights that fits a mapping."),
    "verify": ("tfpt.commands.verify", "Compare what the two networks compute, layer by layer."),
    "record": ("tfpt.commands.record", "Record the activations of a TensorFlow network."),
    "predict": ("tfpt.commands.predict", "Classify a video clip with one or several networks."),
    "profile": ("tfpt.commands.profile", "Time a mapping's model, layer by layer."),
    "visualize": ("tfpt.commands.visualize", "Draw a model's filters, or its activations for a clip."),
}


class _ToStandardError(logging.Handler):
    """Prints log messages of the package on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        from tfpt.report.terminal import console, escape

        console(stderr=True).print(escape(record.getMessage()), soft_wrap=True)


class NoReaderError(Exception):
    """Standard output was closed by its reader. Not a BrokenPipeError, for which click exits with 1: a difference."""


@contextmanager
def _detecting_no_reader() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise NoReaderError from error


@contextmanager
def _printable_errors() -> Iterator[None]:
    """Escape control characters in arguments that click quotes in its errors."""
    try:
        yield
    except click.ClickException as error:
        text = visible(error.format_message(), lines=True)
        error.format_message = lambda: text  # type: ignore[method-assign]
        raise


class _LazyGroup(click.Group):
    def main(self, *arguments: Any, **options: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # Names may contain characters that the terminal's encoding lacks, and lone surrogates from file names.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*arguments, **options)

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _detecting_no_reader(), _printable_errors():  # --help is printed here
            return super().make_context(*arguments, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[name][0]).command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        logger, handler = logging.getLogger("tfpt"), _ToStandardError()
        before = logger.level
        logger.addHandler(handler)

        def restore() -> None:
            logger.removeHandler(handler)
            logger.setLevel(before)

        ctx.call_on_close(restore)
        if ctx.params["quiet"] and ctx.params["verbose"]:
            raise click.UsageError("-q and -v cannot be combined", ctx)
        if ctx.params["quiet"] or ctx.params["verbose"]:
            levels = [logging.ERROR if ctx.params["quiet"] else logging.WARNING, logging.INFO, logging.DEBUG]
            logger.setLevel(levels[min(ctx.params["verbose"], 2)])
        try:
            with _detecting_no_reader(), _printable_errors():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            # Only when embedded: the program `tfpt` handles the signal itself. Not click's exit code 1, which means
            # that the mapping does not fit.
            click.echo("interrupted", err=True)
            ctx.exit(130)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else f" Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command {args[0]!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    "tfpt", cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(None, "-V", "--version", package_name="tfpt", message="tfpt %(version)s")
@click.option("-v", "--verbose", count=True, help="Say what is done on standard error; -vv says more.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors and results: no warnings, no progress.")
def group(verbose: int, quiet: bool) -> None:
    """Translate TensorFlow weights to PyTorch: exactly, fast, and without TensorFlow.

    A mapping (a YAML file) says where each variable goes. Start with `tfpt mappings`, then
    `tfpt convert --mapping NAME --checkpoint PATH`.

    Exit codes: 0 success (diff, verify: equal), 1 the mapping does not fit or the sides differ, 2 an error,
    130 interrupted, 143 terminated, 129 hung up, 141 standard output was closed early.
    """
