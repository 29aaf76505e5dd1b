"""Options that several commands share, and how errors leave a command."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tfpt.errors import TfptError

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
all_option = click.option(
    "--all", "everything", is_flag=True, help="Show everything, not only the first of many."
)
trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Build the model from any package, with any arguments, and run a network's own code.",
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The config.json that came with the checkpoint, for parameters declared {from: KEY} and for model.config.",
)
checksums_option = click.option(
    "--no-verify-checksums", "verify_checksums", is_flag=True, flag_value=False, default=True,
    help="Do not compare tensors with the checksums stored beside them.",
)  # fmt: skip
dequantize_option = click.option(
    "--dequantize", is_flag=True, help="Take quantized weights as the float32 values that they stand for."
)
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where the model runs: cpu, cuda, cuda:1, mps."
)
optimize_option = click.option(
    "--optimize", is_flag=True, help="Run the faster form of the model, which computes the same."
)
check_option = click.option(
    "--no-check",
    "check",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Take the model even if its layers contradict the mapping.",
)
settings_option = click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Give a parameter that the mapping declares under params: another value; repeatable.",
)
checkpoint_help = "A prefix, any of a checkpoint's files, or its folder; a path or a URL."
mapping_help = "A bundled mapping (see `tfpt mappings`) or a path."


def name_of(mapping: str) -> str:
    """What a mapping is called, given by name or by path.

    Example:
        >>> name_of("i3d_rgb"), name_of("i3d_rgb.yaml"), name_of("mine/net.v2.yml")
        ('i3d_rgb', 'i3d_rgb', 'net.v2')
    """
    path = Path(mapping)
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
            # PyYAML's own errors for 2024-13-01, which looks like a date, or for a number of 5,000 digits.
            raise click.BadParameter(
                f"the value in {text[:80]!r} cannot be read as YAML; quotes within quotes make it text: "
                f"--set {name}='\"…\"'",
                param_hint="--set",
            ) from None
    return settings


def named_files(texts: Sequence[str]) -> str | dict[str, str] | None:
    """What `--input` says: one file, or files by the names of inputs.

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
    """Let a command's `TfptError` become a message and an exit code: 1 for a plan that does not fit, else 2.

    So does what the system refuses; what standard output cannot take is for `tfpt.commands.main`.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from tfpt.errors import TfptError

        try:
            return function(*args, **kwargs)
        except TfptError as error:
            _report(error, bool(kwargs.get("as_json")))
            # Only a plan with findings carries one: everything else is bad input.
            sys.exit(1 if hasattr(error, "plan") else 2)
        except OSError as error:
            if error.filename is None:  # of a stream, which the error could not be written to either
                raise
            # Most paths are refused where they are used; this is the rest, such as a disk that fails.
            what = f"the system refuses: {error.strerror or error}"
            _report(TfptError(what, where=_named(error)), bool(kwargs.get("as_json")))
            sys.exit(2)

    return wrapped  # type: ignore[return-value]


def _report(error: TfptError, as_json: bool) -> None:
    """The error, and the files that were written all the same: to standard output as JSON, or to standard error."""
    from tfpt.io.interruption import finished
    from tfpt.report.terminal import print_error, print_json

    if as_json:
        print_json(error.to_json())
    else:
        print_error(str(error))
    if finished():
        click.echo(finished(), err=True)


def _named(error: OSError) -> str:
    name = error.filename
    return os.fsdecode(name) if isinstance(name, bytes) else str(name)
