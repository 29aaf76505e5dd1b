"""What a proposal consists of: which variables become which parameters, and how."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Match:
    """Variables that become parameters, or parameters that none becomes.

    Attributes:
        variables: Their indices; none for a constant, several to join.
        parameters: Their indices; several to take a variable apart.
        layout: The layout; empty for one that copies the tensor as it is.
        keys: The other keys of the row: ``axes``, ``tied``, ``fill``, ``like``, ``slice``, ``pad``, ``keep``.
        series: Whether the parameters (or the variables) are one for each index of an axis: they are named by a
            template with a number, not one by one.
        unsure: What else it could be, in a few words; empty if it is clear.
        instead: The alternatives: the index of another variable, -1 for none at all, or another layout.
    """

    variables: tuple[int, ...]
    parameters: tuple[int, ...]
    layout: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    series: bool = False
    unsure: str = ""
    instead: tuple[int | str, ...] = ()

    def doubted(self, reason: str, instead: int | str | None = None) -> Match:
        """The same with a further reason to doubt it, and what could be instead."""
        others = self.instead if instead is None else (*self.instead, instead)
        return replace(self, unsure="; ".join(filter(None, (self.unsure, reason))), instead=others)


def stacked(pattern: str, axis: int | None) -> str:
    """The layout for tensors stacked on a new first axis `s`, which goes into an axis of the result.

    Args:
        pattern: The layout of one of them.
        axis: The axis of the result that takes them up, before what is in it; None for a new first axis.

    Example:
        >>> stacked("i h d -> (h d) i", 0), stacked("i o -> o i", None)
        ('s i h d -> (s h d) i', 's i o -> s o i')
    """
    left, _, right = pattern.partition(" -> ")
    if axis is None:
        return f"s {left} -> s {right}"
    groups = split_axes(right)
    inner = groups[axis].strip("()")
    groups[axis] = f"(s {inner})" if inner != "1" else "s"
    return f"s {left} -> {' '.join(groups)}"


def unstacked(pattern: str, axis: int, *, within: bool) -> str:
    """The layout for a tensor taken apart along `s`, found in an axis of the variable.

    Args:
        pattern: The layout of one of the parts.
        axis: The axis of the variable; `s` is the whole axis, or comes before what is in it.
        within: Whether the axis holds more than `s`.

    Example:
        >>> unstacked("i o -> o i", 1, within=True), unstacked("i o -> o i", 0, within=False)
        ('i (s o) -> s o i', 's i o -> s o i')
    """
    left, _, right = pattern.partition(" -> ")
    axes = left.split()
    if within:
        axes[axis] = f"(s {axes[axis]})"
    else:
        axes.insert(axis, "s")
    return f"{' '.join(axes)} -> s {right}"


def split_axes(side: str) -> list[str]:
    """The axes of one side of a layout; a composed one is one axis.

    Example:
        >>> split_axes("(i m) 1 h w")
        ['(i m)', '1', 'h', 'w']
    """
    axes: list[str] = []
    depth = 0
    for word in side.split():
        if depth:
            axes[-1] += f" {word}"
        else:
            axes.append(word)
        depth += word.count("(") - word.count(")")
    return axes
