"""Graphs by themselves: a GraphDef with its weights inside, or a MetaGraphDef beside its checkpoint."""

from __future__ import annotations

from typing import Any, Literal

from google.protobuf.message import DecodeError

from tfpt.errors import SourceError
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.storage import open_storage
from tfpt.networks.running.graph import GraphNetwork
from tfpt.networks.running.importing import import_tensorflow
from tfpt.networks.running.restoring import Saved

# Under these names a graph collects what fills its lookup tables (tf.compat.v1.GraphKeys, saved_model/constants.py).
_STARTERS = ("table_initializer", "saved_model_main_op", "legacy_init_op")


def open_graph_file(
    location: str,
    kind: Literal["graph", "meta graph", "saved model"],
    prefix: str | None,
    trust: bool = False,
) -> GraphNetwork:
    """The network of a ``.pb``, ``.pbtxt`` or ``.meta`` file.

    Raises:
        SourceError: The file is damaged, or TensorFlow does not know what it holds.
    """
    tf = import_tensorflow()
    facts = {} if prefix is None else {"checkpoint": prefix}
    if kind == "graph":
        graph_def = parse(location, tf.compat.v1.GraphDef())
        name = "TensorFlow frozen graph" if prefix is None else "TensorFlow graph"
        saved = None if prefix is None else Saved(prefix)
        return GraphNetwork(location, name, graph_def, saved=saved, facts=facts, trust=trust)
    meta_graph = parse(location, tf.compat.v1.MetaGraphDef())
    return GraphNetwork(
        location,
        "TensorFlow meta graph",
        meta_graph.graph_def,
        saved=saved_of(meta_graph, prefix),
        producers=meta_graph.meta_info_def.stripped_op_list,
        facts=facts,
        trust=trust,
    )


def saved_of(meta_graph: Any, prefix: str | None) -> Saved:
    """How the variables of a MetaGraphDef come from the checkpoint `prefix`, and what starts it."""
    nodes = [name for key in _STARTERS for name in meta_graph.collection_def[key].node_list.value]
    known = {node.name for node in meta_graph.graph_def.node}
    return Saved(
        prefix,
        meta_graph.saver_def.restore_op_name.partition(":")[0],
        meta_graph.saver_def.filename_tensor_name,
        tuple(name for name in nodes if name.partition(":")[0] in known),
    )


def parse(location: str, message: Any) -> Any:
    """The file as this message of TensorFlow's, binary or as text.

    Raises:
        SourceError: It is none.
    """
    from google.protobuf import text_format

    data = open_storage(location).data[:].tobytes()
    try:
        message.ParseFromString(data)
    except DecodeError:
        message.Clear()
        try:
            text_format.Parse(data.decode(), message)
        except (text_format.ParseError, ValueError, RecursionError) as error:
            raise SourceError(
                f"TensorFlow cannot read the file as a {type(message).__name__}",
                where=location,
                got=str(error)[:300],
                hint=DOWNLOAD_AGAIN,
            ) from None
    return message
