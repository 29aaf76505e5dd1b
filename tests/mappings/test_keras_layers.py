"""The library's Keras layers against Keras itself: the same weights give the same output in torch.nn."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

import tfpt
from tfpt import nn as tfnn
from tfpt.language.library import library_layers

keras = pytest.importorskip("keras")

# Sizes are prime, so that no two axes can be exchanged unnoticed.
B, W, H, T, IN, OUT = 2, 11, 13, 7, 3, 5
CHANNELS_FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}


class Sequence(nn.Module):
    """A recurrent layer that returns its outputs only."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cell(x)[0]


class Separable(nn.Module):
    def __init__(self, convolution: type[nn.Module], multiplier: int) -> None:
        super().__init__()
        self.depthwise = convolution(IN, IN * multiplier, 3, groups=IN, bias=False)
        self.pointwise = convolution(IN * multiplier, OUT, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pointwise(self.depthwise(x))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.MultiheadAttention(10, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cell(x, x, x, need_weights=False)[0]


def projection(heads_first: bool) -> nn.Module:
    """What `EinsumDense` computes, with the heads side by side."""
    if heads_first:
        return nn.Sequential(nn.Linear(IN, 14), nn.Unflatten(-1, (2, 7)))
    return nn.Sequential(nn.Flatten(-2), nn.Linear(14, OUT))


# name → Keras layer, torch module, path of the layer in the module, shape of the input in Keras' layout.
CASES: dict[str, tuple[Callable[[], object], Callable[[], nn.Module], str, tuple[int, ...]]] = {
    "dense": (lambda: keras.layers.Dense(OUT), lambda: nn.Linear(IN, OUT), "", (B, IN)),
    "conv1d": (lambda: keras.layers.Conv1D(OUT, 3), lambda: nn.Conv1d(IN, OUT, 3), "", (B, W, IN)),
    "conv2d": (
        lambda: keras.layers.Conv2D(OUT, (2, 3)),
        lambda: nn.Conv2d(IN, OUT, (2, 3)),
        "",
        (B, H, W, IN),
    ),
    "conv2d_to_linear": (lambda: keras.layers.Conv2D(OUT, 1), lambda: nn.Linear(IN, OUT), "", (B, H, W, IN)),
    "conv3d": (
        lambda: keras.layers.Conv3D(OUT, (4, 2, 3)),
        lambda: nn.Conv3d(IN, OUT, (4, 2, 3)),
        "",
        (B, T, H, W, IN),
    ),
    "depthwise_conv1d": (
        lambda: keras.layers.DepthwiseConv1D(4, depth_multiplier=2),
        lambda: nn.Conv1d(IN, 2 * IN, 4, groups=IN),
        "",
        (B, W, IN),
    ),
    "depthwise_conv2d": (
        lambda: keras.layers.DepthwiseConv2D((2, 5), depth_multiplier=2),
        lambda: nn.Conv2d(IN, 2 * IN, (2, 5), groups=IN),
        "",
        (B, H, W, IN),
    ),
    "separable_conv1d": (
        lambda: keras.layers.SeparableConv1D(OUT, 3, depth_multiplier=2),
        lambda: Separable(nn.Conv1d, 2),
        "",
        (B, W, IN),
    ),
    "separable_conv2d": (
        lambda: keras.layers.SeparableConv2D(OUT, 3, depth_multiplier=2),
        lambda: Separable(nn.Conv2d, 2),
        "",
        (B, H, W, IN),
    ),
    "conv1d_transpose": (
        lambda: keras.layers.Conv1DTranspose(OUT, 3, strides=2),
        lambda: nn.ConvTranspose1d(IN, OUT, 3, stride=2),
        "",
        (B, W, IN),
    ),
    "conv2d_transpose": (
        lambda: keras.layers.Conv2DTranspose(OUT, (2, 3), strides=2),
        lambda: nn.ConvTranspose2d(IN, OUT, (2, 3), stride=2),
        "",
        (B, H, W, IN),
    ),
    "conv3d_transpose": (
        lambda: keras.layers.Conv3DTranspose(OUT, (4, 2, 3), strides=2),
        lambda: nn.ConvTranspose3d(IN, OUT, (4, 2, 3), stride=2),
        "",
        (B, T, 5, 3, IN),
    ),
    "batch_norm": (
        lambda: keras.layers.BatchNormalization(epsilon=1e-3),
        lambda: nn.BatchNorm2d(IN, eps=1e-3),
        "",
        (B, H, W, IN),
    ),
    "batch_norm_without_scale": (
        lambda: keras.layers.BatchNormalization(scale=False),
        lambda: nn.BatchNorm2d(IN, eps=1e-3),
        "",
        (B, H, W, IN),
    ),
    "batch_norm_without_center": (
        lambda: keras.layers.BatchNormalization(center=False),
        lambda: nn.BatchNorm2d(IN, eps=1e-3),
        "",
        (B, H, W, IN),
    ),
    "layer_norm": (
        lambda: keras.layers.LayerNormalization(epsilon=1e-3),
        lambda: nn.LayerNorm(IN, eps=1e-3),
        "",
        (B, IN),
    ),
    "group_norm": (
        lambda: keras.layers.GroupNormalization(groups=2, epsilon=1e-3),
        lambda: nn.GroupNorm(2, 10, eps=1e-3),
        "",
        (B, H, W, 10),
    ),
    "rms_norm": (
        lambda: keras.layers.RMSNormalization(epsilon=1e-3),
        lambda: nn.RMSNorm(IN, eps=1e-3),
        "",
        (B, IN),
    ),
    "embedding": (lambda: keras.layers.Embedding(17, OUT), lambda: nn.Embedding(17, OUT), "", (B, T)),
    "lstm": (
        lambda: keras.layers.LSTM(OUT, return_sequences=True),
        lambda: Sequence(nn.LSTM(IN, OUT, batch_first=True)),
        "cell",
        (B, T, IN),
    ),
    "gru": (
        lambda: keras.layers.GRU(OUT, return_sequences=True),
        lambda: Sequence(nn.GRU(IN, OUT, batch_first=True)),
        "cell",
        (B, T, IN),
    ),
    "gru_reset_before": (
        lambda: keras.layers.GRU(OUT, return_sequences=True, reset_after=False),
        lambda: Sequence(tfnn.GRU(IN, OUT, batch_first=True, reset_after=False)),
        "cell",
        (B, T, IN),
    ),
    "attention_projection": (
        lambda: keras.layers.EinsumDense("abc,cde->abde", (None, 2, 7), bias_axes="de"),
        lambda: projection(True),
        "0",
        (B, T, IN),
    ),
    "attention_output": (
        lambda: keras.layers.EinsumDense("abde,dec->abc", (None, OUT), bias_axes="c"),
        lambda: projection(False),
        "1",
        (B, T, 2, 7),
    ),
    "multi_head_attention": (lambda: keras.layers.MultiHeadAttention(2, 5), Attention, "cell", (B, T, 10)),
}


def test_every_keras_layer_of_the_library_is_tested() -> None:
    listed = {name.partition("/")[2] for name in library_layers() if name.startswith("keras/")}
    # Parts of the three batch norms, and of the attention.
    assert listed - {"batch_statistics", "in_projection"} == set(CASES)


def test_a_batch_norm_that_lost_its_scale_is_a_finding(tmp_path: Path) -> None:
    names = ("weight", "bias", "running_mean", "running_var")
    values = {f"a/{name}": np.ones(3, np.float32) for name in ("beta", "moving_mean", "moving_variance")}
    np.savez(tmp_path / "w.npz", **values)  # type: ignore[arg-type]
    listed = ",\n".join(f'"b.{name}": {{"dtype": "float32", "shape": [3]}}' for name in names)
    (tmp_path / "m.manifest.json").write_text(f"{{{listed}}}")
    (tmp_path / "m.yaml").write_text("version: 1\nscopes: [{tf: a, pt: b, use: keras/batch_norm}]\n")
    (finding,) = tfpt.plan(tmp_path / "m.yaml", tmp_path / "w.npz").findings
    assert (finding.kind, finding.name) == ("absent", "a/gamma")


def run_layer(layer: object, x: np.ndarray) -> np.ndarray:
    arguments = (x, x) if type(layer).__name__ == "MultiHeadAttention" else (x,)
    return np.asarray(layer(*arguments))  # type: ignore[operator]


@pytest.mark.parametrize("name", sorted(CASES))
def test_torch_computes_what_keras_computes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_layer, make_module, path, shape = CASES[name]
    random = np.random.default_rng(3)
    x = random.integers(0, 17, shape) if name == "embedding" else random.normal(size=shape).astype(np.float32)
    layer = make_layer()
    run_layer(layer, x)  # builds it
    for weight in layer.weights:  # type: ignore[attr-defined]
        if "seed" not in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    weights = {
        f"block/{re.sub('^[^/]*/([a-z]+_cell/)?', '', weight.path)}": np.asarray(weight)
        for weight in layer.weights  # type: ignore[attr-defined]
        if "seed" not in weight.path
    }
    np.savez(tmp_path / "w.npz", **weights)
    module = make_module()
    prefix = f"net.{path}" if path else "net"
    (tmp_path / "library_case.py").write_text(
        "import torch\ndef build(): return torch.nn.ModuleDict({'net': made()})"
    )
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("library_case", None)
    import library_case  # type: ignore[import-not-found]

    library_case.made = make_module
    (tmp_path / "m.yaml").write_text(
        "version: 1\nmodel: {factory: 'library_case:build'}\n"
        f"scopes: [{{tf: block, pt: {prefix}, use: keras/{name}}}]\n"
    )
    model = tfpt.load(tmp_path / "m.yaml", tmp_path / "w.npz", trust=True).eval()
    expected = run_layer(layer, x)
    order = CHANNELS_FIRST.get(x.ndim) if isinstance(leaf(module), CHANNELS) else None
    given = torch.from_numpy(x if order is None else np.ascontiguousarray(x.transpose(order)))
    with torch.inference_mode():
        got = model["net"](given).numpy()
    wanted = expected if order is None else expected.transpose(order)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


CHANNELS = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
)


def leaf(module: nn.Module) -> nn.Module:
    return module.depthwise if isinstance(module, Separable) else module


@pytest.mark.parametrize(("missing", "written"), [("scale", "bias"), ("center", "weight")])
def test_weights_of_a_batch_norm_without_scale_or_center_convert_from_a_file_that_only_numbers_them(
    missing: str, written: str, tmp_path: Path
) -> None:
    norm = keras.layers.BatchNormalization(name="a", **{missing: False})
    model = keras.Sequential([keras.Input((3,)), norm])
    values = [np.arange(3, dtype=np.float32) + 10 * number for number in range(3)]
    norm.set_weights(values)
    model.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.yaml").write_text(
        f"version: 1\nsource: {{names: keras}}\nscopes: [{{tf: a, pt: b, use: keras/batch_norm_without_{missing}}}]\n"
    )
    tfpt.convert(tmp_path / "m.yaml", tmp_path / "m.weights.h5", tmp_path / "w.safetensors", use_model=False)
    found = load_file(tmp_path / "w.safetensors")
    expected = dict(zip((written, "running_mean", "running_var"), values, strict=True))
    assert {name: found[f"b.{name}"].tolist() for name in expected} == {
        name: value.tolist() for name, value in expected.items()
    }
    (other,) = {"weight", "bias"} - {written}
    assert found[f"b.{other}"].tolist() == [float(other == "weight")] * 3


@pytest.mark.parametrize("name", ["dense", "conv2d", "lstm", "multi_head_attention"])
def test_a_layer_without_bias_needs_none_in_the_model(name: str, tmp_path: Path) -> None:
    """Optional weights are optional on both sides, and one that only the checkpoint has is a finding."""
    rows = {
        "dense": ({"kernel": (IN, OUT)}, {"weight": (OUT, IN)}),
        "conv2d": ({"kernel": (2, 3, IN, OUT)}, {"weight": (OUT, IN, 2, 3)}),
        "lstm": (
            {"kernel": (IN, 4 * OUT), "recurrent_kernel": (OUT, 4 * OUT)},
            {"weight_ih_l0": (4 * OUT, IN), "weight_hh_l0": (4 * OUT, OUT)},
        ),
        "multi_head_attention": (
            {f"{part}/kernel": (10, 2, 5) for part in ("query", "key", "value")}
            | {"attention_output/kernel": (2, 5, 10)},
            {"in_proj_weight": (30, 10), "out_proj.weight": (10, 10)},
        ),
    }
    variables, parameters = rows[name]
    np.savez(tmp_path / "w.npz", **{f"a/{k}": np.ones(v, np.float32) for k, v in variables.items()})
    listed = ",\n".join(f'"b.{k}": {{"dtype": "float32", "shape": {list(v)}}}' for k, v in parameters.items())
    (tmp_path / "m.manifest.json").write_text(f"{{{listed}}}")
    (tmp_path / "m.yaml").write_text(f"version: 1\nscopes: [{{tf: a, pt: b, use: keras/{name}}}]\n")
    assert tfpt.plan(tmp_path / "m.yaml", tmp_path / "w.npz").ok
