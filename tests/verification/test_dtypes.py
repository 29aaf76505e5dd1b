"""A sound network agrees in every dtype and whatever precision its caller allows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tfpt
import tfpt.nn

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

MAPPING = """\
version: 1
summary: a small network
model: {{factory: "{module}:Net"}}
weights:
  - {{tf: "conv{{i}}/kernel", pt: "conv{{i}}.weight", layout: "h w i o -> o i h w"}}
  - {{tf: conv2/bias, pt: conv2.bias}}
  - {{tf: norm/gamma, pt: norm.weight}}
  - {{tf: norm/beta, pt: norm.bias}}
  - {{tf: norm/moving_mean, pt: norm.running_mean}}
  - {{tf: norm/moving_variance, pt: norm.running_var}}
  - {{pt: norm.num_batches_tracked, fill: 0, shape: [], dtype: int64}}
  - {{tf: head/kernel, pt: head.weight, layout: "i o -> o i"}}
  - {{tf: head/bias, pt: head.bias}}
endpoints:
  - {{tf: norm, pt: norm, layout: "b h w c -> b c h w"}}
  - {{tf: conv2, pt: relu, layout: "b h w c -> b c h w"}}
  - {{tf: head, pt: head}}
input: {{layout: "b h w c -> b c h w"}}
"""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = tfpt.nn.Conv2d(3, 16, 5, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(16, eps=1e-3)
        self.conv2 = nn.Conv2d(16, 24, 3, padding=1)
        self.relu = nn.ReLU()
        self.head = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.relu(self.conv2(self.norm(self.conv1(x)))).mean((2, 3)))


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """The mapping, and the network as Keras computes it."""
    folder = tmp_path_factory.mktemp("dtypes")
    layers = keras.layers
    keras.utils.set_random_seed(7)
    x = inputs = keras.Input((33, 31, 3), name="image")
    x = layers.Conv2D(16, 5, 2, "same", use_bias=False, name="conv1")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(inputs, layers.Dense(10, name="head")(x))
    random = np.random.default_rng(7)
    for weight in model.get_layer("norm").weights:
        weight.assign(random.uniform(0.2, 0.9, weight.shape))
    model.save(folder / "net.keras")
    (folder / "net.yaml").write_text(MAPPING.format(module=__name__))
    return folder / "net.yaml", folder / "net.keras"


@pytest.fixture(scope="module")
def recording(sides):
    return tfpt.record(sides[0], sides[1], whole=True, trust=True)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", 1e-5), ("float64", 1e-5), ("bfloat16", 16 * 2**-8), ("float16", 16 * 2**-11)],
)
def test_a_sound_network_agrees_in_every_dtype(sides, recording, dtype, tolerance):
    result = tfpt.verify(*sides, recording, dtype=dtype, trust=True)
    assert result.tolerance == tolerance
    assert result.agrees
    # Well within it: a tolerance that anything passes would show nothing.
    assert all(one.free.rel < tolerance / 4 for one in result.endpoints)
    found = tfpt.discover(*sides, recording, dtype=dtype, trust=True)
    assert found.agrees
    assert [each.pt for each in found.endpoints] == ["norm", "relu", "head"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_wrong_network_departs_in_every_dtype(sides, recording, dtype):
    model = tfpt.load(*sides, trust=True)
    model.conv2.weight.data = model.conv2.weight.data.transpose(2, 3).contiguous()
    result = tfpt.verify(sides[0], recording=recording, model=model, dtype=dtype, diagnose=False)
    assert [one.verdict for one in result.endpoints][:2] == ["agrees", "departs"]


def test_the_tolerance_is_that_of_a_model_in_memory(sides, recording):
    model = tfpt.load(*sides, trust=True).bfloat16()
    assert tfpt.verify(sides[0], recording=recording, model=model).tolerance == 16 * 2**-8
    assert tfpt.verify(sides[0], recording=recording, model=model, tolerance=0.5).tolerance == 0.5


def test_the_callers_settings_neither_show_nor_change(sides, recording):
    plain = tfpt.verify(*sides, recording, trust=True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            allowed = tfpt.verify(*sides, recording, trust=True)
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert allowed.agrees
    figures = [[one.free.rel for one in result.endpoints] for result in (plain, allowed)]
    assert figures[0] == figures[1]
