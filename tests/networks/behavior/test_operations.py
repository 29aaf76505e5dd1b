"""Resizing, local response normalization and pixel shuffling that a mapping states."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import tfpt.nn
from tests.networks.behavior.test_check import findings, mapping
from tfpt.errors import MappingError, ModelError
from tfpt.language.loader import load_mapping
from tfpt.networks.behavior import adapt_model, check_behavior

RULES = ("half_pixel_centers", "align_corners", "legacy")


def of_tensorflow(mode, rule, **size):
    """`tfpt.nn.Resize`, which is tested against TensorFlow."""
    return tfpt.nn.Resize(
        mode=mode,
        align_corners=rule == "align_corners",
        half_pixel_centers=rule == "half_pixel_centers",
        **size,
    )


@pytest.mark.parametrize("rule", RULES)
def test_resizes_are_fine_if_they_compute_the_same(tiny, rule):
    rows = mapping(tiny, f"{{pt: layer, resize: {rule}}}")
    inputs = [torch.rand(1, 2, height, height + 2) for height in (7, 12, 31)]
    seen = {True: 0, False: 0}
    for mode, aligned, to in itertools.product(
        ("nearest", "nearest-exact", "bilinear", "bicubic"),
        (None, True, False),
        ({"size": (13, 5)}, {"scale_factor": 2}, {"scale_factor": (3.0, 1.0)}),
    ):
        if aligned is not None and mode.startswith("nearest"):
            continue
        layer = nn.Upsample(mode=mode, align_corners=aligned, **to)
        size = {"size": (13, 5)} if "size" in to else {"scale": 2 if to["scale_factor"] == 2 else (3, 1)}
        wanted = of_tensorflow(mode.removesuffix("-exact"), rule, **size)
        same = all(torch.allclose(layer(x), wanted(x), atol=1e-6) for x in inputs)
        found = check_behavior(nn.ModuleDict({"layer": layer}), rows)
        if mode == "bicubic" and rule == "align_corners" and aligned:
            # Equal but for TensorFlow's table of 1024 values.
            assert found
            continue
        assert (found == []) == same, (layer, found)
        seen[same] += 1
        model = nn.ModuleDict({"layer": layer})
        assert adapt_model(model, rows) == ([] if same else ["layer"])
        for x in inputs:
            torch.testing.assert_close(model["layer"](x), wanted(x), rtol=0, atol=1e-6)
        assert check_behavior(model, rows) == []
    assert min(seen.values()) >= 3


def test_the_message_names_the_rule_of_the_module(tiny):
    [found] = findings(tiny, nn.UpsamplingBilinear2d(scale_factor=2), "resize: legacy")
    assert (found.kind, found.stops) == ("behavior", True)
    assert (found.expected, found.got) == ("resize: legacy", "resize: align_corners")


def test_a_mode_that_tensorflow_does_not_have_is_named(tiny):
    [found] = findings(tiny, nn.Upsample(size=5, mode="bicubic"), "resize: legacy")
    assert found.got == "mode='bicubic', which TensorFlow does not compute"


def test_a_factor_that_is_not_whole_cannot_be_adapted(tiny):
    layer = nn.Upsample(scale_factor=1.5, mode="bilinear")
    rows = mapping(tiny, "{pt: layer, resize: half_pixel_centers}")
    [found] = check_behavior(nn.ModuleDict({"layer": layer}), rows)
    assert found.kind == "behavior"
    with pytest.raises(ModelError, match="not a whole number"):
        adapt_model(nn.ModuleDict({"layer": layer}), rows)


ALEXNET = "response_norm: {depth_radius: 2, bias: 2, alpha: 1.0e-4, beta: 0.75}"


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0), None),
        (tfpt.nn.LocalResponseNorm(2, 2.0, 1e-4, 0.75), None),
        (nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0), "depth_radius 2, bias 2, alpha 2e-05, beta 0.75"),
        (nn.LocalResponseNorm(4, 4e-4, 0.75, 2.0), "depth_radius 1.5, bias 2, alpha 0.0001, beta 0.75"),
        (tfpt.nn.LocalResponseNorm(2, 1.0, 1e-4, 0.75), "depth_radius 2, bias 1, alpha 0.0001, beta 0.75"),
    ],
    ids=repr,
)
def test_local_response_norms_have_tensorflows_constants(tiny, module, got):
    rows = mapping(tiny, f"{{pt: layer, {ALEXNET}}}")
    model = nn.ModuleDict({"layer": module})
    found = check_behavior(model, rows)
    assert [each.got for each in found] == ([] if got is None else [got])
    assert adapt_model(model, rows) == ([] if got is None else ["layer"])
    x = torch.randn(2, 7, 3, 4)
    torch.testing.assert_close(model["layer"](x), tfpt.nn.LocalResponseNorm(2, 2.0, 1e-4, 0.75)(x))


def test_pixel_shuffles_order_channels_as_tensorflow(tiny):
    rows = mapping(tiny, "{pt: layer, depth_to_space: true}")
    model = nn.ModuleDict({"layer": nn.Sequential(nn.PixelShuffle(2), nn.PixelUnshuffle(3), nn.ReLU())})
    found = check_behavior(model, rows)
    assert [each.name for each in found] == ["layer.0", "layer.1"]
    assert adapt_model(model, rows) == ["layer.0", "layer.1"]
    assert [type(each) for each in model["layer"][:2]] == [tfpt.nn.DepthToSpace, tfpt.nn.SpaceToDepth]
    assert check_behavior(model, rows) == []


@pytest.mark.parametrize("key", ["resize: legacy", ALEXNET, "depth_to_space: true"])
def test_what_is_done_without_a_layer_is_said_to_be_unchecked(tiny, key):
    [found] = findings(tiny, nn.Conv2d(3, 5, 3), key)
    assert (found.kind, found.stops) == ("unchecked", False)
    assert found.expected.startswith(key.partition(":")[0])


def test_hooks_are_not_lost_in_silence(tiny):
    layer = nn.PixelShuffle(2)
    layer.register_forward_hook(lambda *_: None)
    with pytest.raises(ModelError, match="hooks would be lost"):
        adapt_model(nn.ModuleDict({"layer": layer}), mapping(tiny, "{pt: layer, depth_to_space: true}"))


def test_a_value_that_is_not_a_rule_is_refused(tiny):
    tiny.mapping.write_text(tiny.mapping.read_text() + "modules:\n  - {pt: layer, resize: corners}\n")
    with pytest.raises(MappingError, match="resize"):
        load_mapping(tiny.mapping)
