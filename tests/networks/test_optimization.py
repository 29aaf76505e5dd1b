"""The faster form of a model: the same numbers, the same paths, and the model itself untouched."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import tfpt.nn
from tests.models.deepmind_i3d import channels_first, seeded_clip, seeded_model
from tfpt.errors import ModelError
from tfpt.models.i3d import I3D, Unit3D
from tfpt.networks.endpoints import activations
from tfpt.networks.optimization import optimize
from tfpt.nn.inference import FoldedConv


@pytest.fixture(scope="module")
def i3d() -> I3D:
    return seeded_model(2, "Flow", 12)


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    return channels_first(seeded_clip(9, 2, 12, size=193))


def test_every_endpoint_of_i3d_is_the_same_to_rounding(i3d, clip):
    faster = optimize(i3d)
    with torch.no_grad():
        expected, found = i3d.endpoints(clip), faster.endpoints(clip)
    assert list(found) == list(I3D.ENDPOINTS)
    for name, activation in expected.items():
        scale = activation.abs().max()
        assert activation.shape == found[name].shape
        assert (activation - found[name]).abs().max() <= 3e-6 * scale, name


def test_i3d_in_double_precision_is_the_same_to_the_last_digits(clip):
    model = seeded_model(2, "Flow", 12).double()
    with torch.no_grad():
        expected, found = model(clip.double()), optimize(model)(clip.double())
    assert (expected - found).abs().max() <= 1e-12 * expected.abs().max()


def test_endpoints_are_seen_by_hooks_too(i3d, clip):
    faster = optimize(i3d)
    paths = ["mixed_3b", "mixed_3b.branch_1.0", "mixed_3b.branch_3", "maxpool3d_4a_3x3"]
    expected, found = activations(i3d, clip, paths), activations(faster, clip, paths)
    assert list(found) == list(expected)
    for path, activation in expected.items():
        torch.testing.assert_close(found[path], activation, rtol=1e-4, atol=1e-5)


def test_a_batch_is_the_same_as_its_clips_one_by_one(i3d):
    faster = optimize(i3d)
    clips = torch.cat([channels_first(seeded_clip(9, 2, seed, size=193)) for seed in (1, 2)])
    with torch.no_grad():
        whole, single = faster(clips), torch.cat([faster(clip[None]) for clip in clips])
    torch.testing.assert_close(whole, single, rtol=1e-5, atol=1e-5)


def test_nothing_of_batch_norm_is_left_in_i3d(i3d):
    faster = optimize(i3d)
    assert not [m for m in faster.modules() if isinstance(m, nn.BatchNorm3d | nn.Conv3d)]
    assert sum(isinstance(m, FoldedConv) for m in faster.modules()) == 58
    assert not any(parameter.requires_grad for parameter in faster.parameters())


def test_the_model_given_is_left_as_it_is(i3d, clip):
    before = {name: value.clone() for name, value in i3d.state_dict().items()}
    with torch.no_grad():
        first = i3d(clip)
        faster = optimize(i3d)
        faster(clip)
        assert torch.equal(i3d(clip), first)
    assert list(i3d.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in i3d.state_dict().items())
    assert not faster.training


def test_a_clip_that_does_not_fit_is_refused_as_before(i3d, clip):
    faster = optimize(i3d)
    with pytest.raises(ModelError, match="the clip is too small"):
        faster(clip[:, :, 1:])
    with pytest.raises(ModelError, match="number of channels"):
        faster(torch.zeros(1, 3, 9, 193, 193))


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ModelError, match="training mode") as error:
        optimize(nn.Sequential(nn.Conv2d(3, 5, 3)).train())
    assert error.value.hint == "model.eval()"


def test_load_gives_the_faster_form(sampled_rgb):
    model = tfpt.load("i3d_rgb", sampled_rgb)
    faster = tfpt.load("i3d_rgb", sampled_rgb, optimize=True)
    clip = channels_first(seeded_clip(9, 3, 5, size=193))
    with torch.no_grad():
        expected, found = model(clip), faster(clip)
    assert isinstance(faster.mixed_5c.branch_0, FoldedConv)
    assert (expected - found).abs().max() <= 3e-6 * expected.abs().max()


class Net(nn.Module):
    """An ordinary model: a stem in a container, a norm elsewhere that has no convolution before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.BatchNorm2d(5)
        )
        self.alone = nn.BatchNorm2d(5)
        self.act = nn.Sequential(nn.Conv2d(5, 5, 3), nn.BatchNorm2d(5), nn.GELU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.alone(self.stem(x)))


def trained_net() -> Net:
    torch.manual_seed(8)
    net = Net()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, 17, 19) * 2 + 1)
    return net.eval()


def test_pairs_in_containers_of_any_model_are_folded():
    net = trained_net()
    faster = optimize(net)
    x = torch.randn(2, 3, 17, 19)
    with torch.no_grad():
        torch.testing.assert_close(faster(x), net(x), rtol=1e-4, atol=1e-5)
    assert [type(layer).__name__ for layer in faster.stem] == [
        "FoldedConv", "Identity", "Identity", "FoldedConv", "Identity"
    ]  # fmt: skip
    assert [layer.relu for layer in faster.modules() if isinstance(layer, FoldedConv)] == [True, False, False]
    assert isinstance(faster.alone, nn.BatchNorm2d)
    assert isinstance(faster.act[2], nn.GELU)


def test_layers_with_hooks_are_left_alone():
    net = trained_net()
    seen = []
    net.stem[1].register_forward_hook(lambda *_: seen.append("norm"))
    faster = optimize(net)
    with torch.no_grad():
        faster(torch.randn(1, 3, 17, 19))
    assert seen == ["norm"]
    assert isinstance(faster.stem[1], nn.BatchNorm2d)
    assert isinstance(faster.stem[3], FoldedConv)


class Centerd(nn.Conv2d):
    """A convolution of its own kind, as those with weight standardization are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class Activated(nn.BatchNorm2d):
    """A norm that ends with an activation, as timm's do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(super().forward(x))


@pytest.mark.parametrize(
    "layers",
    [
        lambda: (Centerd(3, 5, 3), nn.BatchNorm2d(5)),
        lambda: (nn.Conv2d(3, 5, 3), Activated(5)),
        lambda: (nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 5, 3)), nn.BatchNorm2d(5)),
        lambda: (tfpt.nn.Conv2d(3, 5, 3, 2), nn.BatchNorm2d(5)),
    ],
    ids=["convolution", "norm", "parametrized", "tfpt.nn"],
)
def test_a_derived_layer_is_folded_only_if_it_computes_as_torch_s(layers):
    torch.manual_seed(3)
    model, x = nn.Sequential(*layers()), torch.randn(2, 3, 8, 9)
    with torch.no_grad():
        model(3 * x + 1)
        faster = optimize(model.eval())
        torch.testing.assert_close(faster(x), model(x), rtol=1e-4, atol=1e-5)
    assert isinstance(faster[0], FoldedConv) == (
        type(model[0]) is not Centerd and type(model[1]) is not Activated
    )


def test_a_part_in_training_mode_is_refused_too():
    net = trained_net()
    net.stem[1].train()
    with pytest.raises(ModelError, match="training mode") as error:
        optimize(net)
    assert error.value.where == "stem.1"


@pytest.mark.parametrize(
    "lazy", [nn.LazyConv2d(5, 3), nn.Sequential(nn.Conv2d(3, 5, 3), nn.LazyBatchNorm2d())]
)
def test_parameters_that_are_not_there_yet_are_refused(lazy):
    with pytest.raises(ModelError, match="uninitialized parameters"):
        optimize(nn.Sequential(lazy, nn.BatchNorm2d(5)).eval())


def test_a_module_used_twice_stays_one(clip):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Unit3D(2, 2, 3, padding="same")
            self.second = self.first

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x))

    model = Twice().eval()
    faster = optimize(model)
    assert isinstance(faster.first, FoldedConv)
    assert faster.second is faster.first
    x = clip[:, :, :3, :7, :9]
    with torch.no_grad():
        torch.testing.assert_close(faster(x), model(x), rtol=1e-4, atol=1e-5)


def test_a_hook_that_is_there_before_is_called_after(i3d, clip):
    model = copy.deepcopy(i3d)
    seen = []
    for path in ("mixed_3b", "mixed_4b.branch_1.0.conv3d"):
        model.get_submodule(path).register_forward_hook(lambda *_, path=path: seen.append(path))
    with torch.no_grad():
        optimize(model)(clip)
    assert seen == ["mixed_3b", "mixed_4b.branch_1.0.conv3d"]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("make", [nn.ConvTranspose2d, tfpt.nn.ConvTranspose2d], ids=["torch", "tfpt"])
def test_a_transposed_convolution_and_its_norm_are_folded(make, bias, groups):
    norm = tfpt.nn.BatchNorm2d(6, scale=bias) if groups == 1 else nn.BatchNorm2d(6)
    model = nn.Sequential(make(4, 6, 3, 2, groups=groups, bias=bias), norm, nn.ReLU()).eval()
    for value in (norm.running_mean, norm.bias):
        value.data.normal_()
    norm.running_var.uniform_(0.5, 2)
    before = copy.deepcopy(model.state_dict())
    faster, x = optimize(model), torch.randn(2, 4, 5, 7)
    assert [type(each) for each in faster] == [make, nn.Identity, nn.ReLU]
    with torch.no_grad():
        torch.testing.assert_close(faster(x), model(x), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_derived_transposed_convolution_is_not_folded():
    class Doubled(nn.ConvTranspose2d):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(Doubled(4, 6, 3, 2), nn.BatchNorm2d(6)).eval()
    assert isinstance(optimize(model)[1], nn.BatchNorm2d)
