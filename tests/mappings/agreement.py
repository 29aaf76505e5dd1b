"""How closely converted weights agree with what a mapping is measured against, kept for the table in docs/zoo.md.

A test that compares a bundled mapping with something outside tfpt asks for the fixture `agree`, and calls it instead of
asserting by itself. benchmarks/zoo.py runs these tests and lists what they measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pytest

Values: TypeAlias = "np.ndarray | list[np.ndarray] | dict[str, np.ndarray]"

# The largest difference by mapping and by what it was compared with.
AGREEMENTS = pytest.StashKey[dict[tuple[str, str], float]]()


@dataclass(frozen=True)
class Agree:
    """Asserts that values agree, and records how closely."""

    config: pytest.Config

    def __call__(
        self,
        mapping: str,
        found: Values,
        expected: Values,
        *,
        to: str = "TensorFlow's outputs",
        within: float = 1e-5,
    ) -> None:
        """Compares arrays, or lists or dicts of them.

        Args:
            mapping: The name of a bundled mapping.
            found: What the converted weights give.
            expected: What they should give, in the same form and shapes.
            to: What that is, in a few words for the table.
            within: The largest difference allowed, relative to the largest value of each array; 0 for equal bits.
        """
        measured = 0.0
        for name, ours, theirs in _pairs(found, expected):
            assert ours.shape == theirs.shape, name
            difference = relative_difference(ours, theirs)
            assert difference <= within, (mapping, name, difference)
            measured = max(measured, difference)
        kept = self.config.stash.setdefault(AGREEMENTS, {})
        kept[mapping, to] = max(measured, kept.get((mapping, to), 0.0))


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value; infinite for different shapes, NaN if one has a NaN.

    Example:
        >>> relative_difference(np.array([1.0, 4.5]), np.array([1.0, 5.0]))
        0.1
    """
    if found.shape != expected.shape:
        return float("inf")
    scale = float(np.abs(expected).max(initial=0)) or 1.0
    return float(np.abs(found.astype(np.float64) - expected).max(initial=0)) / scale


def _pairs(found: Values, expected: Values) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    if isinstance(found, np.ndarray) and isinstance(expected, np.ndarray):
        yield "", found, expected
    elif isinstance(found, dict) and isinstance(expected, dict):
        assert found.keys() == expected.keys()
        yield from ((name, value, expected[name]) for name, value in found.items())
    else:
        assert len(found) == len(expected)
        yield from ((str(i), *pair) for i, pair in enumerate(zip(found, expected, strict=True)))
