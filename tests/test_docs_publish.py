"""Plays docs/publish.md: a package with mappings is built, installed into a folder, and used.

`python -m tests.test_docs_publish` updates the page.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import test_docs
from tests.test_docs import play, read, working_in
from tests.test_docs_tutorial import shown
from tests.test_docs_verify import rewrite

pytest.importorskip(
    "tfpt.language.mapping_packages", reason="mappings of installed packages are not built in"
)

SITE = ".site"


def install(folder: Path) -> None:
    """`pip install --editable .` of the package in a folder, without pip: this environment stays as it is."""
    code = "from setuptools import setup; setup()"
    command = [sys.executable, "-c", code, "--quiet", "egg_info"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    # The working directory itself is not on a program's path.
    (folder / SITE).symlink_to(".")
    sys.path.insert(0, str(folder / SITE))


class Terminal(test_docs.Terminal):
    """One in which the package can be installed."""

    def run(self, line: str) -> str:
        if line == "pip install --editable .":
            install(Path.cwd())
            return ""
        return super().run(line).replace(f"{SITE}/", "")


def test_the_page_works_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_docs, "Terminal", Terminal)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with working_in(tmp_path):
        for block, printed in play(read("publish.md")):
            assert shown(block.text) == shown(printed), f"publish.md, {block}"
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme_nets"]:
        del sys.modules[name]


if __name__ == "__main__":
    test_docs.Terminal = Terminal
    rewrite("publish.md")
