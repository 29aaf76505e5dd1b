"""Findings about layers that differ from what their mapping says of them, and notes about those that are unchecked."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tfpt.language.mapping import Behavior
from tfpt.networks.behavior.layers import Contradiction
from tfpt.planning import Finding

_HINT = (
    "tfpt.load(…, adapt=True) replaces stock layers; or use a layer of tfpt.nn; "
    "check=False (--no-check) accepts the model as it is, and tfpt verify shows the effect"
)


@dataclass(frozen=True)
class Verdict:
    """What is known about a layer's padding.

    Attributes:
        contradiction: How it differs from the rule; ``None`` if it does not.
        decided: Whether this is certain for the inputs that the layer gets.
        why: The reason, if it is not certain.
    """

    contradiction: Contradiction | None
    decided: bool = True
    why: str = ""


def padding_finding(path: str, module: nn.Module, behavior: Behavior, verdict: Verdict) -> Finding:
    """What is wrong with a layer's padding, or a note that this is not decided."""
    assert verdict.contradiction is not None
    more = verdict.contradiction.expected
    expected = f"padding: {behavior.padding}" + (f", {more}" if more else "")
    if not verdict.decided:
        return unchecked(path, module, behavior, expected, verdict.why, verdict.contradiction.got)
    return finding(path, module, behavior, expected, verdict.contradiction.got)


def finding(path: str, module: nn.Module, behavior: Behavior, expected: str, got: str) -> Finding:
    """A module that contradicts its mapping."""
    return Finding(
        "behavior",
        f"{path} ({type(module).__name__}) does not compute what TensorFlow computed",
        name=path,
        where=behavior.position.row,
        row=str(behavior.pt),
        expected=expected,
        got=got,
        hint=_HINT,
    )


def unchecked(
    path: str, module: nn.Module, behavior: Behavior, expected: str, why: str, got: str = ""
) -> Finding:
    """A note that a module could not be checked."""
    return Finding(
        "unchecked",
        f"whether {path} ({type(module).__name__}) computes what TensorFlow computed: {why}",
        name=path,
        where=behavior.position.row,
        row=str(behavior.pt),
        expected=expected,
        got=got,
        hint="tfpt verify shows whether it does",
    )
