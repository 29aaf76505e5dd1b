"""A strided copy is the copy numpy makes; the oracles are `np.ascontiguousarray` and `einops.rearrange`."""

from __future__ import annotations

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpt.operations import strided
from tfpt.operations.strided import copy_strided

WIDTHS = {
    1: [np.uint8, np.bool_, ml_dtypes.float8_e4m3fn],
    2: [np.float16, ml_dtypes.bfloat16],
    4: [np.float32, np.int32],
    8: [np.complex64],
    16: [np.complex128],
}
DTYPES = [np.dtype(dtype) for dtypes in WIDTHS.values() for dtype in dtypes]


@pytest.fixture
def tiles_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles so small that arrays of a few KB have many, and that no array is too small for them."""
    monkeypatch.setattr(strided, "SMALL", 0)
    monkeypatch.setattr(strided, "SOURCE_RUN", 64)
    monkeypatch.setattr(strided, "TARGET_RUN", 5)
    monkeypatch.setattr(strided, "SHORTEST_RUN", 32)
    monkeypatch.setattr(strided, "TILE", 300)
    monkeypatch.setattr(strided, "_pays", _is_out_of_order)


def _is_out_of_order(source: np.ndarray) -> bool:
    steps = [abs(step) for step in source.strides]
    return any(steps) and min(step for step in steps if step) != steps[-1]


def values(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Bit patterns that differ from place to place (bool: 0 and 1)."""
    count = math.prod(shape)
    if dtype == np.bool_:
        return (np.arange(count) % 3 == 0).reshape(shape)
    raw = np.random.default_rng(7).integers(0, 256, count * dtype.itemsize, dtype=np.uint8)
    return raw.view(dtype).reshape(shape)


def copied(source: np.ndarray) -> np.ndarray:
    if source.dtype.hasobject:
        target = np.empty(source.shape, source.dtype)
    else:
        target = np.full(source.nbytes, 0xA5, np.uint8).view(source.dtype).reshape(source.shape)
    copy_strided(source, target)
    return target


def assert_same_bytes(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    assert got.tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.usefixtures("tiles_always")
def test_every_permutation_of_four_prime_axes() -> None:
    source = values((5, 7, 3, 11), np.dtype(np.float32))
    for order in itertools.permutations(range(4)):
        assert_same_bytes(copied(source.transpose(order)), source.transpose(order))


@pytest.mark.usefixtures("tiles_always")
@pytest.mark.parametrize(
    "pattern",
    [
        "t h w i o -> o i t h w",
        "t h w i o -> i o t h w",
        "t h w i o -> w o t i h",
        "t h w i o -> h w o t i",
    ],
)
def test_kernels_are_what_einops_makes(pattern: str) -> None:
    kernel = np.arange(2 * 3 * 5 * 7 * 11, dtype=np.float32).reshape(2, 3, 5, 7, 11)
    expected = rearrange(kernel, pattern)
    if "(" not in pattern:
        assert np.array_equal(copied(expected), expected)
    assert np.array_equal(
        copied(rearrange(kernel[:, :, ::2], pattern)), rearrange(kernel[:, :, ::2], pattern)
    )


@st.composite
def views(draw: st.DrawFn) -> np.ndarray:
    """A permuted view of up to 8 axes: sliced, reversed and broadcast as it comes."""
    rank = draw(st.integers(0, 8))
    room = 4000
    shape = []
    for _ in range(rank):
        shape.append(
            draw(st.sampled_from([n for n in (0, 1, 1, 2, 2, 3, 5, 7, 13, 61) if n <= max(room, 1)]))
        )
        room //= max(shape[-1], 1)
    array = values(tuple(shape), draw(st.sampled_from(DTYPES)))
    steps = [draw(st.sampled_from([1, 1, 1, 2, -1, -3])) for _ in range(rank)]
    array = array[(*(slice(None, None, step) for step in steps), ...)]
    for axis in range(rank):
        if array.shape[axis] == 1 and draw(st.booleans()):
            wider = list(array.shape)
            wider[axis] = draw(st.sampled_from([2, 3]))
            array = np.broadcast_to(array, wider)
    return array.transpose(draw(st.permutations(range(rank))))


@pytest.mark.usefixtures("tiles_always")
def test_any_view_of_any_dtype() -> None:
    @settings(max_examples=300)
    @given(views())
    def same_bytes(view: np.ndarray) -> None:
        assert_same_bytes(copied(view), view)

    same_bytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("pattern", ["t h i o -> o i t h", "t h i o -> o h t i", "t h i o -> i o t h"])
def test_large_kernels_with_the_real_tile_sizes(pattern: str, dtype: np.dtype) -> None:
    kernel = values((3, 5, 127, 521), dtype)
    view = rearrange(kernel, pattern)
    assert_same_bytes(copied(view), view)


@pytest.mark.parametrize("shape", [(1031, 769), (3, 300007), (300007, 3), (2048, 512), (64, 4099)])
def test_large_matrices_with_the_real_tile_sizes(shape: tuple[int, int]) -> None:
    matrix = values(shape, np.dtype(np.uint32))
    assert_same_bytes(copied(matrix.T), matrix.T)
    assert_same_bytes(copied(matrix[::-1].T), matrix[::-1].T)


def test_a_large_broadcast_source() -> None:
    view = np.broadcast_to(values((1, 401, 503), np.dtype(np.float32)), (3, 401, 503)).transpose(2, 0, 1)
    assert_same_bytes(copied(view), view)


def test_strings_and_objects_are_copied_too() -> None:
    words = np.array([[b"a", b"bc"], [b"", b"def"], [b"g", b"h"]], dtype=object)
    assert copied(words.T).tolist() == words.T.tolist()


def test_several_threads_copy_at_once() -> None:
    matrices = [values((1024, 512 + step), np.dtype(np.float32)) for step in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(copied, [matrix.T for matrix in matrices]))
    for matrix, result in zip(matrices, results, strict=True):
        assert_same_bytes(result, matrix.T)


def test_a_target_of_another_shape_dtype_or_order_is_refused() -> None:
    source = np.zeros((3, 5), np.float32)
    with pytest.raises(ValueError, match="shape or dtype differs"):
        copy_strided(source, np.empty((5, 3), np.float32))
    with pytest.raises(ValueError, match="shape or dtype differs"):
        copy_strided(source, np.empty((3, 5), np.int32))
    with pytest.raises(ValueError, match="C-contiguous"):
        copy_strided(source, np.empty((5, 3), np.float32).T)
