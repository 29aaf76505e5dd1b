"""Sparse tensors: which elements are stored, described level by level, and how to expand them.

A tensor has levels, one for each axis and another for each axis that is divided into blocks. A dense level has every
index; a sparse one is in compressed rows: where the indices of each row start, and the indices. The values are stored
in the order in which the levels enumerate them. The format: SparsityParameters in
tensorflow/compiler/mlir/lite/schema/schema.fbs; its meaning: tensorflow/lite/kernels/internal/utils/
sparsity_format_converter.cc, FormatConverter::SparseToDense.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.formats.tflite.flatbuffer import Table
from tfpt.io.limits import LARGEST_FILL
from tfpt.tensors import TensorSpec, dtype, format_shape

# union SparseIndexVector
_INDICES = {1: "i4", 2: "u2", 3: "u1"}
_MOST_LEVELS = 64


@dataclass(frozen=True)
class Level:
    """One level of a sparse tensor.

    Attributes:
        size: The number of indices of a dense level; 0 for a sparse one.
        segments: For a sparse level: where the indices of each row start, and where the last ends; int64 [rows + 1].
        indices: For a sparse level: the indices of all rows; int64.
    """

    size: int
    segments: npt.NDArray[np.int64] | None = None
    indices: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Sparsity:
    """Which elements of a tensor are stored, and in which order.

    Attributes:
        order: The axis of each level; axes from the rank up are blocks, in the order of `blocks`.
        blocks: The axes that are divided into blocks.
        levels: The levels, outermost first.

    Example:
        >>> rows = Level(0, np.array([0, 1, 1, 3]), np.array([2, 0, 1]))
        >>> sparse = Sparsity((0, 1), (), (Level(3), rows))
        >>> sparse.dense(np.float32([7, 8, 9]), (3, 4)).tolist()
        [[0.0, 0.0, 7.0, 0.0], [0.0, 0.0, 0.0, 0.0], [8.0, 9.0, 0.0, 0.0]]
    """

    order: tuple[int, ...]
    blocks: tuple[int, ...]
    levels: tuple[Level, ...]

    def dense(self, stored: npt.NDArray[np.generic], shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
        """All elements of a tensor of `shape`, in the dtype of `stored`; zero where nothing is stored.

        Raises:
            ValueError: The levels do not fit the shape or the stored values.
        """
        if math.prod(shape) * stored.itemsize > LARGEST_FILL:
            raise ValueError(f"{len(stored):,} stored values for {format_shape(shape)}: refused")
        places, coordinates = self._enumerated(len(stored))
        if places != len(stored):
            raise ValueError(f"its levels enumerate {places:,} elements, and {len(stored):,} are stored")
        rank = len(shape)
        at = dict(zip(self.order, coordinates, strict=True))
        size = {axis: level.size for axis, level in zip(self.order, self.levels, strict=True)}
        flat = np.zeros(len(stored), np.int64)
        for axis in range(rank):
            index = at[axis]
            if axis in self.blocks:
                block = rank + self.blocks.index(axis)
                index = index * size[block] + at[block]
            if index.size and not 0 <= index.min() <= index.max() < shape[axis]:
                raise ValueError(f"an index is outside axis {axis} of {format_shape(shape)}")
            flat = flat * shape[axis] + index
        values = np.zeros(math.prod(shape), stored.dtype)
        values[flat] = stored
        return values.reshape(shape)

    def _enumerated(self, count: int) -> tuple[int, list[npt.NDArray[np.int64]]]:
        """How many elements the levels enumerate, and the index of each of them in each level."""
        # No valid level has more: each enumerated element is stored, or is a row of a stored level.
        lengths = [len(level.segments) for level in self.levels if level.segments is not None]
        most = max([count, *lengths])
        places = 1
        coordinates: list[npt.NDArray[np.int64]] = []
        for level in self.levels:
            if level.segments is None or level.indices is None:
                if places * level.size > most:
                    raise ValueError(f"its levels enumerate more than the {count:,} elements that are stored")
                parents = np.repeat(np.arange(places), level.size)
                own = np.tile(np.arange(level.size), places)
            else:
                if len(level.segments) != places + 1:
                    raise ValueError(
                        f"a level has {len(level.segments) - 1:,} rows, and the level above it {places:,} elements"
                    )
                rows = np.diff(level.segments)
                if level.segments[0] != 0 or (rows < 0).any() or level.segments[-1] != len(level.indices):
                    raise ValueError("the rows of a level do not fit its indices")
                parents = np.repeat(np.arange(places), rows)
                own = level.indices
            coordinates = [*[above[parents] for above in coordinates], own]
            places = len(own)
        return places, coordinates


def read_sparsity(table: Table, spec: TensorSpec) -> Sparsity | None:
    """A tensor's SparsityParameters; None if they do not fit its shape."""
    order = tuple(table.numbers(0, "i4").tolist())
    blocks = tuple(table.numbers(1, "i4").tolist())
    found = [_level(level) for level in table.tables(2, f"level of {table.what}", _MOST_LEVELS)]
    levels = tuple([level for level in found if level is not None])
    rank = len(spec.shape)
    sizes = dict(zip(order, levels, strict=False))
    fits = (
        len(levels) == len(order) == rank + len(blocks)
        and sorted(order) == list(range(len(order)))
        and len(set(blocks)) == len(blocks)
        and all(0 <= axis < rank for axis in blocks)
        # Blocks are dense: their sizes are not recorded elsewhere.
        and all(sizes[rank + at].segments is None and sizes[rank + at].size > 0 for at in range(len(blocks)))
    )
    return Sparsity(order, blocks, levels) if fits else None


def _level(table: Table) -> Level | None:
    if table.number(0, "b") == 0:
        return Level(max(table.number(1, "i"), 0))
    segments, indices = _vector(table, 2), _vector(table, 4)
    return None if segments is None or indices is None else Level(0, segments, indices)


def _vector(table: Table, field: int) -> npt.NDArray[np.int64] | None:
    """A union: its kind in a field, the table with the numbers in the next."""
    elements = _INDICES.get(table.number(field, "B"))
    held = table.table(field + 1, f"the indices of {table.what}")
    return None if elements is None or held is None else held.numbers(0, elements).astype(np.int64)


def stored_count(size: int, spec: TensorSpec) -> int:
    """How many values of a tensor's dtype are in `size` bytes.

    Raises:
        ValueError: The last one is truncated.
    """
    itemsize = dtype(spec.dtype).itemsize
    if size % itemsize:
        raise ValueError(f"{size:,} bytes are not a whole number of values of {spec.dtype}")
    return size // itemsize
