"""The program `tfpt`: signals, standard streams and exit codes.

Imports are kept to a minimum, because they run before signals are handled.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from tfpt.io import interruption

if TYPE_CHECKING:
    from collections.abc import Sequence

# As a shell reports SIGINT and SIGPIPE.
_INTERRUPTED = 130
_NO_READER = 141


def main(
    words: Sequence[str] | None = None, prog_name: str | None = None, standalone_mode: bool = True
) -> None:
    """Run a command and exit with its code.

    Args:
        words: The arguments. By default, those of this process, whose signals are then handled by
            `tfpt.io.interruption`.
        prog_name: The name of the program in its help.
        standalone_mode: Exit at the end; otherwise return, and raise click's exceptions.
    """
    if words is None:
        interruption.install()
        interruption.open_standard_streams()
    from tfpt.commands.group import group

    if not standalone_mode:
        group.main(words, prog_name, standalone_mode=False)
        return
    sys.exit(_end(_code_of(words, prog_name)))


def _code_of(words: Sequence[str] | None, prog_name: str | None) -> int:
    import click

    from tfpt.commands.group import NoReaderError, group

    try:
        code = group.main(words, prog_name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except SystemExit as end:
        code = end.code
    except NoReaderError:
        return _without_reader()
    except OSError as error:
        return _unwritable(error)
    return code if isinstance(code, int) else 0


def _end(code: int) -> int:
    """Flush standard output; returns the exit code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _without_reader()
    except OSError as error:
        return _unwritable(error)
    return code


def _unwritable(error: OSError) -> int:
    _discard_output()
    _say(f"error: cannot write to standard output: {error.strerror or error}")
    return 2


def _without_reader() -> int:
    _discard_output()
    _say()
    return _NO_READER


def _say(error: str = "") -> None:
    said = "; ".join(filter(None, [error, interruption.finished()]))
    if said:
        from tfpt.visible import visible

        print(visible(said, lines=True), file=sys.stderr)


def _discard_output() -> None:
    """Discard what standard output has buffered: the interpreter flushes it at exit, and would fail again."""
    with suppress(OSError):  # without a file descriptor, nothing is buffered
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
