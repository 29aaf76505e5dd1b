"""Copies a transposed view into a contiguous array at memory speed, in pure numpy.

numpy copies in the order of the target. With a transposed source each element then comes from another cache
line, which is evicted before its second element is needed. Here the copy goes tile by tile through a scratch
array that stays in the L2 cache: the first step reads the source in runs along its fastest axes, the second
writes the target in runs along its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

# Measured on cases of benchmarks/transpose.py on an AMD EPYC (L1 48 KiB, L2 1 MiB), float32, GB/s: (30522, 768).T with
# runs of 512 B, 1, 2, 4, 8 KiB: 4.9, 5.0, 4.9, 5.5, 5.5; a (3, 3, 3, 192, 384) kernel: 6.5, 7.0, 8.2, 7.3, 7.4.
SOURCE_RUN = 4096
# In elements. (4096, 4096).T with 32, 64, 128, 256: 3.4, 4.5, 4.8, 3.7; uint8 with 128 to 1024: 3.0, 2.9, 2.7, 1.0.
TARGET_RUN = 128
# 64 float32 rows of 4 KiB, a quarter of the L2 cache. With 128, 256, 384, 512 KiB: kernels 5.4, 5.9, 4.8,
# 5.2; (4096, 4096).T float32 3.4, 4.4, 4.8, 4.9, float16 4.1, 4.3, 3.8, 3.7, uint8 2.6, 3.1, 2.7, 2.7.
TILE = 256 * 1024
# Runs shorter than a few cache lines are extended along the next axis.
SHORTEST_RUN = 256
CACHE_LINE = 64
# What numpy may touch between two visits to a cache line of the source: most of an L1 cache.
NEAR = 32 * 1024
# Tiling reads and writes the array once more, so it pays only if numpy fetches each line this often. Speedup over
# numpy for some 175 permutations of random shapes and squares, by this count (medians in brackets): at 1 fetch
# 0.1 to 2.0 (0.8), at 4 (complex128) 0.5 to 1.4 (0.7), at 8 (float64) 0.2 to 1.3 (0.9), at 16 (float32) 0.6 to 7.2
# (1.3), at 32 (float16) 0.9 to 12 (1.5), at 64 (uint8) 0.8 to 17 (1.4); without the crowded steps below.
FETCHES = 16
# Strides of a power of two map the lines to few cache sets: 2048 x 2048 float64 4.4, complex128 1.4.
CROWDED_STEP = 1024
CROWDED_FETCHES = 4
# If source and target fit into the L2 cache together, plain numpy is about as fast, or faster
# (float32 kernels of 54, 257, 360, 486 KiB: numpy 10.5, 7.5, 6.7, 5.1 GB/s, tiled 1.9, 4.2, 6.4, 5.7).
SMALL = 384 * 1024


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array itself if it is C-contiguous, else a C-contiguous copy.

    Example:
        >>> contiguous(np.arange(6).reshape(2, 3).T).tolist()
        [[0, 3], [1, 4], [2, 5]]
    """
    if array.flags.c_contiguous:
        return array
    target = np.empty(array.shape, array.dtype)
    copy_strided(array, target)
    return target


def copy_strided(source: np.ndarray, target: np.ndarray) -> None:
    """Copy `source`, with any strides, into `target`.

    Several threads may copy at once: each tile is one numpy copy, which releases the GIL.

    Args:
        source: Any view: permuted, sliced, reversed, broadcast; any dtype.
        target: C-contiguous, with the same shape and dtype, not sharing memory with the source.

    Raises:
        ValueError: The shapes or dtypes differ, or the target is not C-contiguous.

    Example:
        >>> kernel = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
        >>> target = np.empty((3, 2, 1), np.float32)
        >>> copy_strided(kernel.transpose(2, 1, 0), target)
        >>> target.tolist()
        [[[0.0], [3.0]], [[1.0], [4.0]], [[2.0], [5.0]]]
    """
    if source.shape != target.shape or source.dtype != target.dtype:
        raise ValueError(
            f"cannot copy {source.shape} {source.dtype} into {target.shape} {target.dtype}: shape or dtype differs"
        )
    if not target.flags.c_contiguous:
        raise ValueError("the target of a strided copy must be C-contiguous")
    if source.dtype.hasobject:
        np.copyto(target, source)
        return
    source, target = _as_unsigned(source), _as_unsigned(target)
    if source.nbytes <= SMALL or source.flags.c_contiguous:
        np.copyto(target, source)
        return
    source, target = _merge_axes(source, target)
    if _pays(source):
        _copy_tiles(source, target)
    else:
        np.copyto(target, source)


def _as_unsigned(array: np.ndarray) -> np.ndarray:
    # numpy copies bfloat16 and float8 with one call per element, integers of the same width in a loop.
    width = array.dtype.itemsize
    return array.view(f"u{width}") if width in (1, 2, 4, 8) else array


def _merge_axes(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same two arrays with the fewest axes: without axes of size 1, contiguous axes merged."""
    shape: list[int] = []
    strides: list[int] = []
    for size, stride in zip(source.shape, source.strides, strict=True):
        if size == 1:
            continue
        if shape and strides[-1] == stride * size:
            shape[-1] *= size
            strides[-1] = stride
        else:
            shape.append(size)
            strides.append(stride)
    return as_strided(source, shape, strides), target.reshape(shape)


def _fastest_first(source: np.ndarray) -> list[int]:
    """The source's axes, smallest stride first, without broadcast axes."""
    moving = [axis for axis in range(source.ndim) if source.strides[axis]]
    return sorted(moving, key=lambda axis: abs(source.strides[axis]))


def _pays(source: np.ndarray) -> bool:
    fastest = _fastest_first(source)
    if not fastest or fastest[0] == source.ndim - 1:
        return False
    crowded = source.strides[-1] % CROWDED_STEP == 0
    return _fetches(source) >= (CROWDED_FETCHES if crowded else FETCHES)


def _fetches(source: np.ndarray) -> float:
    """About how often numpy, copying in the target's order, fetches each cache line of the source."""
    lines = fetches = 1.0
    for size, step in zip(reversed(source.shape), reversed(source.strides), strict=True):
        # 1 if every step along the axis is in another line, more if several are in the same line.
        visits = min(size, max(1.0, CACHE_LINE / abs(step))) if step else size
        if lines * CACHE_LINE > NEAR and step:
            fetches *= visits
        lines *= size / visits
    return fetches


def _copy_tiles(source: np.ndarray, target: np.ndarray) -> None:
    columns, rows, others = _tile(source)
    extents = {**columns, **rows, **others}
    scratch = _scratch(source, columns, {**rows, **others})
    ranges = [range(0, size, extents[axis]) for axis, size in enumerate(source.shape)]
    for corner in itertools.product(*ranges):
        tile = tuple(slice(start, start + extents[axis]) for axis, start in enumerate(corner))
        part = source[tile]
        held = scratch[tuple(slice(size) for size in part.shape)]
        np.copyto(held, part)
        np.copyto(target[tile], held)


def _tile(source: np.ndarray) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
    """A tile's extents along the axes of the source's run, of the target's run, and of all others."""
    itemsize = source.itemsize
    by_source = _fastest_first(source)
    by_target = range(source.ndim - 1, -1, -1)
    # Either side may extend a short run along further axes, except those of the other side's run.
    rows = _run(by_target, source.shape, itemsize, TARGET_RUN * itemsize, {by_source[0]})
    columns = _run(by_source, source.shape, itemsize, SOURCE_RUN, set(rows))
    # If one side is short because it has too few axes, the other makes up for it.
    room = TILE // math.prod(columns.values())
    rows = _run(by_target, source.shape, itemsize, room, set(columns))
    room = TILE // math.prod(rows.values())
    columns = _run(by_source, source.shape, itemsize, room, set(rows))
    others = {}
    room = TILE // (itemsize * math.prod(columns.values()) * math.prod(rows.values()))
    for axis in by_target:
        if axis not in columns and axis not in rows:
            others[axis] = _share(source.shape[axis], max(1, room))
            room //= others[axis]
    return columns, rows, others


def _run(
    axes: Iterable[int], shape: Sequence[int], itemsize: int, length: int, taken: set[int]
) -> dict[int, int]:
    """A tile's extents along `axes`, fastest first, for a run of about `length` bytes."""
    extents: dict[int, int] = {}
    run = itemsize
    for axis in axes:
        if axis in taken or run >= min(length, SHORTEST_RUN):
            break
        extents[axis] = _share(shape[axis], math.ceil(length / run))
        run *= extents[axis]
    return extents


def _share(size: int, at_most: int) -> int:
    # 770 in tiles of at most 768 makes two of 385, not one of 768 and one of 2.
    return math.ceil(size / math.ceil(size / at_most))


def _scratch(source: np.ndarray, columns: dict[int, int], rows: dict[int, int]) -> np.ndarray:
    """An array for one tile, with the axes of the source in the target's order.

    In memory it is a matrix: a row is the run along the source's axes, a column the run along the target's, so
    that both steps of the copy have a long inner loop even for 3 x 3 kernels.
    """
    line = max(1, CACHE_LINE // source.itemsize)
    # Rows an odd number of cache lines apart map to different cache sets.
    row = (math.ceil(math.prod(columns.values()) / line) | 1) * line
    strides = [0] * source.ndim
    step = source.itemsize
    for axis, extent in columns.items():
        strides[axis] = step
        step *= extent
    step = row * source.itemsize
    for axis, extent in rows.items():
        strides[axis] = step
        step *= extent
    memory = np.empty((math.prod(rows.values()), row), source.dtype)
    extents = {**columns, **rows}
    return as_strided(memory, [extents[axis] for axis in range(source.ndim)], strides)
