"""How numpy stores an array: element type, byte order, order of axes; and the header of an ``.npy`` file.

The header is parsed as in numpy/lib/format.py and validated before use."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.formats.source import Role
from tfpt.tensors import BY_NUMPY, TensorSpec

# numpy's notation of an element type: byte order, kind, bytes of an element (characters for U).
_DESCR = re.compile(r"([<>|=]?)([?biufcSUVOmM])(\d{0,9})(\[[^\]]*\])?")
# numpy 1's limit.
MOST_AXES = 32
_MOST_BYTES = 2**63 - 1
# Types of ml_dtypes go by their names.
_NAMED = {
    known.name: held
    for held, known in BY_NUMPY.items()
    if held.kind == "V" or known.name.startswith("float8")
}

MAGIC = b"\x93NUMPY"
# numpy refuses longer headers as well: ast.literal_eval on a text of any size may exhaust the stack.
_LARGEST_HEADER = 10_000
# Enough of a file for any header: magic, version, a length of four bytes, the header.
HEADER_AT_MOST = _LARGEST_HEADER + 12
_KEYS = {"descr", "fortran_order", "shape"}
# Bytes of the length, and the text's encoding, by version.
_VERSIONS = {(1, 0): (2, "latin1"), (2, 0): (4, "latin1"), (3, 0): (4, "utf8")}


@dataclass(frozen=True)
class Layout:
    """The shape of an array, and what its bytes are.

    Attributes:
        shape: The sizes of its axes.
        descr: numpy's notation of its elements, such as ``<f4``, or the name of a type of ml_dtypes; empty for records
            of several fields.
        fortran: Whether the first axis varies fastest.

    Example:
        >>> layout = Layout((2, 3), ">i2", fortran=True)
        >>> str(layout.spec("w")), layout.nbytes
        ('w [2, 3] int16', 12)
        >>> layout.decode(np.array([1, 4, 2, 5, 3, 6], ">i2").view(np.uint8)).tolist()
        [[1, 2, 3], [4, 5, 6]]
    """

    shape: tuple[int, ...]
    descr: str
    fortran: bool = False

    @property
    def stored(self) -> np.dtype | None:
        """The element type in the file; None for objects, fields and types without a dtype."""
        if (named := _NAMED.get(self.descr.lstrip("<>|="))) is not None:
            return named
        match = _DESCR.fullmatch(self.descr)
        if match is None or match[2] in "OmM":
            return None
        try:
            found = np.dtype(match[1] + match[2] + match[3])
        except (TypeError, ValueError):
            return None
        # Elements of no bytes: any number of them would fit into a file.
        return found if found.itemsize else None

    @property
    def is_objects(self) -> bool:
        """Whether the elements are Python objects, stored as a pickle."""
        return self.descr.lstrip("<>|=")[:1] == "O"

    @property
    def is_text(self) -> bool:
        """Whether the elements are strings of fixed width."""
        return self.stored is not None and self.stored.kind in "SU"

    @property
    def held(self) -> np.dtype | None:
        """The element type in memory, in native byte order; None if tfpt does not support it."""
        stored = self.stored
        if stored is None or stored in BY_NUMPY:
            return stored
        # numpy saves bfloat16 of ml_dtypes as two void bytes. Read as big_vision and the Vision Transformer, whose
        # files these are, do: `recover_dtype` in big_vision/utils.py. One void byte stays unread: it may be any of the
        # float8 types, or int4.
        if stored.kind == "V":
            return np.dtype(ml_dtypes.bfloat16) if stored.itemsize == 2 else None
        native = stored.newbyteorder("=")
        return native if native in BY_NUMPY else None

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int | None:
        """Bytes of the array in the file; None if the element type is unknown."""
        stored = self.stored
        return None if stored is None else self.size * stored.itemsize

    @property
    def is_possible(self) -> bool:
        """Whether numpy could create an array of this shape."""
        itemsize = max(1, 0 if self.stored is None else self.stored.itemsize)
        return (
            len(self.shape) <= MOST_AXES
            and all(type(size) is int and size >= 0 for size in self.shape)
            and math.prod(filter(None, self.shape)) * itemsize <= _MOST_BYTES
        )

    @property
    def role(self) -> Role | None:
        """The role of such an array; None for a weight."""
        if self.is_text:
            return "constant"
        return None if self.held is not None else "record"

    def spec(self, name: str) -> TensorSpec:
        """The spec of the array as a tensor: strings are ``string``, unsupported types ``variant``."""
        known = "string" if self.is_text else "variant" if self.held is None else BY_NUMPY[self.held].name
        return TensorSpec(name, self.shape, known)

    def decode(self, raw: npt.NDArray[np.uint8]) -> np.ndarray:
        """The values: C-contiguous, native byte order, read-only; a view of `raw` if possible.

        Args:
            raw: `nbytes` bytes; `held` or `is_text` says whether they can be decoded.
        """
        stored = self.stored
        assert stored is not None
        # Headers are padded so that data is aligned; zip archives put it anywhere.
        if raw.size and raw.ctypes.data % stored.alignment:
            raw = raw.copy()
        values = _as_bytes(raw, stored) if self.is_text else raw.view(stored)
        values = values.reshape(self.shape[::-1]).T if self.fortran else values.reshape(self.shape)
        values = np.ascontiguousarray(values).reshape(self.shape)
        if self.held is not None:
            values = values.view(self.held) if stored.kind == "V" else values.astype(self.held, copy=False)
        values.flags.writeable = False
        return values


def _as_bytes(raw: npt.NDArray[np.uint8], stored: np.dtype) -> np.ndarray:
    """Strings of fixed width as an array of Python `bytes`, tfpt's representation of strings."""
    content, width = raw.tobytes(), stored.itemsize
    found = np.empty(len(content) // width, np.object_)
    # Decoded here: numpy raises various errors for invalid characters.
    encoding = "utf-32-be" if stored.byteorder == ">" else "utf-32-le"
    for index in range(len(found)):
        text = content[index * width : (index + 1) * width]
        if stored.kind == "U":
            text = text.decode(encoding, "replace").encode(errors="replace")
        found[index] = text.rstrip(b"\0")
    return found


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        layout: Shape, element type and order.
        begin: The offset of the data from the magic number.
    """

    layout: Layout
    begin: int


def parse_header(where: str, head: bytes) -> Header:
    """Parse the header at the start of `head`: `HEADER_AT_MOST` bytes of the file, or all of it.

    Raises:
        SourceError: It is not a valid header.

    Example:
        >>> text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"
        >>> header = parse_header("w.npy", MAGIC + bytes([1, 0, len(text), 0]) + text)
        >>> header.layout.shape, header.begin
        ((3,), 67)
    """
    if not head.startswith(MAGIC):
        raise damaged(where, "wrong magic number", repr(MAGIC), repr(head[: len(MAGIC)]))
    version = (head[6], head[7]) if len(head) > 7 else None
    if version not in _VERSIONS:
        known = ", ".join(f"{major}.{minor}" for major, minor in _VERSIONS)
        got = "the end of the file" if version is None else f"{version[0]}.{version[1]}"
        raise damaged(where, "unknown version", known, got)
    width, encoding = _VERSIONS[version]
    begin = 8 + width
    length = int.from_bytes(head[8:begin], "little")
    if length > _LARGEST_HEADER:
        raise damaged(
            where, "its header is too long", f"at most {_LARGEST_HEADER:,} bytes", f"{length:,} bytes"
        )
    if len(head) < begin + length:
        raise damaged(
            where, "it ends within its header", f"{begin + length:,} bytes at least", f"{len(head):,}"
        )
    content = _literal(where, head[begin : begin + length].decode(encoding, "replace"), version)
    return Header(_layout(where, content), begin + length)


def _literal(where: str, text: str, version: tuple[int, int]) -> dict[str, object]:
    if version < (3, 0):
        # Python 2 wrote sizes as `3L`.
        text = re.sub(r"(\d)L\b", r"\1", text)
    try:
        content = ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        got = f"{text.strip()[:80]!r}: {str(error)[:80]}"
        raise damaged(where, "its header is not a Python literal", got=got) from None
    if not isinstance(content, dict) or set(content) != _KEYS:
        got = repr(content)[:120]
        raise damaged(where, "its header has other keys", f"a dict of {', '.join(sorted(_KEYS))}", got)
    return content


def _layout(where: str, content: dict[str, object]) -> Layout:
    shape, descr, fortran = content["shape"], content["descr"], content["fortran_order"]
    if not isinstance(fortran, bool):
        raise damaged(where, "fortran_order is not a boolean", "True or False", repr(fortran)[:80])
    if not isinstance(shape, tuple):
        raise damaged(where, "shape is not a tuple", "a tuple of sizes", repr(shape)[:80])
    if not isinstance(descr, (str, list, tuple)):
        raise damaged(where, "descr is not a dtype", "such as '<f4'", repr(descr)[:80])
    # Records of several fields are described by a list; they are not read.
    layout = Layout(shape, descr if isinstance(descr, str) else "", fortran)
    if not layout.is_possible:
        raise damaged(where, "impossible shape", f"up to {MOST_AXES} sizes", repr(shape)[:80])
    return layout


def damaged(where: str, what: str, expected: str | None = None, got: str | None = None) -> SourceError:
    """The error for an invalid ``.npy`` file."""
    return SourceError(f"not a valid numpy array: {what}", where=where, expected=expected, got=got)
