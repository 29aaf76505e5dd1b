"""Random weights for Keras' networks, the files that Keras saves them in, and outputs to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch


def randomized(model: Any) -> Any:
    """The model with weights at which the outputs of no layer vanish; running statistics are near 1 and 0."""
    random = np.random.default_rng(7)
    for weight in model.weights:
        name, shape = weight.path.rpartition("/")[2], weight.shape
        if name in ("gamma", "moving_variance"):
            value = random.uniform(0.7, 1.3, shape)
        elif len(shape) > 1:
            # A depthwise kernel has one input for each output.
            depthwise = len(shape) == 4 and shape[3] == 1 and "depthwise" in weight.path
            inputs = np.prod(shape[:2]) if depthwise else np.prod(shape[:-1])
            value = random.normal(size=shape) * np.sqrt(2 / inputs)
        else:
            value = random.normal(size=shape) * 0.1
        weight.assign(value.astype(np.float32))
    return model


def saved(model: Any, folder: Path) -> list[Path]:
    """The three kinds of files of Keras."""
    files = [folder / name for name in ("m.keras", "m.h5", "m.weights.h5")]
    model.save(files[0])
    model.save(files[1])
    model.save_weights(files[2])
    return files


def channels_first(inputs: np.ndarray) -> torch.Tensor:
    """(batch, height, width, channels) as a tensor (batch, channels, height, width)."""
    return torch.from_numpy(np.ascontiguousarray(inputs.transpose(0, 3, 1, 2)))


def assert_close(found: torch.Tensor, expected: np.ndarray, relative: float = 1e-5) -> None:
    """Equal within this part of the largest value, which is not near 0; and not the same for each example."""
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 1e-3
    assert np.abs(expected - expected[:1]).max() > 1e-3
    assert np.abs(found.numpy() - expected).max() <= relative * np.abs(expected).max()
