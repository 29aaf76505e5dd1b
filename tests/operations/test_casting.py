"""Every cast rounds once, to the nearest value, and what no dtype holds is counted: against fractions and torch."""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from tfpt.operations.casting import Loss, carrier, cast, constant, holds, loss

NARROW = ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
WRITTEN = [*NARROW, "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "uint64", "bool"]


def dtype(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def grid(name: str) -> np.ndarray:
    """Every finite value of a narrow float, in order, as float64."""
    held = dtype(name)
    with np.errstate(invalid="ignore"):
        values = np.arange(1 << (8 * held.itemsize), dtype=f"u{held.itemsize}").view(held).astype(np.float64)
    return np.unique(values[np.isfinite(values)])


def nearest(wanted: np.ndarray, name: str) -> np.ndarray:
    """The nearest value of a narrow float, the even one of two: looked up among all of them, exactly."""
    values = grid(name)
    upper = np.clip(np.searchsorted(values, wanted), 1, len(values) - 1)
    low, high = values[upper - 1], values[upper]
    # Neighbors are so near each other that these differences are exact in extended precision.
    below, above = wanted - low.astype(np.longdouble), high.astype(np.longdouble) - wanted
    bits = low.astype(np.float32).astype(dtype(name)).view(f"u{dtype(name).itemsize}")
    even = np.where(bits & 1, high, low)
    return np.where(below == above, even, np.where(below < above, low, high))


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("source", [np.float64, np.longdouble])
def test_between_two_values_the_nearest_is_taken(name: str, source: Any) -> None:
    values = grid(name)
    middle = (values[1:] + values[:-1]) / 2
    # A hair above and below the middle: rounded to float32 first, all three would be the same.
    wanted = np.concatenate([middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf), values])
    found = cast(wanted.astype(source), dtype(name)).astype(np.float64)
    np.testing.assert_array_equal(found, nearest(wanted.astype(np.longdouble), name))


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32])
def test_integers_are_rounded_to_bfloat16_once(kind: Any) -> None:
    bits = np.arange(7, np.iinfo(kind).bits - 1)
    half = (2.0**bits + 2.0 ** (bits - 8)).astype(np.longdouble)  # between two values of bfloat16
    integers = np.concatenate([half, half + 1, half - 1]).astype(kind)
    if kind != np.uint64:
        integers = np.concatenate([integers, -integers, [np.iinfo(kind).min]]).astype(kind)
    found = cast(integers, dtype("bfloat16")).astype(np.float64)
    np.testing.assert_array_equal(found, nearest(integers.astype(np.longdouble), "bfloat16"))


@pytest.mark.parametrize(
    "name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
)
def test_float32_is_cast_as_torch_casts_it(name: str) -> None:
    random = np.random.default_rng(4)
    values = (random.normal(size=20_000) * 10.0 ** random.integers(-9, 2, 20_000)).astype(np.float32)
    values = values[np.abs(values) < 200]
    expected = torch.from_numpy(values).to(getattr(torch, name)).to(torch.float32).numpy()
    np.testing.assert_array_equal(cast(values, dtype(name)).astype(np.float32), expected)


@pytest.mark.parametrize(("source", "target"), [*itertools.product([*WRITTEN, "complex64"], WRITTEN)])
def test_what_is_lost_is_what_no_value_of_the_dtype_is_near_to(source: str, target: str) -> None:
    """Over every pair: the numbers at the limits of both, one by one, in Python's own arithmetic."""
    held = dtype(target)
    numbers = [
        0,
        1,
        -1,
        2,
        0.5,
        127,
        128,
        255,
        256,
        -128,
        -129,
        240,
        448,
        470,
        1e5,
        57344,
        65504,
        65536,
        2**31,
        2**53,
    ]
    numbers += [2**63, -(2**63), 2**63 - 1, 2**64, 1e30, 1e39, -1e39, 1e300, math.inf, -math.inf, math.nan]
    whole = dtype(source).kind in "iub"
    if whole:
        least, most = (0, 1) if source == "bool" else (np.iinfo(source).min, np.iinfo(source).max)
        numbers = [int(value) for value in numbers if math.isfinite(value) and least <= value <= most]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = np.array(numbers, None if whole else np.float64).astype(dtype(source))
    after = cast(before, held)
    wide = before.tolist() if whole else before.astype(np.complex128).tolist()
    found = loss(before, after)
    assert (0 if found is None else found.count) == sum(not fits(value, target) for value in wide)


def fits(value: Any, target: str) -> bool:
    """Whether a number is near to some value of the dtype, in exact arithmetic."""
    if isinstance(value, complex):
        if value.imag != 0:
            return False
        value = value.real
    held = dtype(target)
    if held.kind == "b":
        return value in (0, 1)
    if held.kind in "iu":
        return math.isfinite(value) and np.iinfo(held).min <= int(value) <= np.iinfo(held).max
    if not math.isfinite(value):
        return math.isnan(value) or target in ("float16", "bfloat16", "float8_e5m2", "float32", "float64")
    if target in NARROW:
        before, largest = (Fraction(float(edge)) for edge in grid(target)[-2:])
    else:
        edge = np.finfo(held).max
        before, largest = Fraction(float(np.nextafter(edge, held.type(0)))), Fraction(float(edge))
    return abs(Fraction(value)) < largest + (largest - before) / 2


def test_the_largest_of_what_is_lost_is_told() -> None:
    before = np.float64([[3, -1e300], [1e299, np.nan]])
    assert loss(before, cast(before, np.dtype(np.float32))) == Loss(2, "-1e+300")
    before = np.int64([2**62 + 1, -(2**63), 5])
    assert loss(before, cast(before, np.dtype(np.int32))) == Loss(2, str(-(2**63)))


def test_a_loss_is_found_wherever_it_is_in_a_large_tensor() -> None:
    before = np.zeros((1031, 523), np.float32).T
    assert loss(before, cast(before, np.dtype(np.float16))) is None
    before = before.copy(order="K")
    before[522, 1030] = before[0, 517] = 7e4
    assert loss(before, cast(before, np.dtype(np.float16))) == Loss(2, "70000.0")


def test_rounding_is_no_loss() -> None:
    before = np.float64([0.1, 1e-30, 65519.9, -0.0])
    for name in ("float16", "bfloat16", "float32"):
        assert loss(before, cast(before, dtype(name))) is None
    assert loss(np.float32([0.7, -0.2]), np.int32([0, 0])) is None


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("float16", 1e5, False),
        ("float16", 65519, True),
        ("float16", 65520, False),
        ("float8_e4m3fn", 1000, False),
        ("float8_e4m3fn", 448, True),
        ("float8_e4m3fn", np.inf, False),
        ("float8_e4m3fn", np.nan, True),
        ("float8_e5m2", np.inf, True),
        ("float32", 1e39, False),
        ("float32", 0.1, True),
        ("float32", -np.inf, True),
        ("uint8", 300, False),
        ("uint8", -1, False),
        ("uint8", 255.0, True),
        ("int64", 0.5, False),
        ("int64", 2**63 - 1, True),
        ("int64", 2**63, False),
        ("int64", np.nan, False),
        ("bool", 2, False),
        ("bool", True, True),
        ("complex64", 1e39, False),
        ("string", 1, False),
    ],
)
def test_a_constant_may_be_rounded_and_not_changed(name: str, value: Any, held: bool) -> None:
    assert holds(name, value) is held


def test_an_integer_beyond_float64_is_held_by_none() -> None:
    assert not any(holds(name, 10**400) for name in WRITTEN)


def test_constants_are_exact_where_the_dtype_has_them() -> None:
    assert constant(2**63 - 1, np.dtype(np.int64)).item() == 2**63 - 1
    assert constant(1.00390625 + 2**-40, dtype("bfloat16")).item() == 1.0078125  # in two steps: 1.0


@pytest.mark.parametrize(
    ("names", "constants", "expected"),
    [
        (["float32"], [], "float32"),
        (["bfloat16", "float16"], [], "float32"),
        (["bfloat16"], [0.5], "bfloat16"),
        (["bfloat16"], [0.1], "float64"),
        (["int8"], [0.5], "float32"),
        (["int32", "float32"], [], "float64"),
        (["int32", "int64"], [], "int64"),
        (["uint8", "int8"], [], "float32"),
        (["int64", "float32"], [], "longdouble"),
        (["uint64", "int64"], [], "longdouble"),
        (["complex64", "float64"], [], "complex128"),
        (["complex64", "int64"], [], "clongdouble"),
        (["float8_e4m3fn", "float8_e5m2"], [], "float32"),
    ],
)
def test_a_carrier_holds_everything(names: list[str], constants: list[float], expected: str) -> None:
    assert carrier(map(dtype, names), constants) == dtype(expected)
