"""Functions of one variable, against numpy and PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operations.test_transform import one, transform, values
from tfpt.operations.domain import DomainError
from tfpt.operations.function import Apply
from tfpt.operations.operation import Irreversible, Operation, numbered

POSITIVE = np.minimum(np.abs(values(997)), 5).astype(np.float32) + np.float32(0.01)

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sqrt": np.sqrt,
    "square": np.square,
    "reciprocal": np.reciprocal,
    "exp": np.exp,
    "log": np.log,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_function_is_computed_in_float64_and_rounded_once(name: str, dtype: type) -> None:
    expected = FUNCTIONS[name](POSITIVE.astype(np.float64)).astype(dtype)
    np.testing.assert_array_equal(one(f"tf: a, pt: b, apply: {name}", POSITIVE, dtype=dtype), expected)


def test_functions_follow_one_another_before_the_scale() -> None:
    written = one(
        'tf: a, pt: b, apply: [reciprocal, square], layout: "i -> 1 i", scale: 2, add: -1', POSITIVE
    )
    expected = np.square(1 / POSITIVE.astype(np.float64)) * 2 - 1
    np.testing.assert_array_equal(written[0], expected.astype(np.float32))


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_normalize_is_that_of_torch(scale: float) -> None:
    torch = pytest.importorskip("torch")
    array = values(5, 7).astype(np.float64) * scale
    written = one('tf: a, pt: b, layout: "i o -> o i", apply: normalize', array, dtype=np.float64)
    expected = torch.nn.functional.normalize(torch.from_numpy(array.T.copy()), dim=(0, 1), eps=1e-12)
    np.testing.assert_allclose(written, expected.numpy(), rtol=1e-14)


def test_normalize_overflows_nowhere_and_leaves_zeros() -> None:
    array = np.array([3e200, -4e200, 0.0])
    np.testing.assert_allclose(
        one("tf: a, pt: b, apply: normalize", array, dtype=np.float64), [0.6, -0.8, 0], rtol=1e-15
    )
    zeros = np.zeros((2, 3), np.float32)
    np.testing.assert_array_equal(one("tf: a, pt: b, apply: normalize", zeros), zeros)


@pytest.mark.parametrize(
    ("name", "array", "count", "largest"),
    [
        ("sqrt", [4.0, -1.0, -9.0], 2, "-9.0"),
        ("sqrt", [-np.inf, 1.0], 1, "-inf"),
        ("log", [0.0, 1.0, -2.0, np.nan], 2, "-2.0"),
        ("reciprocal", [0.0, 2.0], 1, "0.0"),
        ("exp", [1.0, 710.0], 1, "710.0"),
        ("square", [1e200], 1, "1e+200"),
        ("normalize", [np.inf, 1.0], 2, "inf"),
        ("[log, sqrt]", [0.5, 2.0], 1, "-0.6931471805599453"),
    ],
)
def test_values_without_a_result_are_counted(name: str, array: list[float], count: int, largest: str) -> None:
    with pytest.raises(DomainError) as caught:
        one(f"tf: a, pt: b, apply: {name}", np.array(array), dtype=np.float64)
    assert (caught.value.count, caught.value.largest) == (count, largest)


def test_what_is_infinite_or_not_a_number_stays_so() -> None:
    array = np.array([np.inf, np.nan, 4.0])
    written = one("tf: a, pt: b, apply: sqrt", array, dtype=np.float64)
    np.testing.assert_array_equal(written, [np.inf, np.nan, 2.0])


INVERTIBLE = st.lists(st.sampled_from(["sqrt", "reciprocal", "exp", "log"]), min_size=1, max_size=3)


@given(INVERTIBLE)
def test_functions_followed_by_their_inverse_give_every_float32_again(names: list[str]) -> None:
    operation = Apply(functions=tuple(names))
    array = np.linspace(1.2, 1.4, 101).astype(np.float32).astype(np.float64)
    inputs = [numbered(array.shape)]
    try:
        results = operation.apply([array], inputs)
    except DomainError:
        return
    inverse = operation.inverse(inputs)
    assert isinstance(inverse, Operation)
    try:
        (back,) = inverse.apply(results, inputs)
    except DomainError:
        return
    if np.abs(results[0]).max() < 1e6 and np.abs(results[0]).min() > 1e-3:
        np.testing.assert_array_equal(back.astype(np.float32), array.astype(np.float32))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("square",), "square loses the signs"),
        (("exp", "normalize"), "normalize loses the norm"),
    ],
)
def test_functions_without_an_inverse_say_why(names: tuple[str, ...], reason: str) -> None:
    operation = Apply(functions=names)
    assert operation.inverse([numbered((3,))]) == Irreversible(reason)


@given(st.lists(st.sampled_from([*FUNCTIONS, "normalize"]), min_size=1, max_size=2))
def test_an_argument_is_in_the_domain(names: list[str]) -> None:
    operation = Apply(functions=tuple(names))
    results = np.random.default_rng(0).uniform(0.5, 1.5, 101)
    with np.errstate(all="ignore"):
        argument = operation.argument(results)
    if not np.isfinite(argument).all():
        return
    if "normalize" not in names:
        (found,) = operation.apply([argument], [numbered(results.shape)])
        assert np.isfinite(found).all()


def test_a_function_on_part_of_a_row_needs_only_that_part_but_normalize_needs_all() -> None:
    box = (slice(1, 2), slice(0, 2))
    assert transform("tf: a, pt: b, apply: exp").bind([(3, 5)]).box(box) == [box]
    assert transform("tf: a, pt: b, apply: normalize").bind([(3, 5)]).box(box) == [(slice(0, 3), slice(0, 5))]
