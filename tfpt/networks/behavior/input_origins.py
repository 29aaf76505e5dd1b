"""Follows tensors through a run: which padding was applied to the input of an operator on its way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

# Operators that compute new values from any input; padding before them does not concern what follows.
_COMPUTES = re.compile(
    r"conv|pool|upsample|mm$|addmm|linear|mean|sum|amax|embedding|grid|attention|pixel_(un)?shuffle|im2col|col2im"
)
# Operators that map zero to zero and the smallest value to the smallest value.
_KEEPS_PADS = re.compile(
    r"(relu6?|hardtanh|leaky_relu|elu|gelu|silu|tanh|hardswish|clone|detach|alias|_to_copy|contiguous|dropout)_?"
)
_NOT_NEGATIVE = re.compile(r"(relu6?|sigmoid|softmax|_softmax|abs|square|exp|softplus|hardsigmoid)_?")
_KEEPS_SIGN = re.compile(
    r"(max|avg)_pool\dd.*|clone|detach|alias|_to_copy|contiguous|dropout_?|cat|view|_unsafe_view|slice|"
    r"squeeze|unsqueeze|permute|transpose|mean|add_?|mul_?|upsample.*|expand"
)
_RESHAPES = re.compile(
    r"view|_unsafe_view|reshape|slice|permute|transpose|t|expand|squeeze|unsqueeze|unfold|select|split.*|chunk"
)


@dataclass(frozen=True)
class Pads:
    """Padding applied by a separate operator.

    Attributes:
        amounts: (Before, after) for each axis, beginning with the last; negative where values were cropped.
        value: The padding value; ``None`` if values of the input were reflected or repeated.
    """

    amounts: tuple[tuple[int, int], ...]
    value: float | None

    def of(self, axes: int) -> tuple[tuple[int, int], ...]:
        """(Before, after) of the last `axes` axes, in their order."""
        return tuple(reversed(((*self.amounts, *((0, 0),) * axes))[:axes]))


@dataclass(frozen=True)
class Origin:
    """The history of a tensor.

    Attributes:
        pads: The padding applied since the last computation, most recent first.
        known: Whether nothing else changed its size.
        not_negative: Whether all values apart from the padding are at least 0.
        is_input: Whether it is the input of the run, apart from padding.
    """

    pads: tuple[Pads, ...] = ()
    known: bool = True
    not_negative: bool = False
    is_input: bool = False


@dataclass
class OriginTracker:
    """The origins of all tensors of one run. It keeps the tensors alive, so that their ids stay unique."""

    _origins: dict[int, tuple[Tensor, Origin]] = field(default_factory=dict)

    def of(self, tensor: Tensor) -> Origin:
        """The origin of a tensor; a default one for tensors that no operator of the run made, such as parameters."""
        known = self._origins.get(id(tensor))
        return known[1] if known is not None else Origin()

    def note(self, tensor: Tensor, origin: Origin) -> None:
        self._origins[id(tensor)] = (tensor, origin)

    def follow(self, name: str, args: Sequence[Any], output: Any) -> None:
        """Note the origins of an ATen operator's outputs."""
        given = list(tensors_in(args))
        for tensor in tensors_in((output,)):
            self.note(tensor, self._origin(name, args, given, tensor))

    def _origin(self, name: str, args: Sequence[Any], given: Sequence[Tensor], output: Tensor) -> Origin:
        if not given:
            return Origin(known=False)  # perhaps zeros that something will be copied into
        first = self.of(given[0])
        non_negative = first.not_negative and _KEEPS_SIGN.fullmatch(name) is not None
        non_negative = non_negative and all(self.of(one).not_negative for one in given if one.ndim > 1)
        non_negative = non_negative or _NOT_NEGATIVE.fullmatch(name) is not None
        is_clamp = name in ("hardtanh", "clamp", "hardtanh_", "clamp_")
        non_negative = non_negative or (is_clamp and _lower_bound(args) >= 0)
        if (pads := _pads_of(name, args, given[0])) is not None:
            return replace(first, pads=(pads, *first.pads), not_negative=non_negative or first.not_negative)
        if _COMPUTES.search(name):
            return Origin(not_negative=non_negative)
        if name in ("unsqueeze", "squeeze"):
            shifted = _with_shifted_axes(first, name, args, given[0].ndim, output.ndim)
            return replace(shifted, not_negative=non_negative)
        if _KEEPS_PADS.fullmatch(name):
            return replace(first, not_negative=non_negative)
        origins = [self.of(one) for one in given]
        if not all(one.known for one in origins) or any(one.pads for one in origins):
            return Origin(known=False, not_negative=non_negative)
        fits = any(one.shape[2:] == output.shape[2:] for one in given)
        return Origin(known=fits or _RESHAPES.fullmatch(name) is not None, not_negative=non_negative)


def tensors_in(values: Sequence[Any]) -> Iterator[Tensor]:
    """The tensors in an operator's arguments or result."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)
        elif isinstance(value, Mapping):
            yield from tensors_in(list(value.values()))


def _pads_of(name: str, args: Sequence[Any], given: Tensor) -> Pads | None:
    if name == "constant_pad_nd":
        value = float(args[2]) if len(args) > 2 else 0.0
        return Pads(_pairs(args[1]), value)
    if re.fullmatch(r"(reflection|replication)_pad\dd", name):
        return Pads(_pairs(args[1]), None)
    if name == "slice" and (len(args) < 5 or args[4] == 1):
        dim = (args[1] if len(args) > 1 else 0) % given.ndim
        size = given.shape[dim]
        start = (args[2] if len(args) > 2 else None) or 0
        end = args[3] if len(args) > 3 and args[3] is not None else size
        start, end = (min(each + size if each < 0 else each, size) for each in (start, end))
        cut = [(0, 0)] * (given.ndim - dim)
        cut[-1] = (-start, end - size)
        return Pads(tuple(cut) if (start, end) != (0, size) else (), 0.0)
    return None


def _pairs(flat: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple((int(flat[at]), int(flat[at + 1])) for at in range(0, len(flat), 2))


def _with_shifted_axes(origin: Origin, name: str, args: Sequence[Any], before: int, after: int) -> Origin:
    """The origin after an axis was added or removed: unknown if padding of the axes before it would have to move."""
    if not origin.pads:
        return origin
    dims = args[1] if len(args) > 1 else None
    if not isinstance(dims, int):
        return replace(origin, pads=(), known=False)
    after_dim = max(before, after) - 1 - dims % max(before, after)
    fits = all(len(pads.amounts) <= after_dim for pads in origin.pads)
    is_first = dims % max(before, after) == 0
    return origin if fits or is_first else replace(origin, pads=(), known=False)


def _lower_bound(args: Sequence[Any]) -> float:
    return float(args[1]) if len(args) > 1 and isinstance(args[1], int | float) else -1.0
