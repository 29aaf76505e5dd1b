"""Runs the commands of docs/verify.md and compares their output with the page, up to rounding.

`python -m tests.test_docs_verify` updates the page.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_docs import DOCS, code, comparable, play, read, section, table, working_in
from tfpt.verification.agreement import VERDICTS
from tfpt.verification.diagnosis.kinds import KINDS

# Rounding differs between kernels and machines, and so do versions.
ROUNDING = re.compile(r"\b\d\.\de-(0[6-9]|1\d)\b")
VERSIONS = re.compile(r"TensorFlow [\d.]+; torch \S+ on")


def shown(text: str) -> list[str]:
    """Lines without machine-dependent parts."""
    text = ROUNDING.sub("tiny", VERSIONS.sub("both on", text))
    text = re.sub(r"(?<= )0(?= )", "tiny", text)  # bit for bit equal, on some machines
    text = re.sub(r"run by TensorFlow [\d.]+", "run by TensorFlow", text)
    return [" ".join(line.split()) for line in comparable(text) if not noise(line)]


def noise(line: str) -> bool:
    """Whether TensorFlow logged the line at startup."""
    return bool(re.match(r"WARNING[: ]|[IWE]\d{4} ", line)) or "TF_ENABLE_ONEDNN_OPTS" in line


def test_the_page_works_as_typed(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    with working_in(tmp_path):
        for block, printed in play(read("verify.md")):
            assert shown(block.text) == shown(printed), f"verify.md, {block}"


def test_every_verdict_is_explained_in_the_words_of_the_reports() -> None:
    rows = table(section(read("verify.md"), "The columns"), "verdict")
    assert {code(row["verdict"])[0]: row["says"] for row in rows} == VERDICTS


def test_every_kind_of_trial_is_listed_in_the_order_in_which_it_is_tried() -> None:
    rows = table(section(read("verify.md"), "What the diagnosis tries"), "kind")
    assert [code(row["kind"])[0] for row in rows] == list(KINDS)


def rewrite(name: str, prepare: Callable[[str], None] | None = None) -> None:
    """Write what the commands of a page print into it; `prepare` gets the page first, in the working directory."""
    document = read(name)
    with tempfile.TemporaryDirectory() as folder, working_in(Path(folder)):
        if prepare is not None:
            prepare(document)
        for block, printed in reversed(list(play(document))):
            text = re.sub(r"\S*/(mappings/layers/\w+\.yaml)", r"…/\1", printed.replace(os.getcwd() + "/", ""))
            lines = [line.rstrip() for line in text.splitlines() if not noise(line)]
            document = (
                document[: block.span[0]] + "\n".join(lines).strip("\n") + "\n" + document[block.span[1] :]
            )
    (DOCS / name).write_text(document, encoding="utf-8")


if __name__ == "__main__":
    rewrite("verify.md")
