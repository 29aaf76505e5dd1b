"""Layers whose pads stand in the code around them: what a run shows, with TensorFlow as the judge of what is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import tfpt
from tests.conftest import Tiny
from tfpt.errors import ModelError
from tfpt.language.loader import load_mapping
from tfpt.networks.behavior import adapt_model, check_behavior


def mapping(tiny: Tiny, *rows: str, size: int | None = None, layout: str = "", kind: str = ""):
    text = (
        tiny.mapping.read_text().partition("modules:")[0]
        + "modules:\n"
        + "".join(f"  - {row}\n" for row in rows)
    )
    keys = [f"size: {size}"] * (size is not None) + [f'layout: "{layout}"'] * bool(layout)
    keys += [f"kind: {kind}"] * bool(kind)
    tiny.mapping.write_text(text + (f"input: {{{', '.join(keys)}}}\n" if keys else ""))
    return load_mapping(tiny.mapping)


def kinds(findings):
    return {finding.name: finding.kind for finding in findings}


def same_pads(x, layer):
    """SAME as TensorFlow's documentation has it, in plain arithmetic."""
    pads = []
    for size, kernel, stride in zip(x.shape[:1:-1], layer.kernel_size[::-1], layer.stride[::-1], strict=True):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return pads


class PadsItself(nn.Conv2d):
    """A convolution that pads in its forward, as ports for TensorFlow's weights have it."""

    def forward(self, x):
        return functional.conv2d(
            functional.pad(x, same_pads(x, self)),
            self.weight,
            self.bias,
            self.stride,
            0,
            self.dilation,
            self.groups,
        )


class Standardized(PadsItself):
    """One whose weight is computed, too."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(functional.pad(x, same_pads(x, self)), weight, self.bias, self.stride)


class PoolsItself(nn.MaxPool2d):
    def __init__(self, value):
        super().__init__((3, 3), (2, 2))
        self.value = value

    def forward(self, x):
        return functional.max_pool2d(functional.pad(x, same_pads(x, self), value=self.value), 3, 2)


class Wrapper(nn.Module):
    """A module that pads what it gives to a convolution."""

    def __init__(self, conv=None, pad=functional.pad):
        super().__init__()
        self.conv = conv or nn.Conv2d(3, 5, 3, 2)
        self.norm = nn.BatchNorm2d(5, eps=1e-3)
        self.pad = pad

    def forward(self, x):
        return self.norm(self.conv(self.pad(x, same_pads(x, self.conv))))


def by_concatenation(x, pads):
    left, right, top, bottom = pads
    x = torch.cat([x.new_zeros(*x.shape[:3], left), x, x.new_zeros(*x.shape[:3], right)], 3)
    return torch.cat(
        [x.new_zeros(*x.shape[:2], top, x.shape[3]), x, x.new_zeros(*x.shape[:2], bottom, x.shape[3])], 2
    )


def by_assignment(x, pads):
    left, right, top, bottom = pads
    padded = x.new_zeros(*x.shape[:2], x.shape[2] + top + bottom, x.shape[3] + left + right)
    padded[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
    return padded


def one_more(x, pads):
    return functional.pad(x, [each + 1 for each in pads])


class Late(nn.Module):
    """A block whose pads come in the middle, behind a layer of its own."""

    def __init__(self, pad=functional.pad):
        super().__init__()
        self.first = nn.Conv2d(3, 7, 3, padding=1)
        self.second = nn.Conv2d(7, 5, 3, 2)
        self.pad = pad

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.second(self.pad(x, same_pads(x, self.second)))


@pytest.mark.parametrize("size", [None, 64, 65])
@pytest.mark.parametrize(
    ("module", "path"),
    [
        (PadsItself(3, 5, 3, 2), "layer"),
        (Standardized(3, 5, 5, 2), "layer"),
        (PoolsItself(-np.inf), "layer"),
        (PoolsItself(torch.finfo(torch.float32).min), "layer"),
        (Wrapper(), "layer.conv"),
        (Wrapper(), "layer"),
        (Late(), "layer"),
        (nn.Sequential(Late()), "layer.0.second"),
        (nn.Sequential(nn.ReLU(inplace=True), PoolsItself(0.0)), "layer"),
    ],
    ids=repr,
)
def test_pads_in_forward_or_in_a_module_around_are_the_layers(tiny, module, path, size):
    rows = mapping(tiny, f"{{pt: {path}, padding: same}}", size=size)
    assert check_behavior(nn.ModuleDict({"layer": module}), rows) == []


def test_the_judge_of_these_is_tensorflow():
    tf = pytest.importorskip("tensorflow")
    for size in (8, 9):
        image = np.random.default_rng(size).normal(size=(1, size, size, 3)).astype(np.float32)
        ours = torch.from_numpy(image).permute(0, 3, 1, 2)
        conv = PadsItself(3, 5, 3, 2, bias=False)
        expected = tf.nn.conv2d(image, conv.weight.detach().numpy().transpose(2, 3, 1, 0), 2, "SAME").numpy()
        np.testing.assert_allclose(conv(ours).permute(0, 2, 3, 1).detach(), expected, atol=1e-5)
        expected = tf.nn.max_pool2d(image, 3, 2, "SAME").numpy()
        np.testing.assert_array_equal(PoolsItself(-np.inf)(ours).permute(0, 2, 3, 1), expected)
        # Zeros beside values below 0 are not what TensorFlow takes the maximum of.
        assert not np.array_equal(PoolsItself(0.0)(ours - 9).permute(0, 2, 3, 1), expected - 9)


@pytest.mark.parametrize("pad", [one_more, lambda x, pads: functional.pad(x, pads, mode="reflect")])
def test_pads_around_that_are_others_are_a_contradiction(tiny, pad):
    rows = mapping(tiny, "{pt: layer, padding: same}")
    found = check_behavior(nn.ModuleDict({"layer": Late(pad)}), rows)
    assert kinds(found) == {"layer.second": "behavior"}
    with pytest.raises(ModelError, match="the code around it pads its input"):
        adapt_model(nn.ModuleDict({"layer": Late(pad)}), rows)


def test_pads_in_front_of_a_layer_may_be_a_layer_of_tensorflow_too(tiny):
    # Keras's ResNet: ZeroPadding2D(3), then a convolution with VALID padding.
    model = nn.Sequential(nn.ZeroPad2d(3), nn.Conv2d(3, 5, 7, 2))
    assert check_behavior(model, mapping(tiny, "{pt: '1', padding: valid}", size=64)) == []
    assert check_behavior(model, mapping(tiny, "{pt: '1', padding: symmetric}")) == []
    [found] = check_behavior(model, mapping(tiny, "{pt: '1', padding: same}"))
    assert (found.kind, found.got) == ("behavior", "the module pads (3, 3)")


@pytest.mark.parametrize("pad", [by_concatenation, by_assignment])
def test_what_cannot_be_followed_is_unchecked(tiny, pad):
    x = torch.arange(2 * 3 * 5 * 7.0).reshape(2, 3, 5, 7)
    assert torch.equal(pad(x, [1, 2, 3, 4]), functional.pad(x, [1, 2, 3, 4]))
    model = nn.ModuleDict({"layer": Wrapper(pad=pad)})
    rows = mapping(tiny, "{pt: layer, padding: same, eps: 1.0e-3}")
    [found] = check_behavior(model, rows)
    assert (found.kind, found.name, found.stops) == ("unchecked", "layer.conv", False)
    assert adapt_model(model, rows) == []


def test_a_module_that_cannot_be_run_is_unchecked(tiny):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3, 2, 1)

        def forward(self, x, size):
            return self.conv(functional.interpolate(x, size.tolist()))

    [found] = check_behavior(nn.ModuleDict({"layer": Two()}), mapping(tiny, "{pt: layer, padding: same}"))
    assert found.kind == "unchecked"
    assert "cannot be run" in found.what


class Net(nn.Module):
    """Two strided convolutions with one pad behind: what SAME does at even sizes alone."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, 2)
        self.second = nn.Conv2d(5, 7, 3, 2)

    def forward(self, x):
        x = self.first(functional.pad(x, (0, 1, 0, 1)))
        return self.second(functional.pad(x, (0, 1, 0, 1)))


@pytest.mark.parametrize("layout", ["", "b h w c -> b c h w"])
def test_a_size_that_the_model_never_sees_is_no_contradiction(tiny, layout):
    def found(size):
        rows = "{pt: first, padding: same}", "{pt: second, padding: same}"
        return check_behavior(Net(), mapping(tiny, *rows, size=size, layout=layout))

    assert found(64) == []
    # 66 is 33 behind the first; of 65 the first, padded too little, makes 32.
    assert kinds(found(66)) == {"second": "behavior"}
    assert kinds(found(65)) == {"first": "behavior"}
    [_, second] = found(None)
    assert second.got == "the module pads (0, 1)"


def test_an_even_padding_is_right_where_only_odd_sizes_are_seen(tiny):
    # 65, 33, 17: at these a kernel of 3 at a stride of 2 is padded evenly.
    model = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.Conv2d(5, 5, 3, 2, 1), nn.MaxPool2d(3, 2, 1))
    assert check_behavior(model, mapping(tiny, "{pt: '{i}', padding: same}", size=65)) == []
    text = tiny.mapping.read_text().replace("size: 65", "size: 64")
    tiny.mapping.write_text(text)
    assert len(check_behavior(model, load_mapping(tiny.mapping))) == 3


def test_of_a_video_the_length_is_open(tiny):
    model = nn.Sequential(nn.Conv3d(3, 5, 3, (2, 1, 1), 1))
    layout = "b t h w c -> b c t h w"
    [found] = check_behavior(
        model, mapping(tiny, "{pt: '0', padding: same}", size=64, layout=layout, kind="rgb")
    )
    assert (found.kind, found.expected) == ("behavior", "padding: same, which pads (0, 1) at size 16")


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(3, 5, 1, padding="valid"), []),
        (tfpt.nn.Conv2d(3, 5, 1, padding="valid"), []),
        (nn.Conv2d(3, 5, 3, padding="same"), []),
        (nn.Conv2d(3, 5, 4, padding="same"), []),
        (nn.Conv2d(3, 5, 3, dilation=3, padding="same"), []),
        (nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect"), ["padding_mode='reflect'"]),
        (nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular"), ["padding_mode='circular'"]),
        (nn.Conv1d(3, 5, 3, padding="same", padding_mode="replicate"), ["padding_mode='replicate'"]),
        (nn.Conv2d(3, 5, 1, padding_mode="reflect"), []),
        (nn.Conv2d(3, 5, (3, 1), stride=(2, 1), padding=(1, 0)), ["the module pads (1, 1)"]),
        (nn.Conv2d(3, 5, (1, 3), stride=(2, 1), padding=(0, 1)), []),
        (nn.MaxPool2d((3, 2), stride=[1, 2], padding=(1, 0), ceil_mode=True), []),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=True), ["count_include_pad=True"]),
        (nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=True), []),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False, divisor_override=2), ["divisor_override=2"]),
        (nn.AvgPool1d(3, 1, 1, count_include_pad=False), []),
        (nn.AvgPool1d(3, 2, 1), ["the module pads (1, 1)"]),
    ],
    ids=repr,
)  # fmt: skip
def test_a_layers_numbers_count_and_not_their_names(tiny, module, expected):
    found = check_behavior(nn.ModuleDict({"layer": module}), mapping(tiny, "{pt: layer, padding: same}"))
    assert [each.got for each in found] == expected
    assert all(each.kind == "behavior" for each in found)


class Strange(nn.MaxPool2d):
    """A pool under another name, whose class says nothing of its axes."""


@pytest.mark.parametrize("stride", [(2, 1), [2, 1]])
def test_a_derived_layer_with_a_stride_for_each_axis_is_run(tiny, stride):
    rows = mapping(tiny, "{pt: layer, padding: same}")
    [found] = check_behavior(nn.ModuleDict({"layer": Strange(3, stride, 1)}), rows)
    assert (found.kind, found.got) == ("behavior", "the module pads (1, 1)")
    assert check_behavior(nn.ModuleDict({"layer": Strange((1, 3), (1, 1), (0, 1))}), rows) == []


@pytest.mark.parametrize("module", [nn.LPPool2d(2, 3), nn.Unfold(3), nn.Linear(3, 5)])
def test_what_is_not_looked_at_is_said_to_be_so(tiny, module):
    rows = mapping(tiny, "{pt: layer, padding: same}")
    [found] = check_behavior(nn.ModuleDict({"layer": module}), rows)
    assert (found.kind, found.name, found.stops) == ("unchecked", "layer", False)
    assert adapt_model(nn.ModuleDict({"layer": module}), rows) == []


class NormAct(nn.BatchNorm2d):
    """A norm with its activation inside it."""

    def __init__(self, features, eps):
        super().__init__(features, eps=eps)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


class GroupNormAct(nn.GroupNorm):
    def __init__(self, eps):
        super().__init__(1, 3, eps=eps)
        self.activation = nn.ReLU()


class Frozen(nn.Module):
    """A norm of buffers, of no class of torch."""

    def __init__(self, eps, name="eps"):
        super().__init__()
        self.register_buffer("weight", torch.ones(3))
        self.act = nn.ReLU()
        setattr(self, name, eps)


class Buffered(nn.Module):
    """A norm whose epsilon is a buffer."""

    def __init__(self, eps):
        super().__init__()
        self.register_buffer("eps", torch.tensor(eps))


class Functional(nn.Module):
    """A norm without an attribute that says its epsilon."""

    def __init__(self, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self._settings = {"eps": eps}

    def forward(self, x):
        return functional.layer_norm(x, x.shape[1:], **self._settings)


NORMS = {
    "batch": lambda eps: NormAct(3, eps),
    "group": GroupNormAct,
    "frozen": Frozen,
    "epsilon": lambda eps: Frozen(eps, "epsilon"),
    "variance_epsilon": lambda eps: Frozen(eps, "variance_epsilon"),
    "float32": lambda eps: Frozen(np.float32(eps)),
    "a buffer": Buffered,
    "a tensor": lambda eps: Frozen(torch.tensor(eps)),
    "layer": lambda eps: nn.LayerNorm(3, eps=eps),
    "instance": lambda eps: nn.InstanceNorm1d(3, eps=eps),
    "rms": lambda eps: nn.RMSNorm(3, eps=eps),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_is_one_whatever_is_inside_it(tiny, name):
    model = nn.ModuleDict({"bn1": NORMS[name](1e-5)})
    rows = mapping(tiny, "{pt: bn1, eps: 1.0e-3}")
    [found] = check_behavior(model, rows)
    assert (found.kind, found.name, found.got) == ("behavior", "bn1", "1e-05")
    assert adapt_model(model, rows) == ["bn1"]
    assert check_behavior(model, rows) == []
    assert check_behavior(nn.ModuleDict({"bn1": NORMS[name](1e-3)}), rows) == []


def test_an_epsilon_that_torch_chooses_is_another(tiny):
    [found] = check_behavior(nn.ModuleDict({"n": nn.RMSNorm(5)}), mapping(tiny, "{pt: n, eps: 1.0e-6}"))
    assert found.kind == "behavior"


def test_a_block_that_passes_an_epsilon_on_is_no_norm(tiny):
    block = nn.Sequential(nn.BatchNorm2d(3, eps=1e-3))
    block.eps = 1e-5
    assert check_behavior(nn.ModuleDict({"b": block}), mapping(tiny, "{pt: b, eps: 1.0e-3}")) == []


def test_a_functional_norm_is_seen_as_the_model_runs(tiny):
    rows = mapping(tiny, "{pt: '1', eps: 1.0e-3}", size=16)
    [found] = check_behavior(nn.Sequential(nn.Conv2d(3, 3, 1), Functional(1e-5)), rows)
    assert (found.kind, found.name, found.got) == ("behavior", "1", "1e-05")
    assert check_behavior(nn.Sequential(nn.Conv2d(3, 3, 1), Functional(1e-3)), rows) == []


def test_the_model_is_left_as_it_was(tiny):
    model = nn.Sequential(nn.BatchNorm2d(3), Late(one_more)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert check_behavior(model, mapping(tiny, "{pt: '1', padding: same}", size=32))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("size", [None, 32, 33])
@pytest.mark.parametrize("name", ["MobileNetV1", "MobileNetV2"])
def test_transformers_models_that_pad_as_tensorflow_does_agree(tiny, name, size):
    transformers = pytest.importorskip("transformers")
    rows = mapping(tiny, "{pt: '{path...}', padding: same}", size=size)
    make, config = getattr(transformers, f"{name}Model"), getattr(transformers, f"{name}Config")
    with torch.device("meta"):
        model = make(config(image_size=32, depth_multiplier=0.35, tf_padding=True))
        other = make(config(image_size=32, depth_multiplier=0.35, tf_padding=False))
    assert check_behavior(model, rows) == []
    assert {finding.kind for finding in check_behavior(other, rows)} <= {"behavior"}
    assert bool(check_behavior(other, rows)) == (size != 33)


def test_efficientnet_of_transformers_pads_as_keras_does_at_its_size(tiny):
    transformers = pytest.importorskip("transformers")
    rows = mapping(tiny, "{pt: '{path...}', padding: same}", size=64)
    with torch.device("meta"):
        model = transformers.EfficientNetModel(
            transformers.EfficientNetConfig(image_size=64, depth_coefficient=0.3)
        )
    # Its pooler alone, a mean over all that there is, which no rule of padding describes.
    assert {finding.name for finding in check_behavior(model, rows)} == {"pooler"}
