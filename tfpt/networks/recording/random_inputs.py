"""Inputs of whole numbers, drawn from a seed: rows of a table, masks, segments and lengths, as networks take them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

Kind = Literal["rows", "mask", "segments", "lengths", "bits"]

_MASK = re.compile(r"(?:^|[_/.])(?:\w*_)?masks?(?:_\d+)?$", re.IGNORECASE)
_SEGMENTS = re.compile(r"segment|token_type|type_id", re.IGNORECASE)
_LENGTHS = re.compile(r"(?:^|[_/.])(?:len|lens|lengths?)$", re.IGNORECASE)


def is_mask(name: str, dtype: str) -> bool:
    """Whether an input says which positions of another count.

    Example:
        >>> is_mask("input_mask", "int32"), is_mask("keep", "bool"), is_mask("masked_lm_ids", "int32")
        (True, True, False)
    """
    return dtype == "bool" or (_MASK.search(name) is not None and not name.startswith("masked"))


def is_segments(name: str) -> bool:
    """Whether an input says to which of two texts a position belongs."""
    return _SEGMENTS.search(name) is not None


def is_lengths(name: str, shape: Sequence[int]) -> bool:
    """Whether an input says how long each sequence of a batch is."""
    return len(shape) < 2 and _LENGTHS.search(name) is not None


def drawn(kind: str, shape: tuple[int, ...], dtype: Any, seed: int, limits: Sequence[float]) -> np.ndarray:
    """Whole numbers of a kind; the same ones for the same seed.

    Args:
        kind: ``rows``: each number between the limits once, both limits among them, before any comes again; 0, which
            stands for padding in many networks, comes last. ``mask``: along the last axis ones, then zeros, each row
            of its own length of half the axis or more. ``segments``: the other way round. ``lengths``: one to the
            upper limit. ``bits``: zeros and ones.
        limits: The least and the largest.

    Raises:
        ValueError: There is no such kind.

    Example:
        >>> drawn("rows", (2, 3), "int32", 7, (0, 100)).tolist()
        [[68, 89, 100], [91, 61, 0]]
        >>> sorted(drawn("rows", (6,), "int32", 7, (3, 8)).tolist())
        [3, 4, 5, 6, 7, 8]
        >>> drawn("mask", (2, 6), "int32", 3, (0, 1)).tolist()
        [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0]]
    """
    random = np.random.default_rng(seed)
    least, largest = (int(each) for each in limits)
    if kind == "rows":
        values = _rows(random, math.prod(shape), least, largest).reshape(shape)
    elif kind in ("mask", "segments"):
        length = shape[-1] if shape else 1
        ones = random.integers((length + 1) // 2, max(length, (length + 1) // 2 + 1), shape[:-1])
        first = np.arange(length) < np.asarray(ones)[..., None]
        values = (first if kind == "mask" else ~first).reshape(shape)
    elif kind == "lengths":
        values = random.integers((largest + 1) // 2, largest + 1, shape)
    elif kind == "bits":
        values = random.integers(0, 2, shape)
    else:
        raise ValueError(f"no such kind of input: {kind}")
    return np.asarray(values).astype(dtype)


def _rows(random: np.random.Generator, number: int, least: int, largest: int) -> np.ndarray:
    known = largest - least + 1
    if number >= known:
        rounds = [random.permutation(known) for _ in range(-(-number // known))]
        found = np.concatenate(rounds)[:number] if rounds else np.zeros(0, np.int64)
    elif number == 1:
        found = np.array([known - 1])
    else:
        inner = (
            random.choice(known - 2, number - 2, replace=False) + 1 if number > 2 else np.zeros(0, np.int64)
        )
        found = random.permutation(np.concatenate([inner, [0, known - 1]]))
    if least == 0 and 1 < number <= known:
        place = int(np.flatnonzero(found == 0)[0])
        found[[place, -1]] = found[[-1, place]]
    return found + least


def made_again(fact: Mapping[str, Any]) -> np.ndarray:
    """An input that a seed gave, from what a recording says of it.

    Raises:
        KeyError, TypeError, ValueError: The facts do not say.
    """
    shape, dtype = tuple(int(size) for size in fact["shape"]), np.dtype(fact["dtype"])
    if dtype.kind not in "iufb":
        raise TypeError(f"no seed gives {dtype}")
    if dtype.kind == "f":
        low, high = fact["range"]
        return np.random.default_rng(int(fact["seed"])).uniform(low, high, shape).astype(dtype)
    # Recordings that do not say have zeros and ones.
    return drawn(str(fact.get("drawn", "bits")), shape, dtype, int(fact["seed"]), fact["range"])
