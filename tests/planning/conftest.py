"""Small plans: a mapping as text, a checkpoint and a model as tables of shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfpt.language.loader import load_mapping
from tfpt.planning import Plan, make_plan
from tfpt.tensors import TensorSpec

# Name → shape, or (shape, dtype); float32 where no dtype is said.
Table = dict[str, Any]


def specs(table: Table) -> dict[str, TensorSpec]:
    found = {}
    for name, said in table.items():
        shape, dtype = said if len(said) == 2 and isinstance(said[1], str) else (said, "float32")
        found[name] = TensorSpec(name, tuple(shape), dtype)
    return found


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """Plan a mapping given as text (`version: 1` goes before it, so that its first line is 2)."""
    monkeypatch.chdir(tmp_path)

    def planned(text: str, tf: Table, pt: Table, **options: Any) -> Plan:
        Path("m.yaml").write_text(f"version: 1\n{text}", encoding="utf-8")
        config = options.pop("config", None)
        return make_plan(
            load_mapping("m.yaml", config=config), specs(tf), specs(pt), source="ckpt", **options
        )

    return planned
