"""Parses TensorFlow's messages as text (``.pbtxt``) with protobuf, without its overhead for large tensors.

protobuf's parser takes some 140 bytes of memory for each escaped byte of a literal. So long literals are taken out
first, and put back once the rest is parsed.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import text_format
from google.protobuf.message import Message

from tfpt.formats.tensorflow.tensorflow_pb2 import GraphDef, MetaGraphDef, SavedModel

# The fields whose values may be long (tensor.proto, attr_value.proto).
_LONG = re.compile(rb'\b(?:tensor_content|string_val|float8_val|s)\s*:\s*"')
# A part of a literal that does not split an escape. The escapes are TensorFlow's (absl::CEscape), which Python has too;
# a literal with others is left to protobuf. Matched in chunks, since matching takes memory for each escape.
_PIECE = re.compile(rb'(?:[^"\\\n]+|\\[0-7]{3}|\\[abfnrtv"\'\\])*')
_CHUNK = 1 << 16
_SHORT = 4096

_EMPTY: Mapping[str, Callable[[], Message]] = {
    "graph": GraphDef,
    "meta graph": MetaGraphDef,
    "saved model": SavedModel,
}


def parse_text(data: npt.NDArray[np.uint8], kind: str) -> bytes:
    """The text as a binary message, without fields that tfpt does not know.

    Args:
        data: The text, in UTF-8.
        kind: "graph", "meta graph" or "saved model".

    Raises:
        ValueError: The text is invalid.

    Example:
        >>> parse_text(np.frombuffer(b'node { name: "x" }', np.uint8), "graph")
        b'\\n\\x03\\n\\x01x'
    """
    mark = b"\x01" + os.urandom(12).hex().encode() + b":"
    values: list[bytes] = []
    rest = _without_values(memoryview(data.data), mark, values)
    message = _EMPTY[kind]()
    try:
        text_format.Parse(rest.decode(), message, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise ValueError(str(error)) from None
    del rest
    if values:
        _put_back(message, mark, values)
    return message.SerializeToString()


def _without_values(text: memoryview, mark: bytes, values: list[bytes]) -> bytes:
    """The text with a mark and a number in place of each long literal, whose value is added to `values`."""
    pieces: list[bytes] = []
    at = 0
    for found in _LONG.finditer(text):
        begin = found.end()
        literal = _literal(text, begin) if begin >= at else None
        if literal is None:
            continue
        value, end = literal
        pieces += [bytes(text[at:begin]), b"\\001", mark[1:], str(len(values)).encode()]
        values.append(value)
        at = end
    pieces.append(bytes(text[at:]))
    return b"".join(pieces)


def _literal(text: memoryview, begin: int) -> tuple[bytes, int] | None:
    """The value of the literal at `begin`, and where its closing quote is; ``None`` for a short literal, or one that
    protobuf has to parse."""
    value = bytearray()
    at = begin
    while (piece := _PIECE.match(text, at, at + _CHUNK)) and piece.end() > at:
        if at == begin and piece.end() < begin + _SHORT:
            return None
        value += codecs.escape_decode(piece[0])[0]
        at = piece.end()
    if bytes(text[at : at + 1]) != b'"':
        return None
    # Adjacent literals are one value.
    following = bytes(text[at + 1 : at + 1 + _SHORT]).lstrip()
    return None if following[:1] in (b'"', b"'") else (bytes(value), at)


def _put_back(message: Message, mark: bytes, values: list[bytes]) -> None:
    """Replace the marks by their values, in all fields of bytes."""
    waiting: list[Any] = [message]
    while waiting:
        each = waiting.pop()
        for field, held in each.ListFields():
            if field.type == field.TYPE_MESSAGE:
                if field.message_type.GetOptions().map_entry:
                    waiting += [held[key] for key in held if isinstance(held[key], Message)]
                else:
                    waiting += [held] if isinstance(held, Message) else list(held)
            elif field.type == field.TYPE_BYTES:
                if isinstance(held, bytes):
                    if held.startswith(mark):
                        setattr(each, field.name, values[int(held[len(mark) :])])
                else:
                    for place, one in enumerate(held):
                        if one.startswith(mark):
                            held[place] = values[int(one[len(mark) :])]
