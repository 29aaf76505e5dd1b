"""Pooling that pads as TensorFlow does, in one, two and three dimensions.

Each is a pool of ``torch.nn``; `padding` is one of the rules of `tfpt.nn.padding`, kept as `tf_padding`. A
maximum never takes a pad, an average never counts one. TensorFlow itself refuses SAME together with a dilation in
`tf.nn.pool`; here it means what it means for a convolution.

On a CPU and without gradients a maximum is taken over shifted views, which is many times faster (see
`tfpt.nn.windows.max_of_slides`). Else torch's operators work: at strides above 1 their `ceil_mode` adds the odd
position at the end, so nothing is copied; along a dimension of stride 1 with an even kernel the pool runs one
position further in front, and that output is left out: a view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional

from tfpt.nn.padding import check_padding, pads_per_dimension, per_dimension, torch_padding
from tfpt.nn.windows import max_of_slides, max_of_windows, mean_of_windows, slides

__all__ = ["AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d"]


class _Fit(NamedTuple):
    """How torch's own operator makes the windows of one rule."""

    padding: list[int]
    ceil_mode: bool
    first: list[int]  # outputs to leave out in front


def _fit(both: Sequence[tuple[int, int]], stride: Sequence[int], dilation: Sequence[int]) -> _Fit | None:
    """The operator's arguments for those pads, or ``None`` where it has none."""
    padding, first, ceil_mode = [], [], False
    for (before, after), s, d in zip(both, stride, dilation, strict=True):
        if isinstance(before, torch.SymInt):
            return None  # a graph of every size: the operator takes plain numbers only
        if before == after == 0:
            padding.append(0)
            first.append(0)
            continue
        if d > 1:
            # torch refuses pads above half of the undilated kernel, and where all taps of a dilated window
            # fall on pads it gives an index outside of the input (2.13), which the gradient would write to.
            return None
        skip = s == 1 and after > before
        if s > 1 and after > before:
            # Harmless along the other dimensions: their windows end where the input does, or, where SAME needs
            # no pads at all, the one that it would add starts beyond the input, and torch drops it.
            ceil_mode = True
        padding.append(after if skip else before)
        first.append(1 if skip else 0)
    return _Fit(padding, ceil_mode, first)


def _leave_out(pooled: Tensor, first: Sequence[int]) -> Tensor:
    for dim, count in enumerate(first, -len(first)):
        if count:
            pooled = pooled.narrow(dim, count, pooled.shape[dim] - count)
    return pooled


class _Pool(nn.Module):
    """What all pools hold.

    Attributes:
        tf_padding: The rule: ``"same"``, ``"valid"`` or ``"symmetric"``.
        kernel_size, stride, dilation: One number per dimension.
        padding: torch's numbers where they say the same at every input size, else 0.
    """

    _dimensions: ClassVar[int]
    _pool: ClassVar[Callable[..., Tensor]]
    tf_padding: str
    # tuple[int, ...]; torch's six pools declare them in as many ways, which no common type fits.
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
        """The windows and the rule."""
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
        super().__init__(kernel_size)  # that of torch's pool, which comes next
        self._set_windows(kernel_size, stride, padding, dilation)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """The maximum of each window; pads are below every value."""
        both = self._pads(input)
        fit = _fit(both, self.stride, self.dilation)
        if fit is not None and self._slides(input, both):
            return max_of_slides(input, both, self.kernel_size, self.stride)
        if fit is None:
            return max_of_windows(input, both, self.kernel_size, self.stride, self.dilation)
        pooled = type(self)._pool(
            input, self.kernel_size, self.stride, fit.padding, self.dilation, ceil_mode=fit.ceil_mode
        )
        return _leave_out(pooled, fit.first)

    def _slides(self, input: Tensor, both: Sequence[tuple[int, int]]) -> bool:  # noqa: A002
        """Whether the faster way is open: on a CPU, at once, where nobody will ask which position was the largest."""
        return (
            input.device.type == "cpu"
            and input.ndim > self._dimensions
            and not (torch.is_grad_enabled() and input.requires_grad)
            and not torch.compiler.is_compiling()
            and torch._C._get_tracing_state() is None
            and not is_functorch_wrapped_tensor(input)
            and all(d == 1 for d in self.dilation)
            and slides(input.shape[-self._dimensions :], both, self.kernel_size, self.stride)
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
        super().__init__(kernel_size)  # that of torch's pool, which comes next
        self._set_windows(kernel_size, stride, padding, dilation)
        self.count_include_pad = count_include_pad

    def _refused(self, input: Tensor, both: Sequence[tuple[int, int]]) -> bool:  # noqa: A002
        """Whether torch would refuse (2.13): avg_pool3d alone wants a whole kernel inside, whatever the pads.

        On a CPU it knows no half precision either.
        """
        if self._dimensions < 3:
            return False
        if input.dtype in (torch.float16, torch.bfloat16) and input.device.type == "cpu":
            return True
        along = zip(input.shape[-3:], self.kernel_size, both, strict=True)
        return any(
            after > 0 and (isinstance(size, torch.SymInt) or size < k) for size, k, (_, after) in along
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """The mean of each window."""
        both = self._pads(input)
        fit = _fit(both, self.stride, self.dilation)
        dilated = any(d > 1 for d in self.dilation)
        if fit is None or dilated or (self.count_include_pad and fit.ceil_mode) or self._refused(input, both):
            return mean_of_windows(
                input, both, self.kernel_size, self.stride, self.dilation, self.count_include_pad
            )
        pooled = type(self)._pool(
            input, self.kernel_size, self.stride, fit.padding, fit.ceil_mode, self.count_include_pad
        )
        return _leave_out(pooled, fit.first)

    def extra_repr(self) -> str:
        """The windows, the rule, and whether pads count."""
        counting = ", count_include_pad=True" if self.count_include_pad else ""
        return super().extra_repr() + counting


class MaxPool1d(_MaxPool, nn.MaxPool1d):
    """The maximum of windows over (batch, channels, width), or without the batch.

    Args:
        kernel_size: Taps.
        stride: Positions between windows; the kernel's size unless given.
        padding: ``"same"``, ``"valid"`` or ``"symmetric"``; see `tfpt.nn.padding`.
        dilation: Positions between taps. A window whose taps all fall on pads gives minus infinity.

    Raises:
        ModelError: No such padding rule, or numbers below 1.

    Example:
        >>> MaxPool1d(3, stride=2)(-torch.arange(1.0, 5.0).reshape(1, 1, 4))
        tensor([[[-1., -3.]]])
    """

    _dimensions = 1
    _pool = functional.max_pool1d


class MaxPool2d(_MaxPool, nn.MaxPool2d):
    """The maximum of windows over (batch, channels, height, width); arguments as for `MaxPool1d`.

    Example:
        >>> MaxPool2d(3, stride=2)(torch.zeros(1, 5, 7, 8)).shape
        torch.Size([1, 5, 4, 4])
    """

    _dimensions = 2
    _pool = functional.max_pool2d


class MaxPool3d(_MaxPool, nn.MaxPool3d):
    """The maximum of windows over (batch, channels, time, height, width); arguments as for `MaxPool1d`.

    Example:
        >>> MaxPool3d((1, 3, 3), stride=(1, 2, 2))
        MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), tf_padding='same')
    """

    _dimensions = 3
    _pool = functional.max_pool3d


class AvgPool1d(_AvgPool, nn.AvgPool1d):
    """The mean of windows over (batch, channels, width), or without the batch.

    Args:
        kernel_size: Taps.
        stride: Positions between windows; the kernel's size unless given.
        padding: ``"same"``, ``"valid"`` or ``"symmetric"``; see `tfpt.nn.padding`.
        dilation: Positions between taps. A window whose taps all fall on pads gives not-a-number.
        count_include_pad: Whether pads count as zeros. TensorFlow never counts them; torch's own pools do,
            so ``padding="symmetric", count_include_pad=True`` is what an unchanged torch pool computes.

    Raises:
        ModelError: No such padding rule, or numbers below 1.

    Example:
        >>> AvgPool1d(3, stride=1)(torch.tensor([[[1.0, 3.0, 5.0]]]))
        tensor([[[2., 3., 4.]]])
    """

    _dimensions = 1
    _pool = functional.avg_pool1d


class AvgPool2d(_AvgPool, nn.AvgPool2d):
    """The mean of windows over (batch, channels, height, width); arguments as for `AvgPool1d`.

    Example:
        >>> AvgPool2d(2, padding="valid")(torch.ones(1, 5, 7, 8)).shape
        torch.Size([1, 5, 3, 4])
    """

    _dimensions = 2
    _pool = functional.avg_pool2d


class AvgPool3d(_AvgPool, nn.AvgPool3d):
    """The mean of windows over (batch, channels, time, height, width); arguments as for `AvgPool1d`.

    Example:
        >>> AvgPool3d((2, 7, 7), stride=1, padding="valid")(torch.ones(1, 5, 2, 7, 7)).shape
        torch.Size([1, 5, 1, 1, 1])
    """

    _dimensions = 3
    _pool = functional.avg_pool3d
