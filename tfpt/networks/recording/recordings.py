"""What a network computed, endpoint by endpoint: whole activations, or samples of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfpt.errors import TfptError
from tfpt.tensors import format_shape

# Up to this many values an activation is held whole; of a larger one SAMPLES values, evenly spread.
MOST_WHOLE = 2000
SAMPLES = 997

# What the only input of a network is called.
INPUT = "input"


@dataclass(frozen=True)
class RecordedEndpoint:
    """What a network computed at one place, in TensorFlow's layout.

    Attributes:
        name: TensorFlow's name of the endpoint.
        shape: Of the whole activation.
        values: The whole activation in its shape, or samples of it along one axis.
        mean_abs: The mean of the absolute values of the whole, in float64; ``None`` where it is not known.
        step: How far apart the samples are in the flattened activation, going round at its end; 1 for a whole one.

    Example:
        >>> found = RecordedEndpoint.of("relu", np.arange(3000).reshape(2, 1500))
        >>> found.whole, found.values.shape, found.mean_abs
        (False, (997,), 1499.5)
        >>> bool((found.samples_of(np.arange(3000).reshape(2, 1500)) == found.values).all())
        True
    """

    name: str
    shape: tuple[int, ...]
    values: np.ndarray
    mean_abs: float | None
    step: int = 1

    @classmethod
    def of(cls, name: str, array: np.ndarray, *, whole: bool = False) -> RecordedEndpoint:
        """An activation as it is recorded: `whole`, or samples of it where it has more than 2,000 values."""
        if whole or array.size <= MOST_WHOLE:
            kept = np.ascontiguousarray(array).reshape(array.shape)
            return cls(name, tuple(array.shape), kept, mean_abs(array))
        step = sample_step(array.size)
        return cls(name, tuple(array.shape), _samples(array, step), mean_abs(array), step)

    @property
    def whole(self) -> bool:
        """Whether `values` are all of them."""
        return self.values.shape == self.shape

    def samples_of(self, array: np.ndarray) -> np.ndarray:
        """Of another array of this shape, the values at the places of `values`, along one axis.

        Raises:
            TfptError: The array has another shape.
        """
        if tuple(array.shape) != self.shape:
            raise TfptError(
                f"an array of another shape than the endpoint {self.name}",
                expected=format_shape(self.shape),
                got=format_shape(tuple(array.shape)),
            )
        return array.reshape(-1) if self.whole else _samples(array, self.step)


@dataclass(frozen=True)
class Recording:
    """What a network was fed and what it computed.

    Attributes:
        endpoints: The activations by TensorFlow's names, in network order.
        inputs: What it was fed, in TensorFlow's layout; the only input is called ``input``. Empty where the file
            holds none.
        facts: How it was made, in values of JSON: network, format, seed, versions.
        location: Where it is; empty for one that was never written.
    """

    endpoints: dict[str, RecordedEndpoint]
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    location: str = ""


def sample_step(size: int) -> int:
    """How far apart the samples of an activation of so many values are taken.

    It has no divisor in common with the number of values, hence none with any axis: samples that were a multiple of
    the channels apart would all lie in one channel.

    Example:
        >>> sample_step(2 * 997 * 64), sample_step(64 * 997 * 64)
        (129, 4097)
    """
    step = max(1, size // SAMPLES)
    while math.gcd(step, size) > 1:
        step += 1
    return step


def _samples(array: np.ndarray, step: int) -> np.ndarray:
    return array.reshape(-1)[np.arange(SAMPLES) * step % array.size]


def mean_abs(array: np.ndarray) -> float:
    """The mean of the absolute values, in float64; of no values 0.

    Example:
        >>> mean_abs(np.int8([-128, 2])), mean_abs(np.complex64([3 + 4j]))
        (65.0, 5.0)
    """
    if not array.size:
        return 0.0
    # The smallest integer of a dtype has no absolute value in it.
    wide = array.astype(np.float64) if array.dtype.kind == "i" else array
    return float(np.abs(wide).mean(dtype=np.float64))
