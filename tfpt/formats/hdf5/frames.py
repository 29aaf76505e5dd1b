"""How the two processes talk: a letter, a length, and as many bytes."""

from __future__ import annotations

import struct
from typing import BinaryIO

_HEAD = struct.Struct("<cQ")
# What the process of the library sends: it wants bytes of the file, or it has an answer, or it failed.
WANT, ANSWER, FAILURE = b"w", b"a", b"f"
SPAN = struct.Struct("<QQ")


def send(stream: BinaryIO, kind: bytes, content: bytes | memoryview) -> None:
    """Send one frame."""
    stream.write(_HEAD.pack(kind, len(content)))
    stream.write(content)
    stream.flush()


def receive_head(stream: BinaryIO) -> tuple[bytes, int]:
    """The letter and the length of the next frame.

    Raises:
        EOFError: There is none.
    """
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    kind, size = _HEAD.unpack(head)
    return kind, size


def receive(stream: BinaryIO) -> tuple[bytes, bytes]:
    """The next frame.

    Raises:
        EOFError: There is none, or it is cut off.
    """
    kind, size = receive_head(stream)
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return kind, content
