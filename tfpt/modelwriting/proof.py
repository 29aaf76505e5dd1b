"""Runs a Keras model and the module that was written from it on one random input, and compares what they compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfpt.errors import ModelError, SourceError, TfptError
from tfpt.modelwriting.block import Block, Value
from tfpt.modelwriting.configuration import Ref
from tfpt.modelwriting.python_text import argument_names

TOLERANCE = 1e-5

# Sizes of axes that the model leaves open: those of images allow five halvings.
_OPEN = {2: 16, 3: 32, 4: 64, 5: 16}


@dataclass(frozen=True)
class Proof:
    """What the comparison showed.

    Attributes:
        difference: The largest difference of an output, relative to the largest value of that output; `None` if the
            two were not compared.
        inputs: The shapes of the inputs in Keras' order, by name.
        reason: Why they were not compared.
        failed: Whether one of the two could not run; otherwise Keras is not installed.
    """

    difference: float | None
    inputs: Mapping[str, tuple[int, ...]]
    reason: str = ""
    failed: bool = False

    @property
    def equal(self) -> bool:
        return self.difference is not None and self.difference <= TOLERANCE


def prove(block: Block, checkpoint: str, mapping: Path, *, seed: int = 0, trust: bool = False) -> Proof:
    """Compare the written module with the Keras model.

    Args:
        block: The class of the model.
        checkpoint: The Keras file.
        mapping: The written mapping; the module is beside it.
        seed: Of the random input.
        trust: Allow the Keras model to run its own code.
    """
    inputs = _random_inputs(block, seed)
    shapes = {name: array.shape for name, array in inputs.items()}
    from tfpt.networks.running import importing

    try:
        importing.import_keras()
    except SourceError as error:
        return Proof(None, shapes, error.what)
    try:
        expected = _run_keras(block, checkpoint, inputs, trust)
    except SourceError as error:
        reason = f"{error.what}{f': {error.got}' if error.got else ''}"
        return Proof(None, shapes, reason, failed=True)
    try:
        found = _run_torch(block, checkpoint, mapping, inputs)
    except (TfptError, NotImplementedError) as error:
        reason = ": ".join(str(error).splitlines()[:2])
        return Proof(None, shapes, reason, failed=True)
    if not all(np.any(array) for array in expected):
        return Proof(None, shapes, "an output of the Keras model is zero everywhere", failed=True)
    return Proof(max(_difference(a, b) for a, b in zip(found, expected, strict=True)), shapes)


def _random_inputs(block: Block, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    inputs = {}
    for name, value in block.inputs.items():
        first, *rest = value.shape
        size = _OPEN.get(len(value.shape), 8)
        shape = (first or 2, *(size if each is None else each for each in rest))
        if value.rows is not None or value.integer:
            inputs[name] = random.integers(0, value.rows or 2, shape).astype(np.int32)
        else:
            inputs[name] = random.normal(size=shape).astype(np.float32)
    return inputs


def _run_keras(
    block: Block, checkpoint: str, inputs: Mapping[str, np.ndarray], trust: bool
) -> list[np.ndarray]:
    from tfpt.networks.running.keras import open_keras
    from tfpt.networks.running.network import split_output

    graph = block.graph
    with closing(open_keras(checkpoint, trust)) as network:
        names = list(network.inputs([]))
        fed = dict(zip(names, inputs.values(), strict=True)) if set(names) != set(inputs) else inputs
        wanted = {ref: f"{ref.layer}:{_number(block, ref)}" for ref in graph.outputs}
        known = {each.name for each in network.names()}
        if not {split_output(name)[0] for name in wanted.values()} <= known:
            raise SourceError("an output of the model is not the output of a layer that Keras runs")
        computed = network.run(dict(fed), list(dict.fromkeys(wanted.values())))
    by_layer = {ref: computed.get(name) for ref, name in wanted.items()}
    if any(value is None for value in by_layer.values()):
        raise SourceError("Keras did not compute all outputs of the model")
    return [np.asarray(by_layer[ref]) for ref in graph.outputs]


def _number(block: Block, ref: Ref) -> int:
    """The number of an output of a layer, counted over its calls."""
    tensors = {
        other.tensor
        for name, node in block.graph.order
        for other in block.graph.layers[name].calls[node].refs
        if other.layer == ref.layer
    }
    per_call = 1 + max([ref.tensor, *tensors])
    return ref.node * per_call + ref.tensor


def _run_torch(
    block: Block, checkpoint: str, mapping: Path, inputs: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    import torch

    from tfpt.networks.loading import load

    model = load(mapping, checkpoint, trust=True)
    arguments = [
        torch.from_numpy(_arranged(array, value))
        for array, value in zip(inputs.values(), block.inputs.values(), strict=True)
    ]
    try:
        with torch.inference_mode():
            results: Any = model(**dict(zip(argument_names(block), arguments, strict=True)))
    except NotImplementedError:
        raise
    except Exception as error:
        raise ModelError(f"the written module raised {type(error).__name__}: {error}") from error
    listed: Sequence[Any] = results if isinstance(results, tuple) else (results,)
    return [
        _arranged(each.numpy(), value, back=True) for each, value in zip(listed, block.outputs, strict=True)
    ]


def _arranged(array: np.ndarray, value: Value, back: bool = False) -> np.ndarray:
    """An array of Keras' order in that of the module, or back."""
    if value.order == "last" or array.ndim < 3:
        return array
    moved = np.moveaxis(array, 1, -1) if back else np.moveaxis(array, -1, 1)
    return np.ascontiguousarray(moved)


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference relative to the largest value; infinite if the shapes differ or a value is not finite."""
    if found.shape != expected.shape or not np.isfinite(found).all() or not np.isfinite(expected).all():
        return float("inf")
    largest = float(np.abs(expected).max(initial=0))
    return float(np.abs(found.astype(np.float64) - expected).max(initial=0)) / (largest or 1.0)
