"""What can become of a tensor: the states that a page of two trees tells apart, each with a mark and a color."""

from __future__ import annotations

from dataclasses import dataclass

from tfpt.checking.comparison import Diff, TensorDiff
from tfpt.planning import KINDS, Copy, Fill, Step


@dataclass(frozen=True)
class State:
    """A state.

    Attributes:
        label: What it is called.
        mark: One character; those on one page are different.
        color: Its class in the style sheet.
        meaning: A sentence.
    """

    label: str
    mark: str
    color: str
    meaning: str


# The least first: a closed scope has the color of the last state within.
STATES = {
    "unread": State("unread", "·", "dim", "Nothing is read from it."),
    "ignored": State("ignored", "–", "dim", "The mapping leaves it out, and says why."),
    "average": State("averaged", "≈", "dim", "Its moving average is read instead."),
    "identical": State("identical", "✓", "good", "All values are bit-identical."),
    "filled": State("filled", "◆", "accent", "The mapping fills it with a constant."),
    "written": State("translated", "✓", "good", "Read from TensorFlow and written to PyTorch."),
    "equal": State("equal", "=", "good", "All values are the same numbers, not the same bits."),
    "kept": State("kept", "○", "odd", "It keeps the model's own value."),
    "within": State("within tolerance", "±", "near", "It differs by no more than the tolerance."),
    "apart-1": State(
        "differs < 1e-5", "▁", "apart-1", "The largest difference, relative to the largest value."
    ),
    "apart-2": State(
        "differs < 1e-3", "▃", "apart-2", "The largest difference, relative to the largest value."
    ),
    "apart-3": State(
        "differs < 0.1", "▅", "apart-3", "The largest difference, relative to the largest value."
    ),
    "apart-4": State(
        "differs ≥ 0.1", "▇", "apart-4", "The largest difference, relative to the largest value."
    ),
    "unsure": State("unsure", "~", "follow", "Something else would fit nearly as well."),
    "unused": State("unused", "?", "follow", "A variable that no row claims."),
    "shape": State("shape", "≠", "bad", "The shapes do not fit."),
    "dtype": State("dtype", "≢", "follow", "The dtypes do not fit."),
    "extra": State("extra", "+", "bad", "Only one of the two sides has it."),
    "missing": State("missing", "✗", "bad", "Nothing is written to it."),
    "absent": State("absent", "∅", "bad", "Its variable is not in the checkpoint."),
    "finding": State("other finding", "!", "bad", "Something else is wrong with it."),
}
# The upper ends of the first bands of relative differences.
_BANDS = {"apart-1": 1e-5, "apart-2": 1e-3, "apart-3": 0.1}


def of_step(step: Step) -> str:
    """The state of what a step writes."""
    return "written" if isinstance(step, Copy) else "filled" if isinstance(step, Fill) else "kept"


def of_kind(kind: str) -> str:
    """The state of a tensor with a finding of this kind; empty for notes, which change nothing.

    Example:
        >>> of_kind("missing"), of_kind("overlap"), of_kind("unconfirmed-layout")
        ('missing', 'finding', '')
    """
    if not KINDS[kind]:
        return ""
    return kind if kind in STATES else "finding"


def of_difference(tensor: TensorDiff, diff: Diff) -> str:
    """The state of a tensor that was compared."""
    if tensor.identical:
        return "identical"
    if tensor.equal:
        return "equal"
    if tensor.relative <= diff.tolerance:
        return "within"
    return next((band for band, end in _BANDS.items() if tensor.relative < end), "apart-4")


def worse(first: str, second: str) -> str:
    """The later of two states in `STATES`."""
    order = list(STATES)
    return max(first, second, key=order.index)
