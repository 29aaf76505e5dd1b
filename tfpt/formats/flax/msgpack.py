"""Parser of the msgpack files of Flax that does not read the arrays.

The format is that of github.com/msgpack/msgpack/blob/master/spec.md; Flax's extensions are in flax/serialization.py.
The msgpack library is not used because it reads whole files and copies every array.
"""

from __future__ import annotations

import struct

from tfpt.errors import SourceError
from tfpt.formats.numpy.layout import Layout
from tfpt.formats.pickle.calls import Array
from tfpt.formats.pickle.opcodes import Payload
from tfpt.io.limits import PICKLE_TEXT, TREE_LEVELS, TREE_VALUES
from tfpt.io.storage import Bytes
from tfpt.tensors import DTYPES

# flax.serialization._MsgpackExtType.
_NDARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_CHUNKED = "__msgpack_chunked_array__"
_WINDOW = 1 << 12

_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i",
    0xD3: ">q",
}  # fmt: skip
# The bytes of the length that follows.
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BINARIES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_ARRAYS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}
_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_SINGLE = {0xC0: None, 0xC2: False, 0xC3: True}


class _DamageError(ValueError):
    """Bytes that are not msgpack of Flax."""


def is_flax(data: Bytes) -> bool:
    """Whether bytes begin like a Flax file: with a map whose first key is a text, or with an array.

    Example:
        >>> import numpy as np
        >>> [is_flax(np.frombuffer(raw, np.uint8)) for raw in (b"\\x81\\xa1w\\xc0", b"\\x81\\x01\\xc0", b"{}")]
        [True, False, False]
    """
    head = data[:256].tobytes()
    if not head:
        return False
    first = head[0]
    if first in _EXTENSIONS:
        at = 1 + _EXTENSIONS[first]
        return head[at : at + 2] == bytes([_NDARRAY, 0x93])
    at = 1 + _MAPS[first] if first in _MAPS else 1 if 0x81 <= first <= 0x8F else 0
    if not at or len(head) < at + 3:
        return False
    code = head[at]
    length = code & 0x1F if 0xA1 <= code <= 0xBF else head[at + 1] if code == 0xD9 else 0
    key = head[at + 1 + (code == 0xD9) :][:length]
    try:
        return len(key) == length > 0 and key.decode().isprintable()
    except UnicodeDecodeError:
        return False


def read_msgpack(where: str, data: Bytes) -> object:
    """The content of the file: dicts, lists, numbers, texts, and `Array` for arrays, whose bytes stay in the file.

    Args:
        where: The file, for errors.
        data: Its bytes.

    Raises:
        SourceError: It is damaged, has too many values or levels, or two equal keys in one map.

    Example:
        >>> import numpy as np
        >>> read_msgpack("w", np.frombuffer(b"\\x82\\xa1a\\x07\\xa1b\\x93\\x01\\xc0\\xa1x", np.uint8))
        {'a': 7, 'b': [1, None, 'x']}
    """
    reader = _Reader(data)
    try:
        content = reader.value(1)
        if reader.at != len(data):
            raise _DamageError(f"{len(data) - reader.at:,} bytes are left after its end")
        return content
    except (_DamageError, UnicodeDecodeError, struct.error) as error:
        raise SourceError(
            "not a valid Flax file",
            where=f"{where}, byte {reader.at}",
            got=str(error)[:200],
            hint="it may be incomplete: download it again",
        ) from None


class _Reader:
    def __init__(self, data: Bytes) -> None:
        self.at = 0
        self._data = data
        self._window, self._window_at = b"", 0
        self._count = 0

    def value(self, level: int) -> object:
        """The value that begins here."""
        self._count += 1
        if self._count > TREE_VALUES or level > TREE_LEVELS:
            raise _DamageError(f"more than {TREE_VALUES:,} values or {TREE_LEVELS} levels")
        code = self._take(1)[0]
        if code in _SINGLE:
            return _SINGLE[code]
        if code in _NUMBERS:
            form = _NUMBERS[code]
            number: object = struct.unpack(form, self._take(struct.calcsize(form)))[0]
            return number
        if code <= 0x7F or code >= 0xE0:
            return code if code <= 0x7F else code - 0x100
        if code <= 0x8F or code in _MAPS:
            return self._map(self._length(_MAPS[code]) if code in _MAPS else code & 0x0F, level)
        if code <= 0x9F or code in _ARRAYS:
            count = self._length(_ARRAYS[code]) if code in _ARRAYS else code & 0x0F
            return [self.value(level + 1) for _ in range(count)]
        if code <= 0xBF or code in _TEXTS:
            return self._text(self._length(_TEXTS[code]) if code in _TEXTS else code & 0x1F)
        if code in _BINARIES:
            return self._payload(self._length(_BINARIES[code]))
        if code in _EXTENSIONS:
            return self._extension(self._length(_EXTENSIONS[code]), level)
        if code in _FIXED_EXTENSIONS:
            return self._extension(_FIXED_EXTENSIONS[code], level)
        raise _DamageError(f"{code:#x} is not a type code")

    def _map(self, count: int, level: int) -> object:
        found: dict[object, object] = {}
        for _ in range(count):
            key = self.value(level + 1)
            if not isinstance(key, (str, int)) or key in found:
                raise _DamageError("a duplicate key, or one that is neither a text nor a number")
            found[key] = self.value(level + 1)
        return _joined(found) if _CHUNKED in found else found

    def _extension(self, size: int, level: int) -> object:
        kind = struct.unpack("b", self._take(1))[0]
        end = self.at + size
        if end > len(self._data):
            raise _DamageError(f"a value of {size:,} bytes, {len(self._data) - self.at:,} are left")
        parts = self.value(level + 1) if kind in (_NDARRAY, _COMPLEX, _SCALAR) else None
        if not isinstance(parts, list) or self.at != end:
            raise _DamageError(f"an unknown extension of type {kind}")
        if kind == _COMPLEX:
            if len(parts) != 2 or not all(isinstance(part, float) for part in parts):
                raise _DamageError("an invalid complex number")
            return complex(*parts)
        return _array(parts)

    def _text(self, size: int) -> str:
        if size > min(PICKLE_TEXT, len(self._data) - self.at):
            raise _DamageError(f"a text of {size:,} bytes")
        return self._take(size).decode()

    def _payload(self, size: int) -> Payload:
        if size > len(self._data) - self.at:
            raise _DamageError(f"a string of {size:,} bytes, {len(self._data) - self.at:,} are left")
        found = Payload(self.at, size)
        self.at += size
        return found

    def _length(self, width: int) -> int:
        return int.from_bytes(self._take(width), "big")

    def _take(self, size: int) -> bytes:
        start = self.at - self._window_at
        if not 0 <= start <= start + size <= len(self._window):
            self._window = self._data[self.at : self.at + max(size, _WINDOW)].tobytes()
            self._window_at, start = self.at, 0
            if len(self._window) < size:
                raise _DamageError("it ends within a value")
        self.at += size
        return self._window[start : start + size]


def _array(parts: list[object]) -> Array:
    """The array of a shape, the name of a dtype, and bytes."""
    if len(parts) != 3:
        raise _DamageError("an array of other than three parts")
    shape, word, content = parts
    if not isinstance(shape, list) or not isinstance(word, str) or not isinstance(content, Payload):
        raise _DamageError("an array without shape, dtype or bytes")
    layout = _layout(tuple(shape), word)
    if layout.nbytes is not None and content.size != layout.nbytes:
        raise _DamageError(f"{content.size:,} bytes for an array of {layout.nbytes:,}")
    return Array(layout, content)


def _layout(shape: tuple[object, ...], word: str) -> Layout:
    known = DTYPES.get(word)
    # numpy's names have no byte order; Flax writes the machine's, and all of today's are little-endian.
    descr = "" if known is None or known.numpy is None or known.numpy.kind == "O" else known.numpy.str
    if (known is not None and known.numpy is not None and known.numpy.kind == "V") or word.startswith(
        "float8"
    ):
        descr = word
    layout = Layout(shape, descr)  # type: ignore[arg-type]
    if not layout.is_possible:
        raise _DamageError("an array of an impossible shape")
    return layout


def _joined(found: dict[object, object]) -> Array:
    """An array that Flax has split into flat chunks, because msgpack objects are limited to 4 GB."""
    shape, chunks = (_in_order(found.get(key)) for key in ("shape", "chunks"))
    parts = [chunk for chunk in chunks if isinstance(chunk, Array)]
    if not parts or len(parts) != len(chunks):
        raise _DamageError("a chunk that is not an array")
    layouts = [part.layout for part in parts if part.layout is not None]
    whole = Layout(shape, layouts[0].descr)  # type: ignore[arg-type]
    places = tuple(part.content for part in parts if isinstance(part.content, Payload))
    fits = (
        whole.is_possible
        and len({layout.descr for layout in layouts}) == 1
        and len(places) == len(parts)
        and whole.nbytes == sum(place.size for place in places)
    )
    if not fits:
        raise _DamageError("chunks of an array that do not fit its shape")
    return Array(whole, places)


def _in_order(value: object) -> tuple[object, ...]:
    if not isinstance(value, dict) or any(str(index) not in value for index in range(len(value))):
        raise _DamageError("a chunked array without shape or chunks")
    return tuple(value[str(index)] for index in range(len(value)))
