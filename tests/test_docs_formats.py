"""Plays the examples of docs/formats, and compares what is printed with the pages.

`python -m tests.test_docs_formats` updates the pages.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_docs import DOCS, blocks, play, read, working_in
from tests.test_docs_tutorial import shown
from tests.test_docs_verify import rewrite

PAGES = [
    str(page.relative_to(DOCS))
    for page in sorted((DOCS / "formats").glob("*.md"))
    if any(block.language == "console" for block in blocks(page.read_text()))
]
# What the script of a page imports.
NEEDS = {
    "formats/keras.md": "keras",
    "formats/tensorflow.md": "tensorflow",
    "formats/saved_models.md": "tensorflow",
}


def test_there_are_examples() -> None:
    assert set(PAGES) >= {*NEEDS, "formats/numpy.md", "formats/pytorch.md"}


@pytest.mark.parametrize("page", PAGES)
def test_the_example_works_as_typed(page: str, tmp_path: Path) -> None:
    pytest.importorskip(NEEDS.get(page, "numpy"))
    with working_in(tmp_path):
        for block, printed in play(read(page)):
            assert shown(block.text) == shown(printed), f"{page}, {block}"


if __name__ == "__main__":
    for page in PAGES:
        rewrite(page)
