"""The library's layers of Sonnet: version 2 against its recorded outputs, version 1 against TensorFlow's operations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tfpt
from tests.conftest import DATA
from tfpt.language.library import library_layers

IN, OUT = 3, 5
RECORDED = {
    "linear": lambda: nn.Linear(IN, OUT),
    "conv1d": lambda: nn.Conv1d(IN, OUT, 3),
    "conv2d": lambda: nn.Conv2d(IN, OUT, (2, 3)),
    "conv3d": lambda: nn.Conv3d(IN, OUT, (4, 2, 3)),
    "depthwise_conv2d": lambda: nn.Conv2d(IN, 2 * IN, (2, 5), groups=IN),
    "conv1d_transpose": lambda: nn.ConvTranspose1d(IN, OUT, 3),
    "conv2d_transpose": lambda: nn.ConvTranspose2d(IN, OUT, (2, 3)),
    "conv3d_transpose": lambda: nn.ConvTranspose3d(IN, OUT, (4, 2, 3)),
    "batch_norm_v2": lambda: nn.BatchNorm3d(IN),
    "layer_norm": lambda: nn.LayerNorm(IN),
    "group_norm": lambda: nn.GroupNorm(2, 10),
    "embed": lambda: nn.Embedding(17, OUT),
    "lstm_v2": lambda: nn.LSTM(IN, OUT),
}
VERSION_1 = ("separable_conv2d", "batch_norm", "batch_norm_without_scale", "layer_norm", "lstm")


def computed(layer: str, module: nn.Module, variables: dict[str, np.ndarray], folder: Path, x: np.ndarray):
    """What the module computes of channels-last x, with the variables of the layer."""
    np.savez(folder / "w.npz", **{f"net/a/{name}": value for name, value in variables.items()})  # type: ignore[arg-type]
    listed = {
        f"b.{name}": {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
        for name, value in module.state_dict().items()
    }
    (folder / "m.manifest.json").write_text(json.dumps(listed))
    (folder / "m.yaml").write_text(
        "version: 1\n"
        "source: {ignore: [{tf: 'net/a/{_}/{_:hidden|counter}', why: average in progress}]}\n"
        f"scopes: [{{tf: net/a, pt: b, use: sonnet/{layer}}}]\n"
    )
    done = tfpt.convert(folder / "m.yaml", folder / "w.npz", folder / "w.safetensors")
    weights = load_file(done.path)
    module.load_state_dict({name.removeprefix("b."): value for name, value in weights.items()})
    last = x.ndim - 1
    first = layer not in ("linear", "layer_norm", "embed", "lstm", "lstm_v2")
    given = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, last, 1) if first else x))
    with torch.inference_mode():
        found = module.eval()(given)
    found = (found[0] if isinstance(found, tuple) else found).numpy()
    return np.moveaxis(found, 1, last) if first else found


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_every_sonnet_layer_of_the_library_is_tested() -> None:
    listed = {name.partition("/")[2] for name in library_layers() if name.startswith("sonnet/")}
    assert listed - {"batch_statistics"} == {*RECORDED, *VERSION_1}  # which is part of the batch norms


@pytest.mark.parametrize("layer", RECORDED)
def test_torch_computes_what_sonnet_2_computed(layer: str, tmp_path: Path) -> None:
    with np.load(DATA / "layers/sonnet.npz") as file:
        parts = {key.partition("|")[2]: file[key] for key in file if key.startswith(f"{layer}|")}
    x, expected = parts.pop("x"), parts.pop("y")
    assert_close(computed(layer, RECORDED[layer](), parts, tmp_path, x), expected)


def test_an_lstm_of_objects_is_the_same(tmp_path: Path) -> None:
    with np.load(DATA / "layers/sonnet.npz") as file:
        variables = {"_w_i": file["lstm_v2|w_i"], "_w_h": file["lstm_v2|w_h"], "b": file["lstm_v2|b"]}
        x, expected = file["lstm_v2|x"], file["lstm_v2|y"]
    assert_close(computed("lstm_v2", nn.LSTM(IN, OUT), variables, tmp_path, x), expected)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1, IN), (IN,)])
def test_a_batch_norm_of_sonnet_1(scale: bool, shape: tuple[int, ...], tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(3)
    names = ["beta", "moving_mean", "moving_variance", *(["gamma"] if scale else [])]
    variables = {name: random.uniform(0.5, 1.5, shape).astype(np.float32) for name in names}
    x = random.normal(size=(2, 7, 11, IN)).astype(np.float32)
    expected = tf.nn.batch_normalization(
        x, variables["moving_mean"], variables["moving_variance"], variables["beta"],
        variables.get("gamma"), 1e-3,
    ).numpy()  # fmt: skip
    layer = "batch_norm" if scale else "batch_norm_without_scale"
    assert_close(computed(layer, nn.BatchNorm2d(IN, eps=1e-3), variables, tmp_path, x), expected)


def test_a_layer_norm_of_sonnet_1(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(3)
    variables = {name: random.uniform(0.5, 1.5, IN).astype(np.float32) for name in ("gamma", "beta")}
    x = random.normal(size=(7, IN)).astype(np.float32)
    mean, variance = tf.nn.moments(x, [1], keepdims=True)
    expected = tf.nn.batch_normalization(x, mean, variance, variables["beta"], variables["gamma"], 1e-5)
    assert_close(computed("layer_norm", nn.LayerNorm(IN), variables, tmp_path, x), expected.numpy())


def test_a_separable_convolution_of_sonnet_1(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(3)
    shapes = {"w_dw": (2, 3, IN, 2), "w_pw": (1, 1, 2 * IN, OUT), "b": (OUT,)}
    variables = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    x = random.normal(size=(2, 7, 11, IN)).astype(np.float32)
    expected = tf.nn.separable_conv2d(x, variables["w_dw"], variables["w_pw"], (1, 1, 1, 1), "VALID")
    module = nn.Sequential()
    module.add_module("depthwise", nn.Conv2d(IN, 2 * IN, (2, 3), groups=IN, bias=False))
    module.add_module("pointwise", nn.Conv2d(2 * IN, OUT, 1))
    found = computed("separable_conv2d", module, variables, tmp_path, x)
    assert_close(found, (expected + variables["b"]).numpy())


def test_an_lstm_of_sonnet_1(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(3)
    w = random.normal(size=(IN + OUT, 4 * OUT)).astype(np.float32)
    b = random.normal(size=4 * OUT).astype(np.float32)
    x = random.normal(size=(7, 2, IN)).astype(np.float32)
    state = np.zeros((2, OUT), np.float32)
    peepholes = np.zeros(OUT, np.float32)
    # The gates of this operation are in Sonnet's order: input, next input, forget, output.
    expected = tf.raw_ops.BlockLSTM(
        seq_len_max=7, x=x, cs_prev=state, h_prev=state, w=w, b=b, wci=peepholes, wcf=peepholes,
        wco=peepholes, forget_bias=1.0, cell_clip=-1.0, use_peephole=False,
    ).h.numpy()  # fmt: skip
    found = computed("lstm", nn.LSTM(IN, OUT), {"w_gates": w, "b_gates": b}, tmp_path, x)
    assert_close(found, expected)
