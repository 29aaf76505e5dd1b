"""Files of Keras 2: the configuration that it writes, and real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import tfpt

REAL = {
    "h5-mini-xception-fer/fer2013_mini_XCEPTION.102-0.66.hdf5": 45,
    "h5-tiny-xception-kdef/tiny_XCEPTION_KDEF.hdf5": 45,
    "h5-mlperf-resnet8/pretrainedResnet.h5": 29,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_files_of_keras_2(name: str, shared: Path, tmp_path: Path, keras: Any) -> None:
    found = tfpt.write_model(shared / "real" / name, tmp_path / "real_net.py")
    assert found.layers == REAL[name]
    assert found.proof.equal, found.proof
    assert found.settled


def keras_2_file(path: Path) -> dict[str, np.ndarray]:
    """A functional model as Keras 2.4 saves it: two inputs, an operator, a hard sigmoid, an optimizer's slot."""
    random = np.random.default_rng(5)

    def layer(name: str, kind: str, nodes: list[Any], **settings: Any) -> dict[str, Any]:
        config = {"name": name, "trainable": True, "dtype": "float32", **settings}
        return {"class_name": kind, "config": config, "name": name, "inbound_nodes": nodes}

    config = {
        "class_name": "Functional",
        "config": {
            "name": "model_3",
            "layers": [
                layer("left", "InputLayer", [], batch_input_shape=[None, 7]),
                layer("right", "InputLayer", [], batch_input_shape=[None, 5]),
                layer(
                    "a", "Dense", [[["left", 0, 0, {}]]], units=3, activation="hard_sigmoid", use_bias=True
                ),
                layer("b", "Dense", [[["right", 0, 0, {}]]], units=3, activation="linear", use_bias=False),
                layer(
                    "half", "TFOpLambda", [["b", 0, 0, {"y": 0.5, "name": None}]], function="math.multiply"
                ),
                layer("sum", "Add", [[["a", 0, 0, {}], ["half", 0, 0, {}]]]),
            ],
            "input_layers": [["left", 0, 0], ["right", 0, 0]],
            "output_layers": [["sum", 0, 0]],
        },
    }
    values = {"a/kernel": (7, 3), "a/bias": (3,), "b/kernel": (5, 3)}
    arrays = {name: random.normal(size=shape).astype(np.float32) for name, shape in values.items()}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.4.0"
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [name.encode() for name in ("left", "right", "a", "b", "half", "sum")]
        for owner in ("left", "right", "a", "b", "half", "sum"):
            own = [name for name in arrays if name.startswith(f"{owner}/")]
            weights.create_group(owner).attrs["weight_names"] = [f"{name}:0".encode() for name in own]
            for name in own:
                weights[owner].create_dataset(f"{name}:0", data=arrays[name])
        slots = file.create_group("optimizer_weights")
        slots.create_dataset("Adam/a/kernel/m:0", data=np.zeros((7, 3), np.float32))
    return arrays


def test_the_configuration_of_keras_2(tmp_path: Path) -> None:
    arrays = keras_2_file(tmp_path / "old.h5")
    found = tfpt.write_model(tmp_path / "old.h5", tmp_path / "old_net.py")
    assert found.missing == ()
    assert "{role: slot, why: of the optimizer}" in found.mapping.read_text()
    module = tfpt.load(found.mapping, tmp_path / "old.h5", trust=True)
    random = np.random.default_rng(6)
    left = random.normal(size=(2, 7)).astype(np.float32) * 3
    right = random.normal(size=(2, 5)).astype(np.float32)
    with torch.inference_mode():
        got = module(torch.from_numpy(left), torch.from_numpy(right)).numpy()
    hard = np.clip(0.2 * (left @ arrays["a/kernel"] + arrays["a/bias"]) + 0.5, 0, 1)
    np.testing.assert_allclose(got, hard + right @ arrays["b/kernel"] * 0.5, rtol=1e-5, atol=1e-6)
