"""A spectrally normalized network of TensorFlow: PyTorch's `weight_v` is computed from TensorFlow's weight and u.

The checkpoint and TensorFlow's outputs are recorded (net.py beside them says how). PyTorch normalizes a weight by u·W·v
in eval mode, so that a wrong v gives other outputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tfpt

torch = pytest.importorskip("torch")

OLD = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"}
NEW = {
    "weight": "parametrizations.weight.original",
    "u": "parametrizations.weight.0._u",
    "v": "parametrizations.weight.0._v",
}


def mapping(names: dict[str, str], product: str) -> str:
    return f"""\
version: 1
source: {{scope: Generator}}
weights:
  - {{tf: "conv{{n}}/w", pt: "c{{n}}.{names["weight"]}", layout: "h w i o -> o i h w"}}
  - {{tf: "conv{{n}}/u0", pt: "c{{n}}.{names["u"]}", layout: "1 o -> o"}}
  - {{tf: "conv{{n}}/b", pt: "c{{n}}.bias"}}
  - tf: ["conv{{n}}/w", "conv{{n}}/u0"]
    pt: "c{{n}}.{names["v"]}"
    product: "{product}"
    apply: normalize
    tied: true
"""


def outputs(
    names: dict[str, str], normalized: Callable, product: str, shared: Path, tmp_path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """What the converted network computes, and what TensorFlow computed."""
    folder = shared / "threads" / "spectral-norm"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    network = torch.nn.Sequential()
    network.add_module("c0", normalized(torch.nn.Conv2d(3, 5, 3, 1, 1)))
    network.add_module("r", torch.nn.ReLU())
    network.add_module("c1", normalized(torch.nn.Conv2d(5, 7, 3, 1, 1)))
    (tmp_path / "m.yaml").write_text(mapping(names, product))
    manifest = {
        name: {"dtype": "float32", "shape": list(value.shape)} for name, value in network.state_dict().items()
    }
    (tmp_path / "m.manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "w.safetensors"
    tfpt.convert(tmp_path / "m.yaml", folder / "ck" / "model.ckpt", out)
    source = tfpt.open_source(out)
    network.load_state_dict({name: torch.tensor(source.read(name)) for name in source.specs})
    truth = np.load(folder / "truth.npz")
    with torch.no_grad():
        found = network.eval()(torch.tensor(truth["input"]).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return found.numpy(), truth["out"]


@pytest.mark.parametrize("kind", ["hook", "parametrization"])
def test_the_converted_network_computes_what_tensorflow_computed(
    kind: str, shared: Path, tmp_path: Path
) -> None:
    if kind == "hook":
        names, normalized = OLD, torch.nn.utils.spectral_norm
    else:
        names, normalized = NEW, torch.nn.utils.parametrizations.spectral_norm
    found, truth = outputs(names, normalized, "h w i o, 1 o -> (i h w)", shared, tmp_path)
    np.testing.assert_allclose(found, truth, atol=2e-6 * np.abs(truth).max())


def test_a_v_in_tensorflows_order_would_give_other_outputs(shared: Path, tmp_path: Path) -> None:
    found, truth = outputs(OLD, torch.nn.utils.spectral_norm, "h w i o, 1 o -> (h w i)", shared, tmp_path)
    assert np.abs(found - truth).max() > 0.1 * np.abs(truth).max()
