"""MTCNN's networks against TensorFlow, and against the weights of facenet-pytorch."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import tfpt
from tfpt.execution.sinks.bundle import write_bundle

Layers = dict[str, dict[str, np.ndarray]]

# Variables of facenet's files: the kernels of each layer, and the channels of each PReLU.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "pnet": {
        "conv1": (3, 3, 3, 10),
        "PReLU1": (10,),
        "conv2": (3, 3, 10, 16),
        "PReLU2": (16,),
        "conv3": (3, 3, 16, 32),
        "PReLU3": (32,),
        "conv4-1": (1, 1, 32, 2),
        "conv4-2": (1, 1, 32, 4),
    },
    "rnet": {
        "conv1": (3, 3, 3, 28),
        "prelu1": (28,),
        "conv2": (3, 3, 28, 48),
        "prelu2": (48,),
        "conv3": (2, 2, 48, 64),
        "prelu3": (64,),
        "conv4": (576, 128),
        "prelu4": (128,),
        "conv5-1": (128, 2),
        "conv5-2": (128, 4),
    },
    "onet": {
        "conv1": (3, 3, 3, 32),
        "prelu1": (32,),
        "conv2": (3, 3, 32, 64),
        "prelu2": (64,),
        "conv3": (3, 3, 64, 64),
        "prelu3": (64,),
        "conv4": (2, 2, 64, 128),
        "prelu4": (128,),
        "conv5": (1152, 256),
        "prelu5": (256,),
        "conv6-1": (256, 2),
        "conv6-2": (256, 4),
        "conv6-3": (256, 10),
    },
}
# The layers of facenet's detect_face.py up to the outputs, with the window and the padding of pools.
GRAPHS = {
    "pnet": ["conv1", "PReLU1", (2, "SAME"), "conv2", "PReLU2", "conv3", "PReLU3"],
    "rnet": [
        "conv1",
        "prelu1",
        (3, "SAME"),
        "conv2",
        "prelu2",
        (3, "VALID"),
        "conv3",
        "prelu3",
        "conv4",
        "prelu4",
    ],
    "onet": [
        *("conv1", "prelu1", (3, "SAME"), "conv2", "prelu2", (3, "VALID"), "conv3", "prelu3", (2, "SAME")),
        *("conv4", "prelu4", "conv5", "prelu5"),
    ],
}
# In the order of the PyTorch networks; the first is a softmax, which comes last.
OUTPUTS = {
    "pnet": ["conv4-1", "conv4-2"],
    "rnet": ["conv5-1", "conv5-2"],
    "onet": ["conv6-1", "conv6-2", "conv6-3"],
}
SIZES = {"pnet": (21, 26), "rnet": (24, 24), "onet": (48, 48)}


def weights(net: str) -> Layers:
    random = np.random.default_rng(7)
    layers: Layers = {}
    for name, shape in SHAPES[net].items():
        if len(shape) == 1:
            layers[name] = {"alpha": random.uniform(0, 0.5, shape).astype(np.float32)}
        else:
            fan_in = np.prod(shape[:-1])
            layers[name] = {
                "weights": (random.normal(size=shape) * fan_in**-0.5).astype(np.float32),
                "biases": random.normal(size=shape[-1]).astype(np.float32),
            }
    return layers


def saved(net: str, folder: Path) -> Path:
    np.save(folder / "det.npy", weights(net), allow_pickle=True)  # type: ignore[arg-type]
    return folder / "det.npy"


def by_tensorflow(net: str, images: np.ndarray) -> list[np.ndarray]:
    """What facenet's graph computes of images (batch, width, height, channels)."""
    tf = pytest.importorskip("tensorflow")
    layers = weights(net)

    def layer(x: Any, name: str) -> Any:
        if "alpha" in layers[name]:
            return tf.nn.relu(x) - layers[name]["alpha"] * tf.nn.relu(-x)
        kernel, bias = layers[name]["weights"], layers[name]["biases"]
        if kernel.ndim == 4:
            return tf.nn.conv2d(x, kernel, 1, "VALID") + bias
        return tf.linalg.matmul(tf.reshape(x, [x.shape[0], -1]), kernel) + bias

    x = tf.constant(images)
    for step in GRAPHS[net]:
        x = layer(x, step) if isinstance(step, str) else tf.nn.max_pool2d(x, step[0], 2, step[1])
    probabilities, *others = (layer(x, name) for name in OUTPUTS[net])
    return [output.numpy() for output in (*others, tf.nn.softmax(probabilities))]


@pytest.mark.parametrize("net", SHAPES)
def test_computes_what_tensorflow_computes(net, tmp_path, agree):
    height, width = SIZES[net]
    images = np.random.default_rng(1).uniform(-1, 1, (2, 3, height, width)).astype(np.float32)
    expected = by_tensorflow(net, images.transpose(0, 3, 2, 1))
    done = tfpt.convert(f"mtcnn_{net}", saved(net, tmp_path), tmp_path / "w.safetensors")
    model = tfpt.load(f"mtcnn_{net}", done.path)
    with torch.no_grad():
        found = model(torch.from_numpy(images))
    turned = [theirs.transpose(0, 3, 2, 1) if theirs.ndim == 4 else theirs for theirs in expected]
    agree(f"mtcnn_{net}", [ours.numpy() for ours in found], turned)


@pytest.mark.parametrize("net", SHAPES)
def test_all_networks_may_lie_in_one_checkpoint(net, tmp_path):
    variables = {
        f"{other}/{name}/{part}": value
        for other in SHAPES
        for name, parts in weights(other).items()
        for part, value in parts.items()
    }
    write_bundle(tmp_path / "mtcnn.ckpt", variables, write_state=False)
    together = tfpt.convert(f"mtcnn_{net}", tmp_path / "mtcnn.ckpt", tmp_path / "together.safetensors")
    alone = tfpt.convert(f"mtcnn_{net}", saved(net, tmp_path), tmp_path / "alone.safetensors")
    assert load_file(together.path).keys() == load_file(alone.path).keys()
    for name, value in load_file(alone.path).items():
        np.testing.assert_array_equal(load_file(together.path)[name], value, err_msg=name)


@pytest.mark.parametrize("net", SHAPES)
def test_a_file_of_another_network_does_not_fit(net, tmp_path):
    other = {"pnet": "rnet", "rnet": "onet", "onet": "pnet"}[net]
    plan = tfpt.plan(f"mtcnn_{net}", saved(other, tmp_path))
    assert {"shape", "unused"} & {finding.kind for finding in plan.findings}


@pytest.mark.parametrize("net", SHAPES)
def test_the_parameters_are_those_of_facenet_pytorch(net, shared):
    recorded = json.loads((shared / f"gold/targets/mtcnn_{net}.json").read_text())
    manifest = json.loads(
        (Path(tfpt.__file__).parents[1] / f"mappings/mtcnn_{net}.manifest.json").read_text()
    )
    assert manifest == recorded


def arrays(weights: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in weights.items()}


@pytest.mark.parametrize(("net", "file"), [("pnet", "det1"), ("rnet", "det2"), ("onet", "det3")])
def test_the_published_weights_are_those_of_facenet_pytorch(net, file, shared, tmp_path, agree):
    port = importlib.util.find_spec("facenet_pytorch")
    if port is None or port.origin is None:
        pytest.skip("the package facenet-pytorch is not installed")
    checkpoint = shared / f"real/npy-facenet-mtcnn/{file}.npy"
    done = tfpt.convert(f"mtcnn_{net}", checkpoint, tmp_path / "w.pth")
    found = torch.load(done.path, weights_only=True)
    expected = torch.load(Path(port.origin).parent / f"data/{net}.pt", weights_only=True)
    agree(f"mtcnn_{net}", arrays(found), arrays(expected), to="the weights of facenet-pytorch", within=0)
