"""Pairs of activations of the two networks: equal values in some order of the axes, perhaps after a function."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfpt.networks.recording.recordings import RecordedEndpoint
from tfpt.proposal.proven import Agreement
from tfpt.verification.agreement import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    import torch

_MOST_AXES = 5
# How far mean absolute values may be apart for a close look at two activations, relative to the recorded one.
_SIMILAR = 0.05


def tensor_in(output: Any) -> torch.Tensor | None:
    """The first tensor of a module's output."""
    import torch

    if isinstance(output, torch.Tensor):
        return output
    values = (
        output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    )
    return next((found for each in values if (found := tensor_in(each)) is not None), None)


def is_closer(one: Agreement, other: Agreement | None) -> bool:
    """Whether it is better than another: without a function if possible, then by its difference."""
    return other is None or (one.apply != "", one.difference) < (other.apply != "", other.difference)


def functions_of(array: np.ndarray) -> dict[str, np.ndarray]:
    """The array itself, and what the functions make of it that a layer of Keras may include."""
    exponential = (
        np.exp(array - array.max(axis=-1, keepdims=True)) if array.ndim == 2 and array.size else None
    )
    found = {"": array, "relu": np.maximum(array, 0), "tanh": np.tanh(array)}
    with np.errstate(over="ignore"):
        found["sigmoid"] = 1 / (1 + np.exp(-array))
    if exponential is not None:
        found["softmax"] = exponential / exponential.sum(axis=-1, keepdims=True)
    return found


def agreement_of(endpoint: RecordedEndpoint, path: str, array: np.ndarray) -> Agreement | None:
    """The agreement of a module's output with a recorded activation, if they agree."""
    for name, applied in functions_of(array).items():
        if endpoint.mean_abs is not None:
            mean = float(np.abs(applied).mean(dtype=np.float64)) if applied.size else 0.0
            if abs(mean - endpoint.mean_abs) > _SIMILAR * max(endpoint.mean_abs, 1e-30):
                continue
        difference, layout = smallest_difference(endpoint, applied)
        if difference <= DEFAULT_TOLERANCE:
            return Agreement(endpoint.name, path, layout, difference, name)
    return None


def smallest_difference(endpoint: RecordedEndpoint, array: np.ndarray) -> tuple[float, str]:
    """The smallest difference under any order of the axes, and the layout from TensorFlow's axes to PyTorch's.

    It is relative to the largest recorded value, and infinite if that is 0: zeros agree with anything that is dead.

    Example:
        >>> recorded = RecordedEndpoint.of("relu", np.float32([[1, 2], [3, 4], [5, 8]]))
        >>> smallest_difference(recorded, np.float32([[1, 3, 5], [2, 4, 7]]))
        (0.125, 'a b -> b a')
    """
    if array.size == 0 or array.ndim > _MOST_AXES:
        return math.inf, ""
    recorded = np.asarray(endpoint.values, np.float64).reshape(-1)
    scale = float(np.abs(recorded).max(initial=0))
    if not scale:
        return math.inf, ""
    best, layout = math.inf, ""
    shapes = {array.shape: array}
    if array.ndim != len(endpoint.shape) and _without_ones(array.shape) == _without_ones(endpoint.shape):
        shapes = {endpoint.shape: array.reshape(endpoint.shape)}
    for form in shapes.values():
        for order in itertools.permutations(range(form.ndim)):
            if tuple(form.shape[axis] for axis in order) != endpoint.shape:
                continue
            samples = endpoint.samples_of(np.transpose(form, order)).astype(np.float64)
            difference = float(np.abs(samples - recorded).max(initial=0)) / scale
            if difference < best:
                best, layout = difference, _layout(order)
    return best, layout


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size > 1)


def _layout(order: tuple[int, ...]) -> str:
    """From TensorFlow's axes to PyTorch's, for a transpose from PyTorch's to TensorFlow's.

    Example:
        >>> _layout((0, 2, 3, 1)), _layout((0, 1))
        ('b h w c -> b c h w', '')
    """
    if order == tuple(range(len(order))):
        return ""
    letters = {3: "bwc", 4: "bhwc", 5: "bthwc"}.get(len(order), "abcdefg"[: len(order)])
    left = " ".join(letters)
    right = " ".join(letters[order.index(axis)] for axis in range(len(order)))
    return f"{left} -> {right}"
