"""StyleGAN2's generator against TensorFlow, with the formulas of the paper's code in TensorFlow's operations."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tfpt
from tests.mappings.agreement import Agree
from tfpt.errors import ModelError

CHANNELS = {4: 11, 8: 7, 16: 5, 32: 3}
STYLE, LAYERS = 13, 2
CONFIG: dict[str, Any] = {"style_dim": STYLE, "n_mlp": LAYERS, "channels": CHANNELS}
Variables = dict[str, np.ndarray]


def variables(size: int) -> Variables:
    """The values of Gs.vars, by name."""
    random = np.random.default_rng(7)
    values: dict[str, Any] = {"lod": 0, "dlatent_avg": random.normal(size=STYLE)}
    for layer in range(LAYERS):
        values[f"G_mapping/Dense{layer}/weight"] = random.normal(size=(STYLE, STYLE)) * 100
        values[f"G_mapping/Dense{layer}/bias"] = random.normal(size=STYLE) * 100

    def convolution(scope: str, inputs: int, outputs: int, kernel: int) -> None:
        values[f"{scope}/weight"] = random.normal(size=(kernel, kernel, inputs, outputs))
        values[f"{scope}/mod_weight"] = random.normal(size=(STYLE, inputs))
        values[f"{scope}/mod_bias"] = random.normal(size=inputs) * 0.1
        values[f"{scope}/bias"] = random.normal(size=outputs) * 0.1
        if kernel == 3:
            values[f"{scope}/noise_strength"] = random.normal()

    edge, layer = 4, 0
    while edge <= size:
        scope = f"G_synthesis/{edge}x{edge}"
        if edge == 4:
            values[f"{scope}/Const/const"] = random.normal(size=(1, CHANNELS[4], 4, 4))
            convolution(f"{scope}/Conv", CHANNELS[4], CHANNELS[4], 3)
        else:
            convolution(f"{scope}/Conv0_up", CHANNELS[edge // 2], CHANNELS[edge], 3)
            convolution(f"{scope}/Conv1", CHANNELS[edge], CHANNELS[edge], 3)
        convolution(f"{scope}/ToRGB", CHANNELS[edge], 3, 1)
        for _ in range(1 if edge == 4 else 2):
            values[f"G_synthesis/noise{layer}"] = random.normal(size=(1, 1, edge, edge))
            layer += 1
        edge *= 2
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def saved(values: Variables, folder: Path) -> Path:
    with (folder / "g.pkl").open("wb") as file:
        pickle.dump(values, file)
    return folder / "g.pkl"


def by_tensorflow(values: Variables, size: int, latents: np.ndarray) -> np.ndarray:
    """Pictures (batch, 3, size, size) of networks_stylegan2.py: G_mapping, G_synthesis_stylegan2."""
    tf = pytest.importorskip("tensorflow")

    def activated(x: Any, bias: np.ndarray) -> Any:
        return tf.nn.leaky_relu(x + bias, 0.2) * np.sqrt(2).astype(np.float32)

    def weight(name: str, rate: float = 1) -> Any:
        value = values[name]
        return value * np.float32(rate / np.sqrt(np.prod(value.shape[:-1])))

    def filtered(x: Any, before: int, after: int) -> Any:
        """Zeros were put between the pixels: the filter has a sum of 4."""
        line = np.array([1, 3, 3, 1], np.float32)
        kernel = np.repeat((np.outer(line, line) / 16)[:, :, None, None], x.shape[-1], 2)
        padded = tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])
        return tf.nn.depthwise_conv2d(padded, kernel, (1, 1, 1, 1), "VALID")

    def modulated(x: Any, scope: str, *, up: bool = False, normalized: bool = True) -> Any:
        style = w @ weight(f"{scope}/mod_weight") + values[f"{scope}/mod_bias"] + 1
        kernels = weight(f"{scope}/weight")[None] * style[:, None, None, :, None]
        if normalized:
            kernels *= tf.math.rsqrt(tf.reduce_sum(kernels**2, [1, 2, 3], keepdims=True) + 1e-8)
        outputs = []
        for picture, kernel in zip(x, kernels, strict=True):
            picture = picture[None]
            if up:
                edge = 2 * picture.shape[1] + 1
                turned = tf.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
                shape = (1, edge, edge, kernel.shape[-1])
                outputs.append(tf.nn.conv2d_transpose(picture, turned, shape, 2, "VALID"))
            else:
                outputs.append(tf.nn.conv2d(picture, kernel, 1, "SAME"))
        joined = tf.concat(outputs, 0)
        return filtered(joined, 1, 1) if up else joined

    def layer(x: Any, scope: str, number: int, *, up: bool = False) -> Any:
        noise = values[f"G_synthesis/noise{number}"].transpose(0, 2, 3, 1)
        x = modulated(x, scope, up=up) + noise * values[f"{scope}/noise_strength"]
        return activated(x, values[f"{scope}/bias"])

    w = tf.constant(latents)
    w *= tf.math.rsqrt(tf.reduce_mean(w**2, 1, keepdims=True) + 1e-8)
    for number in range(LAYERS):
        scope = f"G_mapping/Dense{number}"
        w = activated(w @ weight(f"{scope}/weight", 0.01), values[f"{scope}/bias"] * 0.01)
    x = tf.repeat(values["G_synthesis/4x4/Const/const"].transpose(0, 2, 3, 1), len(latents), 0)
    x = layer(x, "G_synthesis/4x4/Conv", 0)
    picture, edge, number = 0, 4, 1
    while True:
        scope = f"G_synthesis/{edge}x{edge}"
        if edge > 4:
            x = layer(x, f"{scope}/Conv0_up", number, up=True)
            x = layer(x, f"{scope}/Conv1", number + 1)
            number += 2
            spread = tf.reshape(picture, (len(latents), edge // 2, 1, edge // 2, 1, 3))
            spread = tf.pad(spread, [[0, 0], [0, 0], [0, 1], [0, 0], [0, 1], [0, 0]])
            picture = filtered(tf.reshape(spread, (len(latents), edge, edge, 3)), 2, 1)
        picture += modulated(x, f"{scope}/ToRGB", normalized=False) + values[f"{scope}/ToRGB/bias"]
        if edge == size:
            return picture.numpy().transpose(0, 3, 1, 2)
        edge *= 2


@pytest.mark.parametrize("size", [8, 32])
def test_computes_what_tensorflow_computes(size: int, tmp_path: Path, agree: Agree) -> None:
    values = variables(size)
    model = tfpt.load("stylegan2", saved(values, tmp_path), config=CONFIG | {"size": size})
    latents = np.random.default_rng(1).normal(size=(2, STYLE)).astype(np.float32)
    with torch.no_grad():
        found = model(torch.from_numpy(latents)).numpy()
    agree("stylegan2", found, by_tensorflow(values, size, latents))


BROKEN: dict[str, tuple[Callable[[Variables], object], set[str]]] = {
    "a missing style": (lambda values: values.pop("G_synthesis/8x8/Conv0_up/mod_weight"), {"absent"}),
    "a missing noise": (lambda values: values.pop("G_synthesis/noise1"), {"absent"}),
    "a stray scope": (lambda values: values.update({"teacher/lod2": np.zeros(3, np.float32)}), {"unused"}),
    "a layer too many": (
        lambda values: values.update({"G_mapping/Dense2/bias": np.zeros(STYLE, np.float32)}),
        {"extra", "absent"},
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_found(case: str, tmp_path: Path) -> None:
    values = variables(16)
    change, allowed = BROKEN[case]
    change(values)
    plan = tfpt.plan("stylegan2", saved(values, tmp_path), config=CONFIG | {"size": 16})
    assert plan.findings
    assert {finding.kind for finding in plan.findings} <= allowed | {"missing"}


def test_another_size_is_found_and_an_impossible_one_refused(tmp_path: Path) -> None:
    checkpoint = saved(variables(16), tmp_path)
    assert tfpt.plan("stylegan2", checkpoint, config=CONFIG | {"size": 8}).findings
    assert tfpt.plan("stylegan2", checkpoint, config=CONFIG | {"size": 32}).findings
    with pytest.raises(ModelError, match="no such size"):
        tfpt.plan("stylegan2", checkpoint, config=CONFIG | {"size": 48})


def test_the_narrow_configuration_has_half_the_channels_of_large_pictures(tmp_path: Path) -> None:
    settings = {"size": 64, "channel_multiplier": 1, "n_mlp": 1, "style_dim": 8}
    tfpt.sample("stylegan2", tmp_path / "model.ckpt", config=settings)
    shapes = {name: spec.shape for name, spec in tfpt.open_source(tmp_path / "model.ckpt").specs.items()}
    assert shapes["G_synthesis/64x64/Conv1/weight"] == (3, 3, 256, 256)
    assert shapes["G_synthesis/32x32/Conv1/weight"] == (3, 3, 512, 512)
    assert tfpt.plan("stylegan2", tmp_path / "model.ckpt", config=settings).ok
