"""Whole Keras models, written and run: the module computes what Keras computes, from both file formats."""

from __future__ import annotations

from typing import Any

import pytest

from tests.modelwriting.conftest import Check
from tests.modelwriting.models import MODELS

CASES = [
    pytest.param(name, kind, marks=[pytest.mark.slow] if name == "efficientnet" else [])
    for name in MODELS
    for kind in ("keras", "h5")
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_written_module_computes_what_keras_computes(
    name: str, kind: str, keras: Any, written: Check
) -> None:
    found = written(MODELS[name](keras), kind)
    assert found.settled
