"""Keras, and a function that writes a model and compares it with Keras outside of tfpt's own comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import einops
import numpy as np
import pytest
import torch
import yaml

import tfpt
from tests.modelwriting.models import randomize
from tfpt.modelwriting.writing import WrittenModel

Check = Callable[..., WrittenModel]


@pytest.fixture
def keras() -> Any:
    module = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    module.backend.clear_session()
    return module


@pytest.fixture
def written(keras: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Check:
    """Saves a model with random weights, writes it, and compares both on an input of its own."""

    def check(model: Any, kind: str = "keras", rows: int = 2) -> WrittenModel:
        randomize(model)
        file = tmp_path / f"model.{kind}"
        model.save(file)
        found = tfpt.write_model(file, tmp_path / "written_net.py", overwrite=True)
        assert found.missing == (), found.missing
        assert found.proof.equal, found.proof
        # The file again: a Normalization in memory does not notice that its variables were assigned.
        compare(keras.saving.load_model(file, compile=False, safe_mode=False), file, found, rows)
        return found

    return check


def compare(model: Any, file: Path, found: WrittenModel, rows: int) -> None:
    """Keras against the written module with the weights of the file."""
    random = np.random.default_rng(7)
    inputs = []
    for each in model.inputs:
        shape = (3, *(24 if size is None else size for size in each.shape[1:]))
        integer = "int" in str(each.dtype)
        inputs.append(
            random.integers(0, rows, shape).astype(np.int32)
            if integer
            else random.uniform(-2, 2, shape).astype(np.float32)
        )
    expected = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    mapping = yaml.safe_load(found.mapping.read_text())
    layout = (mapping.get("input") or {}).get("layout")
    given = [torch.from_numpy(each if layout is None else _rearranged(each, layout)) for each in inputs]
    module = tfpt.load(found.mapping, file, trust=True)
    with torch.inference_mode():
        got = module(*given)
    many = isinstance(got, tuple)
    for one, other in zip(got if many else [got], expected if many else [expected], strict=True):
        wanted, array = np.asarray(other), one.numpy()
        if array.ndim > 2 and array.shape != wanted.shape:
            array = np.moveaxis(array, 1, -1)
        scale = np.abs(wanted).max()
        assert scale > 0
        np.testing.assert_allclose(array / scale, wanted / scale, rtol=0, atol=1e-5)


def _rearranged(array: np.ndarray, layout: str) -> np.ndarray:
    return np.ascontiguousarray(einops.rearrange(array, layout))
