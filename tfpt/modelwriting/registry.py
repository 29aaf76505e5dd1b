"""Which function writes which kind of layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tfpt.modelwriting.block import Block, Order, Value
from tfpt.modelwriting.configuration import Call, Layer

Writer = Callable[[Block, Layer, Sequence[Value], Call], Value | Sequence[Value]]

# What becomes of a mask: passed on, dropped, or used in what is computed.
Mask = Literal["pass", "drop", "use"]


@dataclass(frozen=True)
class Kind:
    """How layers of a class are written.

    Attributes:
        write: Writes one call: given the block, the layer, its input activations and the call, returns its outputs.
        order: Where it wants the channels of its input; `None` if either will do.
        neutral: Whether it computes element by element, so that the layers after it decide the order.
        mask: What it does with the mask of its input.
        inputs: The number of its inputs; `None` for any.
    """

    write: Writer
    order: Order | None
    neutral: bool
    mask: Mask
    inputs: int | None


KINDS: dict[str, Kind] = {}


def writes(
    *classes: str,
    order: Order | None = None,
    neutral: bool = False,
    mask: Mask = "drop",
    inputs: int | None = 1,
) -> Callable[[Writer], Writer]:
    """Register a function for these classes of Keras."""

    def register(write: Writer) -> Writer:
        for name in classes:
            assert name not in KINDS, name
            KINDS[name] = Kind(write, order, neutral, mask, inputs)
        return write

    return register
