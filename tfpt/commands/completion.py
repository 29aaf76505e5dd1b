"""`tfpt completion`: the script with which a shell completes commands, options, mappings and files."""

from __future__ import annotations

import click

from tfpt.commands.options import reports_errors

# What a shell's start-up file contains to complete at once.
_SETUP = {
    "bash": 'eval "$(tfpt completion bash)"     # in ~/.bashrc',
    "zsh": 'eval "$(tfpt completion zsh)"      # in ~/.zshrc, after compinit',
    "fish": "tfpt completion fish | source      # in ~/.config/fish/config.fish",
}


@click.command(
    epilog="\b\n" + "\n".join(_SETUP.values()),
)
@click.argument("shell", type=click.Choice(list(_SETUP)))
@reports_errors
def command(shell: str) -> None:
    """Print the script for command-line completion in a shell.

    It completes commands, options and files, and the names of mappings where a mapping is expected.
    """
    from click.shell_completion import get_completion_class

    from tfpt.commands.group import group

    found = get_completion_class(shell)
    assert found is not None
    completion = found(group, {}, "tfpt", "_TFPT_COMPLETE")
    # Not `source()`, which runs bash to ask for its version.
    click.echo(completion.source_template % completion.source_vars())
