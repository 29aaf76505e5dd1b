"""Reads the values of one dataset: a view of the file where they lie in one piece, unpacked by h5py where not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.sources.keras.datasets import Entry
from tfpt.sources.keras.opening import FETCH_AGAIN, Opened, damage
from tfpt.sources.keras.references import check_run
from tfpt.tensors import DTYPES, format_shape

# Deflate packs no more than 1032 bytes into one (zlib's documentation), and it is the densest filter that Keras
# users meet: a dataset that claims more is not weights. Up to the floor any claim is taken, since Keras 3 may leave
# a dataset of zeros unwritten.
MOST_DENSE = 1100
FLOOR = 64 << 20
_STRINGS = 1 << 20

# H5Zpublic.h
_SHUFFLE, _FLETCHER32 = 2, 3


def read_values(opened: Opened, entry: Entry) -> np.ndarray:
    """The values of a dataset: C-contiguous, native byte order, not writable; text as an array of `bytes`.

    A view of the file where the values lie in one aligned piece in this machine's byte order, else a copy.

    Raises:
        SourceError: The values are damaged or cut off, take more than 64 MiB and 1,100 times what the file stores of
            them, or are neither numbers nor text.
    """
    where = _where(opened, entry)
    if entry.spec.dtype == "variant":
        raise SourceError(
            f"dataset {entry.path!r} holds neither numbers nor text",
            where=where,
            hint="leave it out; a model's weights are in other datasets",
        )
    if entry.held is None:
        values = _strings(opened, entry)
    elif entry.offset is not None:
        values = _native(_in_place(opened, entry), entry)
    else:
        refuse_bomb(opened, entry)
        with opened.lock, damage(where, f"the values of {entry.path!r} cannot be read"):
            _check_chunks(opened, entry, opened.file[entry.path])
            values = _native(np.asarray(opened.file[entry.path][()]), entry)
    values.flags.writeable = False
    return values


def read_sample(opened: Opened, entry: Entry) -> np.ndarray:
    """A few of a dataset's values, for a fingerprint: all that lie in one piece, else those in the middle.

    Nothing of what is not numbers.

    Raises:
        SourceError: As `read_values` does.
    """
    if entry.held is None or not entry.spec.size:
        return np.empty(0, np.uint8)
    if entry.offset is not None or not entry.spec.shape:
        return read_values(opened, entry)
    refuse_bomb(opened, entry)
    *leading, last = entry.spec.shape
    start = max(0, last // 2 - 32)
    piece = (*(size // 2 for size in leading), slice(start, start + 64))
    with opened.lock, damage(_where(opened, entry), f"the values of {entry.path!r} cannot be read"):
        return np.ascontiguousarray(opened.file[entry.path][piece]).view(np.uint8)


def refuse_bomb(opened: Opened, entry: Entry) -> None:
    """Refuse a dataset whose claimed size has nothing to do with what the file stores of it.

    Raises:
        SourceError: It claims more than 64 MiB, and more than 1,100 times the bytes stored; or one chunk does.
    """
    size = opened.file_size
    stored = min(entry.stored, size)
    claimed = max(_claimed(entry), entry.chunk)
    if claimed > max(FLOOR, MOST_DENSE * stored):
        raise SourceError(
            f"dataset {entry.path!r} claims a size that its bytes cannot fill",
            where=_where(opened, entry),
            expected=f"{MOST_DENSE} times the {stored:,} bytes stored at most",
            got=f"{format_shape(entry.spec.shape)} {entry.spec.dtype}, {claimed:,} bytes unpacked",
            hint="the file is damaged or forged: do not trust it",
        )


def _claimed(entry: Entry) -> int:
    return entry.spec.size * (entry.held.itemsize if entry.held is not None else 1)


def _in_place(opened: Opened, entry: Entry) -> np.ndarray:
    assert entry.held is not None
    assert entry.offset is not None
    size = _claimed(entry)
    if entry.offset + size > opened.file_size:
        raise SourceError(
            f"the file ends before the values of {entry.path!r} do",
            where=_where(opened, entry),
            expected=f"{size:,} bytes from byte {entry.offset:,}",
            got=f"a file of {opened.file_size:,} bytes",
            hint=FETCH_AGAIN,
        )
    raw = opened.storage.data[entry.offset : entry.offset + size]
    if entry.spec.dtype == "bool":
        # Any byte but zero is true; a numpy bool must be 0 or 1.
        return np.not_equal(raw, 0).reshape(entry.spec.shape)
    # Nothing says that values are aligned to their size.
    if raw.size and raw.ctypes.data % entry.held.alignment:
        raw = raw.copy()
    return raw.view(entry.held).reshape(entry.spec.shape)


def _native(values: np.ndarray, entry: Entry) -> np.ndarray:
    wanted = DTYPES[entry.spec.dtype].numpy
    assert wanted is not None
    if values.dtype.kind == "V" and values.dtype != wanted:  # h5py's word for bfloat16
        values = values.view(wanted)
    # Not ascontiguousarray, which makes a vector of a scalar.
    return np.asarray(values, wanted, order="C").reshape(entry.spec.shape)


def _strings(opened: Opened, entry: Entry) -> np.ndarray:
    """Text, an element at a time: each may be as long as the file, and many may be the same bytes."""
    where = _where(opened, entry)
    count = entry.spec.size
    room = max(FLOOR, 16 * opened.file_size)
    # A text takes a byte of the file at least; a few may never have been written.
    if count > min(_STRINGS, max(1024, min(entry.stored, opened.file_size))):
        raise SourceError(f"{entry.path!r} holds more texts than tfpt reads", where=where, got=f"{count:,}")
    values = np.empty(count, np.object_)
    with opened.lock, damage(where, f"the values of {entry.path!r} cannot be read"):
        dataset: Any = opened.file[entry.path]
        _check_texts(opened, entry, dataset)
        for position in range(count):
            index = np.unravel_index(position, entry.spec.shape) if entry.spec.shape else ()
            if dataset.id.get_type().get_size() > room:
                raise SourceError(f"the texts of {entry.path!r} claim more than the file holds", where=where)
            text = dataset[tuple(int(i) for i in index)]
            values[position] = text.encode() if isinstance(text, str) else bytes(text)
            room -= len(values[position])
    return values.reshape(entry.spec.shape)


def _check_chunks(opened: Opened, entry: Entry, dataset: Any) -> None:
    """Stored chunks lie in the file, and those that no filter packs have their own size.

    The library's checksum filter reads behind a chunk that claims less, and ends the process there (HDF5 1.14).
    """
    if dataset.chunks is None:
        return
    created = dataset.id.get_create_plist()
    filters = [created.get_filter(number)[0] for number in range(created.get_nfilters())]
    plain = math.prod(dataset.chunks) * dataset.id.get_type().get_size() + 4 * filters.count(_FLETCHER32)
    for number in range(dataset.id.get_num_chunks()):
        chunk = dataset.id.get_chunk_info(number)
        least = plain if set(filters) <= {_SHUFFLE, _FLETCHER32} and not chunk.filter_mask else 4
        if chunk.size < least or chunk.byte_offset + chunk.size > opened.file_size:
            raise SourceError(
                f"a chunk of {entry.path!r} is damaged",
                where=f"{_where(opened, entry)}, byte {chunk.byte_offset:,}",
                expected=f"{least:,} bytes at least, inside the file's {opened.file_size:,}",
                got=f"{chunk.size:,} bytes",
                hint=FETCH_AGAIN,
            )


def _check_texts(opened: Opened, entry: Entry, dataset: Any) -> None:
    """Texts of any length are references, which the library follows whatever they claim."""
    if not dataset.id.get_type().is_variable_str():
        return
    offset = dataset.id.get_offset()
    if offset is None:
        if dataset.id.get_storage_size() == 0:
            return  # never written: all empty
        raise SourceError(
            f"{entry.path!r} holds texts of any length in chunks, which tfpt does not read",
            where=_where(opened, entry),
            hint="leave it out; a model's weights are in other datasets",
        )
    check_run(opened, repr(entry.path), offset, entry.spec.size)


def _where(opened: Opened, entry: Entry) -> str:
    return f"{opened.storage.location}, /{entry.path}"
