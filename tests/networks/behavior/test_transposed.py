"""Whether transposed convolutions crop as TensorFlow does, with the layers that equal TensorFlow as the judges."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import tfpt.nn
from tests.networks.behavior.test_check import findings, mapping
from tfpt.networks.behavior import adapt_model, check_behavior


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_it_agrees_with_brute_force_over_kernels_strides_and_crops(tiny, padding):
    rows = mapping(tiny, f"{{pt: layer, padding: {padding}}}")
    seen = {True: 0, False: 0}
    for kernel, stride, dilation in itertools.product((1, 2, 3, 4, 5), (1, 2, 3), (1, 2)):
        for pad, more in itertools.product(range(3), range(max(stride, dilation))):
            layer = nn.ConvTranspose1d(1, 1, kernel, stride, pad, more, dilation=dilation)
            ours = tfpt.nn.ConvTranspose1d(1, 1, kernel, stride, padding, dilation=dilation)
            ours.load_state_dict(layer.state_dict())
            values = torch.arange(1.0, 8.0)[None, None].square()
            with torch.no_grad():
                wanted = ours(values)
                try:
                    got = layer(values)
                    same = got.shape == wanted.shape and torch.allclose(got, wanted)
                except RuntimeError:
                    same = False
            found = check_behavior(nn.ModuleDict({"layer": layer}), rows)
            assert (found == []) == same, (layer, found)
            assert all(each.kind == "behavior" for each in found)
            seen[same] += 1
    assert min(seen.values()) > 10


def test_the_message_says_what_is_cut_off_on_both_sides(tiny):
    [found] = findings(tiny, nn.ConvTranspose2d(3, 5, 3, 2, 1, 1), "padding: same")
    assert (found.kind, found.name, found.stops) == ("behavior", "layer", True)
    assert found.expected == "padding: same, which cuts off (0, 1)"
    assert found.got == "the module cuts off (1, 0)"


@pytest.mark.parametrize(
    ("module", "padding"),
    [
        (nn.ConvTranspose2d(3, 5, 4, 2, 1), "same"),
        (nn.ConvTranspose3d(3, 5, 3, 1, 1), "same"),
        (nn.ConvTranspose2d(3, 5, 3, 2), "valid"),
        (nn.ConvTranspose2d(3, 5, 3, 2, 1), "symmetric"),
        (nn.ConvTranspose2d(3, 5, 3, 2, 1, 1), "symmetric"),
        (tfpt.nn.ConvTranspose2d(3, 5, 3, 2), "same"),
        (tfpt.nn.ConvTranspose2d(3, 5, 3, 2, output_padding=0), "same"),
        (tfpt.nn.ConvTranspose2d(3, 5, 2, 2, "valid"), "same"),
    ],
    ids=repr,
)
def test_a_layer_that_crops_so_is_fine(tiny, module, padding):
    assert findings(tiny, module, f"padding: {padding}") == []


@pytest.mark.parametrize(
    ("module", "padding", "got"),
    [
        (nn.ConvTranspose2d(3, 5, 4, 2), "symmetric", "the module cuts off (0, 0)"),
        (nn.ConvTranspose2d(3, 5, 3, 2, 1), "valid", "the module cuts off (1, 1)"),
        (tfpt.nn.ConvTranspose2d(3, 5, 3, 2, "valid"), "same", "padding: valid"),
    ],
    ids=repr,
)
def test_a_layer_that_crops_otherwise_is_a_contradiction(tiny, module, padding, got):
    [found] = findings(tiny, module, f"padding: {padding}")
    assert (found.kind, found.got) == ("behavior", got)


class Decoder(nn.Module):
    """A layer that keeps everything, in code that cuts something off or not."""

    def __init__(self, cut: bool):
        super().__init__()
        self.cut = cut
        self.layer = nn.ConvTranspose2d(3, 5, 3, 2)

    def forward(self, x):
        y = torch.relu(self.layer(x))
        return y[:, :, :-1, :-1] if self.cut else y


def test_code_that_cuts_the_rest_off_is_not_known_to_be_wrong(tiny):
    rows = mapping(tiny, "{pt: layer, padding: same}")
    [found] = check_behavior(Decoder(True), rows)
    assert (found.kind, found.stops) == ("unchecked", False)
    assert "the code after it may cut off the rest" in found.what
    assert adapt_model(Decoder(True), rows) == []


def test_code_that_does_not_is_wrong_and_adapted(tiny):
    rows = mapping(tiny, "{pt: layer, padding: same}")
    model = Decoder(False)
    [found] = check_behavior(model, rows)
    assert (found.kind, found.got) == ("behavior", "the module cuts off (0, 0)")
    weight, bias = model.layer.weight, model.layer.bias
    assert adapt_model(model, rows) == ["layer"]
    assert type(model.layer) is tfpt.nn.ConvTranspose2d
    assert (model.layer.weight is weight, model.layer.bias is bias) == (True, True)
    assert model(torch.zeros(1, 3, 7, 8)).shape == (1, 5, 14, 16)
    assert check_behavior(model, rows) == []


def test_the_usual_mistake_is_adapted(tiny):
    rows = mapping(tiny, "{pt: layer, padding: same}")
    model = nn.ModuleDict({"layer": nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2)})
    ours = tfpt.nn.ConvTranspose2d(4, 6, 3, 2, groups=2)
    ours.load_state_dict(model["layer"].state_dict())
    assert adapt_model(model, rows) == ["layer"]
    x = torch.randn(1, 4, 5, 6)
    assert torch.equal(model["layer"](x), ours(x))


class Scaled(nn.ConvTranspose2d):
    def forward(self, x):
        return 2 * super().forward(x)


def test_a_derived_layer_is_not_judged(tiny):
    rows = mapping(tiny, "{pt: layer, padding: same}")
    model = nn.ModuleDict({"layer": Scaled(3, 5, 3, 2)})
    [found] = check_behavior(model, rows)
    assert found.kind == "unchecked"
    assert adapt_model(model, rows) == []
