"""Plays docs/tutorial.md, and compares what is printed with the page, up to what training makes of the weights.

`python -m tests.test_docs_tutorial` updates the page.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tfpt
from tests.commands.running import program
from tests.test_docs import blocks, code, comparable, play, read, section, table, working_in
from tests.test_docs_verify import noise, rewrite

NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[-+]\d+)?(?![\w.])|(?<= )0(?= |$)")


def shown(text: str) -> list[str]:
    """Lines without what differs between machines: of a figure, only whether it is rounding or a difference."""
    text = re.sub(r"(?:\S*/)?(mappings/layers/\w+\.yaml)", r"…/\1", text)
    # What a difference shows depends on the last digits of the training.
    text = re.sub(r"^ *the difference shows: .*\n", "", text, flags=re.M)
    text = re.sub(r"\(\d+ trials?\)", "(… trials)", text)
    text = re.sub(r"TensorFlow [\d.]+; torch \S+", "TensorFlow; torch", text)
    text = NUMBER.sub(lambda found: "tiny" if abs(float(found[0])) < 1e-5 else "large", text)
    return [" ".join(line.split()) for line in comparable(text) if not noise(line)]


@pytest.mark.slow
def test_the_tutorial_works_as_typed(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    with working_in(tmp_path):
        for block, printed in play(read("tutorial.md")):
            assert shown(block.text) == shown(printed), f"tutorial.md, {block}"
            if found := re.search(r"accuracy on new pictures: (\S+)", printed):
                assert float(found[1]) > 0.9
        metadata = tfpt.open_source("shapes.safetensors").metadata
    rows = table(section(read("formats/pytorch.md"), "safetensors"), "key")
    assert {code(row["key"])[0] for row in rows} == metadata.keys()
    examples = {code(row["key"])[0]: code(row["example"]) for row in rows}
    assert examples["tfpt.source"] == [metadata["tfpt.source"]]
    assert examples["tfpt.mapping"] == [metadata["tfpt.mapping"]]


@pytest.mark.slow
def test_without_tensorflow_keras_on_pytorch_is_enough(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    for name in ("train.py", "mymodel.py"):
        found = [block for block in blocks(read("tutorial.md")) if block.info == f"file={name}"]
        (tmp_path / name).write_text(found[-1].text)
    (tmp_path / "tensorflow.py").write_text("raise ImportError('not installed')")
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": str(tmp_path)}
    subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, env=environment, check=True, capture_output=True
    )
    (commands,) = blocks(section(read("tutorial.md"), "Without TensorFlow"))
    for line in commands.text.splitlines():
        done = program(*line.split()[1:], folder=tmp_path, environment=environment)
        assert done.code == 0, (line, done.out, done.err)


if __name__ == "__main__":
    rewrite("tutorial.md")
