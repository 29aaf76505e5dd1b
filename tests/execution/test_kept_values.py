"""What a model draws at random is not kept without a word; what it makes the same every time is."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tfpt
from tfpt.checking.lint import check_mapping
from tfpt.errors import TfptError
from tfpt.execution.kept_values import kept_values
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.planning import PlanError, Step

MODULE = """
import numpy, random, torch
from torch import nn
from torch.nn.utils import spectral_norm
from torch.nn.utils.parametrizations import spectral_norm as parametrized

built = []


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        built.append(1)
        self.a = spectral_norm(nn.Linear(3, 5))
        self.b = parametrized(nn.Linear(3, 5))
        self.register_buffer("positions", torch.arange(7))
        self.register_buffer("sinusoids", torch.sin(torch.arange(6.0)).reshape(2, 3))
        self.register_buffer("mask", torch.full((2, 2), float("-inf")).triu(1))
        self.register_buffer("nans", torch.tensor([float("nan"), 1.0]))
        self.register_buffer("numpys", torch.from_numpy(numpy.random.normal(size=3)))
        self.register_buffer("pythons", torch.tensor(random.random()))
        self.register_buffer("narrow", torch.randn(3).to(torch.bfloat16))
        self.register_buffer("scalar", torch.rand(()))

    def forward(self, x):
        return self.a(x) + self.b(x)
"""
DRAWN = ["numpys", "pythons", "narrow", "scalar", "a.weight_v", "b.parametrizations.weight.0._v"]
MADE = ["positions", "sinusoids", "mask", "nans"]


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "drawing_network.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("drawing_network", None)
    return tmp_path


def mapping(folder: Path, kept: list[str]) -> Path:
    import drawing_network  # type: ignore[import-not-found]

    names = drawing_network.Net().state_dict()
    rows = [f"  - {{pt: {name}, {'keep: true' if name in kept else 'fill: 1'}}}" for name in names]
    text = "version: 1\nmodel: {factory: 'drawing_network:Net'}\nsource: {ignore: [{tf: x, why: none}]}\nweights:\n"
    (folder / "m.yaml").write_text(text + "\n".join(["  - {tf: y, pt: a.bias, overrides: true}", *rows]))
    write_bundle(
        folder / "m.ckpt", {"x": np.zeros(1, np.float32), "y": np.ones(5, np.float32)}, write_state=False
    )
    return folder / "m.yaml"


def test_what_is_drawn_at_random_is_told_from_what_is_made(network: Path) -> None:
    import drawing_network

    kept = kept_values(drawing_network.Net, [*DRAWN, *MADE])
    assert sorted(kept.random) == sorted(DRAWN)
    assert kept.values["positions"].tolist() == [*range(7)]


class Large(torch.nn.Module):
    """Tensors of more elements than are drawn where only their being random matters."""

    def __init__(self) -> None:
        super().__init__()
        normal = torch.empty(211, 307).normal_()
        self.register_buffer("normal", normal)
        self.register_buffer("end", normal[-1, -5:].clone())
        self.register_buffer("sign", normal.sign())
        self.register_buffer("uniform", torch.empty(65537).uniform_(-2, 3))
        self.register_buffer("turned", torch.empty(211, 307).T.normal_())
        self.register_buffer("randn", torch.randn(211, 307))
        self.register_buffer("made", torch.arange(65537.0).cos())
        self.linear = torch.nn.Linear(307, 211)
        self.orthogonal = torch.nn.Parameter(torch.nn.init.orthogonal_(torch.empty(131, 137)))
        self.truncated = torch.nn.Parameter(torch.nn.init.trunc_normal_(torch.empty(211, 307)))


@pytest.mark.parametrize("random_too", [False, True])
def test_large_random_tensors_are_random_although_few_numbers_are_drawn(random_too: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        expected = Large().state_dict()
    kept = kept_values(Large, expected, random_too=random_too)
    assert kept.random == expected.keys() - {"made"}
    for name in expected if random_too else ["made"]:
        assert torch.equal(kept.values[name], expected[name]), name


def test_the_generators_are_left_as_they_were() -> None:
    def numbers() -> tuple[float, float, float]:
        return torch.rand(1).item(), random.random(), float(np.random.rand())

    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    expected = numbers()
    torch.manual_seed(3), random.seed(3), np.random.seed(3)
    kept_values(lambda: torch.nn.Linear(2, 2), ["weight"])
    assert numbers() == expected


def test_a_conversion_that_would_keep_it_is_refused(network: Path) -> None:
    path = mapping(network, ["a.weight_v", *MADE])
    found = tfpt.plan(path, network / "m.ckpt", trust=True)
    (finding,) = found.findings
    assert (finding.kind, finding.name, finding.stops) == ("random", "a.weight_v", True)
    assert finding.where.startswith("m.yaml:")
    json.dumps(found.to_json())
    for call in (tfpt.convert, tfpt.load):
        with pytest.raises(PlanError, match="1 finding"):
            call(path, network / "m.ckpt", trust=True)
    assert [*network.glob("*.safetensors")] == []
    assert [finding.kind for finding in check_mapping(tfpt.load_mapping(path), trust=True).findings] == [
        "random"
    ]


def test_what_is_made_the_same_every_time_is_written_and_the_model_is_built_twice(network: Path) -> None:
    import drawing_network

    path = mapping(network, MADE)
    drawing_network.built.clear()
    tfpt.convert(path, network / "m.ckpt", network / "w.safetensors", trust=True)
    assert len(drawing_network.built) == 3  # the names, on the meta device, and the values from two seeds
    written = tfpt.open_source(network / "w.safetensors")
    assert written.read("positions").tolist() == [*range(7)]
    np.testing.assert_array_equal(
        written.read("sinusoids"), torch.sin(torch.arange(6.0)).reshape(2, 3).numpy()
    )
    assert tfpt.load(path, network / "m.ckpt", trust=True).positions.tolist() == [*range(7)]
    assert check_mapping(tfpt.load_mapping(path), trust=True).findings == ()


def test_a_row_may_allow_random_values_and_each_conversion_writes_the_same_ones(network: Path) -> None:
    import drawing_network

    path = mapping(network, ["a.weight_v", *MADE])
    path.write_text(path.read_text().replace("a.weight_v, keep: true", "a.weight_v, keep: random"))
    written = []
    for number in (1, 2):
        torch.manual_seed(number)
        plan = tfpt.convert(path, network / "m.ckpt", network / f"{number}.safetensors", trust=True).plan
        step = plan.kept["a.weight_v"]
        assert (step.work, Step.from_json(step.to_json())) == ("keep random", step)
        written.append(tfpt.open_source(network / f"{number}.safetensors").read("a.weight_v"))
    np.testing.assert_array_equal(*written)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        np.testing.assert_array_equal(written[0], drawing_network.Net().a.weight_v.numpy())
    assert check_mapping(tfpt.load_mapping(path), trust=True).findings == ()


def test_a_mapping_without_such_rows_builds_no_model(network: Path) -> None:
    import drawing_network

    path = mapping(network, [])
    check_mapping(tfpt.load_mapping(path), trust=True, update_manifest=True)
    drawing_network.built.clear()
    assert tfpt.plan(path, network / "m.ckpt").ok
    assert drawing_network.built == []


def test_where_the_model_cannot_be_built_that_is_a_note_and_then_an_error(network: Path) -> None:
    path = mapping(network, MADE)
    check_mapping(tfpt.load_mapping(path), trust=True, update_manifest=True)
    found = tfpt.plan(path, network / "m.ckpt")
    assert found.ok
    assert "unchecked" in [note.kind for note in found.notes]
    with pytest.raises(TfptError, match="outside the packages"):
        tfpt.convert(path, network / "m.ckpt", network / "w.safetensors")
    assert not (network / "w.safetensors").exists()
