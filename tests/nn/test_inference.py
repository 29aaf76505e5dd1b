"""Folded convolutions and branches against the torch layers that they stand for."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

import tfpt.nn
from tfpt.errors import ModelError
from tfpt.nn.inference import Branches, FoldedConv

NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
SIZES = (7, 11, 13)


def norm_of(dimensions: int, channels: int, **options: object) -> nn.Module:
    """A batch norm in evaluation mode none of whose numbers is 0 or 1."""
    norm = NORMS[dimensions](channels, eps=0.03, **options)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.3, 3)
        if norm.affine:
            norm.weight.normal_()
            norm.bias.normal_()
    return norm.eval()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(5)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "groups"),
    [(1, 1, 1, 1), (3, 1, 1, 1), (3, 2, 1, 3), (2, 1, 2, 1), (1, 2, 1, 1), (1, 1, 1, 3)],
)
@pytest.mark.parametrize("relu", [False, True])
def test_it_computes_convolution_norm_and_relu(dimensions, kernel, stride, dilation, groups, relu):
    conv = CONVS[dimensions](6, 9, kernel, stride, 1 if kernel > 1 else 0, dilation, groups)
    norm = norm_of(dimensions, 9)
    x = torch.randn(2, 6, *SIZES[:dimensions])
    with torch.no_grad():
        expected = norm(conv(x))
        expected = torch.relu(expected) if relu else expected
        found = FoldedConv(conv, norm, relu=relu)(x)
    assert (expected < 0).any() != relu
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", ["same", "valid", "symmetric"])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (2, 1), (7, 2), (4, 3)])
def test_tensorflows_padding_is_kept_at_every_size(rule, kernel, stride):
    conv = tfpt.nn.Conv3d(3, 5, kernel, stride, rule)
    folded = FoldedConv(conv)
    for size in itertools.product((8, 9), (10, 11), (12, 13)):
        x = torch.randn(1, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(folded(x), conv(x), rtol=1e-5, atol=1e-5)


def test_whole_numbers_stay_whole_through_the_fold():
    """Nothing is rounded that need not be: weights are whole, and the norm multiplies by a power of two."""
    conv, norm = nn.Conv3d(3, 5, 3, bias=False), NORMS[3](5, eps=0.0, affine=False).eval()
    with torch.no_grad():
        conv.weight.copy_(torch.randint(-4, 5, conv.weight.shape))
        norm.running_mean.copy_(torch.arange(5.0))
        norm.running_var.fill_(0.25)
    x = torch.randint(-3, 4, (2, 3, 5, 7, 6)).float()
    with torch.no_grad():
        assert torch.equal(FoldedConv(conv, norm)(x), 2 * (conv(x) - torch.arange(5.0).reshape(5, 1, 1, 1)))


@pytest.mark.parametrize("options", [{"affine": False}, {}])
def test_a_norm_without_gamma_is_folded_too(options):
    conv, norm = nn.Conv2d(3, 5, 3, bias=False), norm_of(2, 5, **options)
    x = torch.randn(2, 3, 7, 11)
    with torch.no_grad():
        torch.testing.assert_close(FoldedConv(conv, norm)(x), norm(conv(x)), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_folded_is_refused():
    with pytest.raises(ModelError, match="pads with zeros"):
        FoldedConv(nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(ModelError, match="without running statistics"):
        FoldedConv(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, track_running_stats=False))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_computed_in_their_own(dtype):
    conv, norm = nn.Conv3d(3, 5, 3, padding=1).to(dtype), norm_of(3, 5).to(dtype)
    x = torch.randn(2, 3, 5, 7, 6, dtype=dtype)
    with torch.no_grad():
        found, expected = FoldedConv(conv, norm, relu=True)(x), torch.relu(norm(conv(x)))
    assert found.dtype == dtype
    tolerance = 0.06 if dtype == torch.bfloat16 else 1e-12
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_the_layers_given_are_left_as_they_are():
    conv, norm = nn.Conv3d(3, 5, 1), norm_of(3, 5)
    before = copy.deepcopy((conv.state_dict(), norm.state_dict()))
    with torch.no_grad():
        FoldedConv(conv, norm, relu=True)(torch.randn(1, 3, 5, 7, 6))
    for kept, now in zip(before, (conv.state_dict(), norm.state_dict()), strict=True):
        assert all(torch.equal(kept[name], now[name]) for name in kept)


def test_its_input_is_left_as_it_is():
    for kernel in (1, 3):
        folded = FoldedConv(nn.Conv3d(3, 5, kernel), relu=True)
        x = torch.randn(1, 3, 5, 7, 6)
        before = x.clone()
        folded(x)
        assert torch.equal(x, before)


def branches_of(dimensions: int = 3) -> tuple[nn.ModuleDict, Branches]:
    """Four branches as they are trained, and folded: pointwise, pointwise and 3, a pool and pointwise, a pool alone."""
    conv, pool = CONVS[dimensions], {2: nn.MaxPool2d, 3: nn.MaxPool3d}[dimensions]
    plain = nn.ModuleDict(
        {
            "a": nn.Sequential(conv(6, 4, 1), norm_of(dimensions, 4), nn.ReLU()),
            "b": nn.Sequential(conv(6, 5, 1), conv(5, 7, 3, padding=1), norm_of(dimensions, 7), nn.ReLU()),
            "c": nn.Sequential(pool(3, 1, 1), conv(6, 3, 1)),
            "d": pool(3, 1, 1),
        }
    ).eval()
    a, b, c = plain["a"], plain["b"], plain["c"]
    folded = Branches(
        {
            "a": FoldedConv(a[0], a[1], relu=True),
            "b": nn.Sequential(FoldedConv(b[0]), FoldedConv(b[1], b[2], relu=True)),
            "c": nn.Sequential(c[0], FoldedConv(c[1])),
            "d": plain["d"],
        }
    )
    return plain, folded


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_branches_are_concatenated_along_the_channels(dimensions, batch):
    plain, folded = branches_of(dimensions)
    x = torch.randn(batch, 6, *SIZES[:dimensions])
    with torch.no_grad():
        expected = torch.cat([branch(x) for branch in plain.values()], 1)
        found = folded(x)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_branches_in_one_dimension_are_concatenated_as_usual():
    branches = Branches({"a": FoldedConv(nn.Conv1d(3, 5, 1)), "b": FoldedConv(nn.Conv1d(3, 2, 1))})
    x = torch.randn(2, 3, 7)
    with torch.no_grad():
        assert torch.equal(branches(x), torch.cat([branches.a(x), branches.b(x)], 1))


def test_a_hook_inside_of_a_branch_is_called():
    _, folded = branches_of()
    seen = {}
    for name in ("a", "b", "b.1", "c", "c.1", "d"):
        folded.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.setdefault(name, output)
        )
    x = torch.randn(1, 6, *SIZES)
    with torch.no_grad():
        whole = folded(x)
    assert list(seen) == ["a", "b.1", "b", "c.1", "c", "d"]
    for name, begin in (("a", 0), ("b", 4), ("b.1", 4), ("c", 11), ("c.1", 11), ("d", 14)):
        assert torch.equal(whole[:, begin : begin + seen[name].shape[1]], seen[name]), name


def test_what_a_hook_returns_takes_the_output_place():
    _, folded = branches_of()
    folded.a.register_forward_hook(lambda _module, _inputs, output: torch.full_like(output, 7))
    with torch.no_grad():
        found = folded(torch.randn(1, 6, *SIZES))
    assert (found[:, :4] == 7).all()
    assert not (found[:, 4:] == 7).any()


def test_gradients_reach_the_input():
    plain, folded = branches_of()
    x, y = (torch.randn(2, 6, *SIZES, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    x.requires_grad_(True)
    y.requires_grad_(True)
    torch.cat([branch(x) for branch in plain.values()], 1).square().sum().backward()
    folded(y).square().sum().backward()
    torch.testing.assert_close(y.grad, x.grad, rtol=1e-4, atol=1e-4)


def test_autocast_and_compiled_graphs_compute_the_same():
    plain, folded = branches_of()
    x = torch.randn(1, 6, *SIZES)
    with torch.no_grad():
        expected = torch.cat([branch(x) for branch in plain.values()], 1)
        compiled = torch.compile(folded, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), expected, rtol=1e-5, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(folded(x).float(), expected, rtol=0.05, atol=0.05)


def test_without_onednn_the_numbers_are_the_same():
    _, folded = branches_of()
    x = torch.randn(1, 6, *SIZES)
    with torch.no_grad():
        expected = folded(x)
        with torch.backends.mkldnn.flags(enabled=False):
            torch.testing.assert_close(folded(x), expected, rtol=1e-5, atol=1e-5)


def test_onednn_is_called_where_torch_would_not():
    """A small input: what torch's own rule leaves to its unfolding kernel."""
    folded, x = FoldedConv(nn.Conv3d(3, 5, 3)), torch.randn(1, 3, 5, 7, 6)
    operators = []
    for layer in (folded, lambda x: functional.conv3d(x, folded.weight, folded.bias)):
        with torch.no_grad(), torch.profiler.profile() as profiler:
            layer(x)
        operators.append({event.key for event in profiler.key_averages()})
    if "aten::slow_conv3d_forward" not in operators[1]:
        pytest.skip("this torch leaves no small convolution to its unfolding kernel")
    assert "aten::mkldnn_convolution" in operators[0]
    assert "aten::slow_conv3d_forward" not in operators[0]


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("shape", [(3, 3, 7), (1, 3, 3, 7, 7)])
def test_an_input_of_other_axes_is_refused(kernel, shape):
    """The matrix product of a kernel of 1 would take the second axis for the channels."""
    with pytest.raises(ModelError, match="needs a batch"):
        FoldedConv(nn.Conv2d(3, 5, kernel))(torch.zeros(shape))


def test_a_branch_that_is_there_twice_is_computed_twice():
    pool, x = nn.MaxPool2d(3, 1, 1), torch.randn(1, 3, 5, 7)
    assert torch.equal(Branches({"a": pool, "b": pool})(x), torch.cat([pool(x), pool(x)], 1))
