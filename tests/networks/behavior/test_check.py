"""Whether a model's layers do what TensorFlow did, with TensorFlow and brute force as the judges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tfpt.nn
from tests.conftest import Tiny
from tfpt.errors import ModelError
from tfpt.language.loader import load_mapping
from tfpt.networks.behavior import adapt_model, check_behavior


def mapping(tiny: Tiny, *rows: str, size: int | None = 224):
    """The tiny mapping with these rows under `modules:`, in order after line 12."""
    text = tiny.mapping.read_text() + "modules:\n" + "".join(f"  - {row}\n" for row in rows)
    tiny.mapping.write_text(text + (f"input: {{size: {size}}}\n" if size else ""))
    return load_mapping(tiny.mapping)


def findings(tiny: Tiny, module: nn.Module, *rules: str, size: int | None = 224):
    rows = [f"{{pt: layer, {rule}}}" for rule in rules]
    return check_behavior(nn.ModuleDict({"layer": module}), mapping(tiny, *rows, size=size))


def test_an_even_padding_where_tensorflow_pads_unevenly_is_a_contradiction(tiny):
    [found] = findings(tiny, nn.Conv2d(3, 5, 7, stride=2, padding=3), "padding: same")
    assert (found.kind, found.name, found.stops) == ("behavior", "layer", True)
    assert found.expected == "padding: same, which pads (2, 3) at size 224"
    assert found.got == "the module pads (3, 3)"
    assert found.where.endswith("tiny.yaml:13")
    assert "adapt=True" in found.hint


def test_an_even_size_at_which_they_agree_does_not_excuse_the_others(tiny):
    # At 225 TensorFlow pads (3, 3), too.
    [found] = findings(tiny, nn.Conv2d(3, 5, 7, stride=2, padding=3), "padding: same", size=225)
    assert "(3, 3)" not in found.expected


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv1d(3, 5, 3, padding=1),
        nn.Conv2d(3, 5, 1, stride=1),
        nn.Conv3d(3, 5, (3, 5, 7), padding=(1, 2, 3)),
        nn.Conv2d(3, 5, 3, padding="same"),
        nn.Conv2d(3, 5, 3, dilation=2, padding=2),
        nn.MaxPool2d(3, 1, padding=1),
        nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        tfpt.nn.Conv2d(3, 5, 7, 2, "same"),
        tfpt.nn.MaxPool3d(3, 2, "same"),
    ],
    ids=repr,
)
def test_a_layer_that_pads_as_tensorflow_does_at_every_size_is_fine(tiny, module):
    assert findings(tiny, module, "padding: same") == []


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (nn.Conv2d(3, 5, 3), "the module pads (0, 0)"),
        (nn.Conv2d(3, 5, 2, padding=1), "the module pads (1, 1)"),
        (nn.Conv2d(3, 5, 3, dilation=2, padding=1), "the module pads (1, 1)"),
        (nn.Conv1d(3, 5, 3, padding="valid"), "padding: valid"),
        (nn.MaxPool2d(2, 2), "the module pads (0, 0)"),
        (nn.MaxPool2d(3, 2, padding=1), "the module pads (1, 1)"),
        (nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), "the module pads (1, 1) with ceil_mode"),
        (nn.AvgPool2d(3, 1, padding=1), "count_include_pad=True"),
        (tfpt.nn.Conv2d(3, 5, 3, 2, "symmetric"), "padding: symmetric"),
    ],
    ids=repr,
)
def test_a_layer_that_pads_otherwise_at_some_size_is_a_contradiction(tiny, module, got):
    [found] = findings(tiny, module, "padding: same")
    assert found.got == got


@pytest.mark.parametrize("kind", ["max", "conv"])
@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
def test_it_agrees_with_brute_force_over_kernels_strides_and_pads(tiny, kind, padding):
    """A layer is fine if, at every size of many, it puts the same windows on the input as the rule does."""
    rows = mapping(tiny, f"{{pt: layer, padding: {padding}}}", size=None)
    disagreed = 0
    for kernel in (1, 2, 3, 4, 7):
        for stride in (1, 2, 3):
            for pad in range(kernel // 2 + 1):
                for ceil in (False, True) if kind == "max" else (False,):
                    if kind == "max":
                        layer: nn.Module = nn.MaxPool1d(kernel, stride, pad, ceil_mode=ceil)
                        ours: nn.Module = tfpt.nn.MaxPool1d(kernel, stride, padding)
                    else:
                        layer = nn.Conv1d(1, 1, kernel, stride, pad, bias=False)
                        ours = tfpt.nn.Conv1d(1, 1, kernel, stride, padding, bias=False)
                        ours.load_state_dict(layer.state_dict())
                    same = all(_same(layer, ours, size) for size in range(kernel, kernel + 3 * stride + 4))
                    found = check_behavior(nn.ModuleDict({"layer": layer}), rows)
                    assert (found == []) == same, (layer, found)
                    disagreed += not same
    assert disagreed


def _same(layer: nn.Module, ours: nn.Module, size: int) -> bool:
    """Equal outputs on random values, which no shifted window gives."""
    values = torch.from_numpy(np.random.default_rng(size).permutation(size).astype(np.float32))[None, None]
    with torch.no_grad():
        left, right = layer(values), ours(values)
    return left.shape == right.shape and bool(torch.allclose(left, right))


@pytest.mark.parametrize("name", ["BatchNorm2d", "LayerNorm", "GroupNorm"])
def test_another_epsilon_is_a_contradiction(tiny, name):
    layers = {
        "BatchNorm2d": nn.BatchNorm2d(5, eps=1e-5),
        "LayerNorm": nn.LayerNorm(5, eps=1e-5),
        "GroupNorm": nn.GroupNorm(1, 5, eps=1e-5),
    }
    [found] = findings(tiny, layers[name], "eps: 1.0e-3")
    assert (found.expected, found.got) == ("eps: 0.001", "1e-05")
    assert name in found.what


def test_the_same_epsilon_is_fine(tiny):
    assert findings(tiny, nn.BatchNorm2d(5, eps=1e-3), "eps: 1.0e-3") == []


def test_of_a_container_every_layer_inside_is_looked_at(tiny):
    unit = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.Dropout())
    found = findings(tiny, unit, "padding: same, eps: 1.0e-3")
    assert {finding.name: finding.kind for finding in found} == {
        "layer.0": "behavior",
        "layer.1": "behavior",
    }


def test_of_alternatives_every_module_is_looked_at(tiny):
    model = nn.ModuleDict({name: nn.LayerNorm(5, eps=1e-5) for name in ("norm", "norm_1", "layer_norm")})
    rows = mapping(tiny, '{pt: "{_:layer_norm|norm}{i:counter}", eps: 1.0e-3}')
    assert sorted(finding.name for finding in check_behavior(model, rows)) == ["layer_norm", "norm", "norm_1"]


def test_the_epsilon_of_a_layer_applies_to_modules_with_alternative_names(tmp_path):
    text = """\
version: 1
layers: {norm: {eps: 1.0e-3, weights: [{tf: scale, pt: "{_:ln|core.ln}.weight"}]}}
scopes: [{tf: "block{i//[1,2]}{i%[1,2]:a=0|b=1}", pt: "{i}.{_:pre|post}", layer: norm}]
"""
    (tmp_path / "m.yaml").write_text(text)
    model = nn.Sequential(
        nn.ModuleDict({"pre": nn.ModuleDict({"ln": nn.LayerNorm(5)})}),
        nn.ModuleDict({"post": nn.ModuleDict({"core": nn.ModuleDict({"ln": nn.LayerNorm(5)})})}),
        nn.ModuleDict({"post": nn.ModuleDict({"ln": nn.LayerNorm(5, eps=1e-3)})}),
        nn.ModuleDict({"pre": nn.ModuleDict({"ln": nn.LayerNorm(5)})}),  # beyond the last stage
    )
    found = check_behavior(model, load_mapping(tmp_path / "m.yaml"))
    assert {finding.name for finding in found} == {"0.pre.ln", "1.post.core.ln"}


def test_a_row_that_reaches_no_module_is_a_note(tiny):
    found = check_behavior(nn.Sequential(nn.Conv2d(3, 5, 3)), mapping(tiny, "{pt: nowhere, padding: same}"))
    assert [(finding.kind, finding.stops) for finding in found] == [("dead-row", False)]
    assert "nowhere" in found[0].what
    assert found[0].where.endswith("tiny.yaml:13")


class TestAdapted:
    @pytest.mark.parametrize("size", [224, 225, 15])
    def test_a_convolution_computes_what_tensorflow_computes(self, tiny, size):
        tf = pytest.importorskip("tensorflow")
        model = nn.ModuleDict({"layer": nn.Conv2d(3, 5, 7, stride=2, padding=3)})
        rows = mapping(tiny, "{pt: layer, padding: same}")
        weight = model["layer"].weight
        assert adapt_model(model, rows) == ["layer"]
        assert model["layer"].weight is weight
        assert check_behavior(model, rows) == []
        image = np.random.default_rng(size).normal(size=(1, size, size, 3)).astype(np.float32)
        kernel = weight.detach().numpy().transpose(2, 3, 1, 0)
        bias = model["layer"].bias.detach().numpy()
        expected = (tf.nn.conv2d(image, kernel, 2, "SAME") + bias).numpy()
        with torch.no_grad():
            output = model["layer"](torch.from_numpy(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)

    def test_an_average_pool_no_longer_counts_its_pads(self, tiny):
        tf = pytest.importorskip("tensorflow")
        model = nn.ModuleDict({"layer": nn.AvgPool2d(3, 2, padding=1)})
        adapt_model(model, mapping(tiny, "{pt: layer, padding: same}"))
        image = np.random.default_rng(3).normal(size=(1, 8, 9, 2)).astype(np.float32)
        expected = tf.nn.avg_pool2d(image, 3, 2, "SAME").numpy()
        output = model["layer"](torch.from_numpy(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)

    def test_epsilon_is_set_and_layers_that_agree_are_left_as_they_are(self, tiny):
        fine = nn.Conv2d(3, 5, 3, padding=1)
        model = nn.ModuleDict({"layer": nn.Sequential(fine, nn.BatchNorm2d(5), nn.Conv2d(5, 7, 3))})
        rows = mapping(tiny, "{pt: layer, padding: same, eps: 1.0e-3}")
        assert adapt_model(model, rows) == ["layer.1", "layer.2"]
        assert model["layer"][0] is fine
        assert model["layer"][1].eps == 1e-3
        assert check_behavior(model, rows) == []

    def test_a_layer_that_cannot_be_adapted_is_refused(self, tiny):
        class Odd(nn.Conv2d):
            """A convolution with ways of its own."""

        with pytest.raises(ModelError, match="a Odd cannot be given TensorFlow's same padding"):
            adapt_model(nn.ModuleDict({"layer": Odd(3, 5, 3)}), mapping(tiny, "{pt: layer, padding: same}"))


def test_an_epsilon_of_a_scope_concerns_only_the_norms_inside(tiny):
    """Of the layers in a scope, some normalize and some do not; only a contradiction is worth a word."""
    rows = "weights: [{tf: w, pt: weight}]"
    tiny.mapping.write_text(
        "version: 1\n"
        f"layers: {{a: {{{rows}}}, b: {{scopes: [{{tf: x, pt: linear, layer: a}}, {{tf: y, pt: norm, layer: a}},"
        " {tf: z, pt: own, layer: a}]}}\n"
        "scopes: [{tf: s, pt: net, layer: b, eps: 1.0e-3}]\n"
    )

    def found(norm: nn.Module, own: nn.Module) -> list[tuple[str, str]]:
        net = nn.ModuleDict({"linear": nn.Linear(3, 3), "norm": norm, "own": own})
        model = nn.ModuleDict({"net": net})
        model.forward = lambda x: net["own"](net["norm"](net["linear"](x)))
        return [(one.kind, one.name) for one in check_behavior(model, load_mapping(tiny.mapping))]

    assert found(nn.LayerNorm(3, eps=1e-3), nn.Identity()) == []
    assert found(nn.LayerNorm(3, eps=1e-5), nn.Identity()) == [("behavior", "net.norm")]


def test_what_a_scope_states_of_layers_inside_is_found_once(tmp_path):
    (tmp_path / "m.yaml").write_text(
        "version: 1\nscopes:\n  - {tf: norm, pt: norm, use: keras/batch_norm, eps: 1.0e-3}\n"
    )
    model = nn.ModuleDict({"norm": nn.BatchNorm2d(5)})
    [finding] = check_behavior(model, load_mapping(tmp_path / "m.yaml"))
    assert finding.name == "norm"
    assert finding.where.endswith("m.yaml:3")
