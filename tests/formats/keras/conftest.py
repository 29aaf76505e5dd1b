"""Models of Keras, each built once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.formats.keras.building import BUILDERS, fill


@pytest.fixture(scope="session")
def keras() -> Any:
    return pytest.importorskip("keras")


@pytest.fixture(scope="session")
def model(keras: Any) -> Callable[[str], Any]:
    """A model of `BUILDERS` by its name, its variables filled."""
    built: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in built:
            built[name] = BUILDERS[name](keras)
            fill(built[name])
        return built[name]

    return get


@pytest.fixture(scope="session")
def trained(keras: Any) -> Any:
    """A model after one step of training, which has the state of an optimizer and of metrics."""
    built = BUILDERS["plain"](keras)
    built.compile("adam", "mse", metrics=["mae"], jit_compile=False, run_eagerly=True)
    built.fit(np.ones((2, 7), np.float32), np.ones((2, 3), np.float32), verbose=0)
    return built
