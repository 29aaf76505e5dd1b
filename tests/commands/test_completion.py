"""`tfpt completion`: the scripts, and what a shell that has one of them completes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.running import program, run
from tfpt.commands.group import COMMANDS
from tfpt.language.loader import bundled_mappings


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _tfpt_completion tfpt"),
        ("zsh", "#compdef tfpt"),
        ("fish", "complete --no-files --command tfpt --arguments"),
    ],
)
def test_each_shell_has_its_script(shell, line):
    found = run("completion", shell)
    assert found.code == 0
    assert line in found.out
    assert f"_TFPT_COMPLETE={shell}_complete" in found.out


def test_another_shell_is_refused():
    found = run("completion", "csh")
    assert found.code == 2
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in found.err


def test_help_says_what_to_put_into_the_shell_s_file():
    text = run("completion", "--help").out
    assert 'eval "$(tfpt completion bash)"' in text
    assert "~/.bashrc" in text


def completed(line: str, folder: Path) -> list[str]:
    """What the program answers to bash for the last word of a line, as `type,value`."""
    words = line.split(" ")
    environment = {
        "_TFPT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1),
    }  # fmt: skip
    found = program(environment=environment, folder=folder)
    assert found.err == ""
    return found.out.splitlines()


def test_commands_and_options_are_completed(tmp_path):
    assert completed("tfpt ", tmp_path) == [f"plain,{name}" for name in COMMANDS]
    assert completed("tfpt check --wa", tmp_path) == ["plain,--watch"]
    assert completed("tfpt completion f", tmp_path) == ["plain,fish"]


@pytest.mark.parametrize(
    "command",
    [
        "check", "convert --mapping", "diff --mapping", "sample --mapping", "verify --mapping", "record --mapping",
        "predict --mapping", "profile --mapping", "visualize filters --mapping", "visualize activations --mapping",
    ],
)  # fmt: skip
def test_where_a_mapping_is_expected_bundled_names_and_files_are_completed(command, tmp_path):
    for name in ("i3d_mine.yaml", "i3d.txt", "other.yml"):
        (tmp_path / name).touch()
    bundled = [name for name in bundled_mappings() if name.startswith("i3d")]
    assert len(bundled) > 5
    assert completed(f"tfpt {command} i3d", tmp_path) == [
        f"plain,{name}" for name in (*bundled, "i3d_mine.yaml")
    ]
    # Anything else is a path, which the shell completes.
    assert completed(f"tfpt {command} ./i", tmp_path) == ["file,./i"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_with_the_script(tmp_path):
    (tmp_path / "crepe_mine.yaml").touch()
    folder = Path(sys.executable).parent
    script = f"""
        PATH={folder}:$PATH
        compopt() {{ :; }}
        eval "$(tfpt completion bash)"
        COMP_WORDS=(tfpt check crep); COMP_CWORD=2
        _tfpt_completion tfpt
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["crepe", "crepe_mine.yaml"], done.stderr
