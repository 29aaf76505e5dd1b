"""The face mesh: PyTorch computes what the interpreter of TensorFlow Lite computes, from a file as published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tfpt
from tests.mappings import tflite_files
from tests.mappings.keras_networks import assert_close, channels_first

# Channels and stride of the blocks before the two outputs.
BLOCKS = [
    *((16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (128, 2), (128, 1)),
    *((128, 1), (128, 2), (128, 1), (128, 1)),
]


def numbered(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


def written(path: Path, renamed: dict[str, str] | None = None) -> Path:
    """The layers of the published file, with random weights as float16."""
    tf = pytest.importorskip("tensorflow")
    layers = tflite_files.RandomLayers()

    def block(x: Any, depthwise: int, conv: int, prelu: int, channels: int, stride: int = 1) -> Any:
        names = numbered("depthwise_conv2d", depthwise), f"conv2d_{conv}"
        return layers.prelu(layers.block(x, names, channels, stride), f"p_re_lu_{prelu}")

    def head(x: Any, depthwise: int, conv: int, prelu: int, outputs: int) -> Any:
        """From the numbers of its layers on."""
        x = layers.prelu(layers.conv(x, f"conv2d_{conv}", (1, 1, 128, 32), 1, "VALID"), f"p_re_lu_{prelu}")
        x = block(x, depthwise, conv + 1, prelu + 1, 32)
        return layers.conv(x, f"conv2d_{conv + 2}", (3, 3, 32, outputs), 3, "VALID")

    @tf.function(input_signature=[tf.TensorSpec([1, 192, 192, 3], tf.float32)])
    def network(images: Any) -> Any:
        x = layers.prelu(layers.conv(images, "conv2d", (3, 3, 3, 16), 2), "p_re_lu")
        for at, (channels, stride) in enumerate(BLOCKS):
            x = block(x, at, at + 1, at + 1, channels, stride)
        points = block(x, 14, 15, 15, 128, 2)
        for at in (15, 16):
            points = block(points, at, at + 1, at + 1, 128)
        face = block(x, 22, 27, 25, 128, 2)
        return head(points, 17, 18, 18, 1404), head(face, 23, 28, 26, 1)

    network.get_concrete_function()
    layers.names = {key: (renamed or {}).get(name, name) for key, name in layers.names.items()}
    return layers.write(network, path)


def test_computes_what_the_interpreter_computes(tmp_path, agree):
    checkpoint = written(tmp_path / "face.tflite")
    done = tfpt.convert("face_mesh", checkpoint, tmp_path / "w.safetensors")
    assert done.plan.findings == ()
    images = np.random.default_rng(3).uniform(0, 1, (2, 192, 192, 3)).astype(np.float32)
    with torch.no_grad():
        points, logits = tfpt.load("face_mesh", done.path)(channels_first(images))
    for ours, theirs in zip(
        (points.flatten(1), logits), tflite_files.interpreted(checkpoint, images), strict=True
    ):
        assert_close(ours, theirs.reshape(2, -1))
        agree("face_mesh", ours.numpy(), theirs.reshape(2, -1), to="the interpreter's outputs")


@pytest.mark.parametrize("layer", ["p_re_lu_27", "conv2d_9", "depthwise_conv2d_16"])
def test_missing_and_stray_layers_are_found(layer, tmp_path):
    plan = tfpt.plan("face_mesh", written(tmp_path / "face.tflite", {layer: "teacher"}))
    assert plan.findings
    assert {finding.kind for finding in plan.findings} <= {"absent", "missing", "unused"}
