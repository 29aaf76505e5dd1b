"""Options shared by several commands, and error reporting."""

from __future__ import annotations

import functools
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from tfpt.errors import TfptError

_log = logging.getLogger("tfpt")

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
html_option = click.option(
    "--html", type=click.Path(path_type=Path),
    help="Also write a page that shows both sides and what joins them: one self-contained HTML file.",
)  # fmt: skip
all_option = click.option("--all", "everything", is_flag=True, help="Show all rows of long lists.")


def _at_a_terminal() -> bool:
    return sys.stderr.isatty()


def _say_how_to_remember(context: click.Context, _: click.Parameter, trust: bool) -> bool:
    """With `--trust`, tell a person at a terminal at the end how to trust the mappings that needed it in every run."""
    if trust and _at_a_terminal():
        from tfpt.targets.permission import needed_trust

        def say() -> None:
            for named in needed_trust:
                _log.warning("note: tfpt trust add %s makes --trust unnecessary", shlex.quote(named))
            needed_trust.clear()

        needed_trust.clear()
        context.call_on_close(say)
    return trust


trust_option = click.option(
    "--trust",
    is_flag=True,
    callback=_say_how_to_remember,
    help="Allow models from any package, with any arguments, and networks that run their own code.",
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The config.json that came with the checkpoint, for parameters declared {from: KEY} and for model.config.",
)
model_option = click.option(
    "--no-model",
    "use_model",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Use neither a model nor a manifest: parameters have the names and shapes that the rows give.",
)
checksums_option = click.option(
    "--no-verify-checksums", "verify_checksums", is_flag=True, flag_value=False, default=True,
    help="Do not check tensors against the checksums in the file.",
)  # fmt: skip
dequantize_option = click.option(
    "--dequantize", is_flag=True, help="Convert quantized weights to the float32 values that they represent."
)
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Device to run the model on: cpu, cuda, cuda:1, mps."
)
optimize_option = click.option("--optimize", is_flag=True, help="Run a faster, equivalent form of the model.")
check_option = click.option(
    "--no-check",
    "check",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Accept a model whose layers contradict the mapping.",
)
settings_option = click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set a parameter declared in the mapping under params:. Repeatable.",
)
checkpoint_help = "A prefix, any of a checkpoint's files, or its folder; a path or a URL."


class MappingName(click.ParamType):  # type: ignore[type-arg]
    """The name or the path of a mapping; a shell completes both."""

    name = "text"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The named mappings and the YAML files here that begin so; without any, what the shell says of files."""
        from click.shell_completion import CompletionItem

        from tfpt.language.mapping_files import short_names

        files = sorted(path.name for path in Path().glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
        names = [name for name in (*short_names(), *files) if name.startswith(incomplete)]
        return [*map(CompletionItem, names)] or [CompletionItem(incomplete, type="file")]


mapping_type = MappingName()
mapping_help = "The name of a mapping (see `tfpt mappings`) or a path."


def name_of(mapping: str) -> str:
    """The name of a mapping given by name or by path.

    Example:
        >>> name_of("i3d_rgb"), name_of("i3d_rgb.yaml"), name_of("mine/net.v2.yml"), name_of("acme:net")
        ('i3d_rgb', 'i3d_rgb', 'net.v2', 'net')
    """
    path = Path(mapping)
    if path.name == mapping and not path.exists():
        path = Path(mapping.rpartition(":")[2])  # that of a package
    return path.stem if path.suffix in (".yaml", ".yml") else path.name


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """`name=value` pairs, the values read as YAML scalars.

    Example:
        >>> parse_settings(["num_classes=10", "name=x"])
        {'num_classes': 10, 'name': 'x'}
    """
    import yaml

    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
        try:
            settings[name.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # PyYAML raises these for 2024-13-01, which looks like a date, or for a number of 5,000 digits.
            raise click.BadParameter(
                f"the value in {text[:80]!r} is not valid YAML; to pass it as text, quote it twice: "
                f"--set {name}='\"…\"'",
                param_hint="--set",
            ) from None
    return settings


def named_files(texts: Sequence[str]) -> str | dict[str, str] | None:
    """The value of `--input`: one file, or files by input name.

    Example:
        >>> named_files(["clip.npy"]), named_files(["left=a.npy", "right=b.npy"])
        ('clip.npy', {'left': 'a.npy', 'right': 'b.npy'})
    """
    if not texts:
        return None
    if len(texts) == 1 and ("=" not in texts[0] or Path(texts[0]).is_file()):
        return texts[0]
    found = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not equals or not name or name in found:
            raise click.BadParameter(f"{text!r} is not NAME=FILE, one for each input", param_hint="--input")
        found[name] = file
    return found


def reports_errors(function: F) -> F:
    """Turn a command's `TfptError` into a message and an exit code: 1 for a plan that does not fit, else 2.

    Likewise for an `OSError`, except those of standard output, which `tfpt.commands.main` handles.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from tfpt.errors import TfptError

        try:
            return function(*args, **kwargs)
        except TfptError as error:
            _report(error, bool(kwargs.get("as_json")))
            # Only a PlanError has a plan; every other error is bad input.
            sys.exit(1 if hasattr(error, "plan") else 2)
        except OSError as error:
            if error.filename is None:  # a standard stream, to which the error could not be written either
                raise
            # Most path errors are raised where the path is used; these are the rest, such as a failing disk.
            what = f"the system reports an error: {error.strerror or error}"
            _report(TfptError(what, where=_named(error)), bool(kwargs.get("as_json")))
            sys.exit(2)

    return wrapped  # type: ignore[return-value]


def _report(error: TfptError, as_json: bool) -> None:
    """Print the error (JSON on standard output, or text on standard error), and the files that were written anyway."""
    from tfpt.io.interruption import finished
    from tfpt.report.terminal import print_error, print_json

    if as_json:
        print_json(error.to_json())
    else:
        from tfpt.language.source_text import show_source

        show_source(error)
        print_error(str(error))
    if finished():
        click.echo(finished(), err=True)


def _named(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, bytes) else str(name)
