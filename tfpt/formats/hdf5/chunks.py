"""The chunks of an HDF5 dataset: where each lies, and its values put together.

The layout: HDF5 file format specification, III.A.1 "Version 1 B-trees", node type 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.formats.hdf5.blocks import Blocks
from tfpt.io.limits import HDF5_TREE_LEVELS


@dataclass(frozen=True)
class Chunks:
    """Where the chunks of a dataset lie, in no particular order.

    Attributes:
        sizes: Bytes in the file, one for each chunk.
        masks: Which filters were left out of each, a bit for each filter.
        addresses: Where each begins.
        offsets: The element where each begins, [chunks, rank].
    """

    sizes: npt.NDArray[np.int64]
    masks: npt.NDArray[np.int64]
    addresses: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    @property
    def stored(self) -> int:
        """How many bytes they take in the file."""
        return int(self.sizes.sum())


def chunks_at(blocks: Blocks, address: int | None, shape: tuple[int, ...], chunk: tuple[int, ...]) -> Chunks:
    """The chunks that a tree lists; none where it is nowhere.

    Raises:
        SourceError: The tree leads to itself, or a chunk lies outside of the file or of the dataset, or is there twice.
    """
    rank = len(shape)
    leaf = np.dtype([("size", "<u4"), ("mask", "<u4"), ("offset", "<u8", (rank + 1,)), ("child", "<u8")])
    found: list[npt.NDArray[np.void]] = []
    seen: set[int] = set()
    pending = [] if address is None else [(address, -1)]
    most = math.prod(-(-size // step) for size, step in zip(shape, chunk, strict=True))
    listed = 0
    while pending:
        at, level = pending.pop()
        head = blocks.take(at, 24, "a tree of chunks lies outside of it")
        own, count = head[5], int.from_bytes(head[6:8], "little")
        if head[:5] != b"TREE\1" or at in seen or own > HDF5_TREE_LEVELS or level not in (-1, own):
            raise blocks.damaged("a tree of chunks is none, or leads to itself", at)
        seen.add(at)
        body = blocks.take(at + 24, leaf.itemsize * count, "a tree of chunks lies outside of it")
        entries = np.frombuffer(body, leaf, count)
        if own:
            pending += [(int(child), own - 1) for child in entries["child"]]
            continue
        found.append(entries)
        listed += count
        if listed > most:
            raise blocks.damaged(f"a dataset has {listed:,} chunks or more where {most:,} have room", at)
    every = np.concatenate(found) if found else np.empty(0, leaf)
    _check(blocks, every, shape, chunk)
    as_int = {name: every[name].astype(np.int64) for name in ("size", "mask", "child", "offset")}
    return Chunks(as_int["size"], as_int["mask"], as_int["child"], as_int["offset"][:, :rank])


def _check(
    blocks: Blocks, every: npt.NDArray[np.void], shape: tuple[int, ...], chunk: tuple[int, ...]
) -> None:
    rank = len(shape)
    offsets = every["offset"]
    inside = np.all(offsets[:, :rank] < np.array(shape, np.uint64), axis=1)
    aligned = np.all(offsets[:, :rank] % np.array(chunk, np.uint64) == 0, axis=1) & (offsets[:, rank] == 0)
    room = np.uint64(max(0, blocks.size - blocks.base))
    whole = (every["child"] <= room) & (every["size"] <= room)
    whole &= every["child"] + every["size"] <= room
    bad = np.flatnonzero(~(inside & aligned & whole))
    if len(bad):
        first = every[bad[0]]
        raise blocks.damaged(
            f"a chunk of {int(first['size']):,} bytes lies outside of the file or of its dataset",
            min(int(first["child"]), blocks.size),
        )
    if len(np.unique(offsets[:, :rank], axis=0)) != len(every):
        raise blocks.damaged("a chunk is there twice", 0)


def place(target: np.ndarray, values: np.ndarray, offset: npt.NDArray[np.int64]) -> None:
    """Put a chunk's values where they belong; what lies beyond the dataset's end is left out."""
    ends = [min(int(o) + n, size) for o, n, size in zip(offset, values.shape, target.shape, strict=True)]
    into = tuple(slice(int(o), end) for o, end in zip(offset, ends, strict=True))
    part = tuple(slice(0, end - int(o)) for o, end in zip(offset, ends, strict=True))
    target[into] = values[part]
