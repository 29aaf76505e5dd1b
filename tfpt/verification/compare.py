"""Run both networks on the same input, compare them endpoint by endpoint, and find why the first one departs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

from tfpt.errors import TfptError
from tfpt.language import mapping as rows
from tfpt.networks.behavior import check_behavior
from tfpt.networks.endpoints import endpoints_in
from tfpt.networks.recording.inputs import Given
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording
from tfpt.planning import Finding
from tfpt.verification.agreement import ComparedEndpoint
from tfpt.verification.coverage import TableCoverage, recording_lookups
from tfpt.verification.diagnosis import Explanation, explain, faster_form
from tfpt.verification.diagnosis.evidence import channel_axis
from tfpt.verification.recorded_input import model_input
from tfpt.verification.replay import Replay, compared_parts
from tfpt.verification.sides import both_sides, facts_of


@dataclass(frozen=True)
class Closeup:
    """The first endpoint that departs, with its values.

    Attributes:
        recorded: The values from TensorFlow.
        computed: All values from the model, in TensorFlow's order of axes.
        channel: The axis of the channels.
    """

    recorded: RecordedEndpoint
    computed: np.ndarray
    channel: int


@dataclass(frozen=True)
class Verification:
    """The result of comparing both networks.

    Attributes:
        mapping: The name of the mapping.
        weights: Where the model's weights come from.
        recording: Where TensorFlow's values come from.
        tolerance: The relative difference up to which two activations count as the same.
        endpoints: Every endpoint of either side, in the order in which the model runs.
        findings: Layers of the model that contradict the mapping.
        explanation: Why endpoints depart, and whether that is proven.
        facts: Both sides, the input and the versions, as JSON values.
        closeup: The values of the first endpoint that departs.
        exercised: The lookup tables of the model, and how many of their rows the input reaches.
        averages: How many moving averages the weights were read from, although TensorFlow ran with the variables
            themselves. Then the two are expected to differ, and no cause is searched for.
    """

    mapping: str
    weights: str
    recording: str
    tolerance: float
    endpoints: tuple[ComparedEndpoint, ...] = ()
    findings: tuple[Finding, ...] = ()
    explanation: Explanation = field(default_factory=Explanation)
    facts: dict[str, Any] = field(default_factory=dict)
    closeup: Closeup | None = field(default=None, repr=False)
    exercised: tuple[TableCoverage, ...] = ()
    averages: int = 0

    @property
    def agrees(self) -> bool:
        """Whether every recorded endpoint agrees on this input; see `exercised`."""
        return not any(one.bad for one in self.endpoints)

    @property
    def first(self) -> ComparedEndpoint | None:
        """The first endpoint that departs, or else the first that cannot be compared."""
        bad = [one for one in self.endpoints if one.bad]
        return next((one for one in bad if one.departs), bad[0] if bad else None)

    @property
    def others(self) -> tuple[ComparedEndpoint, ...]:
        """Later endpoints that also depart by themselves."""
        return tuple(one for one in self.endpoints if one.departs and one is not self.first)

    def to_json(self) -> dict[str, Any]:
        return {
            "mapping": self.mapping,
            "weights": self.weights,
            "recording": self.recording,
            "agrees": self.agrees,
            "tolerance": self.tolerance,
            "first": None if self.first is None else self.first.name,
            "endpoints": [one.to_json() for one in self.endpoints],
            "averages": self.averages,
            "exercised": [table.to_json() for table in self.exercised],
            "findings": [finding.to_json() for finding in self.findings],
            "explanation": self.explanation.to_json(),
            "facts": self.facts,
        }


def verify(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    recording: str | os.PathLike[str] | Recording | None = None,
    *,
    network: str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    inputs: Given | Mapping[str, Given] | None = None,
    model: nn.Module | None = None,
    tolerance: float | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dequantize: bool = False,
    trust: bool = False,
    adapt: bool = False,
    optimize: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    diagnose: bool = True,
    seconds: float = 60.0,
    seed: int | None = None,
    frames: int | None = None,
    batch: int | None = None,
    size: int | None = None,
    whole: bool = False,
    endpoints: Sequence[str] | None = None,
    all_layers: bool = False,
    feeds: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Verification:
    """See `tfpt.api.verify`."""
    if not seconds >= 0:
        raise TfptError(
            "invalid time limit for the search", expected="seconds, 0 or more", got=f"{seconds:g}"
        )
    sides = both_sides(
        mapping,
        weights,
        recording,
        network=network,
        checkpoint=checkpoint,
        inputs=inputs,
        model=model,
        tolerance=tolerance,
        settings=settings,
        config=config,
        dequantize=dequantize,
        trust=trust,
        adapt=adapt,
        device=device,
        dtype=dtype,
        options={
            "seed": seed,
            "frames": frames,
            "batch": batch,
            "size": size,
            "whole": whole,
            "endpoints": endpoints,
            "all_layers": all_layers,
            "feeds": feeds,
            "signature": signature,
        },
    )
    result = Verification(
        sides.mapping.named, sides.weights, sides.name, sides.tolerance, averages=sides.averages
    )
    return _compared(
        result, sides.mapping, sides.model, sides.recording, sides.inputs, optimize, diagnose, seconds
    )


def _compared(
    result: Verification,
    mapping: rows.Mapping,
    model: nn.Module,
    recording: Recording,
    inputs: Given | Mapping[str, Given] | None,
    optimize: bool,
    diagnose: bool,
    seconds: float,
) -> Verification:
    fed = model_input(recording, mapping, model, inputs)
    endpoints = endpoints_in(model, mapping)
    running = model
    if optimize:
        from tfpt.networks.optimization import optimize as faster

        running = faster(model)
    replay = Replay(running, fed.inputs, endpoints, compared_parts(recording, endpoints))
    with recording_lookups(running, fed.inputs) as lookups:
        results = replay.results(result.tolerance)
    explanation = Explanation()
    departs = any(one.departs for one in results)
    if diagnose and departs and not result.averages:
        explanation = _explained(
            replay, replace(replay, model=model), results, mapping, result.tolerance, seconds
        )
    return replace(
        result,
        endpoints=results,
        exercised=lookups.coverage(),
        findings=tuple(check_behavior(model, mapping)),
        explanation=explanation,
        facts=facts_of(running, recording, fed.to_json(), optimize),
        closeup=_closeup(replay, results),
    )


def _explained(
    replay: Replay,
    plain: Replay,
    results: tuple[ComparedEndpoint, ...],
    mapping: rows.Mapping,
    tolerance: float,
    seconds: float,
) -> Explanation:
    """Why endpoints depart; for an optimized model, first check whether the optimization is the cause."""
    if plain.model is replay.model:
        return explain(replay, results, mapping, tolerance, seconds)
    alone = plain.results(tolerance, own=False)
    if any(one.departs for one in alone):
        return explain(plain, alone, mapping, tolerance, seconds)
    first = next(one for one in results if one.departs)
    return Explanation((faster_form(first, next(one for one in alone if one.name == first.name)),), True)


def _closeup(replay: Replay, results: tuple[ComparedEndpoint, ...]) -> Closeup | None:
    """The values of the first endpoint that departs, if it has the recorded shape."""
    first = next((one for one in results if one.departs), None)
    if first is None or first.free is None:
        return None
    endpoint = next(one for one in replay.endpoints if one.pt == first.path)
    computed = replay.at(first.path)
    return Closeup(replay.recorded(first.path), computed, channel_axis(endpoint, computed.ndim))
