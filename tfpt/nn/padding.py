"""How much TensorFlow pads: arithmetic on the sizes of one dimension, without tensors.

A kernel of size `kernel` with dilation `dilation` spans ``(kernel - 1) * dilation + 1`` positions. The three rules:

========== ============================================== =================================
rule       outputs                                        pads
========== ============================================== =================================
same       ``ceil(size / stride)``                        as few as that requires, see below
valid      ``floor((size - span) / stride) + 1``          none
symmetric  ``floor((size + 2p - span) / stride) + 1``     ``p = floor(span / 2)`` on each side
========== ============================================== =================================

SAME adds ``max((outputs - 1) * stride + span - size, 0)`` positions in total: half of them at the start, and if the
number is odd, the extra one at the end (https://www.tensorflow.org/api_docs/python/tf/nn, "Notes on padding").
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import sym_max

from tfpt.errors import ModelError

PADDINGS = ("same", "valid", "symmetric")


def check_padding(padding: object) -> str:
    """Return the padding rule if it is one of `PADDINGS`.

    Raises:
        ModelError: It is not; case matters, as in a mapping.

    Example:
        >>> check_padding("same")
        'same'
    """
    if not isinstance(padding, str) or padding not in PADDINGS:
        raise ModelError("no such padding rule", expected=", ".join(PADDINGS), got=repr(padding))
    return padding


def per_dimension(value: int | Sequence[int], dimensions: int, what: str) -> tuple[int, ...]:
    """Expand a number, or check a sequence, to one positive integer per dimension.

    Args:
        what: The name of the argument, for the error message.

    Raises:
        ModelError: The sequence has another length, or a number is below 1.

    Example:
        >>> per_dimension(3, 2, "kernel_size"), per_dimension((1, 3), 2, "kernel_size")
        ((3, 3), (1, 3))
    """
    numbers = (value,) * dimensions if isinstance(value, int) else tuple(value)
    if len(numbers) != dimensions or min(numbers) < 1:
        raise ModelError(
            f"{what} does not fit", expected=f"{dimensions} integers of at least 1", got=repr(value)
        )
    return numbers


def span(kernel: int, dilation: int = 1) -> int:
    """The number of positions from the first to the last element of a dilated kernel.

    Example:
        >>> span(3), span(3, dilation=2)
        (3, 5)
    """
    return (kernel - 1) * dilation + 1


def same_pads(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """How many positions TensorFlow's SAME adds (before, after) to a dimension of `size` positions.

    Source: https://www.tensorflow.org/api_docs/python/tf/nn, "Notes on padding". If `size` is a ``torch.SymInt``, so
    are the results.

    Args:
        size: The input size along one dimension, in positions.
        kernel: The kernel size along that dimension.
        stride: The stride along that dimension.
        dilation: The dilation along that dimension.

    Example:
        >>> same_pads(224, kernel=7, stride=2), same_pads(225, kernel=7, stride=2)
        ((2, 3), (3, 3))
    """
    last = (size - 1) // stride * stride  # start of the last of ceil(size / stride) windows, before padding
    total = last + span(kernel, dilation) - size
    if (
        span(kernel, dilation) < stride
    ):  # otherwise it is never negative, and a symbolic size needs no comparison
        total = sym_max(total, 0)  # type: ignore[no-untyped-call]
    return total // 2, total - total // 2


def symmetric_pads(kernel: int, dilation: int = 1) -> tuple[int, int]:
    """Half the span on each side; with an odd span and stride 1 the output has the input's size.

    Example:
        >>> symmetric_pads(7), symmetric_pads(2), symmetric_pads(3, dilation=2)
        ((3, 3), (1, 1), (2, 2))
    """
    half = span(kernel, dilation) // 2
    return half, half


def pads(padding: str, size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """The padding (before, after) by a rule at one input size.

    Raises:
        ModelError: There is no such rule.

    Example:
        >>> [pads(rule, 224, kernel=7, stride=2) for rule in PADDINGS]
        [(2, 3), (0, 0), (3, 3)]
    """
    fixed = constant_pads(padding, kernel, stride, dilation)
    return same_pads(size, kernel, stride, dilation) if fixed is None else fixed


def constant_pads(padding: str, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int] | None:
    """The padding (before, after) by a rule if it is the same for all input sizes, else ``None``.

    Raises:
        ModelError: There is no such rule.

    Example:
        >>> constant_pads("symmetric", 7, 2), constant_pads("same", 3), constant_pads("same", 7, 2)
        ((3, 3), (1, 1), None)
    """
    match check_padding(padding):
        case "valid":
            return 0, 0
        case "symmetric":
            return symmetric_pads(kernel, dilation)
        case _:
            # Otherwise sizes one above a multiple of the stride need span - 1, and multiples of the stride need less.
            constant = stride == 1 or kernel == 1
            return same_pads(1, kernel, stride, dilation) if constant else None


def pads_per_dimension(
    padding: str,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """The padding (before, after) by a rule for each dimension.

    Example:
        >>> pads_per_dimension("same", (16, 224), (7, 7), (1, 2), (1, 1))
        ((3, 3), (2, 3))
    """
    along = zip(sizes, kernel, stride, dilation, strict=True)
    return tuple(pads(padding, size, k, s, d) for size, k, s, d in along)


def torch_padding(
    padding: str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """The `padding` of a stock torch layer that follows the rule at every input size; 0 where there is none.

    Example:
        >>> torch_padding("same", (3, 2, 3), (1, 1, 2), (1, 1, 1))
        (1, 0, 0)
    """
    along = zip(kernel, stride, dilation, strict=True)
    fixed = [constant_pads(padding, k, s, d) for k, s, d in along]
    return tuple(both[0] if both is not None and both[0] == both[1] else 0 for both in fixed)


def output_size(padding: str, size: int, kernel: int, stride: int = 1, dilation: int = 1) -> int:
    """The output size by a rule for an input of `size` positions; 0 or less if the input is too small.

    Example:
        >>> [output_size(rule, 224, kernel=7, stride=2) for rule in PADDINGS]
        [112, 109, 112]
    """
    before, after = pads(padding, size, kernel, stride, dilation)
    return (size + before + after - span(kernel, dilation)) // stride + 1
