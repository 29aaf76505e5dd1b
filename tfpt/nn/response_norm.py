"""Local response normalization with TensorFlow's constants, which are not torch's."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tfpt.errors import ModelError

__all__ = ["LocalResponseNorm"]


class LocalResponseNorm(nn.Module):
    """Divides each value by a power of the sum of squares in the channels around it, as TensorFlow does.

    ``y[c] = x[c] / (bias + alpha * sum(x[c - depth_radius : c + depth_radius + 1] ** 2)) ** beta``
    (https://www.tensorflow.org/api_docs/python/tf/nn/local_response_normalization). ``torch.nn.LocalResponseNorm(size,
    alpha, beta, k)`` divides its `alpha` by `size`, the number of channels in a window, and TensorFlow does not: with
    the `alpha` of TensorFlow it normalizes too little. `k` is TensorFlow's `bias`; `size` is ``2 * depth_radius + 1``.

    Input and output are (batch, channels, …), in a floating-point dtype; half precision is summed in float32.

    Args:
        depth_radius: The number of channels on each side.
        bias: The number added to the sum.
        alpha: The factor of the sum.
        beta: The exponent.

    Raises:
        ModelError: `depth_radius` is below 0; or, when called, the input has no channels.

    Example:
        >>> x = torch.tensor([[[1.0], [2.0], [2.0]]])
        >>> LocalResponseNorm(depth_radius=1, bias=0.0)(x).flatten()  # squares 5, 9, 8 around the channels
        tensor([0.4472, 0.6667, 0.7071])
    """

    def __init__(
        self, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
    ) -> None:
        super().__init__()
        if depth_radius < 0:
            raise ModelError(
                "depth_radius does not fit", expected="an integer of at least 0", got=repr(depth_radius)
            )
        self.depth_radius, self.bias, self.alpha, self.beta = depth_radius, bias, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        """Compute the normalized activations.

        Raises:
            ModelError: The input has no channels.
        """
        if x.ndim < 2:
            raise ModelError(
                "a local response norm needs channels", expected="batch, channels, …", got=str(tuple(x.shape))
            )
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        # A sum of windows along the channels: an average that is divided by 1.
        rows = values.square().reshape(x.shape[0], 1, x.shape[1], -1)
        window, pads = (2 * self.depth_radius + 1, 1), (self.depth_radius, 0)
        total = functional.avg_pool2d(rows, window, 1, pads, divisor_override=1).reshape(values.shape)
        return (values / (self.bias + self.alpha * total) ** self.beta).to(x.dtype)

    def extra_repr(self) -> str:
        """TensorFlow's arguments."""
        return f"depth_radius={self.depth_radius}, bias={self.bias}, alpha={self.alpha}, beta={self.beta}"
