"""A small network with what it computes, and an input for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.networks.running.graphs import Small

pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def small() -> Small:
    return Small()


@pytest.fixture(scope="session")
def meta(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``.meta`` of the small network, its checkpoint beside it."""
    return small.save(tmp_path_factory.mktemp("meta") / "model.ckpt-7")


@pytest.fixture(scope="session")
def frozen(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network as a frozen graph."""
    return small.freeze(tmp_path_factory.mktemp("frozen") / "frozen.pb")


@pytest.fixture(scope="session")
def x() -> np.ndarray:
    return np.random.default_rng(11).normal(size=(7, 3)).astype(np.float32)
