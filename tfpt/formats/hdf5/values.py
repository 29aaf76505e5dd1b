"""Reads the values of one dataset: contiguous, inside the header, or in chunks, whose filters it undoes.

Chunks: HDF5 file format specification, III.A.1 "Version 1 B-trees", node type 1. Filters: deflate, shuffle and the
checksum, which h5py offers under these names.
"""

from __future__ import annotations

import math
import threading
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.formats.hdf5.attributes import Heaps, texts_of
from tfpt.formats.hdf5.blocks import Blocks
from tfpt.formats.hdf5.dataset import Dataset, as_texts, native, refuse_bomb
from tfpt.formats.hdf5.messages import Datatype, Layout
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.limits import CLAIMED_FREELY, HDF5_TEXTS, HDF5_TREE_LEVELS

# Bytes that a fingerprint takes from each end of a tensor. Both ends are next to headers that were fetched already, so
# a fingerprint over a network costs few additional requests.
_SAMPLE = 32


@dataclass(frozen=True)
class Place:
    """A dataset, and where its values are stored.

    Attributes:
        where: The file and path, for errors.
        dataset: The dataset.
        kind: The type of its elements.
        layout: Where they are stored.
    """

    where: str
    dataset: Dataset
    kind: Datatype
    layout: Layout


def read_place(blocks: Blocks, heaps: Heaps, lock: threading.Lock, place: Place) -> np.ndarray:
    """The values: C-contiguous, native byte order, read-only; text as an array of `bytes`.

    Args:
        blocks: The file.
        heaps: Its heaps of texts.
        lock: Acquired while `blocks` and `heaps` are used; values are read without it.
        place: The dataset.

    Raises:
        SourceError: The values are damaged or truncated, or claim more than their bytes can fill.
        ValueError: The layout contradicts the datatype.
    """
    if place.dataset.held is None:
        return _strings(blocks, heaps, lock, place)
    return native(_raw(blocks, lock, place), place.dataset)


def sample_of(blocks: Blocks, place: Place) -> bytes:
    """The first and last stored bytes; for a chunked dataset, those of its middle chunk."""
    layout, size = place.layout, place.dataset.claimed
    if layout.compact is not None:
        return layout.compact[:_SAMPLE] + layout.compact[-_SAMPLE:]
    if layout.address is None or not size:
        return b""
    begin = layout.address
    if layout.chunk is not None:
        chunks = chunks_at(blocks, begin, place.dataset.spec.shape, layout.chunk)
        if not len(chunks.sizes):
            return b""
        middle = np.lexsort(chunks.offsets.T[::-1])[len(chunks.sizes) // 2] if chunks.offsets.shape[1] else 0
        begin, size = int(chunks.addresses[middle]), int(chunks.sizes[middle])
    part = min(_SAMPLE, size)
    what = "values are outside the file"
    return blocks.take(begin, part, what) + blocks.take(begin + size - part, part, what)


def _raw(blocks: Blocks, lock: threading.Lock, place: Place) -> np.ndarray:
    """The values as bytes, in the file's byte order."""
    layout, size = place.layout, place.dataset.claimed
    if layout.chunk is not None:
        return _chunked(blocks, lock, place)
    if layout.compact is not None:
        if len(layout.compact) < size:
            raise ValueError("truncated values")
        return np.frombuffer(layout.compact, np.uint8, size)
    if layout.address is None:
        refuse_bomb(blocks.location, place.dataset, 0)
        return _filled(place, size)
    begin = blocks.base + layout.address
    if begin + size > blocks.size or layout.size < size:
        raise SourceError(
            f"the file ends before the values of {place.dataset.path!r} do",
            where=place.where,
            expected=f"{size:,} bytes from byte {begin:,}",
            got=f"{layout.size:,} bytes in a file of {blocks.size:,}",
            hint=DOWNLOAD_AGAIN,
        )
    return blocks.storage.data[begin : begin + size]


def _chunked(blocks: Blocks, lock: threading.Lock, where: Place) -> np.ndarray:
    layout, dataset, element = where.layout, where.dataset, where.kind.size
    assert layout.chunk is not None
    shape = dataset.spec.shape
    with lock:
        chunks = chunks_at(blocks, layout.address, shape, layout.chunk)
    size = math.prod(layout.chunk) * element
    # Chunks may claim the same bytes, and extend beyond the dataset.
    refuse_bomb(blocks.location, dataset, min(chunks.stored, blocks.size), size * max(1, len(chunks.sizes)))
    elements = np.dtype((np.void, element))
    values: np.ndarray = _filled(where, dataset.spec.size * element).view(elements).reshape(shape)
    for packed, mask, address, offset in zip(*vars(chunks).values(), strict=True):
        begin = blocks.base + int(address)
        try:
            # Incompressible data becomes a little longer.
            if packed > 2 * size + 1024:
                raise ValueError(f"{int(packed):,} packed bytes for a chunk of {size:,}")
            raw = blocks.storage.data[begin : begin + int(packed)].tobytes()
            raw = unpack(raw, layout.filters, int(mask), size, element)
        except ValueError as error:
            raise SourceError(
                f"a chunk of {dataset.path!r} is damaged: {error}",
                where=f"{where.where}, byte {begin:,}",
                hint=DOWNLOAD_AGAIN,
            ) from None
        _insert(values, np.frombuffer(raw, elements).reshape(layout.chunk), offset)
    raw_values: np.ndarray = values.reshape(-1).view(np.uint8)
    return raw_values


def _filled(place: Place, size: int) -> npt.NDArray[np.uint8]:
    """Bytes of values that were never written."""
    fill = place.layout.fill
    if not fill.strip(b"\0"):
        return np.zeros(size, np.uint8)
    if len(fill) != place.kind.size:
        raise ValueError("a fill value of the wrong size")
    filled: npt.NDArray[np.uint8] = np.frombuffer(fill * (size // len(fill)), np.uint8).copy()
    return filled


def _strings(blocks: Blocks, heaps: Heaps, lock: threading.Lock, place: Place) -> np.ndarray:
    """Text: each may be as long as the file, and many may share the same bytes."""
    spec, kind = place.dataset.spec, place.kind
    if spec.size > min(HDF5_TEXTS, max(1024, blocks.size)):
        raise SourceError(
            f"{spec.name!r} contains more texts than tfpt reads", where=place.where, got=f"{spec.size:,}"
        )
    raw = _raw(blocks, lock, place).tobytes()
    with lock:
        texts = texts_of(heaps, kind, spec.size, raw, max(CLAIMED_FREELY, 16 * blocks.size))
    return as_texts(texts, place.dataset)


@dataclass(frozen=True)
class Chunks:
    """Where the chunks of a dataset are, in no particular order.

    Attributes:
        sizes: Bytes in the file, one for each chunk.
        masks: Which filters were skipped for each, a bit for each filter.
        addresses: Where each starts in the file.
        offsets: The index of each chunk's first element, [chunks, rank].
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
    """The chunks that a tree lists; empty if there is no tree.

    Raises:
        SourceError: The tree refers to itself, or a chunk is outside the file or the dataset, or is a duplicate.
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
        head = blocks.take(at, 24, "a tree of chunks is outside the file")
        own, count = head[5], int.from_bytes(head[6:8], "little")
        if head[:5] != b"TREE\1" or at in seen or own > HDF5_TREE_LEVELS or level not in (-1, own):
            raise blocks.damaged("a tree of chunks is invalid, or refers to itself", at)
        seen.add(at)
        body = blocks.take(at + 24, leaf.itemsize * count, "a tree of chunks is outside the file")
        entries = np.frombuffer(body, leaf, count)
        if own:
            pending += [(int(child), own - 1) for child in entries["child"]]
            continue
        found.append(entries)
        listed += count
        if listed > most:
            raise blocks.damaged(f"a dataset has {listed:,} chunks or more, and room for {most:,}", at)
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
            f"a chunk of {int(first['size']):,} bytes is outside the file or its dataset",
            min(int(first["child"]), blocks.size),
        )
    if len(np.unique(offsets[:, :rank], axis=0)) != len(every):
        raise blocks.damaged("a duplicate chunk", 0)


def _insert(target: np.ndarray, values: np.ndarray, offset: npt.NDArray[np.int64]) -> None:
    """Put a chunk's values in place, without those beyond the dataset's end."""
    ends = [min(int(o) + n, size) for o, n, size in zip(offset, values.shape, target.shape, strict=True)]
    into = tuple(slice(int(o), end) for o, end in zip(offset, ends, strict=True))
    part = tuple(slice(0, end - int(o)) for o, end in zip(offset, ends, strict=True))
    target[into] = values[part]


DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
KNOWN = frozenset((DEFLATE, SHUFFLE, FLETCHER32))


def unpack(raw: bytes, filters: tuple[tuple[int, int], ...], mask: int, size: int, element: int) -> bytes:
    """The unpacked bytes of a chunk.

    Args:
        raw: The bytes in the file.
        filters: Number and first parameter of each filter, in the order of packing; all `KNOWN`.
        mask: A bit for each filter that was skipped.
        size: How many bytes the chunk has.
        element: How many bytes an element has.

    Raises:
        ValueError: They do not unpack to `size` bytes, or fail their checksum.
    """
    applied = [each for number, each in enumerate(filters) if not mask >> number & 1]
    # A checksum adds four bytes to what is packed after it.
    expected = size + 4 * sum(number == FLETCHER32 for number, _ in applied)
    for number, parameter in reversed(applied):
        if number == DEFLATE:
            unpacker = zlib.decompressobj()
            try:
                raw = unpacker.decompress(raw, expected + 1)
            except zlib.error as error:
                raise ValueError(str(error)) from None
        elif number == FLETCHER32:
            raw, checksum = raw[:-4], int.from_bytes(raw[-4:], "little")
            if checksum not in _checksums(raw):
                raise ValueError("it fails its checksum")
            expected -= 4
        else:
            raw = _unshuffled(raw, parameter or element)
    if len(raw) != size:
        raise ValueError(f"{len(raw):,} bytes or more instead of {size:,}")
    return raw


def _unshuffled(raw: bytes, element: int) -> bytes:
    count = len(raw) // element
    if element <= 1 or count <= 1:
        return raw
    planes = np.frombuffer(raw, np.uint8, count * element).reshape(element, count)
    whole: bytes = planes.T.tobytes()
    return whole + raw[count * element :]


def _checksums(raw: bytes) -> tuple[int, int]:
    """Fletcher's checksum of 32 bits as HDF5 computes it (H5checksum.c), and byte-swapped, as in versions before 1.6.3.

    The sums are taken modulo 65535, over words of two bytes.
    """
    words = np.frombuffer(raw + b"\0" * (len(raw) % 2), ">u2").astype(np.uint64)
    first = second = 0
    # Products stay below 2 ** 64 within a piece of this length.
    for start in range(0, len(words), 1 << 20):
        piece = words[start : start + (1 << 20)]
        count = len(piece)
        weights = np.arange(count, 0, -1, dtype=np.uint64)
        second = (second + count * first + int((weights * piece).sum())) % 65535
        first = (first + int(piece.sum())) % 65535
    # HDF5's additions yield 65535 instead of a remainder of 0, unless all words are 0.
    if len(words) and words.any():
        first, second = first or 65535, second or 65535
    swapped = (first & 255) << 8 | first >> 8 | ((second & 255) << 8 | second >> 8) << 16
    return second << 16 | first, swapped
