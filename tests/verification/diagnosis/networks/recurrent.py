"""Recurrent networks: a bidirectional LSTM before a GRU; a GRU that resets before its kernel; LSTMs of TensorFlow 1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.verification.diagnosis.networks.network import filled

# The GRU's units are twice the LSTM's, so that its kernel and recurrent kernel are of one shape.
STEPS, INPUTS, UNITS = 9, 5, 7

_HEAD = """\
  - {tf: logits/kernel, pt: logits.weight, layout: "i o -> o i"}
  - {tf: logits/bias,   pt: logits.bias}
"""

MAPPING = f"""\
version: 1
summary: a bidirectional LSTM and a GRU
model: {{factory: "tests.verification.diagnosis.networks.recurrent:Net"}}
weights:
  - {{tf: "encoder/{{d:forward=|backward=_reverse}}_lstm/lstm_cell/kernel",
     pt: "encoder.weight_ih_l0{{d}}", layout: "i g -> g i"}}
  - {{tf: "encoder/{{d:forward=|backward=_reverse}}_lstm/lstm_cell/recurrent_kernel",
     pt: "encoder.weight_hh_l0{{d}}", layout: "h g -> g h"}}
  - {{tf: "encoder/{{d:forward=|backward=_reverse}}_lstm/lstm_cell/bias", pt: "encoder.bias_ih_l0{{d}}"}}
  - {{pt: encoder.bias_hh_l0, fill: 0}}
  - {{pt: encoder.bias_hh_l0_reverse, fill: 0}}
  - {{tf: gru/gru_cell/kernel, pt: gru.weight_ih_l0, layout: "i g -> g i",
     reorder: {{axis: g, groups: [z, r, n], as: [r, z, n]}}}}
  - {{tf: gru/gru_cell/recurrent_kernel, pt: gru.weight_hh_l0, layout: "h g -> g h",
     reorder: {{axis: g, groups: [z, r, n], as: [r, z, n]}}}}
  - {{tf: gru/gru_cell/bias, pt: [gru.bias_ih_l0, gru.bias_hh_l0], layout: "b g -> b g",
     reorder: {{axis: g, groups: [z, r, n], as: [r, z, n]}}}}
{_HEAD}\
endpoints:
  - {{tf: encoder, pt: encoder}}
  - {{tf: gru,     pt: gru}}
  - {{tf: logits,  pt: logits}}
input: {{layout: "b t c -> b t c", range: [-2, 2]}}
"""

BEFORE_MAPPING = f"""\
version: 1
summary: a GRU that resets before its recurrent kernel
model: {{factory: "tests.verification.diagnosis.networks.recurrent:BeforeNet"}}
weights:
  - {{tf: gru/gru_cell/kernel, pt: gru.weight_ih_l0, layout: "i g -> g i",
     reorder: {{axis: g, groups: [z, r, n], as: [r, z, n]}}}}
  - {{tf: gru/gru_cell/recurrent_kernel, pt: gru.weight_hh_l0, layout: "h g -> g h",
     reorder: {{axis: g, groups: [z, r, n], as: [r, z, n]}}}}
  - {{tf: gru/gru_cell/bias, pt: gru.bias_ih_l0, layout: "g -> g",
     reorder: {{axis: g, groups: [z, r, n], as: [r, z, n]}}}}
  - {{pt: gru.bias_hh_l0, fill: 0}}
{_HEAD}\
endpoints:
  - {{tf: gru,    pt: gru}}
  - {{tf: logits, pt: logits}}
input: {{layout: "b t c -> b t c", range: [-2, 2]}}
"""

# Layer 1 has the same shapes as layer 0.
TF1_MAPPING = f"""\
version: 1
summary: two LSTM cells of TensorFlow 1, one on the other
model: {{factory: "tests.verification.diagnosis.networks.recurrent:Tf1Net"}}
weights:
  - {{tf: "lstm/stacked_rnn_cells/cell_{{i:0|1}}/kernel",
     pt: ["lstm.weight_ih_l{{i}}", "lstm.weight_hh_l{{i}}"], layout: "x g -> g x", split: x,
     reorder: {{axis: g, groups: [i, g, f, o], as: [i, f, g, o]}}}}
  - {{tf: "lstm/stacked_rnn_cells/cell_{{i:0|1}}/bias", pt: "lstm.bias_ih_l{{i}}", layout: "g -> g",
     reorder: {{axis: g, groups: [i, g, f, o], as: [i, f, g, o]}},
     add: {{axis: g, groups: [i, f, g, o], values: {{f: 1}}}}}}
  - {{pt: lstm.bias_hh_l0, fill: 0}}
  - {{pt: lstm.bias_hh_l1, fill: 0}}
{_HEAD}\
endpoints:
  - {{tf: lstm,   pt: lstm}}
  - {{tf: logits, pt: logits}}
input: {{layout: "b t c -> b t c", range: [-2, 2]}}
"""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(INPUTS, UNITS, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(2 * UNITS, 2 * UNITS, batch_first=True)
        self.logits = nn.Linear(2 * UNITS, 11)

    def before(self, x: Tensor) -> Tensor:
        """What the GRU is fed."""
        return x

    def last(self, x: Tensor) -> Tensor:
        return x[:, -1]

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.encoder(x)
        x, _ = self.gru(self.before(x))
        return self.logits(self.last(x))


class GruBefore(nn.GRU):
    """A GRU that resets the state before its recurrent kernel, which torch's does afterwards."""

    recurrent = staticmethod(torch.sigmoid)

    def candidate(self, given: Tensor, reset: Tensor, state: Tensor, kernel: Tensor) -> Tensor:
        return torch.tanh(given + functional.linear(reset * state, kernel))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        given = functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        kernels = self.weight_hh_l0.chunk(3)
        state = x.new_zeros(len(x), self.hidden_size)
        states = []
        for step in given.unbind(1):
            parts = step.chunk(3, -1)
            reset, update = (
                self.recurrent(part + functional.linear(state, kernel))
                for part, kernel in zip(parts[:2], kernels[:2], strict=True)
            )
            state = update * state + (1 - update) * self.candidate(parts[2], reset, state, kernels[2])
            states.append(state)
        return torch.stack(states, 1), state[None]


class BeforeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = GruBefore(INPUTS, 6, batch_first=True)
        self.logits = nn.Linear(6, 11)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.gru(x)[0])


class Tf1Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 6, 2, batch_first=True)
        self.logits = nn.Linear(6, 11)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.lstm(x)[0])


def keras_model() -> Any:
    import keras
    from keras import layers

    x = inputs = keras.Input((STEPS, INPUTS))
    x = layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True, name="lstm"), name="encoder")(x)
    x = layers.GRU(2 * UNITS, return_sequences=True, name="gru")(x)
    x = layers.Dense(11, name="logits")(x[:, -1])
    return filled(keras.Model(inputs, x), 19)


def keras_before() -> Any:
    import keras
    from keras import layers

    x = inputs = keras.Input((STEPS, INPUTS))
    x = layers.GRU(6, reset_after=False, return_sequences=True, name="gru")(x)
    return filled(keras.Model(inputs, layers.Dense(11, name="logits")(x)), 23)


def keras_tf1() -> Any:
    """What `BasicLSTMCell` computes: one kernel for input and state; gates i, j, f and o; a forget bias of 1."""
    import keras
    from keras import layers, ops

    @keras.saving.register_keras_serializable("tfpt.tests")
    class BasicCell(layers.Layer):
        def __init__(self, units: int, **options: Any) -> None:
            super().__init__(**options)
            self.units = units
            self.state_size = [units, units]
            self.output_size = units

        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1] + self.units, 4 * self.units), name="kernel")
            self.bias = self.add_weight(shape=(4 * self.units,), name="bias")

        def call(self, x: Any, states: Any, training: bool = False) -> Any:
            cell, hidden = states
            gates = ops.concatenate([x, hidden], 1) @ self.kernel + self.bias
            i, j, f, o = ops.split(gates, 4, 1)
            cell = cell * ops.sigmoid(f + 1.0) + ops.sigmoid(i) * ops.tanh(j)
            hidden = ops.tanh(cell) * ops.sigmoid(o)
            return hidden, [cell, hidden]

    inputs = keras.Input((STEPS, 6))
    cells = [BasicCell(6, name=f"cell_{index}") for index in range(2)]
    x = layers.RNN(cells, return_sequences=True, name="lstm")(inputs)
    return filled(keras.Model(inputs, layers.Dense(11, name="logits")(x)), 29, 1.5)
