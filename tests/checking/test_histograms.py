"""Histograms of two tensors: counted as numpy counts."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tfpt.checking import histograms
from tfpt.checking.comparison import compare
from tfpt.checking.histograms import BINS, histogram
from tfpt.tensors import TensorSpec


def centers(random, low, high, count):
    """Random numbers in the middle of the bins, where rounding decides nothing, and both ends."""
    width = (high - low) / BINS
    return np.concatenate([[low, high], low + (random.integers(0, BINS, count) + 0.5) * width])


@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_the_counts_are_numpys(monkeypatch, chunk):
    monkeypatch.setattr(histograms, "_CHUNK", chunk)
    random = np.random.default_rng(3)
    left = centers(random, -3, 5, 997).astype(np.float32)
    right = random.choice(left, (11, 13))
    found = histogram(left, right)
    assert (found.low, found.high) == (-3, 5)
    for values, counts in ((left, found.left), (right, found.right)):
        expected, _ = np.histogram(values, BINS, (-3, 5))
        assert list(counts) == expected.tolist()


def test_the_range_covers_both_sides():
    found = histogram(np.float32([2, 3]), np.float32([-7, 1]), bins=4)
    assert (found.low, found.high) == (-7, 3)
    assert (found.left, found.right) == ((0, 0, 0, 2), (1, 0, 0, 1))


def test_what_is_not_finite_is_in_no_bin():
    left = np.float32([np.nan, 1, np.inf, 2, -np.inf])
    found = histogram(left, np.float32([np.nan]))
    assert (found.low, found.high) == (1, 2)
    assert (sum(found.left), sum(found.right)) == (2, 0)
    assert histogram(np.float32([np.nan]), np.float32([np.inf])) is None
    assert histogram(np.zeros((0, 3), np.float32), np.zeros(0, np.float32)) is None


def test_values_that_are_all_the_same_are_in_one_bin():
    found = histogram(np.full(5, 7, np.int64), np.full(3, 7, np.int64))
    assert (found.low, found.high) == (7, 7)
    assert sorted(found.left) == [0] * (BINS - 1) + [5]


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.int8, np.uint64, np.float16, ml_dtypes.bfloat16, ml_dtypes.int4]
)
def test_every_dtype_of_real_numbers_is_counted(dtype):
    values = np.array([0, 1, 1, 0, 1]).astype(dtype)
    found = histogram(values, values[:2], bins=2)
    assert (found.left, found.right) == ((2, 3), (1, 1))


def test_the_largest_numbers_do_not_overflow():
    ends = np.array([-np.finfo(np.float64).max, 0, np.finfo(np.float64).max])
    with np.errstate(all="raise"):
        found = histogram(ends, ends, bins=4)
    assert found.left == (1, 0, 1, 1)


def test_complex_numbers_and_strings_have_none():
    assert histogram(np.complex64([1]), np.complex64([1])) is None
    assert histogram(np.array([b"a"], object), np.array([b"a"], object)) is None


def test_a_comparison_has_one_only_if_it_was_asked_for():
    spec = TensorSpec("w", (2,), "float32")
    values = np.float32([3, 4])
    assert compare(spec, values, values).histogram is None
    assert compare(spec, values, values, histograms=True).histogram == histogram(values, values)
