"""A mapping that reads moving averages is verified against a network that runs with them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import tfpt
from tests.commands.running import run

tf = pytest.importorskip("tensorflow")

MAPPING = """\
version: 1
summary: a dense layer of averages
source: {{ema: {{tf: "{{path...}}/ExponentialMovingAverage", use: {use}{excepted}}}}}
model: {{factory: "{module}:Net"}}
weights:
  - {{tf: net/kernel, pt: net.weight, layout: "i o -> o i"}}
  - {{tf: net/bias, pt: net.bias}}
endpoints: [{{tf: out, pt: net}}]
"""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.fixture(scope="module")
def values():
    random = np.random.default_rng(3)
    return {name: random.normal(size=shape).astype("f4") for name, shape in
            {"kernel": (3, 5), "bias": (5,), "kernel's average": (3, 5), "bias's average": (5,)}.items()}  # fmt: skip


@pytest.fixture(scope="module")
def network(values, tmp_path_factory):
    """A graph with its checkpoint, saved by TensorFlow: variables, and averages of them that differ."""
    v1 = tf.compat.v1
    folder = tmp_path_factory.mktemp("ema")
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, 3), "x")
        with v1.variable_scope("net"):
            kernel, bias = (v1.get_variable(name, initializer=values[name]) for name in ("kernel", "bias"))
        v1.identity(v1.matmul(x, kernel) + bias, name="out")
        averages = tf.train.ExponentialMovingAverage(0.9)
        averages.apply([kernel, bias])
        session.run(v1.global_variables_initializer())
        for variable, name in ((kernel, "kernel"), (bias, "bias")):
            session.run(averages.average(variable).assign(values[f"{name}'s average"]))
        v1.train.Saver().save(session, str(folder / "model.ckpt"), write_state=False)
    return folder / "model.ckpt"


def mapping(folder, use="prefer", excepted=""):
    path = folder / "ema.yaml"
    left_out = f", except: {excepted}" if excepted else ""
    path.write_text(MAPPING.format(use=use, excepted=left_out, module=__name__))
    return path


@pytest.mark.parametrize(
    ("use", "excepted", "kernel", "bias", "number"),
    [
        ("prefer", "", "kernel's average", "bias's average", 2),
        ("require", "", "kernel's average", "bias's average", 2),
        ("prefer", "net/bias", "kernel's average", "bias", 1),
        ("ignore", "", "kernel", "bias", None),
    ],
)
def test_the_network_runs_with_what_the_mapping_reads(
    network, values, tmp_path, use, excepted, kernel, bias, number
):
    path = mapping(tmp_path, use, excepted)
    recorded = tfpt.record(path, f"{network}.meta", trust=True)
    x = recorded.inputs["input"].astype(np.float64)
    expected = x @ values[kernel] + values[bias]
    np.testing.assert_allclose(recorded.endpoints["out"].values, expected, rtol=1e-5, atol=1e-6)
    assert recorded.facts.get("averages") == number
    result = tfpt.verify(path, network, network=f"{network}.meta", trust=True)
    assert result.agrees


def test_without_a_mapping_the_variables_are_used(network, values):
    recorded = tfpt.record(None, f"{network}.meta", endpoints=["out"])
    expected = recorded.inputs["input"].astype(np.float64) @ values["kernel"] + values["bias"]
    np.testing.assert_allclose(recorded.endpoints["out"].values, expected, rtol=1e-5, atol=1e-6)


def test_a_recording_of_the_variables_is_told_apart_without_a_search(network, tmp_path):
    tfpt.record(None, f"{network}.meta", tmp_path / "r.npz", endpoints=["out"])
    path = mapping(tmp_path)
    found = run("verify", "--mapping", path, "--trust", network, "--recording", tmp_path / "r.npz")
    assert found.code == 1
    assert (
        "the mapping reads 2 moving averages, but TensorFlow ran with the variables themselves" in found.out
    )
    assert "trial" not in found.out
    result = tfpt.verify(path, network, tmp_path / "r.npz", trust=True)
    assert result.averages == 2
    assert not result.explanation.diagnoses


def test_nothing_is_claimed_of_a_recording_that_does_not_say(network, tmp_path):
    recorded = tfpt.record(None, f"{network}.meta", endpoints=["out"])
    unknown = dataclasses.replace(recorded, facts={})
    assert tfpt.verify(mapping(tmp_path), network, unknown, trust=True, seconds=0).averages == 0
