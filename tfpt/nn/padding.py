"""How much TensorFlow pads: arithmetic on the sizes of one dimension, no tensors.

A kernel of `kernel` taps, `dilation` apart, spans ``(kernel - 1) * dilation + 1`` positions. The three rules:

========== ============================================== =================================
rule       outputs                                        pads
========== ============================================== =================================
same       ``ceil(size / stride)``                        as few as that takes, see below
valid      ``floor((size - span) / stride) + 1``          none
symmetric  ``floor((size + 2p - span) / stride) + 1``     ``p = floor(span / 2)`` on each side
========== ============================================== =================================

SAME adds ``max((outputs - 1) * stride + span - size, 0)`` positions in all, half of them in front and the odd one
at the end (https://www.tensorflow.org/api_docs/python/tf/nn, "Notes on padding").
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import sym_max

from tfpt.errors import ModelError

PADDINGS = ("same", "valid", "symmetric")


def check_padding(padding: object) -> str:
    """The padding rule, if it is one of `PADDINGS`.

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
    """One positive number for each dimension, from one for all or a sequence.

    Args:
        what: What the numbers are, for the error.

    Raises:
        ModelError: The sequence has another length, or a number is below 1.

    Example:
        >>> per_dimension(3, 2, "kernel_size"), per_dimension((1, 3), 2, "kernel_size")
        ((3, 3), (1, 3))
    """
    numbers = (value,) * dimensions if isinstance(value, int) else tuple(value)
    if len(numbers) != dimensions or min(numbers) < 1:
        raise ModelError(
            f"{what} does not fit", expected=f"{dimensions} whole numbers of 1 or more", got=repr(value)
        )
    return numbers


def span(kernel: int, dilation: int = 1) -> int:
    """The positions from a dilated kernel's first tap to its last, both counted.

    Example:
        >>> span(3), span(3, dilation=2)
        (3, 5)
    """
    return (kernel - 1) * dilation + 1


def same_pads(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """The (before, after) that TensorFlow's SAME adds to `size` positions.

    `size` may be a ``torch.SymInt``; then the pads are, too.

    Example:
        >>> same_pads(224, kernel=7, stride=2), same_pads(225, kernel=7, stride=2)
        ((2, 3), (3, 3))
    """
    last = (size - 1) // stride * stride  # where the last window starts, so that ceil(size / stride) do
    total = last + span(kernel, dilation) - size
    if span(kernel, dilation) < stride:  # else it is never below 0, and a symbolic size needs no comparison
        total = sym_max(total, 0)  # type: ignore[no-untyped-call]
    return total // 2, total - total // 2


def same_pads_of_every_size(kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int] | None:
    """SAME's (before, after) where it does not depend on the size, else ``None``.

    Example:
        >>> same_pads_of_every_size(3), same_pads_of_every_size(1, stride=2)
        ((1, 1), (0, 0))
        >>> same_pads_of_every_size(3, stride=2) is None
        True
    """
    # A size one above a multiple of the stride needs span - 1, a multiple needs less unless the stride is 1.
    if stride == 1 or kernel == 1:
        return same_pads(1, kernel, stride, dilation)
    return None


def symmetric_pads(kernel: int, dilation: int = 1) -> tuple[int, int]:
    """Half the span on both sides, so that an odd span at stride 1 keeps the size.

    Example:
        >>> symmetric_pads(7), symmetric_pads(2), symmetric_pads(3, dilation=2)
        ((3, 3), (1, 1), (2, 2))
    """
    half = span(kernel, dilation) // 2
    return half, half


def pads(padding: str, size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """The (before, after) of one rule at one size.

    Raises:
        ModelError: There is no such rule.

    Example:
        >>> [pads(rule, 224, kernel=7, stride=2) for rule in PADDINGS]
        [(2, 3), (0, 0), (3, 3)]
    """
    fixed = pads_of_every_size(padding, kernel, stride, dilation)
    return same_pads(size, kernel, stride, dilation) if fixed is None else fixed


def pads_of_every_size(
    padding: str, kernel: int, stride: int = 1, dilation: int = 1
) -> tuple[int, int] | None:
    """The (before, after) of one rule where it does not depend on the size, else ``None``.

    Raises:
        ModelError: There is no such rule.

    Example:
        >>> pads_of_every_size("symmetric", 7, 2), pads_of_every_size("same", 7, 2)
        ((3, 3), None)
    """
    match check_padding(padding):
        case "valid":
            return 0, 0
        case "symmetric":
            return symmetric_pads(kernel, dilation)
        case _:
            return same_pads_of_every_size(kernel, stride, dilation)


def pads_per_dimension(
    padding: str,
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """The (before, after) of one rule along each dimension.

    Example:
        >>> pads_per_dimension("same", (16, 224), (7, 7), (1, 2), (1, 1))
        ((3, 3), (2, 3))
    """
    along = zip(sizes, kernel, stride, dilation, strict=True)
    return tuple(pads(padding, size, k, s, d) for size, k, s, d in along)


def torch_padding(
    padding: str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """What a stock torch layer would have as `padding` to follow the rule at every size; 0 where it cannot.

    Example:
        >>> torch_padding("same", (3, 2, 3), (1, 1, 2), (1, 1, 1))
        (1, 0, 0)
    """
    along = zip(kernel, stride, dilation, strict=True)
    fixed = [pads_of_every_size(padding, k, s, d) for k, s, d in along]
    return tuple(both[0] if both is not None and both[0] == both[1] else 0 for both in fixed)


def output_size(padding: str, size: int, kernel: int, stride: int = 1, dilation: int = 1) -> int:
    """How many outputs one rule makes of `size` positions; 0 or less: the input is too small.

    Example:
        >>> [output_size(rule, 224, kernel=7, stride=2) for rule in PADDINGS]
        [112, 109, 112]
    """
    before, after = pads(padding, size, kernel, stride, dilation)
    return (size + before + after - span(kernel, dilation)) // stride + 1


def sizes_padded_as_same(
    before: int, after: int, kernel: int, stride: int = 1, dilation: int = 1
) -> frozenset[int]:
    """For which sizes fixed pads compute what SAME computes, as remainders of the size modulo the stride.

    Pads compute the same when the first window starts at the same place and there are as many windows; what is
    padded beyond the last window is never read. So a torch layer with those pads agrees with TensorFlow at
    every `size` for which ``size % stride`` is in the answer, and with all remainders it always does.

    Example:
        >>> sorted(sizes_padded_as_same(3, 3, kernel=7, stride=2))  # the common port: odd sizes alone
        [1]
        >>> sorted(sizes_padded_as_same(0, 1, kernel=2, stride=2))  # always
        [0, 1]
    """
    agreeing = set()
    for size in range(
        1, stride + 1
    ):  # SAME depends on the remainder alone, and outputs grow in step with size
        wanted = same_pads(size, kernel, stride, dilation)
        outputs = (size + before + after - span(kernel, dilation)) // stride + 1
        if before == wanted[0] and outputs == output_size("same", size, kernel, stride, dilation):
            agreeing.add(size % stride)
    return frozenset(agreeing)
