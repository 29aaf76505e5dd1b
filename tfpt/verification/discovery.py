"""Discover the endpoints of a mapping: which activations the two networks share, and where they part."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from tfpt.errors import ModelError
from tfpt.language import mapping as rows
from tfpt.networks.endpoints import Inputs, activations
from tfpt.networks.recording.inputs import Given
from tfpt.networks.recording.recordings import RecordedEndpoint, Recording
from tfpt.verification.agreement import measure
from tfpt.verification.data_flow import DataFlow, data_flow
from tfpt.verification.discovered import Discovery, Figures, Nearest, Place
from tfpt.verification.pairing import CHANNELS_FIRST, Agreement, Pairing, as_array, closest_order, paired
from tfpt.verification.recorded_input import ModelInput, model_input
from tfpt.verification.replay import copied, state_preserved
from tfpt.verification.sides import both_sides, facts_of

# How many places are compared with every activation of their size.
_MOST_PLACES = 32


def discover(
    mapping: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    recording: str | os.PathLike[str] | Recording | None = None,
    *,
    network: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    inputs: Given | Mapping[str, Given] | None = None,
    model: nn.Module | None = None,
    tolerance: float | None = None,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    dequantize: bool = False,
    trust: bool = False,
    adapt: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    seed: int | None = None,
    frames: int | None = None,
    batch: int | None = None,
    size: int | None = None,
    whole: bool = False,
    feeds: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Discovery:
    """See `tfpt.api.discover`."""
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
            "feeds": feeds,
            "signature": signature,
            "all_layers": network is not None,
        },
    )
    fed, layout = _accepted_input(sides.recording, sides.mapping, sides.model, sides.inputs)
    with state_preserved(sides.model), data_flow(sides.model) as flow:
        pairing = paired(sides.model, lambda: _run(sides.model, fed.inputs), sides.recording, sides.tolerance)
    endpoints = _endpoints(pairing, sides.recording)
    roots, after = _departures(pairing, flow, sides.recording)
    return Discovery(
        sides.mapping.named,
        sides.weights,
        sides.name,
        sides.tolerance,
        tuple(endpoints),
        tuple(_places(roots, pairing, flow, sides.model, fed.inputs, sides.recording)),
        after,
        pairing.output,
        len(pairing.ran),
        len(sides.recording.endpoints),
        layout,
        facts_of(sides.model, sides.recording, fed.to_json(), False),
    )


def _accepted_input(
    recording: Recording,
    mapping: rows.Mapping,
    model: nn.Module,
    inputs: Given | Mapping[str, Given] | None,
) -> tuple[ModelInput, str]:
    """The input as the model takes it, and its layout if the mapping does not say that.

    Raises:
        ModelError: The model takes the input in no order of axes that was tried.
    """
    fed = model_input(recording, mapping, model, inputs)
    candidates = [""]
    if mapping.input.layout is None and len(fed.shapes) == 1:
        (shape,) = fed.shapes.values()
        # Floating-point values with a channel axis; PyTorch's layers for images and sequences take it first.
        if len(shape) in CHANNELS_FIRST and not fed.numbers:
            candidates.insert(0, CHANNELS_FIRST[len(shape)])
    failure: Exception | None = None
    for layout in candidates:
        if layout:
            described = replace(mapping, input=mapping.input.model_copy(update={"layout": layout}))
            fed = model_input(recording, described, model, inputs)
        elif len(candidates) > 1:
            fed = model_input(recording, mapping, model, inputs)
        try:
            with state_preserved(model):
                activations(model, copied(fed.inputs), [])
        except Exception as error:  # a model raises anything when its input does not fit
            failure = error
            continue
        return fed, layout
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in fed.shapes.items())
    text = str(failure).strip().splitlines()
    raise ModelError(
        f"the model cannot run on this input: {type(failure).__name__}: {text[0] if text else ''}",
        got=f"{shapes}, in TensorFlow's order of axes",
        hint="the mapping's input: {layout: …} must describe the order of the axes",
    ) from failure


def _run(model: nn.Module, inputs: Inputs) -> Any:
    fed = copied(inputs)
    return model(**fed) if isinstance(fed, Mapping) else model(fed)


def _endpoints(pairing: Pairing, recording: Recording) -> Iterator[Agreement]:
    """One agreement for each module, each with an activation of its own, in the order in which the modules run."""
    chosen: dict[str, Agreement] = {}
    for name in recording.endpoints:
        agreement = pairing.agreements.get(name)
        if agreement is not None and _can_be_named(agreement):
            chosen.setdefault(agreement.pt, agreement)
    yield from (chosen[path] for path in pairing.ran if path in chosen)


def _can_be_named(agreement: Agreement) -> bool:
    """Whether both names can be in a mapping, where braces are fields."""
    return not any(brace in name for brace in "{}" for name in (agreement.tf, agreement.pt))


def _departures(pairing: Pairing, flow: DataFlow, recording: Recording) -> tuple[list[str], int]:
    """The modules that agree with nothing and depend on no such module, and the number of the others.

    Not counted are modules on which something that agrees depends: TensorFlow has no name for what they compute.
    """
    harmless = flow.output if pairing.output is not None else 0
    for path in pairing.modules:
        harmless |= flow.upstream[path]
    departing = 0
    roots, after = [], 0
    for number, path in enumerate(flow.order):
        if path in pairing.modules or harmless >> number & 1:
            continue
        if flow.upstream[path] & departing:
            after += 1
        elif pairing.output is None or _counterparts(path, pairing, recording):
            roots.append(path)
        departing |= 1 << number
    return roots, after


def _counterparts(path: str, pairing: Pairing, recording: Recording) -> list[RecordedEndpoint]:
    """The recorded activations of a module's size that no module computes."""
    size = math.prod(pairing.shapes[path])
    return [
        each
        for name, each in recording.endpoints.items()
        if name not in pairing.agreements and math.prod(each.shape) == size and size
    ]


def _places(
    roots: Sequence[str],
    pairing: Pairing,
    flow: DataFlow,
    model: nn.Module,
    inputs: Inputs,
    recording: Recording,
) -> Iterator[Place]:
    with state_preserved(model):
        outputs = activations(model, copied(inputs), list(roots[:_MOST_PLACES])) if roots else {}
    modules = dict(model.named_modules())
    for path, output in outputs.items():
        array = as_array(output)
        nearest, figures = _nearest(path, array, pairing, flow, recording)
        yield Place(path, type(modules[path]).__name__, tuple(output.shape), figures, nearest)


def _nearest(
    path: str, array: np.ndarray, pairing: Pairing, flow: DataFlow, recording: Recording
) -> tuple[Nearest | None, Figures]:
    """The activation that is most like an output, and the figures of the output at the same positions."""
    best: tuple[float, RecordedEndpoint, str, np.ndarray] | None = None
    for endpoint in _counterparts(path, pairing, recording):
        difference, layout, ordered = closest_order(endpoint, array)
        if ordered is not None and (best is None or difference < best[0]):
            best = difference, endpoint, layout, ordered
    if best is not None:
        _, endpoint, layout, ordered = best
        found = Nearest(
            endpoint.name, endpoint.shape, layout, measure(endpoint, ordered), Figures.of(endpoint.values)
        )
        return found, Figures.of(endpoint.samples_of(ordered))
    names = list(recording.endpoints)
    before = [
        names.index(agreement.tf) for other, agreement in pairing.modules.items() if flow.reaches(other, path)
    ]
    following = [name for name in names[max(before, default=-1) + 1 :] if name not in pairing.agreements] or [
        name for name in names if name not in pairing.agreements
    ]
    if not following:
        return None, Figures.of(array)
    endpoint = recording.endpoints[following[0]]
    return Nearest(endpoint.name, endpoint.shape, "", None, Figures.of(endpoint.values)), Figures.of(array)
