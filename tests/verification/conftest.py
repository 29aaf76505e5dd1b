"""The search for causes has all the time in the world: on a busy machine it would give up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture(autouse=True)
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfpt.verification.diagnosis import repair_loop as chain
    from tfpt.verification.diagnosis import search

    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(chain, "time", clock)
    monkeypatch.setattr(search, "time", clock)
