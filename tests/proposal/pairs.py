"""Pairs of a checkpoint and a PyTorch state dict whose conversion is known, and how well a proposal reproduces it.

The truth is never a proposal: it is what the official converter was recorded to do (tests/data/zoo), or, for models
without one, what the bundled mapping does, which is compared with TensorFlow's outputs elsewhere.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tfpt
from tests.conftest import DATA
from tests.mappings.recorded import Recorded
from tfpt.execution.samples import sample_specs
from tfpt.formats.source import Source
from tfpt.language.loader import load_mapping
from tfpt.planning.plan import Plan
from tfpt.planning.planner import make_plan
from tfpt.planning.steps import Copy, Fill
from tfpt.proposal.evidence import Weights
from tfpt.proposal.proposal import Proposal
from tfpt.proposal.propose import propose
from tfpt.proposal.target import Target
from tfpt.targets.manifest import read_manifest
from tfpt.tensors import TensorSpec


class Names(Source):
    """A source of which only names, shapes and random values are needed."""

    format = "names and shapes"

    def __init__(self, specs: Mapping[str, TensorSpec]) -> None:
        self.location = "names"
        self.specs = dict(specs)

    def read(self, name: str) -> np.ndarray:
        return values(self.specs[name])

    def release(self, name: str) -> None:
        pass

    def fingerprint(self) -> str:
        return ""

    def close(self) -> None:
        pass


def values(spec: TensorSpec) -> np.ndarray:
    """Random values that depend on the name alone."""
    seed = sum(ord(letter) * (place + 1) for place, letter in enumerate(spec.name))
    return np.random.default_rng(seed).normal(size=spec.shape).astype(np.float32)


@dataclass(frozen=True)
class Score:
    """How well a proposal reproduces a known conversion. All but `rows` and `seconds` count parameters.

    Attributes:
        parameters: All of them.
        right: Those with the right values.
        unsure: Those that the proposal is unsure about, right or wrong, or leaves open.
        wrong: Those with other values, though the proposal is sure.
        rows: Rows of the proposal.
        seconds: Time for the proposal.
    """

    parameters: int
    right: int
    unsure: int
    wrong: tuple[str, ...]
    rows: int
    seconds: float
    proposal: Proposal


@dataclass(frozen=True)
class Pair:
    """A checkpoint and a state dict.

    Attributes:
        name: For reports.
        source: The checkpoint.
        target: The state dict.
        expected: What each parameter should be; absent if only the model can compute it. [name → array]
    """

    name: str
    source: Source
    target: Target
    expected: Callable[[], Iterator[tuple[str, np.ndarray | None]]]

    def score(self, folder: Path, weights: Weights | None = None) -> Score:
        """Propose a mapping and compare what it writes."""
        start = time.perf_counter()
        proposal = propose(self.source, self.target, folder, weights=weights)
        seconds = time.perf_counter() - start
        unsure = {*proposal.unsure, *proposal.open}
        wrong, right = [], 0
        steps = {
            spec.name: (step, place) for step in proposal.plan.steps for place, spec in enumerate(step.writes)
        }
        for name, value in self.expected():
            if value is None:
                right += name not in steps
            elif name in steps and np.array_equal(carried_out(self.source, *steps[name]), value):
                right += 1
            elif name not in unsure:
                wrong.append(name)
        return Score(
            len(self.target.specs), right, len(unsure), tuple(wrong), proposal.rows, seconds, proposal
        )


def carried_out(source: Source, step: Copy | Fill, place: int) -> np.ndarray:
    """What a step writes to one of its parameters."""
    spec = step.writes[place]
    if isinstance(step, Copy):
        arrays = [np.asarray(source.read(read.name)) for read in step.reads]
        return step.bound.apply(arrays, [np.dtype(each.dtype) for each in step.writes])[place]
    return np.full(spec.shape, getattr(step, "value", np.nan))


def of_recorded(case: Recorded, folder: Path) -> Pair:
    """The pair of a recorded conversion, with random values."""
    given = case.variables()
    source = tfpt.open_source(case.write(folder, given))
    expected = case.expected(given)
    shapes = {line.parameter: line.shape for line in case.lines if line.parameter}
    specs = {
        name: TensorSpec(name, shapes[name] if value is None else value.shape, "float32")
        for name, value in expected.items()
    }
    return Pair(str(case), source, Target(specs), lambda: iter(expected.items()))


# Networks of keras.applications whose variables were recorded in the order of their creation.
_CREATED = {
    "keras_convnext_tiny": "ConvNeXtTiny",
    "keras_densenet121": "DenseNet121",
    "keras_efficientnet": "EfficientNetB0",
    "keras_inception_v3": "InceptionV3",
    "keras_mobilenet_v3": "MobileNetV3Large",
    "keras_resnet50_v2": "ResNet50V2",
    "keras_xception": "Xception",
}


def of_mapping(name: str) -> Pair:
    """The pair of a bundled mapping: the variables of its sample, and the parameters of its manifest.

    Variables are in the order of their creation if that was recorded, otherwise by name, as in a checkpoint.
    """
    mapping = load_mapping(name)
    targets = read_manifest(mapping.manifest_path)
    specs = sample_specs(mapping, targets)
    order = sorted(specs)
    if name in _CREATED:
        with (DATA / "zoo/keras_applications" / f"{_CREATED[name]}.tsv").open() as file:
            created = [line["variable"] for line in csv.DictReader(file, delimiter="\t")]
        if set(created) == set(specs):
            order = created
    source = Names({variable: specs[variable] for variable in order})
    plan = make_plan(mapping, source.specs, targets)
    return Pair(name, source, Target(targets), lambda: _written(source, plan))


def _written(source: Source, plan: Plan) -> Iterator[tuple[str, np.ndarray | None]]:
    for step in plan.steps:
        for place, spec in enumerate(step.writes):
            known = isinstance(step, Copy | Fill)
            yield spec.name, carried_out(source, step, place) if known else None
