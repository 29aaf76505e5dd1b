"""Runs the examples in docs/nn.md, one after the other as they are written."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from tfpt import nn as tfnn

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "nn.md").read_text(encoding="utf-8")


def test_the_examples_print_what_the_page_shows():
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "nn.md", "docs/nn.md", 0)
    printed: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=printed.append)
    assert result.failed == 0, "".join(printed)
    assert result.attempted > 20


def test_every_layer_is_on_the_page():
    layers = {name for name in tfnn.__all__ if name[0].isupper() and not name.isupper()} | {"GRU", "LSTM"}
    named = set(re.findall(r"\w+", re.sub(r"`(\w+)1d`–`3d", r"\1 \g<1>1d \g<1>2d \g<1>3d", PAGE)))
    expanded = {f"{base}{n}d" for base in ("MaxPool", "AvgPool") for n in (1, 2, 3) if f"{base}1d" in PAGE}
    assert layers - named - expanded == set()
