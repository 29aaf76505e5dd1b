"""Telling TensorFlow's messages apart by their first bytes, and reading them, binary or as text, into one form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from tfpt.errors import SourceError
from tfpt.sources.storage import Storage, open_storage
from tfpt.sources.tensorflow.wire import LENGTH, VARINT, walk

Kind = Literal["graph", "meta graph", "saved model"]

_HEAD = 4096

# Names of nodes and of operations: tensorflow/core/framework/node_def_util.cc and op_def_builder.cc; a function is
# called as an operation of its own name.
_NODE_NAME = re.compile(rb"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_OP_NAME = re.compile(rb"_?[A-Z][A-Za-z0-9_>]*|__[A-Za-z0-9_]+")

# The fields of a message, and how each is stored (node_def.proto, meta_graph.proto).
_NODE = {1: LENGTH, 2: LENGTH, 3: LENGTH, 4: LENGTH, 5: LENGTH, 6: LENGTH, 7: LENGTH}
_META_INFO = {1: LENGTH, 2: LENGTH, 3: LENGTH, 4: LENGTH, 5: LENGTH, 6: LENGTH, 7: VARINT, 8: LENGTH}

_LARGEST_SCHEMA_VERSION = 100

_SPACE = re.compile(rb"(?:\s|#[^\n]*(?:\n|$))*")
_OPENS = rb"\s*:?\s*[{<]"
_TEXTS: Mapping[Kind, re.Pattern[bytes]] = {
    "saved model": re.compile(rb"saved_model_schema_version\s*:\s*\d|meta_graphs" + _OPENS),
    "meta graph": re.compile(
        rb"meta_info_def" + _OPENS + rb"\s*(?:meta_graph_version|stripped_op_list|any_info|tags|tensorflow_)"
        rb"|graph_def" + _OPENS + rb"\s*(?:node|library|versions)\b"
    ),
    "graph": re.compile(
        rb"node" + _OPENS + rb"\s*(?:(?:name|op|input|device)\s*:\s*[\"']|attr" + _OPENS + rb")"
        rb"|library"
        + _OPENS
        + rb"\s*(?:function|gradient)\b|versions"
        + _OPENS
        + rb"\s*(?:producer|min_consumer)\b"
    ),
}


def looks_like_saved_model(head: bytes) -> bool:
    """Whether these bytes begin a SavedModel message, binary or as text.

    Example:
        >>> looks_like_saved_model(b"saved_model_schema_version: 1"), looks_like_saved_model(b"<html>")
        (True, False)
    """
    try:
        return _text_kind(head) == "saved model" or _is_saved_model(head)
    except ValueError:
        return False


def looks_like_graph(head: bytes, storage: Storage) -> bool:
    """Whether the file holds a GraphDef or a MetaGraphDef, binary or as text.

    Args:
        head: The first bytes of the file, some thousands.
        storage: The file: what a meta graph says of itself may be longer than `head`.
    """
    try:
        return _text_kind(head) in ("graph", "meta graph") or _graph_kind(head, storage) is not None
    except ValueError:
        return False


def read_message(location: str) -> tuple[memoryview, Kind, Storage | None]:
    """The file as a binary message, which of the three it is, and the file itself where it is not text.

    A binary message is not copied.

    Raises:
        SourceError: It is none of them, or text that is not as it should be.
    """
    storage = open_storage(location)
    head = storage.data[:_HEAD].tobytes()
    kind = _text_kind(head)
    if kind is not None:
        return memoryview(_from_text(storage, kind)), kind, None
    try:
        kind = "saved model" if _is_saved_model(head) else _graph_kind(head, storage)
    except ValueError:
        kind = None
    if kind is None:
        raise SourceError(
            "the file is no graph of TensorFlow's",
            where=location,
            expected="a GraphDef, a MetaGraphDef or a SavedModel, binary or as text",
            got=f"{len(storage.data)} bytes that begin with {head[:24]!r}",
            hint="if it was fetched, compare its size with the original's",
        )
    return memoryview(storage.data[:].data), kind, storage


def _from_text(storage: Storage, kind: Kind) -> bytes:
    # Imported here: text is rare, and the module takes longer than reading a small graph.
    from google.protobuf import text_format

    from tfpt.sources.tensorflow.tensorflow_pb2 import GraphDef, MetaGraphDef, SavedModel

    empty: GraphDef | MetaGraphDef | SavedModel
    if kind == "graph":
        empty = GraphDef()
    else:
        empty = MetaGraphDef() if kind == "meta graph" else SavedModel()
    try:
        text = storage.data[:].tobytes().decode()
        return text_format.Parse(text, empty, allow_unknown_field=True).SerializeToString()
    except RecursionError:
        reason = "it is nested deeper than any graph"
    except (text_format.ParseError, ValueError) as error:
        reason = str(error)
    raise SourceError(
        f"the text of the {kind} cannot be read",
        where=storage.location,
        got=reason[:400],
        hint="fetch the file again, or compare it with the original's size and hash",
    )


def _text_kind(head: bytes) -> Kind | None:
    space = _SPACE.match(head)
    at = space.end() if space else 0
    return next((kind for kind, pattern in _TEXTS.items() if pattern.match(head, at)), None)


def _is_saved_model(head: bytes) -> bool:
    fields = _first(head, 0, 2)
    if [(number, kind) for number, kind, *_ in fields] != [(1, VARINT), (2, LENGTH)]:
        return False
    _, _, value, _ = fields[0]
    return value <= _LARGEST_SCHEMA_VERSION and _is_meta_graph(head, fields[1][3])


def _is_meta_graph(head: bytes, at: int) -> bool:
    """Whether a MetaGraphDef starts there, by what it says of itself; by its graph where it says nothing."""
    fields = _first(head, at, 1)
    if not fields or fields[0][1] != LENGTH:
        return False
    number, _, size, begin = fields[0]
    if number == 1:
        return _fits(head[: begin + size], begin, _META_INFO)
    return number == 2 and _is_graph(head, begin)


def _graph_kind(head: bytes, storage: Storage) -> Kind | None:
    if _is_graph(head, 0):
        return "graph"
    fields = _first(head, 0, 1)
    if not fields or not _is_meta_graph(head, 0):
        return None
    number, _, size, begin = fields[0]
    if number == 1:
        # The graph comes after what may be a long list of operations.
        behind = storage.data[begin + size : begin + size + _HEAD].tobytes()
        following = _first(behind, 0, 1)
        if not following or following[0][:2] != (2, LENGTH) or not _is_graph(behind, following[0][3]):
            return None
    return "meta graph"


def _is_graph(head: bytes, at: int) -> bool:
    """Whether a GraphDef starts there: with a node, or, where it has none, with a function's name."""
    fields = _first(head, at, 1)
    if not fields or fields[0][1] != LENGTH:
        return False
    number, _, size, begin = fields[0]
    if number == 2:
        # library, function, signature, name
        for _ in range(2):
            inner = _first(head, begin, 1)
            if not inner or inner[0][:2] != (1, LENGTH):
                return False
            begin = inner[0][3]
        return _string(head, begin, 1, _NODE_NAME)
    if number != 1:
        return False
    node = head[: begin + size]
    return (
        _string(node, begin, 1, _NODE_NAME)
        and _string(node, begin, 2, _OP_NAME)
        and _fits(node, begin, _NODE)
    )


def _string(data: bytes, at: int, number: int, pattern: re.Pattern[bytes]) -> bool:
    """Whether the first field of that number, among the first two, is a string of that pattern."""
    for found, kind, size, begin in _first(data, at, 2):
        if (found, kind) == (number, LENGTH):
            return begin + size <= len(data) and pattern.fullmatch(data, begin, begin + size) is not None
    return False


def _fits(data: bytes, at: int, kinds: Mapping[int, int]) -> bool:
    """Whether all fields from there on, as far as the data go, are such as the message has; at least one is."""
    fields = _first(data, at, 1 << 16)
    return bool(fields) and all(kinds.get(number) == kind for number, kind, _, _ in fields)


def _first(data: bytes, at: int, count: int) -> list[tuple[int, int, int, int]]:
    """Number, kind, value or length, and start of the first fields; the last may end behind the data."""
    fields: list[tuple[int, int, int, int]] = []
    view = memoryview(data)
    # A message of unknown length: the walk is told that there is more, and stopped where the data end.
    padded = memoryview(bytes(view[at : at + _HEAD]) + bytes(32))
    end = len(data) - at
    while end > 0 and len(fields) < count:
        begin = fields[-1][3] + (fields[-1][2] if fields[-1][1] == LENGTH else 0) - at if fields else 0
        if begin >= end:
            break
        field = next(walk(padded, begin, 1 << 40))
        size = field.end - field.begin if field.kind == LENGTH else field.value
        start = field.begin if field.kind == LENGTH else field.end
        fields.append((field.number, field.kind, size, at + start))
    return fields
