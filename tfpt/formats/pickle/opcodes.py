"""The opcodes of a pickle and their arguments, without executing them.

The table of opcodes is that of `pickletools`. Its `genops` is not used: it reads an argument of any length into memory,
copies byte arrays, and decodes the strings of Python 2 as ASCII, which arrays in them are not.
"""

from __future__ import annotations

import codecs
import pickletools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tfpt.io.limits import PICKLE_OPCODES, PICKLE_TEXT
from tfpt.io.storage import Bytes

_LONGEST_LINE = 1 << 16
_LONGEST_INTEGER = 16
# Longer byte strings stay in the file until they are requested.
_IN_PLACE = 256
_WINDOW = 1 << 16

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
# Widths of the lengths that precede an argument, by the codes of Lib/pickletools.py.
_COUNTED = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_TEXTS = frozenset(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"))
# Objects from outside the file, from a registry, or of arbitrary classes: making them would run code.
_REFUSED = frozenset(("PERSID", "EXT1", "EXT2", "EXT4", "OBJ", "NEWOBJ_EX", "NEXT_BUFFER", "READONLY_BUFFER"))

# How pickles begin: since protocol 2 with the protocol; before it with a dict, a list, a tuple or a callable.
_START = re.compile(rb"\x80[\x02-\x05]|\([dlt]|[]})]|c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n")
_TRIED = 64


@dataclass(frozen=True)
class Payload:
    """A byte string that stays in the file.

    Attributes:
        begin: Its position in the parsed bytes.
        size: Its length.
    """

    begin: int
    size: int


class PickleDamageError(ValueError):
    """Bytes that are not a valid pickle, or exceed the limits."""


class Opcodes:
    """The opcodes of the pickle that begins at `begin`, each with its argument.

    Numbers are yielded as numbers, text as `str`, bytes and the strings of Python 2 as `bytes`, or as `Payload` if they
    are long, a global (GLOBAL, INST) as (module, name).

    Attributes:
        at: The current position.

    Example:
        >>> import pickle
        >>> import numpy as np
        >>> raw = np.frombuffer(pickle.dumps([1, "a"], 2), np.uint8)
        >>> [(code, argument) for code, argument in Opcodes(raw, 0) if argument is not None]
        [('\\x80', 2), ('q', 0), ('K', 1), ('X', 'a'), ('q', 1)]
    """

    def __init__(self, data: Bytes, begin: int, most: int = PICKLE_OPCODES) -> None:
        self.at = begin
        self._most = most
        self._data = data
        self._window = b""
        self._window_at = begin

    def __iter__(self) -> Iterator[tuple[str, object]]:
        for _ in range(self._most):
            code = chr(self._take(1)[0])
            if code == "\x95":  # FRAME: a length, for readers of streams
                self._take(8)
                continue
            yield code, self._argument(code)
            if code == ".":
                return
        raise PickleDamageError(f"it has more than {self._most:,} opcodes")

    def _argument(self, code: str) -> object:
        opcode = _OPCODES.get(code)
        if opcode is None:
            raise PickleDamageError(f"byte {self.at - 1} is not an opcode: {code!r}")
        if opcode.name in _REFUSED:
            raise PickleDamageError(f"it contains objects that only running code can make ({opcode.name})")
        if opcode.arg is None:
            return None
        width = opcode.arg.n
        if width == pickletools.UP_TO_NEWLINE:
            return self._lines(code)
        if width in _COUNTED:
            return self._counted(opcode.name, int.from_bytes(self._take(_COUNTED[width]), "little"))
        raw = self._take(width)
        if code == "G":  # BINFLOAT
            return struct.unpack(">d", raw)[0]
        return int.from_bytes(raw, "little", signed=code == "J")

    def _counted(self, name: str, size: int) -> object:
        left = len(self._data) - self.at
        if size > left:
            raise PickleDamageError(f"at byte {self.at} a string of {size:,} bytes, {left:,} are left")
        if name.startswith("LONG"):
            if size > _LONGEST_INTEGER:
                raise PickleDamageError(f"at byte {self.at} an integer of {size:,} bytes")
            return int.from_bytes(self._take(size), "little", signed=True)
        if name in _TEXTS:
            if size > PICKLE_TEXT:
                raise PickleDamageError(f"at byte {self.at} a text of {size:,} bytes")
            return self._take(size).decode("utf-8", "surrogatepass")
        if size > _IN_PLACE:
            found = Payload(self.at, size)
            self.at += size
            return found
        return self._take(size)

    def _lines(self, code: str) -> object:
        line = self._line()
        if code in "ci":
            return line.decode(), self._line().decode()
        if code == "I" and line in (b"00", b"01"):
            return line == b"01"
        if code in "ILgp":
            return int(line.rstrip(b"L"))
        if code == "F":
            return float(line)
        if code == "V":
            return line.decode("raw-unicode-escape")
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise PickleDamageError(f"before byte {self.at} a string without quotes")
        return codecs.escape_decode(line[1:-1])[0]

    def _line(self) -> bytes:
        line = bytearray()
        while len(line) < _LONGEST_LINE:
            byte = self._take(1)
            if byte == b"\n":
                return bytes(line)
            line += byte
        raise PickleDamageError(f"before byte {self.at} a line of more than {_LONGEST_LINE:,} bytes")

    def _take(self, size: int) -> bytes:
        start = self.at - self._window_at
        if not 0 <= start <= start + size <= len(self._window):
            self._window = self._data[self.at : self.at + max(size, _WINDOW)].tobytes()
            self._window_at, start = self.at, 0
            if len(self._window) < size:
                raise PickleDamageError(f"it ends at byte {len(self._data)}, within a value")
        self.at += size
        return self._window[start : start + size]


def is_pickle(data: Bytes) -> bool:
    """Whether bytes begin like a pickle, and before protocol 2 also end like one.

    Example:
        >>> import pickle
        >>> import numpy as np
        >>> raw = [pickle.dumps({"w": 1.5}, 0), pickle.dumps({"w": 1.5}, 4), b"(dull)\\n."]
        >>> [is_pickle(np.frombuffer(each, np.uint8)) for each in raw]
        [True, True, False]
    """
    head = data[:256].tobytes()
    if not _START.match(head):
        return False
    if head[:1] == b"\x80":
        return True
    if data[max(0, len(data) - 1) :].tobytes() != b".":
        return False
    try:
        for count, _ in enumerate(Opcodes(data, 0)):
            if count == _TRIED:
                break
    except (ValueError, struct.error, OverflowError):
        return False
    return True
