"""The values of a constant from its bytes."""

from __future__ import annotations

from itertools import pairwise

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tfpt.formats.tflite.schema import PACKED
from tfpt.tensors import TensorSpec, dtype


def decode(raw: npt.NDArray[np.uint8], spec: TensorSpec) -> np.ndarray:
    """The values: C-contiguous, native byte order, read-only; a view of `raw` where it is aligned.

    Args:
        raw: As many bytes as the tensor takes.
        spec: Its shape and dtype. Strings are `bytes` in an array of objects.

    Raises:
        ValueError: Strings whose lengths do not fit.

    Example:
        >>> decode(np.array([0x2F, 0x07], np.uint8), TensorSpec("w", (3,), "int4")).tolist()
        [-1, 2, 7]
    """
    held = dtype(spec.dtype).numpy
    assert held is not None
    if spec.dtype == "string":
        values = _strings(raw.tobytes(), spec.size)
    elif spec.dtype in PACKED:
        values = _unpacked(raw, PACKED[spec.dtype], spec.size, spec.dtype.startswith("u")).astype(held)
    else:
        aligned = raw.copy() if raw.size and raw.ctypes.data % held.alignment else raw
        stored = aligned.view(held.newbyteorder("<") if held.kind in "iufc" else held)
        values = stored.astype(held, copy=False)
    values = values.reshape(spec.shape)
    values.flags.writeable = False
    return values


def integers(values: np.ndarray) -> np.ndarray:
    """Integers of four and two bits as bytes, with which numpy computes; others as they are."""
    small = (ml_dtypes.int4, ml_dtypes.int2)
    if values.dtype in map(np.dtype, small):
        return values.astype(np.int8)
    return values.astype(np.uint8) if values.dtype == np.dtype(ml_dtypes.uint4) else values


def _unpacked(raw: npt.NDArray[np.uint8], bits: int, size: int, is_unsigned: bool) -> np.ndarray:
    """One element a byte; the first of a byte is in its lowest bits (UnpackDenseInt4IntoInt8 in TensorFlow Lite)."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = ((raw[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:size]
    if is_unsigned:
        return fields
    # The sign is the highest of the bits: to the top of the byte and back.
    return (fields << (8 - bits)).view(np.int8) >> (8 - bits)


def _strings(raw: bytes, size: int) -> np.ndarray:
    """Their number, where each begins, where the last ends (int32 each), the bytes (lite/string_util.h)."""
    if len(raw) < 4 or int.from_bytes(raw[:4], "little") != size or len(raw) < 4 * (size + 2):
        raise ValueError(f"{size:,} strings are not in its {len(raw):,} bytes")
    places = np.frombuffer(raw, "<i4", size + 1, 4).tolist()
    found = np.empty(size, np.object_)
    for index, (begin, end) in enumerate(pairwise(places)):
        if not 4 * (size + 2) <= begin <= end <= len(raw):
            raise ValueError(f"string {index} is outside of its bytes")
        found[index] = raw[begin:end]
    return found
