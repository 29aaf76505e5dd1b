"""Networks of TF-Slim against what TensorFlow computed with the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tests.mappings import slim
from tfpt.execution.sinks.bundle import write_bundle

RESNETS = ["resnet_v1_50", "resnet_v2_50"]


def logits(mapping: str, network: str, folder: Path, *, adapt: bool = False) -> np.ndarray:
    """What the PyTorch network computes of the recorded images."""
    done = tfpt.convert(mapping, slim.write_seeded(network, folder), folder / "w.safetensors")
    model = tfpt.load(mapping, done.path, adapt=adapt)
    pictures = torch.from_numpy(slim.images(slim.SIZES[network]).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        return model(pictures).numpy()


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("network", RESNETS)
def test_resnets_compute_what_tensorflow_computed(network, tmp_path):
    assert_close(logits(f"slim_{network}", network, tmp_path), slim.outputs(network)["logits"])


@pytest.mark.parametrize("version", [1, 2])
def test_deeper_resnets_and_other_classes_convert(version, tmp_path):
    """Variables as in slim's resnet_v1_101: units 5 to 23 of block 3 are like unit 4."""
    kept = slim.shapes(f"resnet_v{version}_50")
    variables = {}
    for name, shape in kept.items():
        deeper = name.replace("_50/", "_101/", 1)
        variables[deeper] = (*shape[:-1], 7) if "/logits/" in name else shape
        if "block3/unit_4/" in name:
            for unit in range(7, 24):
                variables[deeper.replace("unit_4", f"unit_{unit}")] = shape
    write_bundle(
        tmp_path / "model.ckpt",
        {name: np.zeros(shape, np.float32) for name, shape in variables.items()},
        write_state=False,
    )
    mapping = f"slim_resnet_v{version}_50"
    plan = tfpt.plan(mapping, tmp_path / "model.ckpt", settings={"units": [3, 4, 23, 3], "num_classes": 7})
    assert plan.findings == ()
    assert plan.scope == f"resnet_v{version}_101"
    assert not tfpt.plan(mapping, tmp_path / "model.ckpt").ok


@pytest.mark.parametrize("network", RESNETS)
@pytest.mark.parametrize("leaf", ["gamma", "beta", "moving_variance", "weights"])
def test_a_missing_variable_is_found(network, leaf, tmp_path):
    shapes = slim.shapes(network)
    gone = [name for name in shapes if name.endswith(f"/{leaf}")][5]
    variables = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name != gone}
    write_bundle(tmp_path / "model.ckpt", variables, write_state=False)
    plan = tfpt.plan(f"slim_{network}", tmp_path / "model.ckpt")
    assert {finding.kind for finding in plan.findings} <= {"absent", "missing"}
    assert plan.findings
