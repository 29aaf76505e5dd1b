"""Endpoints of a mapping in a model, and activations seen while it runs."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tfpt.errors import ModelError
from tfpt.language.loader import load_mapping
from tfpt.networks.endpoints import activations, endpoints_in, first_tensor, watch
from tfpt.targets.model import build_model


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


class Halves(nn.Module):
    def forward(self, x: Tensor) -> Pair:
        return Pair(x[:, :2], x[:, 2:])


class Named(nn.Module):
    def forward(self, x: Tensor) -> dict[str, object]:
        return {"loss": None, "state": x + 1, "other": x}


class Net(nn.Module):
    """Modules of every kind of output, one that runs twice, one that never does."""

    def __init__(self) -> None:
        super().__init__()
        self.never = nn.ReLU()
        self.doubled = nn.Hardtanh(-100, 100)
        self.halves = Halves()
        self.named = Named()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, *, add: Tensor | float = 0.0) -> Tensor:
        x = self.doubled(x * 2 + add)
        pair = self.halves(self.doubled(x))
        assert isinstance(pair, Pair)
        found = self.named(pair.left - pair.right)["state"]
        assert isinstance(found, Tensor)
        return self.relu(found)


X = torch.tensor([[1.0, -5.0, 3.0, 2.0]])


def test_outputs_come_copied_in_the_order_in_which_the_modules_ran():
    found = activations(Net(), X, ["relu", "named", "halves", "doubled"])
    assert list(found) == ["doubled", "halves", "named", "relu"]
    assert torch.equal(found["doubled"], X * 2)
    assert torch.equal(found["halves"], torch.tensor([[2.0, -10.0]]))
    assert torch.equal(found["named"], torch.tensor([[-3.0, -13.0]]))  # before the ReLU that works in place
    assert torch.equal(found["relu"], torch.zeros(1, 2))


def test_inputs_may_be_named():
    found = activations(Net(), {"x": X, "add": torch.tensor(1.0)}, ["doubled"])
    assert torch.equal(found["doubled"], X * 2 + 1)


# The end where an output is replaced by sevens: the halves' difference plus 1, and a ReLU.
REPLACED = {"doubled": 7 - 7 + 1.0, "halves": torch.relu(7 - X[:, 2:] * 2 + 1), "named": 7.0, "relu": 7.0}


@pytest.mark.parametrize("path", list(REPLACED))
def test_a_replacement_is_what_follows_sees(path):
    def see(name: str, output: Tensor) -> Tensor | None:
        return torch.full_like(output, 7.0) if name == path else None

    model, ends = Net(), []
    model.register_forward_hook(lambda _module, _inputs, output: ends.append(output))
    watch(model, X, ["doubled", "halves", "named", "relu"], see, to_the_end=True)
    assert torch.equal(ends[0], torch.zeros(1, 2) + REPLACED[path])


def test_it_stops_behind_the_last_path_unless_told():
    ran = []
    model = Net()
    model.relu.register_forward_hook(lambda *_: ran.append("relu"))
    assert watch(model, X, ["named", "halves"], lambda *_: None) == ["halves", "named"]
    assert not ran
    watch(model, X, ["named"], lambda *_: None, to_the_end=True)
    assert ran == ["relu"]


def test_a_module_that_never_runs_is_not_among_those_reached():
    assert watch(Net(), X, ["never", "doubled"], lambda *_: None) == ["doubled"]


def test_no_hook_is_left_behind_and_no_gradient_made():
    model = Net()
    activations(model, X.clone().requires_grad_(True), ["doubled"])
    with pytest.raises(IndexError):
        activations(model, torch.zeros(3), ["doubled", "relu"])
    assert not any(module._forward_hooks for module in model.modules())
    assert not activations(model, X.clone().requires_grad_(True), ["doubled"])["doubled"].requires_grad


def test_a_path_without_a_module_is_refused_with_the_nearest():
    with pytest.raises(ModelError, match="has no module doubles") as error:
        activations(Net(), X, ["doubles"])
    assert "doubled" in error.value.nearest


def test_a_module_without_a_tensor_is_refused():
    with pytest.raises(ModelError, match="returns no tensor"):
        first_tensor((None, "text"), "somewhere")


def test_a_tensor_inside_of_tuples_and_dicts_is_found_and_replaced():
    class Deep(nn.Module):
        def forward(self, x: Tensor) -> tuple[object, ...]:
            return (None, {"none": [], "pair": Pair(x + 1, x)}, x)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep = Deep()

        def forward(self, x: Tensor) -> Tensor:
            _, found, last = self.deep(x)
            assert isinstance(found["pair"], Pair)
            return found["pair"].left * 10 + found["pair"].right + last

    model, ends = Outer(), []
    assert torch.equal(activations(model, X, ["deep"])["deep"], X + 1)
    model.register_forward_hook(lambda _module, _inputs, output: ends.append(output))
    watch(model, X, ["deep"], lambda _path, _output: torch.zeros(1, 4), to_the_end=True)
    assert torch.equal(ends[0], 2 * X)


def test_two_endpoints_of_one_module_are_refused(tmp_path):
    mapping = mapping_with(tmp_path, "endpoints:\n  - {tf: a, pt: '0'}\n  - {tf: b, pt: '0'}\n")
    with pytest.raises(ModelError, match="two endpoints are the output of 0") as error:
        endpoints_in(nn.Sequential(nn.ReLU()), mapping)
    assert error.value.got == "a and b"
    assert error.value.where.endswith("m.yaml:4")


def mapping_with(tmp_path, text):
    path = tmp_path / "m.yaml"
    path.write_text(f"version: 1\n{text}")
    return load_mapping(path)


def test_templates_are_filled_in_from_the_models_paths(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 7, 1))
    mapping = mapping_with(
        tmp_path,
        'endpoints: [{tf: "layer_{i+1}", pt: "{i:int}", op: "layer_{i+1}/add", layout: "b h w c -> b c h w"}]\n',
    )
    found = endpoints_in(model, mapping)
    assert [(end.tf, end.op, end.pt) for end in found] == [
        (f"layer_{i + 1}", f"layer_{i + 1}/add", str(i)) for i in range(3)
    ]
    assert str(found[0].layout) == "b h w c -> b c h w"


def test_of_alternative_modules_the_first_that_the_model_has_is_the_endpoint(tmp_path):
    text = 'endpoints: [{tf: "norm{i:counter}", pt: "{i}.{_:rms_norm|layer_norm|norm}"}]'
    names = (["norm"], ["layer_norm"], ["norm", "layer_norm"])
    model = nn.Sequential(*(nn.ModuleDict({name: nn.ReLU() for name in each}) for each in names))
    found = endpoints_in(model, mapping_with(tmp_path, text))
    assert [(end.tf, end.pt) for end in found] == [
        ("norm", "0.norm"),
        ("norm_1", "1.layer_norm"),
        ("norm_2", "2.layer_norm"),
    ]


def test_an_endpoint_without_a_module_is_refused(tmp_path):
    mapping = mapping_with(tmp_path, "endpoints:\n  - {tf: a, pt: lyer}\n")
    model = nn.Sequential()
    model.add_module("layer", nn.ReLU())
    with pytest.raises(ModelError, match="no module lyer") as error:
        endpoints_in(model, mapping)
    assert error.value.nearest == ("layer",)
    assert error.value.where.endswith("m.yaml:3")


def test_a_mapping_without_endpoints_is_refused(tmp_path):
    with pytest.raises(ModelError, match="names no activation"):
        endpoints_in(nn.ReLU(), mapping_with(tmp_path, "summary: nothing\n"))


@pytest.mark.parametrize("name", ["i3d_rgb", "i3d_flow", "i3d_rgb_kinetics600"])
def test_the_endpoints_of_i3d_are_all_there_in_network_order(name):
    mapping = load_mapping(name)
    model = build_model(mapping)
    found = endpoints_in(model, mapping)
    assert [end.pt for end in found] == list(model.ENDPOINTS)
    assert [end.tf.lower() for end in found] == list(model.ENDPOINTS)
    assert [end.op for end in found[-2:]] == ["Mean", "Softmax"]
