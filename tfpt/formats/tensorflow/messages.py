"""Identifies TensorFlow's messages by their structure, and reads them, binary or text.

The fields of a message may come in any order (https://protobuf.dev/programming-guides/encoding/#order), and any may be
absent: TF-Hub's first modules have no `saved_model_schema_version`. So a message is identified by its fields and the
form of its nodes; in a file of another kind some byte soon violates them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

from tfpt.errors import SourceError
from tfpt.formats.tensorflow.wire import LENGTH, VARINT, Field, walk
from tfpt.io.cached_blocks import View, view_of
from tfpt.io.damage import DOWNLOAD_AGAIN, refuse_pointer
from tfpt.io.limits import MOST_FIELDS_LOOKED_AT
from tfpt.io.locations import name_of
from tfpt.io.storage import Storage, open_storage

Kind = Literal["graph", "meta graph", "saved model"]

_HEAD = 4096

# Names of nodes and of operations: tensorflow/core/framework/node_def_util.cc and op_def_builder.cc; a function call
# is an operation with the function's name.
_NODE_NAME = re.compile(rb"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_OP_NAME = re.compile(rb"_?[A-Z][A-Za-z0-9_>]*|__[A-Za-z0-9_]+")
_LONGEST_NAME = 1 << 16

# The fields of each message, and how each is stored (saved_model.proto, meta_graph.proto, graph.proto, node_def.proto).
_SAVED_MODEL = {1: VARINT, 2: LENGTH}
_META_GRAPH = dict.fromkeys(range(1, 8), LENGTH)
_META_INFO = {**dict.fromkeys(range(1, 7), LENGTH), 7: VARINT, 8: LENGTH}
_GRAPH = {1: LENGTH, 2: LENGTH, 3: VARINT, 4: LENGTH, 5: LENGTH}
_NODE = dict.fromkeys(range(1, 8), LENGTH)

_LARGEST_SCHEMA_VERSION = 100

# File names that mean a SavedModel, whatever the content.
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")

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


def kind_of(storage: Storage) -> Kind | None:
    """Which of TensorFlow's messages a file contains, binary or text; ``None`` for a file of another kind.

    Example:
        >>> import tempfile
        >>> path = f"{tempfile.mkdtemp()}/a"
        >>> with open(path, "w") as file:
        ...     _ = file.write("saved_model_schema_version: 1")
        >>> kind_of(open_storage(path))
        'saved model'
    """
    text = _text_kind(storage.data[:_HEAD].tobytes())
    return text or _binary_kind(view_of(storage))


def read_message(location: str) -> tuple[View, Kind, Storage | None]:
    """The file as a binary message, its kind, and the file itself unless it is text.

    A binary message is not copied, and a remote one not fetched. A file with a SavedModel's name counts as one.

    Raises:
        SourceError: It is none of them, or invalid text.
    """
    storage = open_storage(location)
    head = storage.data[:_HEAD].tobytes()
    kind = _text_kind(head)
    if kind is not None:
        return memoryview(_from_text(storage, kind)), kind, None
    data = view_of(storage)
    kind = _binary_kind(data)
    if kind is None and name_of(location) == SAVED_MODEL_FILES[0] and _walks(data):
        kind = "saved model"
    if kind is None:
        refuse_pointer(storage.data, location)
        raise SourceError(
            "the file is not a TensorFlow graph",
            where=location,
            expected="a GraphDef, a MetaGraphDef or a SavedModel, binary or text",
            got=f"{len(storage.data)} bytes that begin with {head[:24]!r}",
            hint="if it was downloaded, compare its size with the original's",
        )
    return data, kind, storage


def _from_text(storage: Storage, kind: Kind) -> bytes:
    # Imported here: text is rare, and importing takes longer than reading a small graph.
    from tfpt.formats.tensorflow.text import parse_text

    try:
        return parse_text(storage.data[:], kind)
    except RecursionError:
        reason = "it is nested deeper than any graph"
    except ValueError as error:
        reason = str(error)
    raise SourceError(
        f"the text of the {kind} cannot be read",
        where=storage.location,
        got=reason[:400],
        hint=DOWNLOAD_AGAIN,
    )


def _text_kind(head: bytes) -> Kind | None:
    space = _SPACE.match(head)
    at = space.end() if space else 0
    return next((kind for kind, pattern in _TEXTS.items() if pattern.match(head, at)), None)


def _binary_kind(data: View) -> Kind | None:
    """A SavedModel first: it is more easily mistaken for a graph of functions than the reverse."""
    if _fits(_is_saved_model, data):
        return "saved model"
    if _fits(_is_graph, data):
        return "graph"
    return "meta graph" if _fits(_is_meta_graph, data) else None


def _fits(check: Callable[[View, int, int], bool], data: View) -> bool:
    try:
        return check(data, 0, len(data))
    except (ValueError, IndexError):
        return False


def _is_saved_model(data: View, begin: int, end: int) -> bool:
    fields = _fields(data, begin, end, _SAVED_MODEL)
    graphs = _of_number(fields, 2)
    versions = [field.value for field in fields if field.number == 1]
    return (
        bool(graphs)
        and max(versions, default=0) <= _LARGEST_SCHEMA_VERSION
        and _is_meta_graph(data, *graphs[0])
    )


def _is_meta_graph(data: View, begin: int, end: int) -> bool:
    """Whether it is a MetaGraphDef: its meta info and its graph are valid, and it has a graph."""
    fields = _fields(data, begin, end, _META_GRAPH)
    infos, graphs = _of_number(fields, 1), _of_number(fields, 2)
    if infos and not _fields(data, *infos[0], _META_INFO):
        return False
    if not graphs:
        return False
    # A graph may have no nodes if there is a meta info to identify it by.
    return _is_graph(data, *graphs[0]) or (bool(infos) and _is_empty_graph(data, *graphs[0]))


def _is_graph(data: View, begin: int, end: int) -> bool:
    """Whether it is a GraphDef: with nodes, or else with a function that has a name."""
    fields = _fields(data, begin, end, _GRAPH)
    nodes, libraries = _of_number(fields, 1), _of_number(fields, 2)
    if nodes:
        return all(_is_node(data, *node) for node in nodes[:4])
    for library in libraries[:1]:
        for function in _of_number(_fields(data, *library), 1)[:1]:
            for signature in _of_number(_fields(data, *function), 1)[:1]:
                return _has_text(data, _fields(data, *signature), 1, _NODE_NAME)
    return False


def _is_empty_graph(data: View, begin: int, end: int) -> bool:
    fields = _fields(data, begin, end, _GRAPH)
    return begin == end or (bool(fields) and all(field.number in (3, 4) for field in fields))


def _is_node(data: View, begin: int, end: int) -> bool:
    fields = _fields(data, begin, end, _NODE)
    return _has_text(data, fields, 1, _NODE_NAME) and _has_text(data, fields, 2, _OP_NAME)


def _fields(data: View, begin: int, end: int, kinds: Mapping[int, int] | None = None) -> list[Field]:
    """The first fields of a message; empty if one of them is not a field of `kinds`.

    Raises:
        ValueError: The bytes are not a message.
    """
    fields: list[Field] = []
    for field in walk(data, begin, end):
        if kinds is not None and kinds.get(field.number) != field.kind:
            return []
        fields.append(field)
        if len(fields) == MOST_FIELDS_LOOKED_AT:
            break
    return fields


def _of_number(fields: list[Field], number: int) -> list[tuple[int, int]]:
    return [(field.begin, field.end) for field in fields if field.number == number and field.kind == LENGTH]


def _size(span: tuple[int, int]) -> int:
    return span[1] - span[0]


def _has_text(data: View, fields: list[Field], number: int, pattern: re.Pattern[bytes]) -> bool:
    """Whether a field of that number exists, and its text matches the pattern."""
    spans = _of_number(fields, number)
    if len(spans) != 1 or _size(spans[0]) > _LONGEST_NAME:
        return False
    begin, end = spans[0]
    return pattern.fullmatch(bytes(data[begin:end])) is not None


def _walks(data: View) -> bool:
    try:
        return bool(_fields(data, 0, len(data)))
    except (ValueError, IndexError):
        return False
