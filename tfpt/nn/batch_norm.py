"""Batch normalization with Keras's options: without scale, without center, its epsilon and its momentum."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]


class _KerasBatchNorm(_BatchNorm):
    """The common part for any number of dimensions.

    Attributes:
        weight: The scale (Keras's gamma), or ``None``.
        bias: The center (Keras's beta), or ``None``.
        momentum: Torch's: the weight of the batch, 1 minus Keras's.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-3,
        momentum: float = 0.99,
        scale: bool = True,
        center: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.scale, self.center = scale, center
        super().__init__(num_features, eps, 1 - momentum, True, True, device, dtype)  # type: ignore[arg-type]
        if not scale:
            self.register_parameter("weight", None)
        if not center:
            self.register_parameter("bias", None)
        self.affine = scale or center

    def reset_parameters(self) -> None:
        """Statistics of mean 0 and variance 1, scale 1 and center 0."""
        self.reset_running_stats()
        for parameter, value in ((self.weight, 1.0), (self.bias, 0.0)):
            if parameter is not None:
                nn.init.constant_(parameter, value)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalize the activations; in training mode also update the statistics."""
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        mean, variance = self.running_mean, self.running_var
        assert mean is not None
        assert variance is not None
        if not self.training:
            return functional.batch_norm(input, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
        batch_mean, batch_variance = torch.zeros_like(mean), torch.ones_like(variance)
        output = functional.batch_norm(
            input, batch_mean, batch_variance, self.weight, self.bias, True, 1.0, self.eps
        )
        with torch.no_grad():
            count = input.numel() // input.shape[1]
            assert self.momentum is not None
            mean.lerp_(batch_mean, self.momentum)
            # Torch's batch variance is divided by count - 1, Keras's by count.
            variance.lerp_(batch_variance * ((count - 1) / count), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return output

    def extra_repr(self) -> str:
        """The settings in Keras's terms."""
        assert self.momentum is not None
        return (
            f"{self.num_features}, eps={self.eps}, momentum={round(1 - self.momentum, 9)}, "
            f"scale={self.scale}, center={self.center}"
        )


class BatchNorm1d(_KerasBatchNorm, nn.BatchNorm1d):
    """Batch normalization as ``keras.layers.BatchNormalization`` computes it, in inference and in training.

    Input and output are (batch, channels) or (batch, channels, width), in the dtype of the parameters. Parameters and
    buffers have torch's names: `weight` is gamma, `bias` beta, `running_mean` and `running_var` the moving averages. A
    parameter that is left out is ``None`` and not in the state dict.

    In training, Keras updates the moving variance with the batch's sum of squares divided by the number of values, and
    torch with that divided by one less (``keras/src/layers/normalization/batch_normalization.py``, `_moments`). These
    layers do as Keras 3. The fused kernel of TensorFlow that Keras 2 and TF1 use does as torch.

    Args:
        num_features: Number of channels.
        eps: Added to the variance; Keras's default, not torch's 1e-5.
        momentum: In Keras's sense: the weight of the old statistics, ``1 - momentum`` of torch. The attribute
            `momentum` is torch's.
        scale: Whether there is a factor, `weight`.
        center: Whether there is a summand, `bias`.
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Raises:
        ValueError: When called: the input has another number of dimensions, or, in training, one value per channel.

    Example:
        >>> norm = BatchNorm1d(5, scale=False)
        >>> norm, list(norm.state_dict())[:3]
        (BatchNorm1d(5, eps=0.001, momentum=0.99, scale=False, center=True), ['bias', 'running_mean', 'running_var'])
    """


class BatchNorm2d(_KerasBatchNorm, nn.BatchNorm2d):
    """Batch normalization of (batch, channels, height, width); arguments as for `BatchNorm1d`.

    Example:
        >>> BatchNorm2d(5, eps=1e-5, center=False)(torch.zeros(1, 5, 7, 8)).shape
        torch.Size([1, 5, 7, 8])
    """


class BatchNorm3d(_KerasBatchNorm, nn.BatchNorm3d):
    """Batch normalization of (batch, channels, time, height, width); arguments as for `BatchNorm1d`.

    Example:
        >>> BatchNorm3d(5, momentum=0.9).momentum  # torch's: the weight of the batch
        0.09999999999999998
    """
