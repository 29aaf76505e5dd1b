"""Causes of every kind are proven, in networks that Keras recorded; all faults are in benchmarks/diagnosis.py."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import tfpt
from tests.verification.diagnosis.networks import NETWORKS
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording
from tfpt.verification.diagnosis.kinds import KINDS

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

# Kinds without a fault of their own in these networks, tested below.
ELSEWHERE = {"flatten", "axes", "superfluous term", "step"}


# What no trial repairs: a layer that is missing altogether.
UNPROVEN = {"average missing"}


def first_of_each_kind():
    """For each kind of cause the first fault that is called by it."""
    found = {}
    for network in NETWORKS:
        for name, fault in network.faults.items():
            if name in UNPROVEN:
                continue
            for kind in sorted(fault.kinds):
                found.setdefault(kind, (network, name))
    return found


FIRST = first_of_each_kind()


def test_every_kind_has_a_fault():
    assert set(KINDS) - set(FIRST) <= ELSEWHERE


@pytest.mark.parametrize("kind", FIRST, ids=str)
def test_a_cause_of_each_kind_is_proven(kind):
    network, name = FIRST[kind]
    fault = network.faults[name]
    result = network.verify(network.broken(name), seconds=600)
    assert result.first.name == fault.endpoint
    diagnosis = result.explanation.diagnoses[0]
    assert diagnosis.proven, diagnosis.suspects
    assert diagnosis.rel_after < 1e-5 < diagnosis.rel
    assert all(
        fault.accepts(place.kind, place.path) for one in result.explanation.diagnoses for place in one.places
    ), diagnosis.places


MAPPING = """\
version: 1
weights:
  - {tf: kernel, pt: layer.weight, layout: "i o -> o i"}
endpoints:
  - {tf: end, pt: end}
"""


class Small(nn.Module):
    """A function of the input, and an endpoint behind it."""

    def __init__(self, function, layer=None):
        super().__init__()
        self.layer = nn.Linear(5, 7) if layer is None else layer
        self.function = function
        self.end = nn.Identity()

    def forward(self, x):
        return self.end(self.function(self.layer, x))


def diagnosed(tmp_path, net, truth, x):
    """The diagnosis of a network whose endpoint has these values in TensorFlow."""
    path = tmp_path / "small.yaml"
    path.write_text(MAPPING)
    recording = Recording({"end": RecordedEndpoint.of("end", truth, whole=True)}, {"input": x})
    (found,) = tfpt.verify(path, recording=recording, model=net, seconds=600).explanation.diagnoses
    assert found.proven
    return found


def inputs(*shape):
    return np.random.default_rng(29).normal(size=shape).astype(np.float32)


def test_a_flattened_activation_with_the_channels_first_is_recognized(tmp_path):
    x = inputs(3, 5, 4, 7)
    net = Small(lambda _, value: value.softmax(1).flatten(1))
    truth = torch.tensor(x).softmax(1).numpy().transpose(0, 2, 3, 1).reshape(3, -1)
    found = diagnosed(tmp_path, net, truth, x)
    assert found.kinds == ("flatten",)
    assert "(c h w)" in found.advice[0]


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_axes_of_equal_size_in_another_order_are_recognized(tmp_path, order):
    x = inputs(11, 5)
    layer = nn.Module()
    layer.weight = nn.Parameter(torch.tensor(inputs(5, 5, 5)))
    net = Small(lambda one, value: torch.einsum("bi,ijk->bjk", value, one.weight).relu(), layer)
    truth = np.maximum(np.einsum("bi,ijk->bjk", x, layer.weight.detach().numpy().transpose(order)), 0)
    found = diagnosed(tmp_path, net, truth.astype(np.float32), x)
    assert found.kinds == ("axes",)
    assert found.places[0].expected == f"the order {' '.join(map(str, order))} of them"


def test_a_term_that_is_added_and_should_not_be_is_recognized(tmp_path):
    x = inputs(11, 5)
    net = Small(lambda layer, value: layer(value) + value.sum(1, keepdim=True).tanh())
    truth = net.layer(torch.tensor(x)).detach().numpy()
    assert diagnosed(tmp_path, net, truth, x).kinds == ("superfluous term",)


def test_the_other_end_of_a_sequence_is_recognized(tmp_path):
    x = inputs(3, 11, 5)
    net = Small(lambda layer, value: layer(value).cumsum(1)[:, 0])
    truth = net.layer(torch.tensor(x)).detach().numpy().cumsum(1)[:, -1]
    found = diagnosed(tmp_path, net, truth, x)
    assert found.kinds == ("step",)
    assert found.places[0].expected == "step -1"


class Flattening(nn.Module):
    """A dense layer on an activation whose last module is the endpoint before it."""

    def __init__(self):
        super().__init__()
        self.norm = nn.Identity()
        self.end = nn.Linear(5 * 2 * 3, 7)

    def forward(self, x):
        return self.end(self.norm(x).relu().flatten(1))


def test_columns_behind_an_endpoint_that_is_flattened_are_recognized(tmp_path):
    x = inputs(11, 5, 2, 3)
    net = Flattening()
    kernel = net.end.weight.detach().numpy()
    columns = kernel.reshape(7, 2, 3, 5)  # as TensorFlow has them, copied without a layout
    truth = np.einsum("bchw,ohwc->bo", np.maximum(x, 0), columns) + net.end.bias.detach().numpy()
    path = tmp_path / "flat.yaml"
    path.write_text(
        'version: 1\nweights: [{tf: kernel, pt: end.weight, layout: "i o -> o i"}]\n'
        "endpoints: [{tf: norm, pt: norm}, {tf: end, pt: end}]\n"
    )
    recorded = {
        "norm": RecordedEndpoint.of("norm", x, whole=True),
        "end": RecordedEndpoint.of("end", truth.astype(np.float32), whole=True),
    }
    result = tfpt.verify(path, recording=Recording(recorded, {"input": x}), model=net, seconds=600)
    (found,) = result.explanation.diagnoses
    assert found.proven
    assert found.kinds == ("flattening",)
    row = '{tf: kernel, pt: end.weight, layout: "(h w c) o -> o (c h w)", axes: {h: 2, w: 3}}'
    assert row in found.advice[0]


class Blocks(nn.Module):
    """Norms one behind the other, each an endpoint; with `functional`, as calls of a function."""

    def __init__(self, number, eps, functional=False):
        super().__init__()
        self.eps, self.functional = eps, functional
        self.blocks = nn.ModuleList(Block(eps, functional) for _ in range(number))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Block(nn.Module):
    def __init__(self, eps, functional):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(inputs(13)) * 0.02)
        self.norm = nn.Identity() if functional else nn.LayerNorm(13, eps=eps)
        self.function = partial(torch.nn.functional.layer_norm, normalized_shape=(13,), eps=eps)

    def forward(self, x):
        x = x * self.scale
        return self.norm(self.function(x) if isinstance(self.norm, nn.Identity) else x)


@pytest.mark.parametrize("functional", [False, True])
def test_a_solved_epsilon_is_repaired_throughout_the_model(tmp_path, functional):
    number, eps = 7, 2e-4
    net = Blocks(number, 1e-5, functional)
    x = values = inputs(11, 13)
    recorded = {}
    for index, block in enumerate(net.blocks):
        values = values * block.scale.detach().numpy()
        centered = values - values.mean(1, keepdims=True)
        values = centered / np.sqrt((centered**2).mean(1, keepdims=True) + eps)
        recorded[f"b{index}"] = RecordedEndpoint.of(f"b{index}", values.astype(np.float32), whole=True)
    path = tmp_path / "blocks.yaml"
    path.write_text(
        'version: 1\nweights: [{tf: "{i}", pt: "blocks.{i}.scale"}]\nendpoints: [{tf: "b{i}", pt: "blocks.{i}"}]\n'
    )
    result = tfpt.verify(path, recording=Recording(recorded, {"input": x}), model=net, seconds=600)
    (found,) = result.explanation.diagnoses
    assert found.kinds == ("epsilon",)
    assert found.everywhere
    assert {place.expected for place in found.places} == {"eps 0.0002"}
    assert len(found.places) == number
    assert result.explanation.repaired


def test_a_constant_that_is_added_is_solved_for(tmp_path):
    x = inputs(11, 5)
    net = Small(lambda layer, value: torch.tanh(layer(value) + 0.75))
    truth = np.tanh(net.layer(torch.tensor(x)).detach().numpy() - 0.5)
    found = diagnosed(tmp_path, net, truth, x)
    assert found.kinds == ("offset",)
    assert found.places[0].path == "layer"
    assert found.places[0].expected == "1.25 less"


def test_the_report_says_when_pairs_were_left_to_try(tmp_path, monkeypatch):
    from tfpt.report.verifications import unproven
    from tfpt.verification.diagnosis import search

    now = [0.0]
    monkeypatch.setattr(search.time, "monotonic", lambda: now[0])
    pairs = search.Search._try_pairs

    def late(self):
        now[0] = 1e9
        return pairs(self)

    monkeypatch.setattr(search.Search, "_try_pairs", late)
    x = inputs(11, 5)
    net = Small(lambda layer, value: layer(value))
    path = tmp_path / "small.yaml"
    path.write_text(MAPPING)
    recording = Recording({"end": RecordedEndpoint.of("end", inputs(11, 7) ** 2, whole=True)}, {"input": x})
    (found,) = tfpt.verify(path, recording=recording, model=net).explanation.diagnoses
    assert not found.proven
    assert found.untried > 100
    assert "--seconds 300 goes on" in unproven(found, 60.0)
    assert "--seconds 3000 goes on" in unproven(found, 600.0)
