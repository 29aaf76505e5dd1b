"""Where the input of an operator comes from: which pads were put around it on its way, as torch's operators tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

# What makes new values out of whatever it is given: pads in front of it concern what comes behind no more.
_COMPUTES = re.compile(
    r"conv|pool|upsample|mm$|addmm|linear|mean|sum|amax|embedding|grid|attention|pixel_(un)?shuffle|im2col|col2im"
)
# What leaves zeros zeros, and the least value the least.
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
    """Pads that stand for themselves, in an operator of their own.

    Attributes:
        amounts: Before and after, of each axis from the last one on; negative where values were cut off.
        value: What is put there; ``None`` for values of the input, reflected or repeated.
    """

    amounts: tuple[tuple[int, int], ...]
    value: float | None

    def of(self, axes: int) -> tuple[tuple[int, int], ...]:
        """Before and after of the last `axes` axes, in their order."""
        return tuple(reversed(((*self.amounts, *((0, 0),) * axes))[:axes]))


@dataclass(frozen=True)
class Origin:
    """Where a tensor comes from.

    Attributes:
        pads: What was put around it, last first, since something was computed.
        known: Whether that is all that was done to its size.
        not_negative: Whether no value, pads aside, is below 0.
        entry: Whether it is what the run was given, but for the pads.
    """

    pads: tuple[Pads, ...] = ()
    known: bool = True
    not_negative: bool = False
    entry: bool = False


@dataclass
class Origins:
    """The origins of all tensors of one run. It keeps the tensors, so that no other takes the place of one."""

    _held: dict[int, tuple[Tensor, Origin]] = field(default_factory=dict)

    def of(self, tensor: Tensor) -> Origin:
        """Of one that no operator of the run made, such as a parameter: it is as it is."""
        held = self._held.get(id(tensor))
        return held[1] if held is not None else Origin()

    def note(self, tensor: Tensor, origin: Origin) -> None:
        self._held[id(tensor)] = (tensor, origin)

    def follow(self, name: str, args: Sequence[Any], output: Any) -> None:
        """Note the origin of what an operator of ATen gave."""
        given = list(tensors_in(args))
        for tensor in tensors_in((output,)):
            self.note(tensor, self._made(name, args, given, tensor))

    def _made(self, name: str, args: Sequence[Any], given: Sequence[Tensor], output: Tensor) -> Origin:
        if not given:
            return Origin(known=False)  # zeros, perhaps, into which something will be copied
        first = self.of(given[0])
        signless = first.not_negative and _KEEPS_SIGN.fullmatch(name) is not None
        signless = signless and all(self.of(one).not_negative for one in given if one.ndim > 1)
        signless = signless or _NOT_NEGATIVE.fullmatch(name) is not None
        signless = signless or (name in ("hardtanh", "clamp", "hardtanh_", "clamp_") and _least(args) >= 0)
        if (pads := _pads_of(name, args, given[0])) is not None:
            return replace(first, pads=(pads, *first.pads), not_negative=signless or first.not_negative)
        if _COMPUTES.search(name):
            return Origin(not_negative=signless)
        if name in ("unsqueeze", "squeeze"):
            moved = _moved(first, name, args, given[0].ndim, output.ndim)
            return replace(moved, not_negative=signless)
        if _KEEPS_PADS.fullmatch(name):
            return replace(first, not_negative=signless)
        touched = [self.of(one) for one in given]
        if not all(one.known for one in touched) or any(one.pads for one in touched):
            return Origin(known=False, not_negative=signless)
        fits = any(one.shape[2:] == output.shape[2:] for one in given)
        return Origin(known=fits or _RESHAPES.fullmatch(name) is not None, not_negative=signless)


def tensors_in(values: Sequence[Any]) -> Iterator[Tensor]:
    """The tensors among an operator's arguments, or in its result."""
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


def _moved(origin: Origin, name: str, args: Sequence[Any], before: int, after: int) -> Origin:
    """An axis of size 1 more or less: pads of axes in front of it would move, and nobody needs these."""
    if not origin.pads:
        return origin
    dims = args[1] if len(args) > 1 else None
    if not isinstance(dims, int):
        return replace(origin, pads=(), known=False)
    behind = max(before, after) - 1 - dims % max(before, after)
    fits = all(len(pads.amounts) <= behind for pads in origin.pads)
    in_front = dims % max(before, after) == 0
    return origin if fits or in_front else replace(origin, pads=(), known=False)


def _least(args: Sequence[Any]) -> float:
    return float(args[1]) if len(args) > 1 and isinstance(args[1], int | float) else -1.0
