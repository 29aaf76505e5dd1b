"""I3D as a module: its names, endpoints, refusals, padding, export."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import pytest
import torch
from torch.export import Dim, export

from tfpt.errors import ModelError
from tfpt.models import i3d
from tfpt.models.i3d import I3D

DATA = Path(__file__).parents[1] / "data" / "i3d"


@pytest.fixture(scope="module")
def small() -> I3D:
    torch.manual_seed(3)
    return I3D(num_classes=5, in_channels=2).eval()


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    torch.manual_seed(4)
    return torch.randn(1, 2, 9, 193, 193).clamp(-1, 1)


def test_names_shapes_and_order_are_those_of_the_port_in_use():
    expected = json.loads((DATA / "hassony2_rgb_shapes.json").read_text())
    state = I3D(400, 3).state_dict()
    assert list(state) == list(expected)
    assert len(state) == 344
    for name, (dtype, *shape) in expected.items():
        assert (state[name].dtype, list(state[name].shape)) == (getattr(torch, dtype), shape), name


def test_its_examples_run():
    assert doctest.testmod(i3d).failed == 0


def test_batch_normalization_is_deepminds():
    norms = [m for m in I3D(5, 3).modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 1e-3)}
    assert len(norms) == 57


def test_every_strided_or_padded_layer_names_its_rule():
    rules = {m.tf_padding for m in I3D(5, 3).modules() if hasattr(m, "tf_padding")}
    assert rules == {"same", "valid"}  # valid: the last pool


def test_a_hook_at_an_endpoint_sees_its_activation(small, clip):
    seen = {}
    handles = [
        small.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.setdefault(name, output)
        )
        for name in I3D.ENDPOINTS
    ]
    with torch.no_grad():
        logits = small(clip)
        for handle in handles:
            handle.remove()
        found = small.endpoints(clip)
    assert list(seen) == list(found) == list(I3D.ENDPOINTS)
    for name, activation in found.items():
        assert torch.equal(activation, seen[name]), name
    assert torch.equal(found["logits"], logits)
    torch.testing.assert_close(found["predictions"].sum(), torch.tensor(1.0))


def test_endpoints_come_in_the_order_asked_for_and_no_further(small, clip):
    small.mixed_3c.register_forward_hook(lambda *_: pytest.fail("computed beyond mixed_3b"))
    try:
        found = small.endpoints(clip[..., :17, :19], ["mixed_3b", "conv3d_1a_7x7"])
    finally:
        small.mixed_3c._forward_hooks.clear()
    assert list(found) == ["mixed_3b", "conv3d_1a_7x7"]
    assert found["mixed_3b"].shape == (1, 256, 5, 3, 3)
    assert small.endpoints(clip, []) == {}


def test_an_unknown_endpoint_is_refused_with_the_nearest(small, clip):
    with pytest.raises(ModelError, match="no such endpoint") as error:
        small.endpoints(clip, ["Mixed_5d"])
    assert "mixed_5b" in error.value.nearest


def test_the_least_clip_is_taken_and_one_less_is_refused(small, clip):
    assert (small.least_frames, small.least_size) == (9, 193)
    assert small(clip).shape == (1, 5)
    for less in (clip[:, :, 1:], clip[..., 1:, :], clip[..., 1:]):
        with pytest.raises(ModelError, match="the clip is too small") as error:
            small(less)
        assert error.value.expected == "at least 9 frames of 193 by 193"


@pytest.mark.parametrize(
    ("shape", "dtype", "what"),
    [
        ((1, 3, 16, 224, 224), torch.float32, "number of channels"),
        ((1, 16, 224, 224, 2), torch.float32, "number of channels"),
        ((2, 16, 224, 224), torch.float32, "not a clip"),
        ((1, 2, 16, 224, 224), torch.uint8, "not a clip"),
    ],
)
def test_what_is_not_its_clip_is_refused(small, shape, dtype, what):
    with pytest.raises(ModelError, match=what) as error:
        small(torch.empty(shape, dtype=dtype))
    assert "(batch, 2, frames, height, width)" in str(error.value)
    assert ("movedim" in str(error.value)) == (shape[-1] == 2)


@pytest.mark.parametrize("padding", ["valid", "SAME"])
def test_another_padding_is_refused(padding):
    with pytest.raises(ModelError, match="no such padding"):
        I3D(5, 3, padding)


def test_a_larger_frame_is_averaged_over_its_positions(small):
    torch.manual_seed(5)
    wide = torch.randn(1, 2, 17, 193, 257)  # 3 by 7 by 9 before the last pool: 2 times, 3 positions
    with torch.no_grad():
        found = small.endpoints(wide, ["mixed_5c", "logits"])
        features = found["mixed_5c"]
        windows = [features[:, :, t : t + 2, :, w : w + 7].mean((2, 3, 4)) for t in (0, 1) for w in (0, 1, 2)]
        head = small.conv3d_0c_1x1.conv3d
        each = [window @ head.weight.flatten(1).T + head.bias for window in windows]
    assert features.shape == (1, 1024, 3, 7, 9)
    torch.testing.assert_close(found["logits"], torch.stack(each).mean(0))


def test_symmetric_padding_shifts_the_windows_and_widens_the_last_pool():
    with torch.device("meta"):
        model, clip = I3D(5, 3, "symmetric"), torch.empty(1, 3, 16, 224, 224)
    found = model.endpoints(clip)
    assert (model.least_frames, model.least_size) == (5, 177)
    assert found["conv3d_1a_7x7"].shape == (1, 64, 8, 112, 112)
    assert found["mixed_5c"].shape == (1, 1024, 3, 8, 8)
    assert found["logits"].shape == (1, 5)
    assert model.conv3d_1a_7x7.conv3d.padding == (3, 3, 3)
    least = torch.empty(1, 3, 5, 177, 177, device="meta")
    assert model(least).shape == (1, 5)
    with pytest.raises(ModelError, match="too small"):
        model(least[..., 1:])


def test_dropout_works_in_training_alone():
    torch.manual_seed(6)
    model = I3D(5, 2, dropout=0.5)
    features = torch.ones(1, 1024, 2, 7, 7)
    with torch.no_grad():
        dropped = model._step("logits", features)
        assert not torch.equal(dropped, model._step("logits", features))
        model.eval()
        assert torch.equal(model._step("logits", features), model._step("logits", features))
    assert I3D(5, 2).dropout.p == 0.0


def test_it_starts_as_sonnet_does():
    model = I3D(5, 3)
    weight = model.conv3d_2c_3x3.conv3d.weight
    deviation = (64 * 27) ** -0.5
    assert weight.abs().max() <= 2 * deviation
    assert weight.std().item() == pytest.approx(0.88 * deviation, rel=0.02)  # a normal cut at two deviations
    assert not model.conv3d_0c_1x1.conv3d.bias.any()


def test_it_exports_with_any_batch_and_any_clip():
    with torch.device("meta"):
        model, clip = I3D(5, 2).eval(), torch.empty(2, 2, 24, 256, 288)
    # Two outputs of the last pool or more along each dimension: torch.export makes a case of its own of one.
    sizes = {2: Dim("frames", min=17), 3: Dim("height", min=225), 4: Dim("width", min=225)}
    dims = {0: Dim("batch"), **sizes}
    program = export(model, (clip,), dynamic_shapes=(dims,), strict=False).module()
    for shape in [(3, 2, 17, 225, 226), (1, 2, 33, 256, 300)]:
        assert program(torch.empty(shape, device="meta")).shape == (shape[0], 5)


def test_the_exported_graph_computes_the_same(small, clip):
    with torch.no_grad():
        program = export(small, (clip,)).module()
        torch.testing.assert_close(program(clip), small(clip))


def test_it_compiles_whole_and_learns():
    torch.manual_seed(7)
    model = I3D(5, 2)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    clips = torch.randn(2, 2, 9, 193, 193)
    torch.nn.functional.cross_entropy(compiled(clips), torch.tensor([1, 3])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
