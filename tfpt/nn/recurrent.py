"""GRU and LSTM with the variants of Keras and TensorFlow 1 that ``torch.nn.GRU`` and ``nn.LSTM`` cannot compute.

Parameters have torch's names, shapes and order of gates. How TensorFlow's variables become them:

=============================== =========================== ====================================================
TensorFlow                      gates along its last axis   here
=============================== =========================== ====================================================
Keras GRU `kernel`              z (update), r (reset), n    `weight_ih_l0`, transposed, gates r, z, n
Keras GRU `recurrent_kernel`    z, r, n                     `weight_hh_l0`, transposed, gates r, z, n
Keras GRU `bias`                z, r, n                     `bias_ih_l0`; with `reset_after` it is (2, 3 * units): its
                                                            rows are `bias_ih_l0` and `bias_hh_l0`
TF1 GRUCell `gates/kernel`      r, z; rows: input, state    the first two gates of `weight_ih_l0`, `weight_hh_l0`
TF1 GRUCell `candidate/kernel`  n; rows: input, state       their third gate
Keras LSTM `kernel`, `bias`     i, f, g, o                  `weight_ih_l0`, `bias_ih_l0`: torch's order; `bias_hh_l0` 0
TF1 LSTMCell `kernel`           i, g, f, o                  gates i, f, g, o; rows: first the input, `weight_ih_l0`,
                                                            then the state, `weight_hh_l0`
TF1 `w_i_diag`, `w_f_diag` …    –                           `weight_ci_l0`, `weight_cf_l0`, `weight_co_l0`
TF1 `projection/kernel`         –                           `weight_hr_l0`, transposed
=============================== =========================== ====================================================

In a mapping, `reorder:` permutes the gates. Sources: ``keras/src/layers/rnn/gru.py`` and ``lstm.py``, and
``tensorflow/python/keras/layers/legacy_rnn/rnn_cell_impl.py``.

Layers that compute what torch's do are run by torch's operators; the others step by step, as sequences of plain torch
operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tfpt.errors import ModelError
from tfpt.nn.activations import activation as activation_named

__all__ = ["Activation", "Recurrent", "stock_layer"]

Activation = str | Callable[[Tensor], Tensor]


class Recurrent(nn.Module):
    """The common part: parameters by torch's names, directions, and the order of the axes."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        batch_first: bool,
        bidirectional: bool,
        activation: Activation,
        recurrent_activation: Activation,
        go_backwards: bool,
        shapes: dict[str, tuple[int, ...]],
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if min(input_size, hidden_size) < 1:
            raise ModelError(
                "the sizes of a recurrent layer do not fit",
                expected="integers of at least 1",
                got=f"input_size={input_size}, hidden_size={hidden_size}",
            )
        if bidirectional and go_backwards:
            raise ModelError("a bidirectional layer cannot go backwards: its second direction does")
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.batch_first, self.bidirectional, self.go_backwards = batch_first, bidirectional, go_backwards
        self.activation, self.recurrent_activation = activation, recurrent_activation
        self._activate = activation_named(activation)
        self._gate = activation_named(recurrent_activation)
        self._suffixes = ("_l0", "_l0_reverse") if bidirectional else ("_l0",)
        for suffix in self._suffixes:
            for name, shape in shapes.items():
                parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(f"{name}{suffix}", parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform random numbers up to ``1 / sqrt(hidden_size)``, as in torch."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _weights(self, suffix: str) -> dict[str, Tensor]:
        names = [name for name in self._parameters if name.partition("_l0")[2] == suffix.removeprefix("_l0")]
        return {name.partition("_l0")[0]: getattr(self, name) for name in names}

    def _as_steps(self, x: Tensor) -> tuple[Tensor, bool]:
        """The input as (time, batch, features), and whether it has a batch."""
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            axes = "batch, time" if self.batch_first else "time, batch"
            raise ModelError(
                "the input of a recurrent layer does not fit",
                expected=f"{axes}, {self.input_size} features; or time, {self.input_size} features",
                got=str(tuple(x.shape)),
            )
        batched = x.ndim == 3
        steps = x.unsqueeze(1) if not batched else x.transpose(0, 1) if self.batch_first else x
        if steps.shape[0] == 0:
            raise ModelError("a recurrent layer needs at least one step", got=str(tuple(x.shape)))
        return steps, batched

    def _initial(self, given: Tensor | None, steps: Tensor, size: int, batched: bool) -> list[Tensor]:
        """The initial state of each direction, (batch, size)."""
        shape = (len(self._suffixes), steps.shape[1], size)
        if given is None:
            return list(steps.new_zeros(shape).unbind(0))
        state = given if batched else given.unsqueeze(1)
        if tuple(state.shape) != shape:
            raise ModelError(
                "the initial state of a recurrent layer does not fit",
                expected=str(shape if batched else (shape[0], size)),
                got=str(tuple(given.shape)),
            )
        return list(state.unbind(0))

    def _as_output(self, outputs: list[Tensor], batched: bool) -> Tensor:
        joined = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        return joined.squeeze(1) if not batched else joined.transpose(0, 1) if self.batch_first else joined

    def _is_backwards(self, suffix: str) -> bool:
        return self.go_backwards or suffix.endswith("_reverse")

    def _is_standard(self) -> bool:
        """Whether the activations are those of torch's layers."""
        return self.activation == "tanh" and self.recurrent_activation == "sigmoid"

    def _flat_weights(self) -> list[Tensor]:
        """The parameters in the order of torch's operators."""
        flat = []
        for suffix in self._suffixes:
            weights = self._weights(suffix)
            names = ["weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if self.bias else ())]
            flat += [weights[name] for name in [*names, *(["weight_hr"] if "weight_hr" in weights else [])]]
        return flat

    def _settings(self) -> list[str]:
        return []

    def extra_repr(self) -> str:
        """The sizes, and the settings that are not the default ones."""
        parts = [f"{self.input_size}, {self.hidden_size}"]
        parts += [] if self.bias else ["bias=False"]
        parts += [
            f"{key}=True" for key in ("batch_first", "bidirectional", "go_backwards") if getattr(self, key)
        ]
        for key, default in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
            value = getattr(self, key)
            parts += [] if value == default else [f"{key}={value!r}"]
        return ", ".join([*parts, *self._settings()])


def stock_layer(kind: Any, layer: Recurrent, **more: Any) -> nn.Module:
    """A layer of torch with copies of the weights, in which they are in one piece, as cuDNN needs them."""
    weight = layer.get_parameter("weight_ih_l0")
    stock: nn.Module = kind(
        layer.input_size,
        layer.hidden_size,
        bias=layer.bias,
        batch_first=layer.batch_first,
        bidirectional=layer.bidirectional,
        device=weight.device,
        dtype=weight.dtype,
        **more,
    )
    stock.load_state_dict(layer.state_dict())
    return stock.train(layer.training)
