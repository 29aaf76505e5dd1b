"""What an endpoint does to PyTorch's output before it is compared: `select`, `slice` and `apply`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tfpt.errors import MappingError
from tfpt.operations.layout import Layout

Function = Literal["relu", "sigmoid", "softmax", "tanh"]

_ARROW = "->"


@dataclass(frozen=True)
class OutputSteps:
    """Steps from a module's output to what TensorFlow's endpoint contains.

    Attributes:
        select: Axes of the output of which one index is used, each with that index. They are dropped.
        slices: Axes of the output of which a range is used.
        function: A function of the values, applied last.
        axis: The axis along which `softmax` normalizes, counted after `select`.
    """

    select: tuple[tuple[int, int], ...] = ()
    slices: tuple[tuple[int, slice], ...] = ()
    function: Function | None = None
    axis: int = -1


def steps_of(
    layout: str | None,
    select: Mapping[str, int],
    slices: Mapping[str, str],
    apply: Function | Mapping[Literal["softmax"], str] | None,
) -> tuple[Layout | None, OutputSteps | None]:
    """The layout between what is compared, and the steps before it.

    Args:
        layout: From TensorFlow's axes to those of the module's output; selected axes are on the right only.
        select: The index of each axis that is dropped.
        slices: The range of each axis that is cut, as in Python: ``1:``.
        apply: A function; softmax with its axis, ``{softmax: c}``.

    Raises:
        MappingError: An axis is not in the layout, or a selected one is in TensorFlow's.

    Example:
        >>> found, steps = steps_of("b c -> b t c", {"t": -1}, {}, {"softmax": "c"})
        >>> found.pattern, steps.select, steps.axis
        ('b c -> b c', ((1, -1),), 1)
    """
    if not select and not slices and apply is None:
        return None if layout is None else Layout.parse(layout), None
    softmax = None if apply is None or isinstance(apply, str) else apply["softmax"]
    letters = [*select, *slices, *([softmax] if softmax is not None else [])]
    if letters and layout is None:
        raise MappingError("select:, slice: and softmax name axes, so the endpoint needs a layout:")
    left, _, right = (layout or "").partition(_ARROW)
    axes = right.split()
    for letter in letters:
        if letter not in axes:
            raise MappingError(
                f"{letter} is not an axis of the module's output",
                expected=", ".join(axes),
                got=f"{layout}",
            )
    for letter in select:
        if letter in left.split():
            raise MappingError(
                f"the axis {letter} is dropped by select:, so TensorFlow's activation does not have it",
                expected=f"a layout with {letter} on the right only",
                got=f"{layout}",
            )
    if letters and (re.search(r"[(.]", right)):
        raise MappingError(
            "with select:, slice: or softmax, the right side of the layout consists of letters",
            got=f"{layout}",
        )
    kept = [letter for letter in axes if letter not in select]
    steps = OutputSteps(
        select=tuple((axes.index(letter), index) for letter, index in select.items()),
        slices=tuple((axes.index(letter), _range(text)) for letter, text in slices.items()),
        function="softmax" if softmax is not None else apply if isinstance(apply, str) else None,
        axis=-1 if softmax is None else kept.index(softmax),
    )
    return None if layout is None else Layout.parse(f"{left.strip()} -> {' '.join(kept)}"), steps


def _range(text: str) -> slice:
    found = re.fullmatch(r"(-?\d{1,18})?:(-?\d{1,18})?", text)
    if found is None:
        raise MappingError("a slice cannot be read", expected='"start:stop"', got=text)
    return slice(*(None if number is None else int(number) for number in found.groups()))
