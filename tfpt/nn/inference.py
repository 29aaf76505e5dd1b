"""Faster layers for inference: a convolution with batch norm and ReLU folded in, and branches without concatenation.

On a CPU both keep activations in torch's channels-last memory format. What they avoid, measured with torch 2.13 on two
cores with AVX-512 (`python benchmarks/forward_i3d.py`):

- torch uses oneDNN's convolution only above 20,480 input rows (aten/src/ATen/native/Convolution.cpp, `use_mkldnn`).
  Below that, at a batch size of one, it uses an unfolding kernel that took 66 of 347 ms. These layers always use
  oneDNN.
- A convolution with kernel size 1 is a single matrix product on channels-last activations, without copies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tfpt.errors import ModelError
from tfpt.nn.padding import pads_per_dimension

_CONVOLUTIONS: dict[int, Any] = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


class FoldedConv(nn.Module):
    """A convolution with fixed weights, a batch norm folded into them, and an optional ReLU.

    Input and output are (batch, channels, …spatial) with one to three spatial dimensions, in the weight's dtype.

    Args:
        conv: A ``torch.nn.Conv1d``, ``Conv2d`` or ``Conv3d``, or one of `tfpt.nn`, whose `tf_padding` is kept.
        norm: The batch norm that follows it, in evaluation mode; folded in float64 and rounded once. Optional.
        relu: Whether a ReLU follows.

    Raises:
        ModelError: The convolution does not pad with zeros, the norm has no running statistics, or, when called, the
            input has another number of dimensions.

    Example:
        >>> conv, norm = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5).eval()
        >>> folded, x = FoldedConv(conv, norm, relu=True), torch.randn(2, 3, 7, 11)
        >>> with torch.no_grad():
        ...     torch.testing.assert_close(folded(x), torch.relu(norm(conv(x))))
    """

    def __init__(self, conv: Any, norm: Any = None, *, relu: bool = False) -> None:
        super().__init__()
        if conv.padding_mode != "zeros":
            raise ModelError("only a convolution that pads with zeros can be folded", got=repr(conv))
        weight, bias = _fold(conv, norm)
        self.dimensions = weight.ndim - 2
        self.weight = nn.Parameter(_channels_last(weight), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.kernel_size, self.stride, self.dilation = conv.kernel_size, conv.stride, conv.dilation
        self.groups, self.in_channels, self.out_channels = conv.groups, conv.in_channels, conv.out_channels
        self.tf_padding: str | None = getattr(conv, "tf_padding", None)
        self.padding = conv.padding
        self.relu = relu
        self._pointwise = (
            set(self.kernel_size) == {1}
            and set(self.stride) == {1}
            and self.groups == 1
            and (self.tf_padding is not None or conv.padding in ("same", "valid") or not any(conv.padding))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the activations.

        Raises:
            ModelError: The input does not have the layer's number of dimensions, batch included.
        """
        if x.ndim != self.dimensions + 2:
            # The matrix product would otherwise take any second dimension for the channels.
            raise ModelError(
                "a folded convolution needs a batch dimension",
                expected=f"{self.dimensions + 2} dimensions: batch, channels, then spatial",
                got=str(tuple(x.shape)),
            )
        # On other devices activations are contiguous, and a product over the channels would copy them first.
        product = self._pointwise and x.device.type == "cpu"
        out = self._matrix_product(x) if product else self._convolution(x)
        if not self.relu:
            return out
        return torch.relu(out) if _differentiates(x) else out.relu_()

    @property
    def pointwise(self) -> bool:
        """Whether the kernel size and stride are 1: then it is a matrix product over the channels."""
        return self._pointwise

    def write(self, x: Tensor, out: Tensor) -> None:
        """Write the activations of a pointwise convolution into `out`, (batch, …spatial, channels).

        The last dimension of `out` may be a slice of a longer one.
        """
        rows = out.view(-1, out.shape[-1])
        torch.addmm(self.bias, x.movedim(1, -1).reshape(-1, x.shape[1]), self.weight.flatten(1).t(), out=rows)
        if self.relu:
            rows.relu_()

    def _matrix_product(self, x: Tensor) -> Tensor:
        return functional.linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)

    def _convolution(self, x: Tensor) -> Tensor:
        padding = self.padding
        if self.tf_padding is not None:
            both = pads_per_dimension(
                self.tf_padding, x.shape[2:], self.kernel_size, self.stride, self.dilation
            )
            padding = tuple(before for before, _ in both)
            if any(before != after for before, after in both):
                x = functional.pad(_channels_last(x), [pad for pair in reversed(both) for pad in pair])
                padding = (0,) * self.dimensions
        if not isinstance(padding, str) and _takes_onednn(x, self.weight):
            # Not functional.conv3d, which uses a slower kernel for small inputs (see the top of this file).
            result: Tensor = torch.ops.aten.mkldnn_convolution(
                _channels_last(x), self.weight, self.bias, padding, self.stride, self.dilation, self.groups
            )
            return result
        convolve: Callable[..., Tensor] = _CONVOLUTIONS[x.ndim]
        return convolve(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """The settings of the convolution, and whether it includes a ReLU."""
        rule = f"tf_padding={self.tf_padding!r}" if self.tf_padding is not None else f"padding={self.padding}"
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"{rule}, relu={self.relu}"
        )


class Branches(nn.Module):
    """Branches over the same input with their outputs joined along the channels, each written directly to its slice.

    Input and output are (batch, channels, …spatial); all branches must produce the same spatial sizes. Under autograd,
    in compiled graphs and on devices other than the CPU, the outputs are concatenated with ``torch.cat``.

    Args:
        branches: The branches by name, in the order of their channels.

    Example:
        >>> conv = lambda: FoldedConv(nn.Conv2d(3, 5, 1), relu=True)
        >>> branches = Branches({"left": conv(), "right": nn.Sequential(nn.MaxPool2d(3, 1, 1), conv())})
        >>> with torch.no_grad():
        ...     branches(torch.zeros(1, 3, 7, 7)).shape
        torch.Size([1, 10, 7, 7])
    """

    def __init__(self, branches: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the branches' outputs, joined along the channels."""
        # Not children(), which lists a shared branch only once.
        branches = [branch for branch in self._modules.values() if branch is not None]
        if x.ndim not in _FORMATS or not _is_eager_on_cpu(x):
            return torch.cat([branch(x) for branch in branches], dim=1)
        x = _channels_last(x)
        found = [_up_to_pointwise(branch, x) for branch in branches]
        widths = [given.shape[1] if last is None else last.out_channels for given, last in found]
        out = x.new_empty((x.shape[0], *found[0][0].shape[2:], sum(widths)))
        for (given, last), part in zip(found, torch.split(out, widths, dim=-1), strict=True):
            if last is None:
                part.copy_(given.movedim(1, -1))
            else:
                last.write(given, part)
        return out.movedim(-1, 1)


def _up_to_pointwise(branch: nn.Module, x: Tensor) -> tuple[Tensor, FoldedConv | None]:
    """The input and the pointwise convolution at the end of a branch; or the branch's output and ``None``."""
    layers = list(branch) if isinstance(branch, nn.Sequential) else [branch]
    last = layers[-1] if layers else None
    if not isinstance(last, FoldedConv) or not last.pointwise or _is_watched(branch) or _is_watched(last):
        return branch(x), None
    for layer in layers[:-1]:
        x = layer(x)
    return x, last


def _is_watched(module: nn.Module) -> bool:
    """Whether the module has hooks, which only run if it is called."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _differentiates(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def _is_eager_on_cpu(x: Tensor) -> bool:
    """Whether results may be written in place: no autograd or autocast, and no graph is being traced or compiled."""
    return (
        x.device.type == "cpu"
        and not _differentiates(x)
        and not torch.is_autocast_enabled("cpu")
        and not bool(torch.compiler.is_compiling())
    )


def fold_transposed(conv: Any, norm: Any) -> nn.Module:
    """A transposed convolution with the batch norm after it folded into its weights, in float64 and rounded once.

    Args:
        conv: A ``torch.nn.ConvTranspose1d``, 2d or 3d, or one of `tfpt.nn`; it is not changed.
        norm: The batch norm, in evaluation mode.

    Raises:
        ModelError: The norm has no running statistics.

    Example:
        >>> conv, norm = nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6).eval()
        >>> folded, x = fold_transposed(conv, norm), torch.randn(2, 4, 7, 11)
        >>> with torch.no_grad():
        ...     torch.testing.assert_close(folded(x), norm(conv(x)))
    """
    scale, shift = _affine(norm)
    # The weight is (in, out / groups, …): a group's outputs belong to its rows.
    grouped = conv.weight.detach().double().unflatten(0, (conv.groups, -1))
    grouped = grouped * scale.reshape(conv.groups, 1, -1, *(1,) * (grouped.ndim - 3))
    bias = shift if conv.bias is None else conv.bias.detach().double() * scale + shift
    folded: Any = copy.copy(conv)
    # A shallow copy shares the tables of parameters with the original.
    folded._parameters = dict(conv._parameters)
    folded.weight = nn.Parameter(grouped.flatten(0, 1).to(conv.weight.dtype), requires_grad=False)
    folded.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
    return folded  # type: ignore[no-any-return]


def _fold(conv: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of convolution and norm combined, computed in float64 and rounded once."""
    weight = conv.weight.detach().double()
    bias = weight.new_zeros(weight.shape[0]) if conv.bias is None else conv.bias.detach().double()
    if norm is not None:
        scale, shift = _affine(norm)
        weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = bias * scale + shift
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    """What a batch norm multiplies by and adds, in float64."""
    if norm.running_var is None:
        raise ModelError("a batch norm without running statistics cannot be folded", got=repr(norm))
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach().double()


def _channels_last(x: Tensor) -> Tensor:
    return (
        x.contiguous(memory_format=_FORMATS[x.ndim]) if x.ndim in _FORMATS and x.device.type == "cpu" else x
    )


def _takes_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.ndim in _FORMATS
        and _is_eager_on_cpu(x)
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
        and bool(torch.backends.mkldnn.enabled)
    )
