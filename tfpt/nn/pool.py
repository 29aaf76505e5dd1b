"""Pooling layers that pad as TensorFlow does, in one, two and three dimensions.

Each is a subclass of torch's pool; `padding` is one of the rules of `tfpt.nn.padding` and is kept as `tf_padding`.
Padding never affects a maximum and is not counted in an average. TensorFlow itself rejects SAME combined with a
dilation in `tf.nn.pool`; here it means the same as for a convolution.

On a CPU without gradients a maximum is computed from shifted views, which is many times faster (see
`tfpt.nn.windows.max_of_shifted_views`). Otherwise torch's operators are used without copying the input: at strides
above 1, their `ceil_mode` adds the extra position at the end; along a dimension with stride 1 and an even kernel size,
the pool computes one extra output at the start, which is cut off as a view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional

from tfpt.nn.padding import check_padding, pads_per_dimension, per_dimension, torch_padding
from tfpt.nn.windows import max_of_shifted_views, max_of_windows, mean_of_windows, shifted_views_suffice

__all__ = ["AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d"]


class _OperatorArguments(NamedTuple):
    """The arguments with which torch's own operator has the windows of a rule."""

    padding: list[int]
    ceil_mode: bool
    first: list[int]  # outputs to cut off at the start


def _operator_arguments(
    pads: Sequence[tuple[int, int]], stride: Sequence[int], dilation: Sequence[int]
) -> _OperatorArguments | None:
    """The operator's arguments for this padding; ``None`` if it does not support it."""
    padding, first, ceil_mode = [], [], False
    for (before, after), s, d in zip(pads, stride, dilation, strict=True):
        if isinstance(before, torch.SymInt):
            return None  # a graph with symbolic sizes: the operator accepts plain numbers only
        if before == after == 0:
            padding.append(0)
            first.append(0)
            continue
        if d > 1:
            # torch rejects padding above half of the undilated kernel size, and if all elements of a dilated window
            # are padding it returns an index outside of the input (2.13), to which the gradient would be written.
            return None
        skip = s == 1 and after > before
        if s > 1 and after > before:
            # Harmless along the other dimensions: their windows end where the input ends, or, if SAME needs no
            # padding, the additional window would begin beyond the input, and torch drops it.
            ceil_mode = True
        padding.append(after if skip else before)
        first.append(1 if skip else 0)
    return _OperatorArguments(padding, ceil_mode, first)


def _cut_off(pooled: Tensor, first: Sequence[int]) -> Tensor:
    for dim, count in enumerate(first, -len(first)):
        if count:
            pooled = pooled.narrow(dim, count, pooled.shape[dim] - count)
    return pooled


class _Pool(nn.Module):
    """The common part of all pools.

    Attributes:
        tf_padding: The rule: ``"same"``, ``"valid"`` or ``"symmetric"``.
        kernel_size, stride, dilation: One number per dimension.
        padding: The equivalent padding of a torch pool if it is the same for all input sizes, else 0.
    """

    _dimensions: ClassVar[int]
    _pool: ClassVar[Callable[..., Tensor]]
    tf_padding: str
    # tuple[int, ...]; torch's six pools declare them differently, and no common type is compatible with all.
    kernel_size: Any
    stride: Any
    dilation: Any
    padding: Any

    def _set_windows(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None,
        padding: str,
        dilation: int | Sequence[int],
    ) -> None:
        self.tf_padding = check_padding(padding)
        self.kernel_size = per_dimension(kernel_size, self._dimensions, "kernel_size")
        self.stride = per_dimension(kernel_size if stride is None else stride, self._dimensions, "stride")
        self.dilation = per_dimension(dilation, self._dimensions, "dilation")
        self.padding = torch_padding(padding, self.kernel_size, self.stride, self.dilation)

    def _pads(self, input: Tensor) -> tuple[tuple[int, int], ...]:  # noqa: A002
        sizes = input.shape[-self._dimensions :]
        return pads_per_dimension(self.tf_padding, sizes, self.kernel_size, self.stride, self.dilation)

    def extra_repr(self) -> str:
        """The windows and the padding rule."""
        text = f"kernel_size={self.kernel_size}, stride={self.stride}"
        if any(d > 1 for d in self.dilation):
            text += f", dilation={self.dilation}"
        return f"{text}, tf_padding={self.tf_padding!r}"


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: str = "same",
        dilation: int | Sequence[int] = 1,
    ) -> None:
        super().__init__(kernel_size)  # the constructor of torch's pool, next in the MRO
        self._set_windows(kernel_size, stride, padding, dilation)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """The maximum of each window; padding never is the maximum."""
        pads = self._pads(input)
        arguments = _operator_arguments(pads, self.stride, self.dilation)
        if arguments is None:
            return max_of_windows(input, pads, self.kernel_size, self.stride, self.dilation)
        if self._can_use_shifted_views(input, pads):
            return max_of_shifted_views(input, pads, self.kernel_size, self.stride)
        pooled = type(self)._pool(
            input,
            self.kernel_size,
            self.stride,
            arguments.padding,
            self.dilation,
            ceil_mode=arguments.ceil_mode,
        )
        return _cut_off(pooled, arguments.first)

    def _can_use_shifted_views(self, input: Tensor, pads: Sequence[tuple[int, int]]) -> bool:  # noqa: A002
        """Whether the faster way is possible: on a CPU, in eager mode, without gradients."""
        return (
            input.device.type == "cpu"
            and input.ndim > self._dimensions
            and not (torch.is_grad_enabled() and input.requires_grad)
            and not torch.compiler.is_compiling()
            and torch._C._get_tracing_state() is None
            and not is_functorch_wrapped_tensor(input)
            and all(d == 1 for d in self.dilation)
            and shifted_views_suffice(input.shape[-self._dimensions :], pads, self.kernel_size, self.stride)
        )


class _AvgPool(_Pool):
    count_include_pad: bool

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: str = "same",
        dilation: int | Sequence[int] = 1,
        count_include_pad: bool = False,
    ) -> None:
        super().__init__(kernel_size)  # the constructor of torch's pool, next in the MRO
        self._set_windows(kernel_size, stride, padding, dilation)
        self.count_include_pad = count_include_pad

    def _refused_by_torch(self, input: Tensor, pads: Sequence[tuple[int, int]]) -> bool:  # noqa: A002
        """Whether torch 2.13 would refuse: avg_pool3d, unlike the others, needs a whole kernel inside the input.

        On a CPU it also does not support half precision.
        """
        if self._dimensions < 3:
            return False
        if input.dtype in (torch.float16, torch.bfloat16) and input.device.type == "cpu":
            return True
        along = zip(input.shape[-3:], self.kernel_size, pads, strict=True)
        return any(
            after > 0 and (isinstance(size, torch.SymInt) or size < k) for size, k, (_, after) in along
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """The mean of each window."""
        pads = self._pads(input)
        arguments = _operator_arguments(pads, self.stride, self.dilation)
        dilated = any(d > 1 for d in self.dilation)
        if (
            arguments is None
            or dilated
            or (self.count_include_pad and arguments.ceil_mode)
            or self._refused_by_torch(input, pads)
        ):
            return mean_of_windows(
                input, pads, self.kernel_size, self.stride, self.dilation, self.count_include_pad
            )
        pooled = type(self)._pool(
            input,
            self.kernel_size,
            self.stride,
            arguments.padding,
            arguments.ceil_mode,
            self.count_include_pad,
        )
        return _cut_off(pooled, arguments.first)

    def extra_repr(self) -> str:
        """The windows, the padding rule, and whether padding is counted."""
        counting = ", count_include_pad=True" if self.count_include_pad else ""
        return super().extra_repr() + counting


class MaxPool1d(_MaxPool, nn.MaxPool1d):
    """Max pooling that pads as TensorFlow does.

    Input and output are (batch, channels, width) or (channels, width), of any dtype that torch's max-pool supports.

    Args:
        kernel_size: Size of the window.
        stride: Stride of the window; `kernel_size` by default.
        padding: ``"same"``, ``"valid"`` or ``"symmetric"``; see `tfpt.nn.padding`.
        dilation: Spacing between the elements of a window. A window that covers only padding yields minus infinity.

    Raises:
        ModelError: There is no such padding rule, or a number is below 1.

    Example:
        >>> MaxPool1d(3, stride=2)(-torch.arange(1.0, 5.0).reshape(1, 1, 4))
        tensor([[[-1., -3.]]])
    """

    _dimensions = 1
    _pool = functional.max_pool1d


class MaxPool2d(_MaxPool, nn.MaxPool2d):
    """Max pooling over (batch, channels, height, width) or (channels, height, width); arguments as for `MaxPool1d`.

    Example:
        >>> MaxPool2d(3, stride=2)(torch.zeros(1, 5, 7, 8)).shape
        torch.Size([1, 5, 4, 4])
    """

    _dimensions = 2
    _pool = functional.max_pool2d


class MaxPool3d(_MaxPool, nn.MaxPool3d):
    """Max pooling over (batch, channels, time, height, width), the batch optional; arguments as for `MaxPool1d`.

    Example:
        >>> MaxPool3d((1, 3, 3), stride=(1, 2, 2))
        MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), tf_padding='same')
    """

    _dimensions = 3
    _pool = functional.max_pool3d


class AvgPool1d(_AvgPool, nn.AvgPool1d):
    """Average pooling that pads as TensorFlow does.

    Input and output are (batch, channels, width) or (channels, width), of a floating-point dtype.

    Args:
        kernel_size: Size of the window.
        stride: Stride of the window; `kernel_size` by default.
        padding: ``"same"``, ``"valid"`` or ``"symmetric"``; see `tfpt.nn.padding`.
        dilation: Spacing between the elements of a window. A window that covers only padding yields NaN.
        count_include_pad: Whether padding counts as zeros. TensorFlow never counts it; torch's own pools do, so
            ``padding="symmetric", count_include_pad=True`` is what an unchanged torch pool computes.

    Raises:
        ModelError: There is no such padding rule, or a number is below 1.

    Example:
        >>> AvgPool1d(3, stride=1)(torch.tensor([[[1.0, 3.0, 5.0]]]))
        tensor([[[2., 3., 4.]]])
    """

    _dimensions = 1
    _pool = functional.avg_pool1d


class AvgPool2d(_AvgPool, nn.AvgPool2d):
    """Average pooling over (batch, channels, height, width), the batch optional; arguments as for `AvgPool1d`.

    Example:
        >>> AvgPool2d(2, padding="valid")(torch.ones(1, 5, 7, 8)).shape
        torch.Size([1, 5, 3, 4])
    """

    _dimensions = 2
    _pool = functional.avg_pool2d


class AvgPool3d(_AvgPool, nn.AvgPool3d):
    """Average pooling over (batch, channels, time, height, width), the batch optional; arguments as for `AvgPool1d`.

    Example:
        >>> AvgPool3d((2, 7, 7), stride=1, padding="valid")(torch.ones(1, 5, 2, 7, 7)).shape
        torch.Size([1, 5, 1, 1, 1])
    """

    _dimensions = 3
    _pool = functional.avg_pool3d
