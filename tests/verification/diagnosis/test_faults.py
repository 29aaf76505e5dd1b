"""One test for each fault: in a small network that Keras itself recorded, what is wrong is found and proven."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import tfpt.nn as tf_nn


def symmetric(net):
    net.stem.conv = tf_nn.adapt(net.stem.conv, "symmetric")


def stock_conv(net):
    plain = nn.Conv2d(3, 7, 5, 2, padding=2, bias=False)
    plain.weight = net.stem.conv.weight
    net.stem.conv = plain


def pads_by_a_layer(net):
    plain = nn.Conv2d(3, 7, 5, 2, bias=False)
    plain.weight = net.stem.conv.weight
    # TensorFlow has one in front and two behind.
    net.stem.conv = nn.Sequential(nn.ConstantPad2d((2, 1, 2, 1), 0.0), plain)


class ZeroPaddedPool(nn.Module):
    """What many ports have: TensorFlow's pads, but of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, x):
        return self.pool(functional.pad(x, (1, 1, 1, 1)))


class ZeroPaddedSubclass(nn.MaxPool2d):
    def forward(self, x):
        return super().forward(functional.pad(x, (1, 1, 1, 1)))


class FunctionalPool(nn.Module):
    def forward(self, x):
        return functional.max_pool2d(functional.pad(x, (2, 0, 0, 2)), 3, 2)


class AveragePool(nn.Module):
    def forward(self, x):
        return functional.avg_pool2d(x, 3, 1, 1)


class OtherOrder(nn.Module):
    def __init__(self, mixed) -> None:
        super().__init__()
        self.left, self.right, self.mean, self.third = mixed.left, mixed.right, mixed.mean, mixed.third

    def forward(self, x):
        return functional.leaky_relu(
            torch.cat([self.third(self.mean(x)), self.left(x), self.right(x)], 1), 0.3
        )


class Slope(OtherOrder):
    def forward(self, x):
        return functional.leaky_relu(torch.cat([self.left(x), self.right(x), self.third(self.mean(x))], 1))


class BareMixed(OtherOrder):
    def forward(self, x):
        return torch.cat([self.left(x), self.right(x), self.third(self.mean(x))], 1)


def exchange(a, b):
    state = {name: value.clone() for name, value in a.state_dict().items()}
    a.load_state_dict(b.state_dict())
    b.load_state_dict(state)


def exchange_values(a, b):
    a.data, b.data = b.data.clone(), a.data.clone()


def change(name, function):
    def fault(net):
        parameter = net.get_parameter(name)
        parameter.data = function(parameter.data).contiguous()

    return fault


def put(name, make):
    def fault(net):
        parent, _, leaf = name.rpartition(".")
        setattr(net.get_submodule(parent), leaf, make(net))

    return fault


def to_channels_last(weight):
    return weight.reshape(11, 13, 6, 5).permute(0, 2, 3, 1).reshape(11, -1)


class NormAct(nn.BatchNorm2d):
    """A norm with modules inside it."""

    def __init__(self, norm, eps) -> None:
        super().__init__(norm.num_features, eps=eps)
        self.drop, self.act = nn.Identity(), nn.Identity()
        self.load_state_dict(norm.state_dict())

    def forward(self, x):
        return self.act(self.drop(super().forward(x)))


FAULTS = {
    "even pads of tfpt.nn": (symmetric, "norm", "padding", "stem.conv"),
    "a stock convolution": (stock_conv, "norm", "padding", "stem.conv"),
    "pads in a layer of their own": (pads_by_a_layer, "norm", "padding", "stem.conv.1"),
    "zeros around a max-pool": (put("pool", lambda _: ZeroPaddedPool()), "pool", "zero pads", "pool.pool"),
    "zeros in a subclass of a pool": (
        put("pool", lambda _: ZeroPaddedSubclass(3, 2)),
        "pool",
        "zero pads",
        "pool",
    ),
    "pads on one side, in functions": (put("pool", lambda _: FunctionalPool()), "pool", "padding", "pool"),
    "an average that counts its pads": (
        put("mixed.mean", lambda _: nn.AvgPool2d(3, 1, 1)),
        "mixed",
        "counted pads",
        "mixed.mean",
    ),
    "a function that counts them": (
        put("mixed.mean", lambda _: AveragePool()),
        "mixed",
        "counted pads",
        "mixed.mean",
    ),
    "torch's epsilon": (lambda net: setattr(net.stem.norm, "eps", 1e-5), "norm", "epsilon", "stem.norm"),
    "an epsilon of a norm with modules inside it": (
        put("stem.norm", lambda net: NormAct(net.stem.norm, 1e-5).eval()),
        "norm",
        "epsilon",
        "stem.norm",
    ),
    "mean and beta exchanged": (
        lambda net: exchange_values(net.stem.norm.running_mean, net.stem.norm.bias),
        "norm",
        "statistics",
        "stem.norm",
    ),
    "training mode": (lambda net: net.train(), "norm", "training mode", ""),
    "one layer in training mode": (
        lambda net: net.stem.norm.train(),
        "norm",
        "training mode",
        "stem.norm",
    ),
    "reversed channels": (change("stem.conv.weight", lambda w: w.flip(1)), "norm", "input", ""),
    "another range": (change("stem.conv.weight", lambda w: w / 127.5), "norm", "input", ""),
    "a kernel with height and width exchanged": (
        change("mixed.right.weight", lambda w: w.transpose(2, 3)),
        "mixed",
        "kernel axes",
        "mixed.right",
    ),
    "a mirrored kernel": (
        change("mixed.left.weight", lambda w: w.flip(2, 3)),
        "mixed",
        "mirrored kernel",
        "mixed.left",
    ),
    "another order of branches": (
        put("mixed", lambda net: OtherOrder(net.mixed)),
        "mixed",
        "branch order",
        "mixed",
    ),
    "branches with each other's weights": (
        lambda net: exchange(net.mixed.left, net.mixed.right),
        "mixed",
        # The same as these branches in another order, which the advice names, too.
        "exchanged weights",
        "mixed.left",
    ),
    "another slope": (put("mixed", lambda net: Slope(net.mixed)), "mixed", "activation", "mixed"),
    "another flattening": (change("hidden.weight", to_channels_last), "hidden", "flattening", "hidden"),
    "the other gelu": (put("act", lambda _: nn.GELU("tanh")), "hidden", "activation", "act"),
    "a square weight": (change("square.weight", lambda w: w.T), "square", "square weight", "square"),
}


def test_the_port_agrees_and_nothing_is_diagnosed(small):
    result = small.verify(small.net)
    assert result.agrees
    assert [one.verdict for one in result.endpoints] == ["agrees"] * 6
    assert all(one.free.rel < 1e-6 and one.own.rel < 1e-6 for one in result.endpoints)
    assert result.explanation.diagnoses == ()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_proven(small, name):
    fault, endpoint, kind, path = FAULTS[name]
    result = small.verify(small.broken(fault))
    assert not result.agrees
    assert result.first.name == endpoint
    (diagnosis,) = result.explanation.diagnoses
    assert diagnosis.proven
    assert diagnosis.kinds == (kind,)
    assert [place.path for place in diagnosis.places] == [path]
    assert diagnosis.rel_after < 1e-6 < diagnosis.rel
    assert result.explanation.repaired
    # Whole recordings tell for every endpoint behind it that its own layers are right.
    behind = result.endpoints[[one.name for one in result.endpoints].index(endpoint) + 1 :]
    assert all(one.verdict in ("follows", "agrees") for one in behind)
    assert all(one.own.rel < 1e-6 for one in behind)


def test_the_epsilon_that_is_wrong_the_right_one_and_the_row_are_named(small):
    result = small.verify(small.broken(lambda net: setattr(net.stem.norm, "eps", 1e-5)))
    (place,) = result.explanation.diagnoses[0].places
    assert (place.actual, place.expected) == ("has eps 1e-05", "eps 0.001")
    assert place.row.endswith("small.yaml:4")
    # What the mapping says of the layer is reported beside the figures, too.
    assert [finding.name for finding in result.findings] == ["stem.norm"]


def test_two_faults_in_one_span_are_found_together(small):
    def fault(net):
        net.stem.norm.eps = 1e-2
        stock_conv(net)

    (diagnosis,) = small.verify(small.broken(fault)).explanation.diagnoses
    assert diagnosis.proven
    assert sorted(diagnosis.kinds) == ["epsilon", "padding"]


def test_with_the_first_put_right_the_next_is_found(small):
    def fault(net):
        net.stem.norm.eps = 1e-5
        net.act = nn.GELU("tanh")

    result = small.verify(small.broken(fault))
    assert [one.name for one in result.explanation.diagnoses] == ["norm", "hidden"]
    assert [one.kinds for one in result.explanation.diagnoses] == [("epsilon",), ("activation",)]
    assert result.explanation.repaired
    assert [one.name for one in result.others] == ["hidden"]


def test_a_missing_relu_is_found(small):
    # The recorded truth with a ReLU at the end of the mixed block, from numpy.
    import dataclasses

    from tfpt.networks.recording.recordings import RecordedEndpoint

    mixed = small.recording.endpoints["mixed"].values
    truth = np.maximum(mixed, 0)
    assert (mixed < 0).any()
    held = {**small.recording.endpoints, "mixed": RecordedEndpoint.of("mixed", truth, whole=True)}
    recording = dataclasses.replace(
        small.recording, endpoints={name: held[name] for name in ("pool", "mixed")}
    )
    other = dataclasses.replace(small, recording=recording)
    result = other.verify(small.broken(put("mixed", lambda net: BareMixed(net.mixed))))
    (diagnosis,) = result.explanation.diagnoses
    assert diagnosis.kinds == ("missing activation",)


def test_what_no_trial_proves_is_said_to_be_unproven(small):
    result = small.verify(small.broken(change("mixed.left.weight", lambda w: w + 0.1 * torch.sin(w * 1e4))))
    assert result.first.name == "mixed"
    (diagnosis,) = result.explanation.diagnoses
    assert not diagnosis.proven
    assert diagnosis.trials > 50
    assert diagnosis.places == ()
    assert any("only channels 0 to 4 of 13 differ" in sign.shows for sign in diagnosis.signs)
    assert any("tfpt diff" in suspect for suspect in diagnosis.suspects)


def test_the_model_is_left_as_it_was(small):
    net = small.broken(lambda net: setattr(net.stem.norm, "eps", 1e-5))
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    small.verify(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert net.training
    assert net.stem.norm.eps == 1e-5
    hooks = [module for module in net.modules() if module._forward_hooks or module._forward_pre_hooks]
    assert hooks == []
    assert not [module for module in net.modules() if "forward" in vars(module)]


class Norms(nn.Module):
    """Batch norms one behind the other, each with one channel's statistics of its own."""

    def __init__(self, number: int, eps: float) -> None:
        super().__init__()
        random = np.random.default_rng(13)
        self.norms = nn.Sequential(*(nn.BatchNorm1d(5, eps=eps) for _ in range(number)))
        for norm in self.norms:
            norm.running_var.copy_(torch.tensor(random.uniform(0.5, 1.5, 5)))
            norm.running_mean.copy_(torch.tensor(random.normal(size=5)))
        self.eval()

    def forward(self, x):
        return self.norms(x)

    def truth(self, x, eps):
        """What batch norms of this epsilon give, in numpy."""
        x = x.astype(np.float64)
        for norm in self.norms:
            mean, variance = norm.running_mean.numpy(), norm.running_var.numpy()
            x = (x - mean) / np.sqrt(variance + eps)
        return x.astype(np.float32)


def verified(tmp_path, net, eps, **options):
    import tfpt
    from tfpt.networks.recording.recordings import RecordedEndpoint, Recording

    path = tmp_path / "norms.yaml"
    path.write_text("version: 1\nweights: [{tf: w, pt: w}]\nendpoints: [{tf: norms, pt: norms}]\n")
    x = np.random.default_rng(17).normal(size=(11, 5)).astype(np.float32)
    recorded = {"norms": RecordedEndpoint.of("norms", net.truth(x, eps))}
    return tfpt.verify(path, recording=Recording(recorded, {"input": x}), model=net, **options)


@pytest.mark.parametrize("eps", [1e-5, 1e-6, 1e-12])
def test_of_several_epsilons_within_the_tolerance_the_true_one_is_named(tmp_path, eps):
    # 1e-5 in place of 1e-12 leaves some 5e-6, which agrees.
    (diagnosis,) = verified(tmp_path, Norms(1, 1e-3), eps).explanation.diagnoses
    (place,) = diagnosis.places
    assert place.expected == f"eps {eps:g}"


def test_all_places_that_are_wrong_are_named_even_where_some_would_do(tmp_path):
    # Each of the norms moves the result by about 3e-6: with most of them repaired the rest is within the tolerance.
    (diagnosis,) = verified(tmp_path, Norms(7, 1e-5), 1e-12, tolerance=1.1e-5).explanation.diagnoses
    assert diagnosis.proven
    assert [place.path for place in diagnosis.places] == [f"norms.{index}" for index in range(7)]
    assert {place.expected for place in diagnosis.places} == {"eps 1e-12"}


def test_places_are_told_apart_no_longer_than_there_is_time(tmp_path, monkeypatch):
    from tfpt.verification.diagnosis import search
    from tfpt.verification.diagnosis.trial import Trials

    now = [0.0]
    trial = Trials.run

    def slow(self, changes):
        now[0] += 1.0
        return trial(self, changes)

    monkeypatch.setattr(Trials, "run", slow)
    monkeypatch.setattr(search.time, "monotonic", lambda: now[0])
    (diagnosis,) = verified(tmp_path, Norms(23, 1e-1), 1e-3, seconds=9.0).explanation.diagnoses
    assert diagnosis.proven
    assert diagnosis.trials <= 12


def test_weights_exchanged_and_branches_in_another_order_are_told_as_one(small):
    result = small.verify(small.broken(lambda net: exchange(net.mixed.left, net.mixed.right)))
    (diagnosis,) = result.explanation.diagnoses
    (place,) = diagnosis.places
    assert place.actual == "has the weights that belong to mixed.right"
    assert "the other order" in diagnosis.cause
    (advice,) = diagnosis.advice
    assert advice.startswith(
        "check the rows of the mapping that write mixed.left and mixed.right; or concatenate"
    )


class Twice(nn.Module):
    """Two square layers, one behind the other, and an endpoint behind both."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(19)
        self.first, self.second = nn.Conv2d(7, 7, 3, bias=False), nn.Conv2d(7, 7, 3, bias=False)
        for layer in (self.first, self.second):
            layer.weight.data = torch.tensor(random.normal(size=(7, 7, 3, 3)), dtype=torch.float32)

    def forward(self, x):
        return self.second(self.first(x))


ROWS = """\
  - {tf: first/kernel,  pt: first.weight,  layout: "h w i o -> o i h w"}
  - {tf: second/kernel, pt: second.weight, layout: "h w i o -> o i h w"}
"""
BOTH = '  - {tf: "{x}/kernel", pt: "{x}.weight", layout: "h w i o -> o i h w"}\n'


def advised(tmp_path, fault, rows):
    """What is advised where this was done to the weights of the two layers."""
    import tfpt
    from tfpt.networks.recording.recordings import RecordedEndpoint, Recording

    path = tmp_path / "twice.yaml"
    path.write_text(
        f"version: 1\nweights:\n{rows}"
        'endpoints: [{tf: end, pt: second, layout: "b h w c -> b c h w"}]\n'
        'input: {layout: "b h w c -> b c h w"}\n'
    )
    net = Twice()
    x = np.random.default_rng(23).normal(size=(2, 11, 5, 7)).astype(np.float32)
    with torch.no_grad():
        truth = net(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    for name, function in fault.items():
        layer = net.get_submodule(name)
        layer.weight.data = function(layer.weight.data).contiguous()
    recorded = {"end": RecordedEndpoint.of("end", truth, whole=True)}
    result = tfpt.verify(path, recording=Recording(recorded, {"input": x}), model=net)
    (diagnosis,) = result.explanation.diagnoses
    assert [place.path for place in diagnosis.places] == list(fault)
    return diagnosis.advice[0]


SQUARE = {
    "inputs and outputs": (lambda w: w.transpose(0, 1), "i o h w"),
    "height and width": (lambda w: w.transpose(2, 3), "o i w h"),
}


@pytest.mark.parametrize("kind", SQUARE)
@pytest.mark.parametrize(
    ("names", "lines"), [(("first",), (3,)), (("second",), (4,)), (("first", "second"), (3, 4))]
)
def test_the_row_of_the_kernel_that_is_wrong_is_to_be_changed(tmp_path, kind, names, lines):
    function, wanted = SQUARE[kind]
    advice = advised(tmp_path, dict.fromkeys(names, function), ROWS)
    for line in (3, 4):
        assert (f'"h w i o -> {wanted}"' in advice and f"twice.yaml:{line}" in advice) == (line in lines), (
            advice
        )


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_row_that_writes_a_right_kernel_too_is_not_to_be_changed_for_it(tmp_path, name):
    advice = advised(tmp_path, {name: lambda w: w.transpose(0, 1)}, BOTH)
    assert f'a separate row for {name}.weight, with layout: "h w i o -> i o h w"' in advice
    both = {"first": lambda w: w.transpose(0, 1), "second": lambda w: w.transpose(0, 1)}
    assert "separate" not in advised(tmp_path, both, BOTH)


@pytest.mark.parametrize(("name", "line"), [("first", 3), ("second", 4)])
def test_the_row_of_a_mirrored_kernel_is_to_be_looked_at(tmp_path, name, line):
    advice = advised(tmp_path, {name: lambda w: w.flip(2, 3)}, ROWS)
    assert f"twice.yaml:{line}" in advice
    assert f"twice.yaml:{7 - line}" not in advice
