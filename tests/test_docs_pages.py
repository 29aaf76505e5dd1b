"""Runs the commands of docs/pages.md, and compares its table with the states."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.commands.running import run
from tests.test_docs import blocks, read, table
from tfpt.report.pages.states import STATES


def test_the_commands_write_the_pages_that_they_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = []
    for block in blocks(read("pages.md")):
        assert block.language == "sh"
        for line in block.text.splitlines():
            program, *words = shlex.split(line)
            assert program == "tfpt"
            assert run(*words).code == 0, line
            written += re.findall(r"--html (\S+)", line)
    assert written == ["plan.html", "diff.html"]
    assert all((tmp_path / name).read_text().startswith("<!doctype html>") for name in written)


def test_every_state_is_in_the_table() -> None:
    rows = [(row["state"], row["mark"], row["meaning"]) for row in table(read("pages.md"), "state")]
    assert rows == [(state.label, state.mark, state.meaning) for state in STATES.values()]
