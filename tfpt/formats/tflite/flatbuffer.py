"""Reads flatbuffers: tables of fields behind offsets, all of which are validated before use.

The format: https://flatbuffers.dev/internals. A table starts with the distance back to its vtable; the vtable has its
own size, the table's, and the offset of each field in the table (0 if it is absent). Tables, vectors and strings are
reached by a forward distance; a vector starts with its length. The generated code and the `flatbuffers` package check
nothing, and the package would be another dependency for the few fields that are read here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.io.cached_blocks import View
from tfpt.io.damage import DOWNLOAD_AGAIN

# Tables may share parts, so a small file can describe a huge model. TensorFlow's files are read less than twice over.
_MOST_READ = 8
_ROOM = 1 << 20


class Buffer:
    """The bytes of a flatbuffer, with a limit on how many are read in total.

    Args:
        location: The file, for errors.
        data: Its bytes.
    """

    def __init__(self, location: str, data: View) -> None:
        self.location = location
        self.data = data
        self._left = _MOST_READ * len(data) + _ROOM

    def take(self, at: int, size: int, what: str) -> bytes:
        """The `size` bytes at byte `at`.

        Raises:
            SourceError: They are not in the file, or the limit is exceeded.
        """
        self.check(at, size, what)
        self._left -= size + 8
        if self._left < 0:
            raise self.damaged("its parts are shared too often", at)
        return self.data[at : at + size].tobytes()

    def check(self, at: int, size: int, what: str) -> None:
        """Refuse bytes that are not in the file."""
        if at < 0 or size < 0 or at + size > len(self.data):
            raise self.damaged(
                f"{what} is outside the file", at, f"{size:,} bytes within {len(self.data):,}", f"byte {at:,}"
            )

    def number(self, at: int, form: str, what: str) -> int:
        """The integer at byte `at`; `form` is as in `struct`."""
        return int(struct.unpack("<" + form, self.take(at, struct.calcsize("<" + form), what))[0])

    def damaged(self, what: str, at: int, expected: str | None = None, got: str | None = None) -> SourceError:
        """The error for an invalid model."""
        return SourceError(
            f"not a valid TensorFlow Lite model: {what}",
            where=f"{self.location}, byte {at}",
            expected=expected,
            got=got,
            hint=DOWNLOAD_AGAIN,
        )

    def root(self) -> Table:
        """The root table."""
        return self.table(self.number(0, "I", "the root"), "the model")

    def table(self, at: int, what: str) -> Table:
        """The table at byte `at`."""
        vtable = at - self.number(at, "i", what)
        size = self.number(vtable, "H", f"the vtable of {what}")
        if size < 4 or size % 2:
            raise self.damaged(f"the vtable of {what} has an invalid size", vtable, got=str(size))
        body = self.take(vtable, size, f"the vtable of {what}")
        extent, *fields = struct.unpack(f"<{size // 2 - 1}H", body[2:])
        self.check(at, extent, what)
        return Table(self, at, extent, tuple(fields), what)


@dataclass(frozen=True)
class Table:
    """One table of a flatbuffer.

    Attributes:
        buffer: The bytes that it is in.
        at: Where it starts.
        extent: Its size, without what its offsets refer to.
        fields: The offset of each field in it; 0 if absent.
        what: Its description, for errors.
    """

    buffer: Buffer
    at: int
    extent: int
    fields: tuple[int, ...]
    what: str

    def number(self, field: int, form: str, default: int = 0) -> int:
        """The integer in a field; `form` is as in `struct`."""
        place = self._place(field, struct.calcsize("<" + form))
        return default if place is None else self.buffer.number(place, form, self.what)

    def has(self, field: int) -> bool:
        """Whether a field is present."""
        return self._place(field, 1) is not None

    def table(self, field: int, what: str) -> Table | None:
        """The table behind a field; None if absent."""
        at = self._target(field)
        return None if at is None else self.buffer.table(at, what)

    def tables(self, field: int, what: str, most: int) -> list[Table]:
        """The tables of a vector; at most `most`."""
        start, count = self._vector(field, 4)
        if count > most:
            raise self.buffer.damaged(f"too many {what}s", start, f"at most {most:,}", f"{count:,}")
        raw = self.buffer.take(start, 4 * count, f"the list of {what}s")
        ahead = np.frombuffer(raw, "<u4").tolist()
        return [
            self.buffer.table(start + 4 * index + offset, f"{what} {index}")
            for index, offset in enumerate(ahead)
        ]

    def numbers(self, field: int, elements: str) -> npt.NDArray[np.generic]:
        """The numbers of a vector; `elements` is numpy's name for their type."""
        itemsize = np.dtype(elements).itemsize
        start, count = self._vector(field, itemsize)
        raw = self.buffer.take(start, itemsize * count, f"a list of {self.what}")
        return np.frombuffer(raw, np.dtype(elements).newbyteorder("<"))

    def text(self, field: int) -> str:
        """The string behind a field; invalid UTF-8 is replaced."""
        start, count = self._vector(field, 1)
        return self.buffer.take(start, count, f"a text of {self.what}").decode("utf-8", "replace")

    def span(self, field: int) -> tuple[int, int]:
        """Where the bytes of a vector start, and how many there are; they are not read."""
        return self._vector(field, 1)

    def _place(self, field: int, size: int) -> int | None:
        offset = self.fields[field] if field < len(self.fields) else 0
        if offset == 0:
            return None
        if offset + size > self.extent:
            raise self.buffer.damaged(f"a field of {self.what} is outside the table", self.at + offset)
        return self.at + offset

    def _target(self, field: int) -> int | None:
        place = self._place(field, 4)
        return None if place is None else place + self.buffer.number(place, "I", self.what)

    def _vector(self, field: int, itemsize: int) -> tuple[int, int]:
        """Where the items of a vector start, and how many there are; none if absent."""
        at = self._target(field)
        if at is None:
            return self.at, 0
        count = self.buffer.number(at, "I", f"a list of {self.what}")
        self.buffer.check(at + 4, count * itemsize, f"a list of {self.what}")
        return at + 4, count
