"""Reads the values of one dataset of a file of the usual kind."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.formats.hdf5.attributes import Heaps, texts_of
from tfpt.formats.hdf5.blocks import Blocks
from tfpt.formats.hdf5.chunks import chunks_at, place
from tfpt.formats.hdf5.dataset import Dataset, as_texts, native, refuse_bomb
from tfpt.formats.hdf5.datatypes import Datatype
from tfpt.formats.hdf5.filters import unpack
from tfpt.formats.hdf5.layouts import Layout
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.limits import CLAIMED_FREELY, HDF5_TEXTS

# Half of what a fingerprint takes of a tensor: from its beginning and from its end. Beside both lie descriptions, which
# were fetched already, so that a fingerprint over a network costs few requests more.
_SAMPLE = 32


@dataclass(frozen=True)
class Place:
    """A dataset, and where its values lie.

    Attributes:
        where: The place, for errors.
        dataset: The dataset.
        kind: What its elements are.
        layout: Where they lie.
    """

    where: str
    dataset: Dataset
    kind: Datatype
    layout: Layout


def read_place(blocks: Blocks, heaps: Heaps, lock: threading.Lock, place: Place) -> np.ndarray:
    """The values: C-contiguous, native byte order, not writable; text as an array of `bytes`.

    Args:
        blocks: The file.
        heaps: Its heaps of texts.
        lock: Held while `blocks` and `heaps` are used: values are read without it.
        place: The dataset.

    Raises:
        SourceError: The values are damaged or cut off, or claim more than their bytes can fill.
        ValueError: The layout contradicts the datatype.
    """
    if place.dataset.held is None:
        return _strings(blocks, heaps, lock, place)
    return native(_raw(blocks, lock, place), place.dataset)


def sample_of(blocks: Blocks, place: Place) -> bytes:
    """The first and the last bytes stored; of chunks, those of the one in the middle."""
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
    what = "values lie outside of it"
    return blocks.take(begin, part, what) + blocks.take(begin + size - part, part, what)


def _raw(blocks: Blocks, lock: threading.Lock, place: Place) -> np.ndarray:
    """The values as bytes, in the file's byte order."""
    layout, size = place.layout, place.dataset.claimed
    if layout.chunk is not None:
        return _chunked(blocks, lock, place)
    if layout.compact is not None:
        if len(layout.compact) < size:
            raise ValueError("values that are cut off")
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
    # Chunks may claim the same bytes, and reach beyond the dataset.
    refuse_bomb(blocks.location, dataset, min(chunks.stored, blocks.size), size * max(1, len(chunks.sizes)))
    elements = np.dtype((np.void, element))
    values: np.ndarray = _filled(where, dataset.spec.size * element).view(elements).reshape(shape)
    for packed, mask, address, offset in zip(*vars(chunks).values(), strict=True):
        begin = blocks.base + int(address)
        try:
            # What cannot be packed becomes a little longer.
            if packed > 2 * size + 1024:
                raise ValueError(f"{int(packed):,} bytes packed where {size:,} belong")
            raw = blocks.storage.data[begin : begin + int(packed)].tobytes()
            raw = unpack(raw, layout.filters, int(mask), size, element)
        except ValueError as error:
            raise SourceError(
                f"a chunk of {dataset.path!r} is damaged: {error}",
                where=f"{where.where}, byte {begin:,}",
                hint=DOWNLOAD_AGAIN,
            ) from None
        place(values, np.frombuffer(raw, elements).reshape(layout.chunk), offset)
    raw_values: np.ndarray = values.reshape(-1).view(np.uint8)
    return raw_values


def _filled(place: Place, size: int) -> npt.NDArray[np.uint8]:
    """Bytes of values that nobody wrote yet."""
    fill = place.layout.fill
    if not fill.strip(b"\0"):
        return np.zeros(size, np.uint8)
    if len(fill) != place.kind.size:
        raise ValueError("a fill value of another size")
    filled: npt.NDArray[np.uint8] = np.frombuffer(fill * (size // len(fill)), np.uint8).copy()
    return filled


def _strings(blocks: Blocks, heaps: Heaps, lock: threading.Lock, place: Place) -> np.ndarray:
    """Text: each may be as long as the file, and many may be the same bytes."""
    spec, kind = place.dataset.spec, place.kind
    if spec.size > min(HDF5_TEXTS, max(1024, blocks.size)):
        raise SourceError(
            f"{spec.name!r} holds more texts than tfpt reads", where=place.where, got=f"{spec.size:,}"
        )
    raw = _raw(blocks, lock, place).tobytes()
    with lock:
        texts = texts_of(heaps, kind, spec.size, raw, max(CLAIMED_FREELY, 16 * blocks.size))
    return as_texts(texts, place.dataset)
