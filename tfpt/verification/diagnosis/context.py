"""The scene: a model, its mapping, and what ran up to the endpoint that hypotheses are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from tfpt.language import mapping as rows
from tfpt.networks.endpoints import Inputs
from tfpt.verification.diagnosis.changes import Change, applied
from tfpt.verification.diagnosis.trace import Trace, trace
from tfpt.verification.replay import Replay, undisturbed


@dataclass(frozen=True)
class Scene:
    """What hypotheses are made from.

    Attributes:
        model: The model.
        inputs: What it is fed.
        mapping: What it was loaded through.
        path: The module whose output is looked at.
        trace: What ran up to it, from the endpoint before on.
        sound: Branches whose share of the endpoint agrees: modules in which nothing can be wrong.
    """

    model: nn.Module
    inputs: Inputs
    mapping: rows.Mapping
    path: str
    trace: Trace
    sound: tuple[str, ...] = ()


def look(
    replay: Replay, mapping: rows.Mapping, path: str, previous: str | None, kept: Sequence[Change] = ()
) -> Scene:
    """Run the model, with the changes that are kept, up to the module at `path`, from that at `previous` on."""
    with undisturbed(replay.model), applied(replay.model, kept):
        found = trace(replay.model, replay.inputs, path, previous)
    return Scene(replay.model, replay.inputs, mapping, path, found)
