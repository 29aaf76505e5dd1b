"""The header of an ``.npy`` file, read as numpy/lib/format.py does and believed in nothing before it is checked."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from tfpt.errors import SourceError
from tfpt.formats.numpy.layout import MOST_AXES, Layout

MAGIC = b"\x93NUMPY"
# numpy refuses longer headers as well: ast.literal_eval on a text of any size may exhaust the stack.
LARGEST = 10_000
# Enough of a file for any header: magic, version, a length of four bytes, the header.
READ_AT_MOST = LARGEST + 12
_KEYS = {"descr", "fortran_order", "shape"}
# Bytes of the length, and the text's encoding, by version.
_VERSIONS = {(1, 0): (2, "latin1"), (2, 0): (4, "latin1"), (3, 0): (4, "utf8")}


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        layout: Shape, elements and order.
        begin: Where the data begins, in bytes from the magic number on.
    """

    layout: Layout
    begin: int


def parse(where: str, head: bytes) -> Header:
    """The header at the start of `head`: `READ_AT_MOST` bytes of the file, or all of it.

    Raises:
        SourceError: It is none, or says what cannot be.

    Example:
        >>> text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"
        >>> header = parse("w.npy", MAGIC + bytes([1, 0, len(text), 0]) + text)
        >>> header.layout.shape, header.begin
        ((3,), 67)
    """
    if not head.startswith(MAGIC):
        raise damaged(where, "it does not begin as one", repr(MAGIC), repr(head[: len(MAGIC)]))
    version = (head[6], head[7]) if len(head) > 7 else None
    if version not in _VERSIONS:
        known = ", ".join(f"{major}.{minor}" for major, minor in _VERSIONS)
        got = "the end of the file" if version is None else f"{version[0]}.{version[1]}"
        raise damaged(where, "it is of an unknown version", known, got)
    width, encoding = _VERSIONS[version]
    begin = 8 + width
    length = int.from_bytes(head[8:begin], "little")
    if length > LARGEST:
        raise damaged(where, "its header is too long", f"at most {LARGEST:,} bytes", f"{length:,} bytes")
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
        raise damaged(where, "its header is no literal of Python", got=got) from None
    if not isinstance(content, dict) or set(content) != _KEYS:
        got = repr(content)[:120]
        raise damaged(where, "its header is another", f"a dict of {', '.join(sorted(_KEYS))}", got)
    return content


def _layout(where: str, content: dict[str, object]) -> Layout:
    shape, descr, fortran = content["shape"], content["descr"], content["fortran_order"]
    if not isinstance(fortran, bool):
        raise damaged(where, "its order of axes is none", "True or False", repr(fortran)[:80])
    if not isinstance(shape, tuple):
        raise damaged(where, "its shape is none", "a tuple of sizes", repr(shape)[:80])
    if not isinstance(descr, (str, list, tuple)):
        raise damaged(where, "its elements are of no type", "such as '<f4'", repr(descr)[:80])
    # Records of several fields are described by a list; nothing of them is read.
    layout = Layout(shape, descr if isinstance(descr, str) else "", fortran)
    if not layout.is_possible:
        raise damaged(where, "its shape is none", f"up to {MOST_AXES} sizes", repr(shape)[:80])
    return layout


def damaged(where: str, what: str, expected: str | None = None, got: str | None = None) -> SourceError:
    """The error that says that an array is not what it should be."""
    return SourceError(f"not a valid numpy array: {what}", where=where, expected=expected, got=got)
