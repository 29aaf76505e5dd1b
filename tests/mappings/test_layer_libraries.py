"""The library's layers of Flax, Mesh TensorFlow and OpenAI: with the same weights, torch computes the same.

The outputs of Flax's layers were recorded (tests/data/layers). Those of Mesh TensorFlow and OpenAI's models are
formulas in numpy, and their weights are also compared with what the official converters of whole models make of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tfpt
from tests.conftest import DATA
from tests.mappings.recorded import carried_out, read
from tfpt.language.library import library_layers

IN, OUT = 3, 5
CHANNELS_FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
CHANNELS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


class Attention(nn.MultiheadAttention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x, x, x, need_weights=False)[0]


class Lstm(nn.LSTM):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x)[0]


class Weight(nn.Module):
    """Nothing but a weight."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))


def filled(module: nn.Module, layer: str, variables: Mapping[str, np.ndarray], folder: Path) -> nn.Module:
    """The module with the variables of a scope `block`, converted by the layer of the library."""
    listed = {
        f"net.{name}": {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
        for name, value in module.state_dict().items()
    }
    (folder / "m.manifest.json").write_text(json.dumps(listed))
    (folder / "m.yaml").write_text(
        'version: 1\nsource: {scope: ["", "{_:params|batch_stats}"]}\n'
        f"scopes: [{{tf: block, pt: net, use: {layer}}}]\n"
    )
    np.savez(folder / "w.npz", **variables)  # type: ignore[arg-type]
    tfpt.convert(folder / "m.yaml", folder / "w.npz", folder / "w.safetensors")
    written = load_file(folder / "w.safetensors")
    module.load_state_dict({name.removeprefix("net."): value for name, value in written.items()})
    return module.eval()


def assert_computes(module: nn.Module, x: np.ndarray, y: np.ndarray) -> None:
    """With the channels moved where torch has them."""
    order = CHANNELS_FIRST.get(x.ndim) if isinstance(module, CHANNELS) else None
    given = torch.from_numpy(x if order is None else np.ascontiguousarray(x.transpose(order)))
    with torch.inference_mode():
        got = module(given).numpy()
    wanted = y if order is None else y.transpose(order)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


# recorded layer → layer of the library, torch module.
FLAX: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "dense": ("keras/dense", lambda: nn.Linear(IN, OUT)),
    "conv1d": ("keras/conv1d", lambda: nn.Conv1d(IN, OUT, 3)),
    "conv2d": ("keras/conv2d", lambda: nn.Conv2d(IN, OUT, (2, 3))),
    "conv3d": ("keras/conv3d", lambda: nn.Conv3d(IN, OUT, (3, 2, 5))),
    "conv2d of groups": ("keras/conv2d", lambda: nn.Conv2d(IN, 2 * IN, (2, 3), groups=IN)),
    "conv1d_transpose": ("flax/conv1d_transpose", lambda: nn.ConvTranspose1d(IN, OUT, 3, stride=2)),
    "conv2d_transpose": ("flax/conv2d_transpose", lambda: nn.ConvTranspose2d(IN, OUT, (2, 3), stride=2)),
    "conv3d_transpose": ("flax/conv3d_transpose", lambda: nn.ConvTranspose3d(IN, OUT, (3, 2, 5), stride=2)),
    "layer_norm": ("flax/layer_norm", lambda: nn.LayerNorm(IN, eps=1e-6)),
    "layer_norm of groups": ("flax/layer_norm", lambda: nn.GroupNorm(2, 2 * OUT, eps=1e-6)),
    "rms_norm": ("keras/rms_norm", lambda: nn.RMSNorm(IN, eps=1e-6)),
    "batch_norm": ("flax/batch_norm", lambda: nn.BatchNorm2d(IN, eps=1e-5)),
    "embedding": ("flax/embedding", lambda: nn.Embedding(17, OUT)),
    "lstm": ("flax/lstm", lambda: Lstm(IN, OUT, batch_first=True)),
    "multi_head_attention": ("flax/multi_head_attention", lambda: Attention(10, 2, batch_first=True)),
}


def layers_of(library: str) -> set[str]:
    return {name for name in library_layers() if name.startswith(f"{library}/")}


def test_every_layer_of_the_libraries_is_tested() -> None:
    assert layers_of("flax") == {layer for layer, _ in FLAX.values() if layer.startswith("flax/")}
    assert layers_of("mesh") | layers_of("openai") == set(FORMULAS) == set(CONVERTED)


@pytest.mark.parametrize("name", FLAX)
def test_torch_computes_what_flax_computed(name: str, tmp_path: Path) -> None:
    recorded = np.load(DATA / "layers" / "flax.npz")
    of_layer = {key.partition(":")[2]: recorded[key] for key in recorded if key.startswith(f"{name}:")}
    x, y = of_layer.pop("x"), of_layer.pop("y")
    variables = {}
    for key, value in of_layer.items():
        collection, _, weight = key.partition("/")
        variables[f"{collection}/block/{weight.removeprefix('cell/')}"] = value
    layer, make = FLAX[name]
    assert_computes(filled(make(), layer, variables, tmp_path), x, y)


# Layer → a recorded conversion, and a scope of its checkpoint with that of the PyTorch model.
CONVERTED = {
    "mesh/projection": ("t5", "encoder/block_000/layer_000/SelfAttention/q", "encoder.block.0.layer.0.SelfAttention.q"),
    "mesh/embedding": ("t5", "shared", "shared"),
    "mesh/norm": ("t5", "encoder/block_001/layer_001/layer_norm", "encoder.block.1.layer.1.layer_norm"),
    "mesh/relative_attention_bias": (
        "t5",
        "decoder/block_000/layer_000/SelfAttention/relative_attention_bias",
        "decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    ),
    "openai/norm": ("gpt2", "model/h1/ln_2", "h.1.ln_2"),
    "openai/conv1d": ("gpt2", "model/h1/attn/c_attn", "h.1.attn.c_attn"),
}  # fmt: skip


@pytest.mark.parametrize("layer", CONVERTED)
def test_weights_become_what_the_official_converter_makes_of_them(layer: str, tmp_path: Path) -> None:
    name, scope, module = CONVERTED[layer]
    lines = [line for line in read(name).lines if line.parameter.startswith(f"{module}.")]
    assert lines
    assert all(line.variable == scope or line.variable.startswith(f"{scope}/") for line in lines)
    random = np.random.default_rng(5)
    variables = {line.variable: random.normal(size=line.shape).astype(np.float32) for line in lines}
    expected = {
        line.parameter: carried_out(line.operation, variables[line.variable]).squeeze() for line in lines
    }
    net = nn.ParameterDict(
        {
            parameter.removeprefix(f"{module}."): nn.Parameter(torch.from_numpy(np.ascontiguousarray(value)))
            for parameter, value in expected.items()
        }
    )
    given = {f"block{variable.removeprefix(scope)}": value for variable, value in variables.items()}
    written = filled(net, layer, given, tmp_path).state_dict()
    for parameter, value in expected.items():
        np.testing.assert_array_equal(written[parameter.removeprefix(f"{module}.")].numpy(), value)


class Conv1d(Weight):
    """What transformers' Conv1D computes."""

    def __init__(self) -> None:
        super().__init__(IN, OUT)
        self.bias = nn.Parameter(torch.empty(OUT))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


class Bias(Weight):
    """A bias of attention for each bucket of distances and each head, as T5 reads it: heads first."""

    def forward(self, buckets: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(buckets, self.weight).permute(2, 0, 1)


def normalized(x: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + eps)


RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(2, 7, IN)).astype(np.float32)
IDS = RANDOM.integers(0, 17, (2, 7))
Values = Mapping[str, np.ndarray]

# Layer → torch module, shapes of the variables, input, and the output by the library's own definition.
FORMULAS: dict[
    str, tuple[Callable[[], nn.Module], dict[str, tuple[int, ...]], np.ndarray, Callable[[Values], np.ndarray]]
] = {
    "mesh/projection": (
        lambda: nn.Linear(IN, OUT, bias=False),
        {"": (IN, OUT)},
        X,
        lambda v: np.einsum("bti,io->bto", X, v[""]),
    ),
    "mesh/embedding": (
        lambda: nn.Embedding(17, OUT),
        {"/embedding": (17, OUT)},
        IDS,
        lambda v: v["/embedding"][IDS],
    ),
    "mesh/norm": (
        lambda: nn.RMSNorm(IN, eps=1e-6),
        {"/scale": (IN,)},
        X,
        lambda v: normalized(X, 1e-6) * v["/scale"],
    ),
    "mesh/relative_attention_bias": (
        lambda: Bias(17, OUT),
        {"": (OUT, 17)},
        IDS,
        lambda v: v[""][:, IDS],
    ),
    "openai/norm": (
        lambda: nn.LayerNorm(IN, eps=1e-5),
        {"/g": (IN,), "/b": (IN,)},
        X,
        lambda v: normalized(X - X.mean(-1, keepdims=True), 1e-5) * v["/g"] + v["/b"],
    ),
    "openai/conv1d": (
        Conv1d,
        {"/w": (1, IN, OUT), "/b": (OUT,)},
        X,
        lambda v: np.einsum("bti,kio->bto", X, v["/w"]) + v["/b"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("layer", FORMULAS)
def test_torch_computes_what_the_formula_says(layer: str, tmp_path: Path) -> None:
    make, shapes, x, formula = FORMULAS[layer]
    random = np.random.default_rng(7)
    values = {name: random.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in shapes.items()}
    module = filled(make(), layer, {f"block{name}": value for name, value in values.items()}, tmp_path)
    assert_computes(module, x, formula(values))
