"""`tfpt init`: the page of what it proposes."""

from __future__ import annotations

import numpy as np
from safetensors.numpy import save_file

from tests.commands.running import refused, run


def test_a_page_shows_what_is_proposed(tiny, tmp_path):
    weights = {name: np.copy(value, order="C") for name, value in tiny.parameters.items()}
    save_file(weights, tmp_path / "w.safetensors")
    page = tmp_path / "page.html"
    words = ("init", tiny.checkpoint, "--target", tmp_path / "w.safetensors", "--out", tmp_path / "new.yaml")
    found = run(*words, "--html", page)
    assert found.code in (0, 1)
    assert f"wrote {page}" in found.out
    text = page.read_text("utf-8")
    assert all(name in text for name in (*tiny.variables, *tiny.parameters) if "Momentum" not in name)
    assert str(tmp_path / "new.yaml") in text
    assert "exists" in refused(*words, "--html", page)
