"""When two activations count as the same."""

from __future__ import annotations

import numpy as np
import pytest

from tfpt.networks.recording.recordings import RecordedEndpoint
from tfpt.verification.agreement import ComparedEndpoint, Measure, measure, with_verdicts

SHAPE = (2, 3, 5)


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)


def against(truth: np.ndarray, computed: np.ndarray) -> Measure:
    return measure(RecordedEndpoint.of("x", truth), computed)


def test_the_same_values_are_no_distance_apart(truth):
    found = against(truth, truth.copy())
    assert (found.rel, found.max_abs, found.max_rel, found.mean_rel) == (0, 0, 0, 0)
    assert found.cosine == pytest.approx(1)
    assert found.agrees(1e-12)


def test_one_value_far_off_is_seen_by_the_maximum_alone():
    truth = np.ones(1_000_003, np.float32)
    computed = truth.copy()
    computed[77] = 1.002
    found = measure(RecordedEndpoint.of("x", truth, whole=True), computed)
    assert found.rel < 1e-5
    assert found.max_rel == pytest.approx(2e-3, rel=1e-3)
    assert not found.agrees(1e-5)
    assert found.agrees(1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_tolerance_lets_what_is_not_finite_pass(truth, bad):
    other = truth.copy()
    other[1, 2, 3] = bad
    for pair in ((truth, other), (other, truth), (other, other)):
        found = against(*pair)
        assert not found.finite
        assert not found.agrees(1e300)


def test_what_is_not_finite_between_the_samples_is_seen():
    truth = np.ones(9973, np.float32)
    computed = truth.copy()
    computed[3] = np.nan
    recorded = RecordedEndpoint.of("x", truth)
    assert np.isfinite(recorded.samples_of(computed)).all()
    assert not measure(recorded, computed).agrees(1.0)


def test_zeros_agree_with_zeros_and_with_nothing_else():
    zeros = np.zeros(SHAPE, np.float32)
    assert against(zeros, zeros).agrees(1e-12)
    assert not against(zeros, zeros + 1e-30).agrees(0.9)
    assert not against(zeros + 1, zeros).agrees(0.9)


def test_figures_in_json_are_numbers_or_text(truth):
    figures = against(np.zeros(SHAPE, np.float32), truth).to_json()
    assert figures["rel"] == "inf"
    assert isinstance(figures["max_abs"], float)


def compared(rel: float | None, own: float | None = None, **fields: object) -> ComparedEndpoint:
    free, alone = (None if r is None else Measure(r, r, r, 1, 1, 1, True, True) for r in (rel, own))
    return ComparedEndpoint(
        "x", "x", **{"shape_tf": (1,), "shape": (1,), "free": free, "own": alone, **fields}
    )


@pytest.mark.parametrize(
    ("endpoints", "verdicts"),
    [
        ([compared(1e-6), compared(2e-6)], ["agrees", "agrees"]),
        # Beyond the tolerance by what it was given: agrees while everything before it does.
        ([compared(1e-6), compared(1e-4, 1e-7)], ["agrees", "agrees"]),
        ([compared(1e-3), compared(1e-4, 1e-7)], ["departs", "follows"]),
        # Not known what it does itself.
        ([compared(1e-3), compared(1e-3)], ["departs", "follows"]),
        # Wrong by itself, wherever it stands.
        ([compared(1e-3), compared(1e-3, 1e-3)], ["departs", "departs"]),
        # Right again, as a ReLU may make it.
        ([compared(1e-3), compared(1e-6)], ["departs", "agrees"]),
        ([compared(None), compared(1e-3)], ["shape", "follows"]),
        ([compared(None, shape=None)], ["missing"]),
        ([compared(None, shape_tf=None, shape=None)], ["unrecorded"]),
    ],
)
def test_verdicts(endpoints, verdicts):
    assert [one.verdict for one in with_verdicts(endpoints, 1e-5)] == verdicts


def test_carried_rounding_is_said_to_be_carried():
    _, second = with_verdicts([compared(1e-6), compared(1e-4, 1e-7)], 1e-5)
    assert second.carries_rounding
    assert second.note == "own 1.0e-07: carried rounding"


def test_the_imaginary_parts_of_complex_values_count():
    truth = np.fft.fft(np.random.default_rng(5).normal(size=(3, 7)))
    assert against(truth, truth.copy()).agrees(1e-12)
    found = against(truth, truth.conj())
    assert found.rel == pytest.approx(2 * np.linalg.norm(truth.imag) / np.linalg.norm(truth), rel=1e-12)
    assert not found.agrees(0.9)


def test_the_smallest_integer_has_an_absolute_value():
    truth = np.full(9973, -128, np.int8)
    found = against(truth, truth.copy())
    assert (found.mean_abs, found.mean_abs_tf) == (128, 128)
    assert against(truth, truth.astype(np.int64)).agrees(1e-12)
