"""BlazeFace: PyTorch computes what the interpreter of TensorFlow Lite computes, from a file as published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tfpt
from tests.mappings import tflite_files
from tests.mappings.keras_networks import assert_close, channels_first
from tests.mappings.tflite_files import interpreted

# Of the blocks: channels and stride. The first eleven end in the finer of two maps.
FINE = [
    *((24, 1), (28, 1), (32, 2), (36, 1), (42, 1), (48, 2)),
    *((56, 1), (64, 1), (72, 1), (80, 1), (88, 1)),
]
COARSE = [(96, 2), (96, 1), (96, 1), (96, 1), (96, 1)]


def numbered(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


def written(path: Path, size: int = 128, logits: int = 1, renamed: dict[str, str] | None = None) -> Path:
    """The layers of the published file, with random weights as float16."""
    tf = pytest.importorskip("tensorflow")
    layers = tflite_files.RandomLayers()

    def head(x: Any, name: str, outputs: int, numbers: int) -> Any:
        return tf.reshape(layers.conv(x, name, (1, 1, x.shape[-1], outputs)), (1, -1, numbers))

    @tf.function(input_signature=[tf.TensorSpec([1, size, size, 3], tf.float32)])
    def network(images: Any) -> Any:
        x = tf.nn.relu(layers.conv(images, "conv2d", (5, 5, 3, 24), 2))
        for at, (channels, stride) in enumerate([*FINE, *COARSE]):
            names = numbered("depthwise_conv2d", at), numbered("conv2d", at + 1)
            x = tf.nn.relu(layers.block(x, names, channels, stride))
            if at == len(FINE) - 1:
                fine = x
        boxes = head(fine, "regressor_8", 32, 16), head(x, "regressor_16", 96, 16)
        found = (
            head(fine, "classificator_8", 2 * logits, logits),
            head(x, "classificator_16", 6 * logits, logits),
        )
        return tf.concat(boxes, axis=1), tf.concat(found, axis=1)

    network.get_concrete_function()
    layers.names = {key: (renamed or {}).get(name, name) for key, name in layers.names.items()}
    return layers.write(network, path)


@pytest.mark.parametrize("size", [128, 66])
def test_computes_what_the_interpreter_computes(size, tmp_path, agree):
    checkpoint = written(tmp_path / "face.tflite", size)
    assert {str(spec.dtype) for spec in tfpt.open_source(checkpoint).specs.values()} == {"float16", "int32"}
    done = tfpt.convert("blazeface", checkpoint, tmp_path / "w.safetensors")
    assert done.plan.findings == ()
    images = np.random.default_rng(3).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    with torch.no_grad():
        found = tfpt.load("blazeface", done.path)(channels_first(images))
    for ours, theirs in zip(found, interpreted(checkpoint, images), strict=True):
        assert_close(ours, theirs)
        agree("blazeface", ours.numpy(), theirs, to="the interpreter's outputs")


def test_missing_stray_and_other_layers_are_found(tmp_path):
    for number, (changes, expected) in enumerate(
        [
            ({"renamed": {"conv2d_7": "teacher"}}, {"absent", "missing", "unused"}),
            ({"renamed": {"depthwise_conv2d_15": "depthwise_conv2d_16"}}, {"absent", "missing", "unused"}),
            ({"logits": 3}, {"shape"}),
        ]
    ):
        plan = tfpt.plan("blazeface", written(tmp_path / f"{number}.tflite", 64, **changes))
        assert plan.findings
        assert {finding.kind for finding in plan.findings} <= expected
