"""Checks where an attribute's texts of any length lie, before the HDF5 library fetches them.

The library copies as many bytes as a reference claims out of the heap object that it points to, and does not compare
the two: a forged length ends the process (seen with HDF5 1.14). The layout: HDF5 file format specification, IV.A.2.m,
"The Attribute Message", and III.E, "Global Heap".
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tfpt.errors import SourceError
from tfpt.sources.keras.heaps import LARGEST
from tfpt.sources.keras.opening import FETCH_AGAIN, Opened
from tfpt.sources.places import is_remote

_WINDOW = 16 << 20
_VARIABLE = 9  # the datatype's class
_REFERENCE = 16  # length (4 bytes), address of the heap (8), number of the object (4)
_HEAP, _HEADER = b"GCOL\x01\0\0\0", 16


def check_references(opened: Opened, attribute: str) -> None:
    """Look at every attribute of this name that holds texts of any length; in files of up to 256 MiB on this machine.

    Raises:
        SourceError: A reference claims more than its heap object holds, or none can be found at all.
    """
    data = opened.storage.data
    if len(data) > LARGEST or is_remote(opened.storage.location):
        return
    found = False
    for at, count in _messages(opened, attribute.encode() + b"\0"):
        found = True
        check_run(opened, f"attribute {attribute!r}", at, count)
    if not found:
        raise _damaged(opened, f"attribute {attribute!r}", "nowhere that could be checked")


def check_run(opened: Opened, what: str, at: int, count: int) -> None:
    """Look at `count` references that stand one behind the other from byte `at` on.

    Raises:
        SourceError: One claims more than its heap object holds.
    """
    data = opened.storage.data
    for number in range(count):
        reference = data[at + number * _REFERENCE : at + (number + 1) * _REFERENCE].tobytes()
        length = int.from_bytes(reference[:4], "little")
        heap, index = int.from_bytes(reference[4:12], "little"), int.from_bytes(reference[12:], "little")
        if length and _size_of(opened, heap, index) < length:
            raise _damaged(opened, what, f"byte {at + number * _REFERENCE:,}")


def _messages(opened: Opened, name: bytes) -> Iterator[tuple[int, int]]:
    """Where the references of each attribute of this name begin, and how many there are."""
    data, size = opened.storage.data, len(opened.storage.data)
    for start in range(0, size, _WINDOW):
        window = data[start : start + _WINDOW + len(name) - 1].tobytes()
        at = window.find(name)
        while at >= 0:
            for message in (
                _message(opened, start + at, len(name), 8),
                _message(opened, start + at, len(name), 9),
            ):
                if message is not None:
                    yield message
            at = window.find(name, at + 1)


def _message(opened: Opened, at: int, length: int, header: int) -> tuple[int, int] | None:
    """The message whose name stands at `at`, behind a header of 8 bytes (versions 1 and 2) or 9 (version 3)."""
    data = opened.storage.data
    if at < header:
        return None
    head = data[at - header : at].tobytes()
    version = head[0]
    if version not in ((3,) if header == 9 else (1, 2)) or int.from_bytes(head[2:4], "little") != length:
        return None
    sizes = [length, int.from_bytes(head[4:6], "little"), int.from_bytes(head[6:8], "little")]
    if version == 1:
        sizes = [(size + 7) // 8 * 8 for size in sizes]
    kind, space = at + sizes[0], at + sizes[0] + sizes[1]
    if data[kind : kind + 1].tobytes()[:1] == b"" or data[kind : kind + 1].tobytes()[0] & 15 != _VARIABLE:
        return None
    shape = data[space : space + sizes[2]].tobytes()
    if len(shape) < 4 or shape[0] not in (1, 2):
        return None
    dims = shape[8 if shape[0] == 1 else 4 :]
    count = math.prod(int.from_bytes(dims[8 * axis : 8 * axis + 8], "little") for axis in range(shape[1]))
    begin = space + sizes[2]
    return (begin, count) if begin + count * _REFERENCE <= len(data) else None


def _size_of(opened: Opened, heap: int, index: int) -> int:
    """The size of a heap's object; -1 where there is none. The heap's objects fill it: `heaps` has seen to that."""
    data = opened.storage.data
    # Addresses count from the superblock, which stands behind a user block where there is one.
    heap += opened.base
    head = data[heap : heap + _HEADER].tobytes()
    if not head.startswith(_HEAP):
        return -1
    end = min(heap + int.from_bytes(head[8:], "little"), len(data))
    at = heap + _HEADER
    while at + _HEADER <= end:
        entry = data[at : at + _HEADER].tobytes()
        number, size = int.from_bytes(entry[:2], "little"), int.from_bytes(entry[8:], "little")
        if number == index and number:
            return size if at + _HEADER + size <= end else -1
        step = _HEADER + (size + 7) // 8 * 8 if number else size
        if step < _HEADER:
            return -1
        at += step
    return -1


def _damaged(opened: Opened, what: str, place: str) -> SourceError:
    return SourceError(
        f"the texts of {what} are damaged",
        where=f"{opened.storage.location}, {place}",
        expected="references to texts of the length that they claim",
        hint=FETCH_AGAIN,
    )
