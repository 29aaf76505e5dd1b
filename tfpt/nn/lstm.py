"""A long short-term memory with TensorFlow 1's peepholes, projection, clips and forget bias."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tfpt.errors import ModelError
from tfpt.nn.recurrent import Activation, Recurrent, stock_layer

__all__ = ["LSTM"]


class LSTM(Recurrent):
    """A long short-term memory as in Keras and TensorFlow 1, in one layer.

    Input, initial states and outputs are those of ``torch.nn.LSTM``: (time, batch, features), or (batch, time,
    features) with `batch_first`, the batch optional; the states are a pair, of (directions, batch, `proj_size` or
    hidden_size) and (directions, batch, hidden_size). `tfpt.nn.recurrent` says how variables become parameters.

    Args:
        input_size: Number of features.
        hidden_size: Number of units.
        bias: Whether there are biases.
        batch_first: Whether the batch is the first axis of input and output.
        bidirectional: Whether a second direction runs from the end; see `GRU`.
        activation: The activation of the candidate and of the cell: a name of `tfpt.nn.activations`, or a function.
        recurrent_activation: That of the gates.
        go_backwards: Whether the sequence is read from its end; see `GRU`.
        proj_size: The size to which the output is projected (TF1's `num_proj`); 0 for none.
        peepholes: Whether the gates see the cell (TF1's `use_peepholes`), by the weights `weight_ci_l0`,
            `weight_cf_l0` and `weight_co_l0`, each (hidden_size,).
        forget_bias: Added to the forget gate, beside its bias. TF1's cells have 1.0 by default, which is not in the
            checkpoint; Keras has it in the bias.
        cell_clip: The largest absolute value of the cell (TF1's `cell_clip`).
        proj_clip: The largest absolute value of the projected output (TF1's `proj_clip`).
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Raises:
        ModelError: A size is below 1, there is no such activation, or options exclude each other; or, when called, the
            input or the states do not fit.

    Example:
        >>> lstm = LSTM(3, 5, peepholes=True, forget_bias=1.0, cell_clip=3.0, proj_size=2)
        >>> outputs, (h, c) = lstm(torch.randn(7, 4, 3))
        >>> outputs.shape, h.shape, c.shape
        (torch.Size([7, 4, 2]), torch.Size([1, 4, 2]), torch.Size([1, 4, 5]))
        >>> lstm.weight_cf_l0.shape, lstm.weight_hr_l0.shape
        (torch.Size([5]), torch.Size([2, 5]))
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
        go_backwards: bool = False,
        proj_size: int = 0,
        peepholes: bool = False,
        forget_bias: float = 0.0,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if proj_size < 0 or (proj_clip is not None and not proj_size):
            raise ModelError(
                "the projection does not fit",
                expected="proj_size of at least 1 to project, and then perhaps proj_clip",
                got=f"proj_size={proj_size}, proj_clip={proj_clip}",
            )
        if any(clip is not None and clip <= 0 for clip in (cell_clip, proj_clip)):
            raise ModelError("a clip has to be positive", got=f"cell_clip={cell_clip}, proj_clip={proj_clip}")
        self.proj_size, self.peepholes, self.forget_bias = proj_size, peepholes, forget_bias
        self.cell_clip, self.proj_clip = cell_clip, proj_clip
        gates = 4 * hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (gates, input_size),
            "weight_hh": (gates, proj_size or hidden_size),
        }
        if bias:
            shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
        if proj_size:
            shapes["weight_hr"] = (proj_size, hidden_size)
        if peepholes:
            shapes |= dict.fromkeys(("weight_ci", "weight_cf", "weight_co"), (hidden_size,))
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

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Compute the outputs and the last states.

        Raises:
            ModelError: The input or an initial state does not fit.
        """
        steps, batched = self._as_steps(x)
        given = (None, None) if state is None else state
        outputs_before = self._initial(given[0], steps, self.proj_size or self.hidden_size, batched)
        cells_before = self._initial(given[1], steps, self.hidden_size, batched)
        if self._is_torchs() and not self.forget_bias:
            steps = steps.flip(0) if self.go_backwards else steps
            states = [torch.stack(outputs_before), torch.stack(cells_before)]
            settings = (self.bias, 1, 0.0, self.training, self.bidirectional, False)
            outputs, h, c = torch.lstm(steps, states, self._flat_weights(), *settings)
            found = [outputs]
        else:
            found, ends = [], []
            for suffix, *before in zip(self._suffixes, outputs_before, cells_before, strict=True):
                sequence, cell = self._sequence(steps, *before, suffix)
                ends.append((sequence[-1], cell))
                found.append(torch.stack(sequence[::-1] if suffix.endswith("_reverse") else sequence))
            h, c = (torch.stack(each) for each in zip(*ends, strict=True))
        last = (h, c) if batched else (h.squeeze(1), c.squeeze(1))
        return self._as_output(found, batched), last

    def _sequence(self, steps: Tensor, h: Tensor, c: Tensor, suffix: str) -> tuple[list[Tensor], Tensor]:
        """The outputs of one direction, in the order in which they are computed, and the last cell."""
        weights = self._weights(suffix)
        products = functional.linear(steps, weights["weight_ih"], weights.get("bias_ih")).unbind(0)
        sequence = []
        for product in products[::-1] if self._is_backwards(suffix) else products:
            gates = product + functional.linear(h, weights["weight_hh"], weights.get("bias_hh"))
            i, f, g, o = gates.chunk(4, -1)
            f = f + self.forget_bias
            if self.peepholes:
                i, f = i + weights["weight_ci"] * c, f + weights["weight_cf"] * c
            c = self._gate(f) * c + self._gate(i) * self._activate(g)
            if self.cell_clip is not None:
                c = c.clamp(-self.cell_clip, self.cell_clip)
            if self.peepholes:
                o = o + weights["weight_co"] * c
            h = self._gate(o) * self._activate(c)
            if self.proj_size:
                h = functional.linear(h, weights["weight_hr"])
                if self.proj_clip is not None:
                    h = h.clamp(-self.proj_clip, self.proj_clip)
            sequence.append(h)
        return sequence, c

    def _is_torchs(self) -> bool:
        """Whether torch's layer computes the same, apart from the forget bias."""
        clips = self.cell_clip is not None or self.proj_clip is not None
        return self._is_standard() and not self.peepholes and not clips

    def optimized(self) -> nn.Module:
        """Torch's own layer if it computes the same, with the forget bias added to its bias; else this one."""
        if not self._is_torchs() or self.go_backwards or (self.forget_bias and not self.bias):
            return self
        faster = stock_layer(nn.LSTM, self, proj_size=self.proj_size)
        n = self.hidden_size
        if self.forget_bias:
            with torch.no_grad():
                for suffix in self._suffixes:
                    getattr(faster, f"bias_ih{suffix}")[n : 2 * n] += self.forget_bias
        return faster

    def _settings(self) -> list[str]:
        parts = [f"{key}={getattr(self, key)}" for key in ("proj_size", "forget_bias") if getattr(self, key)]
        parts += ["peepholes=True"] if self.peepholes else []
        clips = [(key, getattr(self, key)) for key in ("cell_clip", "proj_clip")]
        return parts + [f"{key}={value}" for key, value in clips if value is not None]
