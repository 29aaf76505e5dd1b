"""The parts of a diagnosis: the trace, the cache, windows in any form, and what a difference shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tfpt.networks.endpoints import activations
from tfpt.verification.diagnosis.changes import Change, applied, mapped_values
from tfpt.verification.diagnosis.evidence import Difference, signs
from tfpt.verification.diagnosis.trace import trace
from tfpt.verification.diagnosis.windows import windows_of

X = torch.arange(2 * 3 * 11 * 8, dtype=torch.float32).reshape(2, 3, 11, 8).sin()


class Wrapper(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("module", "pads", "sizes"),
    [
        (nn.Conv2d(3, 5, 5, 2, padding=2), ((2, 2), (2, 2)), (11, 8)),
        (nn.Conv2d(3, 5, (3, 5), padding="same"), ((1, 1), (2, 2)), (11, 8)),
        (nn.MaxPool2d(3, 2, padding=1), ((1, 1), (1, 1)), (11, 8)),
        (nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(3, 5, 3)), ((0, 1), (1, 2)), (11, 8)),
        (
            Wrapper(lambda x: functional.max_pool2d(functional.pad(x, (0, 1)), 3, 2)),
            ((0, 0), (0, 1)),
            (11, 8),
        ),
        (
            Wrapper(lambda x: functional.conv2d(x, torch.ones(5, 3, 3, 3), padding=(1, 0))),
            ((1, 1), (0, 0)),
            (11, 8),
        ),
        (nn.MaxPool2d(3, 2, ceil_mode=True), None, (11, 8)),
    ],
)
def test_a_windows_pads_are_told_whoever_makes_them(module, pads, sizes):
    model = nn.Sequential(module, nn.Identity())
    (window,) = windows_of(trace(model, X, "1", None))
    assert (window.pads, window.sizes) == (pads, sizes)


def same_in_tensorflow(x: torch.Tensor, kernel: int, stride: int, value: float) -> torch.Tensor:
    """TensorFlow's rule, written out."""
    pads = []
    for size in reversed(x.shape[2:]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads, value=value)


@pytest.mark.parametrize(
    "module",
    [
        nn.MaxPool2d(3, 2),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Sequential(nn.ConstantPad2d(1, 0.0), nn.MaxPool2d(3, 2)),
        Wrapper(lambda x: functional.max_pool2d(functional.pad(x, (2, 0, 2, 0)), 3, 2)),
        Wrapper(lambda x: functional.max_pool2d(x, kernel_size=3, stride=2)),
    ],
)
def test_any_pool_can_be_given_same_padding_and_gets_its_own_back(module):
    model = nn.Sequential(module, nn.Identity())
    before = model(X)
    (window,) = windows_of(trace(model, X, "1", None))
    with applied(model, window.padded_by("same")):
        found = model(X)
    expected = functional.max_pool2d(same_in_tensorflow(X, 3, 2, -torch.inf), 3, 2)
    assert torch.equal(found, expected)
    assert torch.equal(model(X), before)


@pytest.mark.parametrize("functional_form", [False, True])
def test_any_convolution_can_be_given_same_padding(functional_form):
    weight = torch.randn(5, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    if functional_form:
        module = Wrapper(lambda x: functional.conv2d(functional.pad(x, (2, 2, 2, 2)), weight, stride=2))
    else:
        module = nn.Conv2d(3, 5, 5, 2, padding=2, bias=False)
        module.weight.data = weight
    model = nn.Sequential(module, nn.Identity())
    (window,) = windows_of(trace(model, X, "1", None))
    with applied(model, window.padded_by("same")), torch.no_grad():
        found = model(X)
    torch.testing.assert_close(found, functional.conv2d(same_in_tensorflow(X, 5, 2, 0.0), weight, stride=2))


def test_changes_are_undone_even_if_the_model_fails():
    model = nn.Sequential(nn.Linear(8, 3))
    weight = model[0].weight.detach().clone()
    change = Change("0", "", "", lambda: mapped_values(model[0].weight, torch.neg))
    seen = []

    def fail():
        with applied(model, [change]):
            seen.append(model[0].weight.detach().clone())
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert torch.equal(seen[0], -weight)
    assert torch.equal(model[0].weight, weight)


class Skips(nn.Module):
    """The third step looks back at the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        first = torch.relu(self.first(x))
        return self.third(first + self.second(first))


def test_memory_spares_what_comes_before_the_span_and_changes_nothing():
    model = Skips()
    expected = activations(model, X, ["third"])["third"]
    found = trace(model, X, "third", "second")
    assert [result.path for result in found.cache.results] == ["first", "second"]
    ran = []
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        for name, module in model.named_children()
    ]
    weight = model.first.weight.detach().clone()
    model.first.weight.data.zero_()
    with found.cache.in_use(model):
        again = activations(model, X, ["third"])["third"]
    assert torch.equal(again, expected)  # though the first layer's weights are gone
    # Of the first result only the shape: a model that needs it is found out.
    with found.cache.in_use(model, latest=1):
        assert activations(model, X, ["third"])["third"].isnan().all()
    model.first.weight.data = weight
    for handle in handles:
        handle.remove()
    assert torch.equal(activations(model, X, ["third"])["third"], expected)


def test_a_trace_tells_what_ran_between_two_endpoints_in_functions_too():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 5, 1), nn.Conv2d(2, 3, 1)
            self.end = nn.Identity()

        def forward(self, x):
            x = torch.relu(self.a(x))
            return self.end(torch.cat([functional.silu(self.c(x)), self.b(x)], 1))

    found = trace(Model(), X, "end", "a")
    assert [run.path for run in found.runs] == ["c", "b", "end"]
    assert [(call.path, call.name) for call in found.calls if call.path == ""] == [
        ("", "relu"),
        ("", "silu"),
        ("", "cat"),
    ]
    (cat,) = [call for call in found.calls if call.name == "cat"]
    assert cat.shapes == ((2, 3, 11, 8), (2, 5, 11, 8))
    assert found.activated == {"a", "c"}


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    indices = np.unravel_index(np.arange(b.size), b.shape)
    return Difference(a.reshape(-1), b.reshape(-1), indices, b.shape, b.ndim - 1)


B = np.random.default_rng(8).normal(size=(2, 17, 19, 5)) + 0.5


def at_the_border(b):
    a = b.copy()
    a[:, 0] += 1
    a[:, :, -1] *= 2
    return a


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (lambda b: 0.5 * b, "every value is 0.5 times the recorded one"),
        (
            lambda b: b * np.array([1.1, 0.9, 1.3, 1.0, 2.0]),
            "each channel is the recorded one times its own factor",
        ),
        (
            lambda b: b + np.array([1, -2, 3, 0.5, -1]),
            "each channel differs from the recorded one by its own constant",
        ),
        (at_the_border, "only values at the border differ"),
        (lambda b: np.where(np.arange(5) == 3, b**2, b), "only channels 3 to 3 of 5 differ"),
        (lambda b: b[..., [2, 0, 4, 1, 3]], "the channels are the recorded ones in another order"),
        (lambda b: b * np.nan, "3230 of 3230 values of the model are not finite"),
        (lambda b: b + 1e-9, "no compared value differs by more than rounding"),
    ],
)
def test_a_difference_shows_what_it_comes_of(change, shows):
    assert shows in next(signs(difference(change(B), B))).shows


def test_a_missing_and_a_superfluous_relu_are_told_apart():
    cut = np.maximum(B, 0)
    assert next(signs(difference(B, cut))).suggests == "a missing ReLU"
    assert next(signs(difference(cut, B))).suggests == "a superfluous ReLU"


def test_noise_shows_nothing_in_particular():
    noise = np.random.default_rng(9).normal(size=B.shape)
    assert list(signs(difference(B + 0.1 * noise, B))) == []
