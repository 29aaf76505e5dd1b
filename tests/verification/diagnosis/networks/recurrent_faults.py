"""What ports get wrong in recurrent layers: the order of gates, biases, directions, and time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.verification.diagnosis.networks.network import (
    Fault,
    Network,
    become,
    change,
    exchange,
    loaded,
    perturbed,
    put,
    together,
)
from tests.verification.diagnosis.networks.recurrent import (
    BEFORE_MAPPING,
    MAPPING,
    TF1_MAPPING,
    GruBefore,
    Net,
    keras_before,
    keras_model,
    keras_tf1,
)

Change = Callable[[nn.Module], object]
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Reversed(Net):
    def before(self, x: Tensor) -> Tensor:
        return x.flip(1)


class DirectionsExchanged(Net):
    def before(self, x: Tensor) -> Tensor:
        return torch.cat(x.chunk(2, -1)[::-1], -1)


class FirstStep(Net):
    def last(self, x: Tensor) -> Tensor:
        return x[:, 0]


class MeanOfSteps(Net):
    def last(self, x: Tensor) -> Tensor:
        return x.mean(1)


class InputReversed(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(1))


class HardGru(GruBefore):
    recurrent = staticmethod(functional.hardsigmoid)


class OldHardGru(GruBefore):
    """The hard sigmoid of Keras 2."""

    @staticmethod
    def recurrent(x: Tensor) -> Tensor:
        return (0.2 * x + 0.5).clamp(0, 1)


class ReluGru(GruBefore):
    def candidate(self, given: Tensor, reset: Tensor, state: Tensor, kernel: Tensor) -> Tensor:
        return torch.relu(given + functional.linear(reset * state, kernel))


class ResetAfter(GruBefore):
    def candidate(self, given: Tensor, reset: Tensor, state: Tensor, kernel: Tensor) -> Tensor:
        return torch.tanh(given + reset * functional.linear(state, kernel))


def plain_gru(gru: GruBefore) -> nn.GRU:
    plain = nn.GRU(gru.input_size, gru.hidden_size, batch_first=True)
    plain.load_state_dict(gru.state_dict())
    return plain


def order(*gates: int) -> Callable[[Tensor], Tensor]:
    """The gates of a weight or bias in another order."""
    return lambda tensor: torch.cat([tensor.chunk(len(gates))[gate] for gate in gates])


def in_parts(
    module: str, function: Callable[[Tensor], Tensor], parts: Any = PARTS, suffix: str = "_l0"
) -> Change:
    return together(*(change(f"{module}.{part}{suffix}", function) for part in parts))


def added(value: float, gate: int) -> Callable[[Tensor], Tensor]:
    """A bias of four gates with this much added to one."""

    def function(bias: Tensor) -> Tensor:
        bias = bias.clone()
        bias.view(4, -1)[gate] += value
        return bias

    return function


def each_transposed(gates: int) -> Callable[[Tensor], Tensor]:
    return lambda kernel: torch.cat([one.T for one in kernel.chunk(gates)])


def directions(fault: Callable[[str], Change]) -> Change:
    return together(fault("_l0"), fault("_l0_reverse"))


def bias_twice(module: str, suffix: str) -> Change:
    def fault(net: nn.Module) -> None:
        state = net.state_dict(keep_vars=True)
        state[f"{module}.bias_hh{suffix}"].data = state[f"{module}.bias_ih{suffix}"].data.clone()

    return fault


def biases_summed(net: Any) -> None:
    """As in a GRU that resets before its kernel, where the two are one."""
    ours, theirs = net.gru.bias_ih_l0, net.gru.bias_hh_l0
    ours.data, theirs.data = ours.data + theirs.data, torch.zeros_like(theirs.data)


BIAS = {"values", "gate bias"}

FAULTS = {
    "LSTM gates as TensorFlow 1 orders them": Fault(
        directions(lambda suffix: in_parts("encoder", order(0, 2, 1, 3), suffix=suffix)),
        "encoder",
        "gate order",
        "encoder",
    ),
    "LSTM gates i f o c": Fault(
        directions(lambda suffix: in_parts("encoder", order(0, 1, 3, 2), suffix=suffix)),
        "encoder",
        "gate order",
        "encoder",
    ),
    "LSTM gates of one direction": Fault(
        in_parts("encoder", order(0, 2, 1, 3), suffix="_l0_reverse"), "encoder", "gate order", "encoder"
    ),
    "LSTM gates of the recurrent kernels": Fault(
        directions(lambda suffix: in_parts("encoder", order(0, 2, 1, 3), ["weight_hh"], suffix)),
        "encoder",
        "gate order",
        "encoder",
    ),
    "LSTM bias in both places": Fault(
        directions(lambda suffix: bias_twice("encoder", suffix)), "encoder", BIAS, "encoder"
    ),
    "LSTM bias of one direction twice": Fault(bias_twice("encoder", "_l0"), "encoder", BIAS, "encoder"),
    "LSTM forget bias added": Fault(
        directions(lambda suffix: change(f"encoder.bias_ih{suffix}", added(1.0, 1))),
        "encoder",
        {*BIAS, "gate bias"},
        "encoder",
    ),
    "LSTM directions exchanged": Fault(
        together(*(exchange(f"encoder.{part}_l0", f"encoder.{part}_l0_reverse") for part in PARTS)),
        "encoder",
        {"exchanged parameters", "exchanged weights"},
        "encoder",
    ),
    "LSTM recurrent kernels transposed": Fault(
        directions(lambda suffix: change(f"encoder.weight_hh{suffix}", each_transposed(4))),
        "encoder",
        "square weight",
        "encoder",
    ),
    "input reversed in time": Fault(become("", InputReversed), "encoder", {"input", "time"}, "", "encoder"),
    "directions concatenated in the other order": Fault(
        become("", DirectionsExchanged), "gru", {"branch order", "exchanged parameters"}, "", "gru", "encoder"
    ),
    "GRU reversed in time": Fault(become("", Reversed), "gru", "time", "", "gru"),
    "GRU gates": Fault(in_parts("gru", order(1, 0, 2)), "gru", "gate order", "gru"),
    "GRU gates of the biases": Fault(
        in_parts("gru", order(1, 0, 2), ["bias_ih", "bias_hh"]), "gru", "gate order", "gru"
    ),
    "GRU gates r n z": Fault(in_parts("gru", order(0, 2, 1)), "gru", "gate order", "gru"),
    "GRU biases summed": Fault(biases_summed, "gru", set()),
    "GRU biases exchanged": Fault(
        exchange("gru.bias_ih_l0", "gru.bias_hh_l0"), "gru", {*BIAS, "exchanged weights"}, "gru"
    ),
    "GRU bias in both places": Fault(bias_twice("gru", "_l0"), "gru", set()),
    "GRU kernels exchanged": Fault(
        exchange("gru.weight_ih_l0", "gru.weight_hh_l0"),
        "gru",
        {"exchanged weights", "exchanged parameters"},
        "gru",
    ),
    "GRU recurrent kernel transposed": Fault(
        change("gru.weight_hh_l0", each_transposed(3)), "gru", "square weight", "gru"
    ),
    "first step instead of the last": Fault(become("", FirstStep), "logits", "time", "", "logits", "gru"),
    "mean of the steps": Fault(become("", MeanOfSteps), "logits", {"time", "reduction"}, "", "logits", "gru"),
    "softmax too many": Fault(
        put("logits", lambda layer: nn.Sequential(layer, nn.Softmax(-1))), "logits", "activation", "logits"
    ),
    "moving averages": Fault(perturbed, "encoder", set()),
}

BEFORE_FAULTS = {
    "torch's GRU": Fault(put("gru", plain_gru), "gru", "reset", "gru"),
    "reset after the kernel": Fault(become("gru", ResetAfter), "gru", "reset", "gru"),
    "gates": Fault(in_parts("gru", order(1, 0, 2), PARTS[:3]), "gru", "gate order", "gru"),
    "hard sigmoid": Fault(become("gru", HardGru), "gru", "activation", "gru"),
    "hard sigmoid of Keras 2": Fault(become("gru", OldHardGru), "gru", "activation", "gru"),
    "relu in place of tanh": Fault(become("gru", ReluGru), "gru", "activation", "gru"),
    "recurrent kernel transposed": Fault(
        change("gru.weight_hh_l0", each_transposed(3)), "gru", "square weight", "gru"
    ),
    "bias of the dense layer doubled": Fault(
        change("logits.bias", lambda bias: 2 * bias), "logits", "values", "logits"
    ),
}


def layers(fault: Callable[[str], Change]) -> Change:
    return together(fault("_l0"), fault("_l1"))


TF1_FAULTS = {
    "forget bias missing": Fault(
        layers(lambda suffix: change(f"lstm.bias_ih{suffix}", added(-1.0, 1))),
        "lstm",
        {*BIAS, "gate bias"},
        "lstm",
    ),
    "forget bias missing in one layer": Fault(
        change("lstm.bias_ih_l1", added(-1.0, 1)), "lstm", {*BIAS, "gate bias"}, "lstm"
    ),
    "forget bias at the input gate": Fault(
        layers(lambda suffix: change(f"lstm.bias_ih{suffix}", lambda b: added(1.0, 0)(added(-1.0, 1)(b)))),
        "lstm",
        {*BIAS, "gate bias"},
        "lstm",
    ),
    "gates not reordered": Fault(
        layers(lambda suffix: in_parts("lstm", order(0, 2, 1, 3), suffix=suffix)),
        "lstm",
        "gate order",
        "lstm",
    ),
    "gates not reordered, forget bias where torch has it": Fault(
        together(
            layers(lambda suffix: change(f"lstm.bias_ih{suffix}", added(-1.0, 1))),
            layers(lambda suffix: in_parts("lstm", order(0, 2, 1, 3), suffix=suffix)),
            layers(lambda suffix: change(f"lstm.bias_ih{suffix}", added(1.0, 1))),
        ),
        "lstm",
        {"gate order", "gate bias", *BIAS},
        "lstm",
    ),
    "gates o and g exchanged": Fault(
        layers(lambda suffix: in_parts("lstm", order(0, 1, 3, 2), suffix=suffix)),
        "lstm",
        "gate order",
        "lstm",
    ),
    "bias in both places": Fault(layers(lambda suffix: bias_twice("lstm", suffix)), "lstm", BIAS, "lstm"),
    "state before the input": Fault(
        layers(lambda suffix: exchange(f"lstm.weight_ih{suffix}", f"lstm.weight_hh{suffix}")),
        "lstm",
        {"exchanged weights", "exchanged parameters"},
        "lstm",
    ),
    "layers exchanged": Fault(
        together(*(exchange(f"lstm.{part}_l0", f"lstm.{part}_l1") for part in PARTS)),
        "lstm",
        "exchanged weights",
        "lstm",
    ),
}

NETWORKS = [
    Network("recurrent", MAPPING, keras_model, partial(loaded, MAPPING), FAULTS),
    Network("gru_before", BEFORE_MAPPING, keras_before, partial(loaded, BEFORE_MAPPING), BEFORE_FAULTS),
    Network("lstm_tf1", TF1_MAPPING, keras_tf1, partial(loaded, TF1_MAPPING), TF1_FAULTS),
]
