"""A gated recurrent unit with the reset gate where Keras or TensorFlow 1 has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tfpt.nn.recurrent import Activation, Recurrent, stock_layer

__all__ = ["GRU"]


class GRU(Recurrent):
    """A gated recurrent unit as in Keras and TensorFlow 1, in one layer.

    Input is (time, batch, features), or (batch, time, features) with `batch_first`, the batch optional; the initial
    state is (directions, batch, hidden_size). Output is the sequence of states, (time, batch, directions *
    hidden_size), and the last states, as from ``torch.nn.GRU``. `tfpt.nn.recurrent` says how variables become
    parameters.

    Args:
        input_size: Number of features.
        hidden_size: Number of units.
        bias: Whether there are biases.
        batch_first: Whether the batch is the first axis of input and output.
        bidirectional: Whether a second direction runs from the end. Its outputs are in the order of the input, as from
            Keras's `Bidirectional` with ``merge_mode="concat"``.
        activation: The activation of the candidate: a name of `tfpt.nn.activations`, or a function.
        recurrent_activation: That of the gates.
        reset_after: Whether the reset gate is applied after the matrix product with the state, as in torch and by
            default in Keras; then there is `bias_hh_l0`. ``False`` is TF1's GRUCell and Keras's ``reset_after=False``,
            where the gate multiplies the state before the product, and there is no `bias_hh_l0`.
        go_backwards: Whether the sequence is read from its end. Outputs are in the order in which they are computed,
            as in Keras.
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Raises:
        ModelError: A size is below 1, there is no such activation, or a bidirectional layer is to go backwards; or,
            when called, the input or the state does not fit.

    Example:
        >>> gru = GRU(3, 5, batch_first=True, reset_after=False)
        >>> outputs, last = gru(torch.randn(2, 7, 3))
        >>> outputs.shape, last.shape, torch.equal(outputs[:, -1], last[0])
        (torch.Size([2, 7, 5]), torch.Size([1, 2, 5]), True)
        >>> [name for name, _ in gru.named_parameters()]
        ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0']
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        reset_after: bool = True,
        go_backwards: bool = False,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.reset_after = reset_after
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (3 * hidden_size, input_size),
            "weight_hh": (3 * hidden_size, hidden_size),
        }
        if bias:
            shapes["bias_ih"] = (3 * hidden_size,)
        if bias and reset_after:
            shapes["bias_hh"] = (3 * hidden_size,)
        super().__init__(
            input_size,
            hidden_size,
            bias,
            batch_first,
            bidirectional,
            activation,
            recurrent_activation,
            go_backwards,
            shapes,
            device,
            dtype,
        )

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the outputs and the last states.

        Raises:
            ModelError: The input or the initial state does not fit.
        """
        steps, batched = self._as_steps(x)
        states = self._initial(state, steps, self.hidden_size, batched)
        if self.reset_after and self._is_standard():
            steps = steps.flip(0) if self.go_backwards else steps
            settings = (self.bias, 1, 0.0, self.training, self.bidirectional, False)
            outputs, last = torch.gru(steps, torch.stack(states), self._flat_weights(), *settings)
            return self._as_output([outputs], batched), last if batched else last.squeeze(1)
        found, ends = [], []
        for suffix, h in zip(self._suffixes, states, strict=True):
            sequence = self._sequence(steps, h, suffix)
            ends.append(sequence[-1])
            found.append(torch.stack(sequence[::-1] if suffix.endswith("_reverse") else sequence))
        last = torch.stack(ends)
        return self._as_output(found, batched), last if batched else last.squeeze(1)

    def _sequence(self, steps: Tensor, h: Tensor, suffix: str) -> list[Tensor]:
        """The states of one direction, in the order in which they are computed."""
        weights, n = self._weights(suffix), 2 * self.hidden_size
        products = functional.linear(steps, weights["weight_ih"], weights.get("bias_ih")).unbind(0)
        weight, bias = weights["weight_hh"], weights.get("bias_hh")
        sequence = []
        for product in products[::-1] if self._is_backwards(suffix) else products:
            x_gates, x_candidate = product[:, :n], product[:, n:]
            if self.reset_after:
                recurrent = functional.linear(h, weight, bias)
                reset, update = self._gate(x_gates + recurrent[:, :n]).chunk(2, -1)
                candidate = self._activate(x_candidate + reset * recurrent[:, n:])
            else:
                reset, update = self._gate(x_gates + functional.linear(h, weight[:n])).chunk(2, -1)
                candidate = self._activate(x_candidate + functional.linear(reset * h, weight[n:]))
            h = update * h + (1 - update) * candidate
            sequence.append(h)
        return sequence

    def optimized(self) -> nn.Module:
        """Torch's own layer if it computes the same, with the weights in one piece; else this one."""
        if not (self.reset_after and self._is_standard()) or self.go_backwards:
            return self
        return stock_layer(nn.GRU, self)

    def _settings(self) -> list[str]:
        return [] if self.reset_after else ["reset_after=False"]
