"""Networks of TF-Slim against what TensorFlow computed with the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tests.mappings import slim
from tests.vision import import_vision
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


@pytest.mark.parametrize("network", [*RESNETS, "inception_v3"])
def test_networks_compute_what_tensorflow_computed(network, tmp_path, agree):
    mapping = f"slim_{network}"
    agree(mapping, logits(mapping, network, tmp_path), slim.outputs(network)["logits"])


@pytest.mark.parametrize("network", [pytest.param("vgg16", marks=pytest.mark.slow), "inception_v1"])
def test_networks_of_torchvision_compute_what_tensorflow_computed(network, tmp_path, agree):
    import_vision("torchvision")
    # As googlenet pads its first convolution and its pools in another way.
    adapt = network == "inception_v1"
    mapping = f"slim_{network}"
    agree(mapping, logits(mapping, network, tmp_path, adapt=adapt), slim.outputs(network)["logits"])


def test_vgg_flattens_channels_before_rows_and_columns(tmp_path):
    """Without a model, and so at other widths: the first dense layer against TensorFlow's convolution."""
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(2)
    narrow = {64: 3, 128: 4, 256: 5, 512: 6, 4096: 8, 1000: 9}
    variables = {
        name: random.normal(size=[narrow.get(size, size) for size in shape]).astype(np.float32)
        for name, shape in slim.shapes("vgg16").items()
    }
    write_bundle(tmp_path / "model.ckpt", variables, write_state=False)
    done = tfpt.convert("slim_vgg16", tmp_path / "model.ckpt", tmp_path / "w.safetensors", use_model=False)
    written = {parameter: torch.from_numpy(value) for parameter, value in load_file(done.path).items()}
    features = random.normal(size=(2, 7, 7, 6)).astype(np.float32)
    expected = (
        tf.nn.conv2d(features, variables["vgg_16/fc6/weights"], 1, "VALID") + variables["vgg_16/fc6/biases"]
    )
    flat = torch.from_numpy(features.transpose(0, 3, 1, 2).copy()).flatten(1)
    found = torch.nn.functional.linear(flat, written["classifier.0.weight"], written["classifier.0.bias"])
    assert_close(found.numpy(), expected.numpy()[:, 0, 0])
    last = variables["vgg_16/conv5/conv5_3/weights"]
    np.testing.assert_array_equal(written["features.28.weight"], last.transpose(3, 2, 0, 1))


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


@pytest.mark.parametrize(
    ("network", "leaf"),
    [
        *((network, leaf) for network in RESNETS for leaf in ("gamma", "beta", "moving_variance", "weights")),
        *(
            (f"inception_v{version}", leaf)
            for version in (1, 3)
            for leaf in ("beta", "moving_mean", "weights")
        ),
        *(("vgg16", leaf) for leaf in ("weights", "biases")),
    ],
)
def test_a_missing_variable_is_found(network, leaf, tmp_path):
    shapes = slim.shapes(network)
    gone = [name for name in shapes if name.endswith(f"/{leaf}")][5]
    variables = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name != gone}
    write_bundle(tmp_path / "model.ckpt", variables, write_state=False)
    plan = tfpt.plan(f"slim_{network}", tmp_path / "model.ckpt")
    assert {finding.kind for finding in plan.findings} <= {"absent", "missing"}
    assert plan.findings
