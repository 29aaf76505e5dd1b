"""Mappings written to a file for the loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfpt.language.loader import load_mapping
from tfpt.language.mapping import Mapping


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Mapping]:
    """Write files and load the first; positions then read `m.yaml:3:5`."""
    monkeypatch.chdir(tmp_path)

    def write_and_load(text: str, other: dict[str, str] | None = None, **options: Any) -> Mapping:
        for name, content in {"m.yaml": text, **(other or {})}.items():
            (tmp_path / name).write_text(content, encoding="utf-8")
        return load_mapping("m.yaml", **options)

    return write_and_load
