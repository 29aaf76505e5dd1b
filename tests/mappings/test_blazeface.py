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
# Outputs and inputs of the convolutions after the maps; regressor_16 is like the last four blocks.
HEADS = {(32, 88): "regressor_8", (2, 88): "classificator_8", (6, 96): "classificator_16"}
HEADS |= {(6, 88): "classificator_8", (18, 96): "classificator_16"}


def written(path: Path, size: int = 128, logits: int = 1, renamed: dict[str, str] | None = None) -> Path:
    """The layers of the published file, with random weights as float16."""
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(7)

    def conv(x: Any, kernel: tuple[int, ...], stride: int = 1, *, depthwise: bool = False) -> Any:
        inputs = np.prod(kernel[:2]) if depthwise else np.prod(kernel[:-1])
        weight = (random.normal(size=kernel) * inputs**-0.5).astype(np.float32)
        bias = (random.normal(size=kernel[2] if depthwise else kernel[3]) * 0.1).astype(np.float32)
        apply = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
        return apply(x, weight, [1, stride, stride, 1], "SAME") + bias

    def block(x: Any, channels: int, stride: int) -> Any:
        before = x.shape[-1]
        y = conv(conv(x, (3, 3, before, 1), stride, depthwise=True), (1, 1, before, channels))
        if stride > 1:
            x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        if channels > before:
            x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, channels - before]])
        return tf.nn.relu(x + y)

    @tf.function(input_signature=[tf.TensorSpec([1, size, size, 3], tf.float32)])
    def network(images: Any) -> Any:
        maps = [tf.nn.relu(conv(images, (5, 5, 3, 24), 2))]
        for blocks in (FINE, COARSE):
            x = maps[-1]
            for channels, stride in blocks:
                x = block(x, channels, stride)
            maps.append(x)
        outputs = []
        for numbers in (16, logits):
            heads = [
                conv(x, (1, 1, x.shape[-1], anchors * numbers))
                for x, anchors in zip(maps[1:], (2, 6), strict=True)
            ]
            outputs.append(tf.concat([tf.reshape(head, (1, -1, numbers)) for head in heads], axis=1))
        return outputs

    counts = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 0}

    def rename(operation: str, kernel: list[int]) -> tuple[str, str]:
        name = HEADS.get((kernel[0], kernel[3]), "")
        if operation == "CONV_2D" and counts[operation] == 17 and not name:
            name = "regressor_16"
        if not name:
            number = counts[operation]
            counts[operation] += 1
            name = f"{operation.lower()}_{number}".replace("_2d", "2d").removesuffix("_0")
        name = (renamed or {}).get(name, name)
        return f"{name}/Kernel", f"{name}/Bias"

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return tflite_files.write(converter, path, rename)


@pytest.mark.parametrize("size", [128, 66])
def test_computes_what_the_interpreter_computes(size, tmp_path):
    checkpoint = written(tmp_path / "face.tflite", size)
    assert {str(spec.dtype) for spec in tfpt.open_source(checkpoint).specs.values()} == {"float16", "int32"}
    done = tfpt.convert("blazeface", checkpoint, tmp_path / "w.safetensors")
    assert done.plan.findings == ()
    images = np.random.default_rng(3).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    with torch.no_grad():
        found = tfpt.load("blazeface", done.path)(channels_first(images))
    for ours, theirs in zip(found, interpreted(checkpoint, images), strict=True):
        assert_close(ours, theirs)


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
