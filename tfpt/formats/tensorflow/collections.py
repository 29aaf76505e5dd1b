"""The order in which a graph of TensorFlow 1 created its variables: its collection ``variables``.

The messages: MetaGraphDef and CollectionDef (tensorflow/core/protobuf/meta_graph.proto), VariableDef and
SaveSliceInfoDef (tensorflow/core/framework/variable.proto).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tfpt.errors import SourceError
from tfpt.formats.tensorflow.wire import spans
from tfpt.io.cached_blocks import View, view_of
from tfpt.io.locations import is_file, is_remote
from tfpt.io.storage import open_storage
from tfpt.nearest import natural_key

_COLLECTIONS, _META_GRAPHS = 4, 2
_BYTES_LIST, _NAME, _SLICE = 2, 1, 4


def order_beside(prefix: str, names: Iterable[str]) -> tuple[str, ...] | None:
    """The names in the order of the graph in ``PREFIX.meta``; None without such a file on this machine.

    Args:
        prefix: The checkpoint.
        names: Its tensors. Those that the graph does not list come last, by name.
    """
    path = f"{prefix}.meta"
    if is_remote(prefix) or not is_file(path):
        return None
    return _ordered(path, names, whole=True)


def order_in_graph(location: str, names: Iterable[str]) -> tuple[str, ...] | None:
    """The names in the order of the graph of a SavedModel of TensorFlow 1; None if it lists no variable."""
    return None if location.endswith(".pbtxt") else _ordered(location, names, whole=False)


def _ordered(path: str, names: Iterable[str], *, whole: bool) -> tuple[str, ...] | None:
    known = dict.fromkeys(names)
    try:
        storage = open_storage(path)
    except SourceError:
        return None
    try:
        data = view_of(storage)
        graphs = [(0, len(data))] if whole else spans(data, 0, len(data), _META_GRAPHS)
        created = dict.fromkeys(
            name for graph in graphs for name in _variables(data, *graph) if name in known
        )
    except ValueError:  # damaged: the weights can be read without it
        return None
    finally:
        storage.close()
    if not created:
        return None
    rest = sorted((name for name in known if name not in created), key=natural_key)
    return (*created, *rest)


def _variables(data: View, begin: int, end: int) -> Iterator[str]:
    """The names in a MetaGraphDef's collection of variables, as checkpoints have them."""
    for entry in spans(data, begin, end, _COLLECTIONS):
        if [_text(data, *key) for key in spans(data, *entry, 1)] != ["variables"]:
            continue
        for collection in spans(data, *entry, 2):
            for listed in spans(data, *collection, _BYTES_LIST):
                for variable in spans(data, *listed, 1):
                    yield from _name(data, *variable)


def _name(data: View, begin: int, end: int) -> Iterator[str]:
    """The whole variable's name if this is a piece of it."""
    pieces = [
        _text(data, *name) for part in spans(data, begin, end, _SLICE) for name in spans(data, *part, 1)
    ]
    names = pieces or [_text(data, *name) for name in spans(data, begin, end, _NAME)]
    yield from (name.removesuffix(":0") for name in names[:1])


def _text(data: View, begin: int, end: int) -> str:
    return bytes(data[begin:end]).decode(errors="replace")
