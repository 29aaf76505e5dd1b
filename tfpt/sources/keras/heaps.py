"""Checks HDF5's global heaps, where texts of any length lie, before the HDF5 library walks through them.

The library follows the sizes in a heap from object to object and, at a forged size, does so forever (seen with HDF5
1.14: one changed byte in a Keras file). The layout: HDF5 file format specification, III.E, "Global Heap".
"""

from __future__ import annotations

from tfpt.errors import SourceError
from tfpt.sources.keras.opening import FETCH_AGAIN, Opened
from tfpt.sources.places import is_remote

_SIGNATURE = b"GCOL\x01\0\0\0"
_HEADER = 16
# Files this large are looked through (a tenth of a second); the search brings the whole of a file into the system's
# cache, which names and shapes of a larger one, or of one elsewhere, are not to wait for.
LARGEST = 256 << 20
_WINDOW = 16 << 20


def check_heaps(opened: Opened) -> None:
    """Look at all heaps of a file of up to 256 MiB on this machine.

    Raises:
        SourceError: The objects of one do not fill it.
    """
    data = opened.storage.data
    size = len(data)
    if size > LARGEST or is_remote(opened.storage.location):
        return
    for start in range(0, size, _WINDOW):
        window = data[start : start + _WINDOW + len(_SIGNATURE) - 1].tobytes()
        at = window.find(_SIGNATURE)
        while at >= 0:
            _check(opened, start + at)
            at = window.find(_SIGNATURE, at + 1)


def _check(opened: Opened, start: int) -> None:
    data = opened.storage.data
    length = int.from_bytes(data[start + 8 : start + _HEADER].tobytes(), "little")
    end = start + length
    at = start + _HEADER
    if _HEADER <= length <= len(data) - start:
        heap = data[start:end].tobytes()
        while at + _HEADER <= end:
            head = heap[at - start : at - start + _HEADER]
            size = int.from_bytes(head[8:], "little")
            # Object 0 is the free space to the end, its size that of its header too.
            step = size if head[:2] == b"\0\0" else _HEADER + (size + 7) // 8 * 8
            if step < _HEADER or step > end - at:
                break
            at += step
        else:
            return
    raise SourceError(
        "a heap of texts in the file is damaged",
        where=f"{opened.storage.location}, byte {start:,}",
        expected=f"objects that fill its {length:,} bytes",
        got=f"none that ends at byte {at:,} or behind it",
        hint=FETCH_AGAIN,
    )
