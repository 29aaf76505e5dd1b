"""Tests of the search for causes have no deadline: on a busy machine the search would give up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture(autouse=True)
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfpt.verification.diagnosis import repair_loop, search

    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(repair_loop, "time", clock)
    monkeypatch.setattr(search, "time", clock)
