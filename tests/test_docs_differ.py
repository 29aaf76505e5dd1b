"""Plays docs/differ.md, and runs every command of its decision tree.

`python -m tests.test_docs_differ` updates the page.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.test_docs import Terminal, blocks, play, read, working_in
from tests.test_docs_tutorial import shown
from tests.test_docs_verify import rewrite

COMMAND = re.compile(r"`(tfpt [^`]+)`")


def prepare(document: str) -> None:
    """Write the files of the page, which shows them last, and the network."""
    for block in blocks(document):
        if block.info.startswith("file="):
            Path(block.info.removeprefix("file=")).write_text(block.text)
    assert Terminal().run("python network.py") is not None


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command of the page has been typed, from the first to the last."""
    pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("differ")
    document = read("differ.md")
    with working_in(folder):
        prepare(document)
        for block, printed in play(document):
            assert shown(block.text) == shown(printed), f"differ.md, {block}"
    return folder


def tree() -> list[str]:
    """The lines of the decision tree."""
    lines = read("differ.md").partition("\n## ")[0].splitlines()
    return [line for line in lines if re.match(r"\d\. |    - ", line)]


def test_every_question_and_every_answer_ends_in_a_command() -> None:
    for line in tree():
        assert line.endswith(": go on.") or COMMAND.search(line), line


COMMANDS = list(dict.fromkeys(command for line in tree() for command in COMMAND.findall(line)))


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_tree_runs(command: str, played: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(played, tmp_path / "copy")
    for name in re.findall(r"--out (\S+)", command):
        (folder / name).unlink(missing_ok=True)
    if command.startswith("tfpt init"):
        (folder / "net.yaml").unlink()
    if command.startswith("tfpt convert"):
        (folder / "net.safetensors").unlink()
    with working_in(folder):
        terminal = Terminal()
        printed = terminal.run(command)
    assert terminal.status in (0, 1), printed


if __name__ == "__main__":
    rewrite("differ.md", prepare)
