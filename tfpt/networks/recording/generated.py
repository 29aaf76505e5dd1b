"""Inputs generated from a seed: their shapes, and random integers that networks accept (ids, masks, lengths)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfpt.errors import SourceError
from tfpt.language import mapping as rows
from tfpt.networks.running.network import InputSpec, format_open_shape
from tfpt.tensors import format_shape

FLOATS = ("float16", "float32", "float64", "bfloat16")
_HINT = "--input F.npy, an array in TensorFlow's layout"
Kind = Literal["rows", "mask", "segments", "lengths", "bits"]

_MASK = re.compile(r"(?:^|[_/.])(?:\w*_)?masks?(?:_\d+)?$", re.IGNORECASE)
_SEGMENTS = re.compile(r"segment|token_type|type_id", re.IGNORECASE)
_LENGTHS = re.compile(r"(?:^|[_/.])(?:len|lens|lengths?)$", re.IGNORECASE)


@dataclass(frozen=True)
class Sizes:
    """The sizes of generated inputs chosen by the user; ``None`` for the network's own, else the mapping's.

    Attributes:
        batch: Batch size; 1 by default.
        frames: Number of frames of a video, or length of a sequence; 16 by default.
        size: Height and width in pixels.
    """

    batch: int | None = None
    frames: int | None = None
    size: int | None = None


def shape_from_mapping(spec: InputSpec, mapping: rows.Mapping, sizes: Sizes) -> tuple[int, ...]:
    """The input shape that a mapping's ``input:`` describes, with the sizes that the network fixes."""
    from tfpt.networks.inputs import input_axes, input_shape

    axes = input_axes(mapping)
    if spec.shape is not None and len(spec.shape) != len(axes):
        raise SourceError(
            f"the network's input {spec.name} has other axes than the mapping {mapping.name} says",
            where=str(mapping.path),
            expected=f"layout: {mapping.input.layout}",
            got=str(spec),
            hint="--input F.npy",
        )
    own = dict(zip(axes, spec.shape or [None] * len(axes), strict=True))
    chosen = {"b": sizes.batch, "t": sizes.frames, "h": sizes.size, "w": sizes.size}
    shape = input_shape(
        mapping,
        batch=sizes.batch or own.get("b") or 1,
        frames=sizes.frames or own.get("t") or 16,
        size=sizes.size or own.get("h") or own.get("w"),
        channels=own.get("c"),
    )
    shape = tuple(
        own[axis] or size if not chosen.get(axis) else size for axis, size in zip(axes, shape, strict=True)
    )
    if not spec.accepts(shape):
        raise SourceError(
            f"the network's input {spec.name} has fixed sizes",
            where=str(mapping.path),
            expected=format_open_shape(spec.shape),
            got=format_shape(shape),
            hint="leave out --batch, --frames and --size",
        )
    return shape


def shape_from_network(spec: InputSpec, sizes: Sizes, where: str) -> tuple[int, ...]:
    """The network's own input shape with its unknown sizes filled in: batch, then frames, then height and width."""
    if spec.shape is None:
        raise SourceError(
            f"the network does not say the shape of its input {spec.name}", where=where, hint=_HINT
        )
    axes = len(spec.shape)
    choices = ([sizes.batch or 1] + [sizes.size] * axes)[:axes]
    if axes in (3, 5):
        choices[1] = sizes.frames or 16
    elif axes == 2 and spec.dtype not in FLOATS:  # a sequence of ids
        choices[1] = sizes.frames or sizes.size or 16
    shape = [choice if size is None else size for size, choice in zip(spec.shape, choices, strict=True)]
    if None in shape:
        raise SourceError(
            f"the network does not say all sizes of its input {spec.name}",
            where=where,
            expected=str(spec),
            hint=f"--size N, or {_HINT}",
        )
    return tuple(int(size or 0) for size in shape)


def is_mask(name: str, dtype: str) -> bool:
    """Whether an input marks which positions of another input are valid.

    Example:
        >>> is_mask("input_mask", "int32"), is_mask("keep", "bool"), is_mask("masked_lm_ids", "int32")
        (True, True, False)
    """
    return dtype == "bool" or (_MASK.search(name) is not None and not name.startswith("masked"))


def is_segments(name: str) -> bool:
    """Whether an input tells which of two texts each position belongs to."""
    return _SEGMENTS.search(name) is not None


def is_lengths(name: str, shape: Sequence[int]) -> bool:
    """Whether an input is the length of each sequence in a batch."""
    return len(shape) < 2 and _LENGTHS.search(name) is not None


def row_limits(rows: int | None, stated: Sequence[float] | None) -> tuple[int, int]:
    """The smallest and the largest number that indexes a table.

    Args:
        rows: The table's number of rows; ``None`` if it is unknown.
        stated: The mapping's range, used as far as the table has such rows.

    Example:
        >>> row_limits(101, None), row_limits(101, (-1.5, 50.5)), row_limits(101, (-1, 0.5)), row_limits(None, (3, 9))
        ((0, 100), (0, 50), (0, 100), (3, 9))
    """
    low, high = (0, 0) if stated is None else (math.ceil(stated[0]), math.floor(stated[1]))
    if rows is None:
        return low, high
    if stated is not None:
        low, high = max(low, 0), min(high, rows - 1)
    return (low, high) if high > low else (0, rows - 1)


def random_integers(
    kind: str, shape: tuple[int, ...], dtype: Any, seed: int, limits: Sequence[float]
) -> np.ndarray:
    """Random integers of a kind, reproducible from the seed.

    Args:
        kind: ``rows``: every number between the limits once before any is repeated, both limits included; 0, the
            padding id of many networks, comes last. ``mask``: ones, then zeros along the last axis, each row with a
            random number of ones, at least half. ``segments``: zeros, then ones. ``lengths``: from half the upper limit
            to the upper limit. ``bits``: zeros and ones.
        limits: The smallest and the largest number.

    Raises:
        ValueError: The kind is unknown.

    Example:
        >>> random_integers("rows", (2, 3), "int32", 7, (0, 100)).tolist()
        [[68, 89, 100], [91, 61, 0]]
        >>> sorted(random_integers("rows", (6,), "int32", 7, (3, 8)).tolist())
        [3, 4, 5, 6, 7, 8]
        >>> random_integers("mask", (2, 6), "int32", 3, (0, 1)).tolist()
        [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]]
    """
    random = np.random.default_rng(seed)
    low, high = (int(each) for each in limits)
    if kind == "rows":
        values = _rows(random, math.prod(shape), low, high).reshape(shape)
    elif kind in ("mask", "segments"):
        length = shape[-1] if shape else 1
        ones = random.integers((length + 1) // 2, max(length, (length + 1) // 2 + 1), shape[:-1])
        first = np.arange(length) < np.asarray(ones)[..., None]
        values = (first if kind == "mask" else ~first).reshape(shape)
    elif kind == "lengths":
        values = random.integers((high + 1) // 2, high + 1, shape)
    elif kind == "bits":
        values = random.integers(0, 2, shape)
    else:
        raise ValueError(f"unknown kind of input: {kind}")
    return np.asarray(values).astype(dtype)


def _rows(random: np.random.Generator, number: int, low: int, high: int) -> np.ndarray:
    rows = high - low + 1
    if number >= rows:
        rounds = [random.permutation(rows) for _ in range(-(-number // rows))]
        found = np.concatenate(rounds)[:number] if rounds else np.zeros(0, np.int64)
    elif number == 1:
        found = np.array([rows - 1])
    else:
        inner = (
            random.choice(rows - 2, number - 2, replace=False) + 1 if number > 2 else np.zeros(0, np.int64)
        )
        found = random.permutation(np.concatenate([inner, [0, rows - 1]]))
    if low == 0 and 1 < number <= rows:
        zero = int(np.flatnonzero(found == 0)[0])
        found[[zero, -1]] = found[[-1, zero]]
    return found + low


def regenerated_input(fact: Mapping[str, Any]) -> np.ndarray:
    """A seeded input, generated again from the facts of a recording.

    Raises:
        KeyError, TypeError, ValueError: The facts are incomplete or invalid.
    """
    shape, dtype = tuple(int(size) for size in fact["shape"]), np.dtype(fact["dtype"])
    if dtype.kind not in "iufb":
        raise TypeError(f"inputs of dtype {dtype} are not generated from a seed")
    if dtype.kind == "f":
        low, high = fact["range"]
        return np.random.default_rng(int(fact["seed"])).uniform(low, high, shape).astype(dtype)
    # Recordings without a kind have zeros and ones.
    return random_integers(str(fact.get("drawn", "bits")), shape, dtype, int(fact["seed"]), fact["range"])
