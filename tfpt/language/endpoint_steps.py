"""What an endpoint does before it is compared: to PyTorch's output by `select`, `slice` and `apply`, to TensorFlow's
activation by `tf_slice`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Literal

from tfpt.errors import MappingError
from tfpt.operations.layout import Layout

Function = Literal["relu", "sigmoid", "softmax", "tanh"]

# How numpy indexes an array, with indexes, ranges and one ellipsis.
Part = tuple[int | slice | EllipsisType, ...]

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


def part_of(text: str) -> Part:
    """The part of an array that a text indexes, in the notation of numpy.

    Raises:
        MappingError: It is not an index.

    Example:
        >>> part_of("[..., 1:]"), part_of("0, :, 2:-1")
        ((Ellipsis, slice(1, None, None)), (0, slice(None, None, None), slice(2, -1, None)))
    """
    inner = text.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    entries = [entry.strip() for entry in inner.split(",")]
    if entries.count("...") > 1:
        raise MappingError("an index has at most one ellipsis", got=text)
    found: list[int | slice | EllipsisType] = []
    for entry in entries:
        if entry == "...":
            found.append(...)
        elif re.fullmatch(r"-?\d{1,18}", entry):
            found.append(int(entry))
        else:
            try:
                found.append(_range(entry))
            except MappingError:
                raise MappingError(
                    "an index cannot be read", expected='"[..., 1:]", or "[0, :, 2:]"', got=text
                ) from None
    return tuple(found)
