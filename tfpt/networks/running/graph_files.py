"""Opens networks stored as graphs: frozen GraphDefs, MetaGraphDefs beside a checkpoint, and SavedModels.

A SavedModel of TensorFlow 1 or 2 is a graph, a checkpoint and signatures, and both are run alike: the graph in a
session, its variables restored by its own restore operation, its function calls inlined. Saved objects are not rebuilt,
so old Keras models and custom classes cause no problems (see `tfpt.networks.running.graph_import`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from google.protobuf.message import DecodeError

from tfpt.errors import SourceError
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.locations import folder_of, inside, is_file, is_folder
from tfpt.io.storage import open_storage
from tfpt.nearest import nearest
from tfpt.networks.running.graph import GraphNetwork
from tfpt.networks.running.importing import import_tensorflow
from tfpt.networks.running.restoring import SavedState

_FILES = ("saved_model.pb", "saved_model.pbtxt")
# tensorflow/python/saved_model/constants.py: TensorFlow 2 stores the initializer of a model as a signature.
_INIT, _INTERNAL = "__saved_model_init_op", "__saved_model_"
_DEFAULT = "serving_default"
# Collections of initializers of lookup tables (tf.compat.v1.GraphKeys, saved_model/constants.py).
_INITIALIZERS = ("table_initializer", "saved_model_main_op", "legacy_init_op")


def open_saved_model(location: str, signature: str | None = None, trust: bool = False) -> GraphNetwork:
    """Open a SavedModel with one of its signatures.

    Args:
        location: The folder, or the ``saved_model.pb`` in it.
        signature: The signature; by default ``serving_default``, or the only one.
        trust: Also run operations that access files, run code or contact other machines.

    Raises:
        SourceError: It is damaged, lacks the signature, or has several and none is called ``serving_default``.
    """
    import_tensorflow()
    from tensorflow.core.protobuf import saved_model_pb2

    folder = location if is_folder(location) else folder_of(location)
    file = next((inside(folder, name) for name in _FILES if is_file(inside(folder, name))), location)
    message = _parse(location if is_file(location) else file, saved_model_pb2.SavedModel())
    graphs = list(message.meta_graphs)
    if not graphs:
        raise SourceError("the SavedModel has no graph", where=location)
    name, meta_graph = _select_signature(graphs, signature, location)
    found = meta_graph.signature_def[name] if name else None
    prefix = inside(folder, "variables", "variables")
    kind = "TF2" if meta_graph.HasField("object_graph_def") else "TF1"
    return GraphNetwork(
        location,
        f"TensorFlow SavedModel ({kind})",
        meta_graph.graph_def,
        saved=_saved(meta_graph, prefix if is_file(f"{prefix}.index") else None, folder),
        inputs={} if found is None else _tensors(found.inputs),
        outputs={} if found is None else _tensors(found.outputs),
        signature=name,
        producers=meta_graph.meta_info_def.stripped_op_list,
        facts={"signature": name} if name else {},
        trust=trust,
    )


def _select_signature(graphs: list[Any], signature: str | None, where: str) -> tuple[str, Any]:
    """The signature's name (empty if there is none) and its graph; graphs for serving take precedence."""
    graphs = sorted(graphs, key=lambda graph: "serve" not in graph.meta_info_def.tags)
    known: dict[str, Any] = {}
    for graph in graphs:
        for name in sorted(graph.signature_def):
            if not name.startswith(_INTERNAL):
                known.setdefault(name, graph)
    if signature is None:
        if not known:
            return "", graphs[0]
        if _DEFAULT not in known and len(known) > 1:
            raise SourceError(
                "the SavedModel has several signatures",
                where=where,
                expected="one of them",
                got=", ".join(known),
                hint=f"--signature {next(iter(known))}",
            )
        signature = _DEFAULT if _DEFAULT in known else next(iter(known))
    if signature not in known:
        raise SourceError(
            f"the SavedModel has no signature {signature}",
            where=where,
            expected=", ".join(known) or "none",
            nearest=nearest(signature, known),
        )
    return signature, known[signature]


def _saved(meta_graph: Any, prefix: str | None, folder: str) -> SavedState:
    saved = _saved_state(meta_graph, prefix)
    initializers = list(saved.initializers)
    if _INIT in meta_graph.signature_def:
        outputs = meta_graph.signature_def[_INIT].outputs.values()
        initializers += [info.name.partition(":")[0] for info in outputs]
    assets = {
        asset.tensor_info.name: inside(folder, "assets", asset.filename)
        for asset in meta_graph.asset_file_def
        if _stays_inside(asset.filename)
    }
    return SavedState(
        prefix, saved.operation, saved.filename, tuple(initializers), assets or _assets(meta_graph, folder)
    )


def _assets(meta_graph: Any, folder: str) -> dict[str, str]:
    """The asset files in TensorFlow 1's representation: messages in a collection."""
    from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef

    found = {}
    for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
        asset = AssetFileDef()
        if packed.Unpack(asset) and _stays_inside(asset.filename):
            found[asset.tensor_info.name] = inside(folder, "assets", asset.filename)
    return found


def _stays_inside(name: str) -> bool:
    """Whether an asset's name refers to a file inside the assets folder."""
    return not name.startswith("/") and ".." not in name.split("/")


def _tensors(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Tensor names by key, for arguments that are a single tensor."""
    return {key: info.name for key, info in sorted(arguments.items()) if info.name}


def open_graph_file(
    location: str,
    kind: Literal["graph", "meta graph", "saved model"],
    prefix: str | None,
    trust: bool = False,
) -> GraphNetwork:
    """The network of a ``.pb``, ``.pbtxt`` or ``.meta`` file.

    Raises:
        SourceError: The file is damaged, or TensorFlow does not know its content.
    """
    tf = import_tensorflow()
    facts = {} if prefix is None else {"checkpoint": prefix}
    if kind == "graph":
        graph_def = _parse(location, tf.compat.v1.GraphDef())
        name = "TensorFlow frozen graph" if prefix is None else "TensorFlow graph"
        saved = None if prefix is None else SavedState(prefix)
        return GraphNetwork(location, name, graph_def, saved=saved, facts=facts, trust=trust)
    meta_graph = _parse(location, tf.compat.v1.MetaGraphDef())
    return GraphNetwork(
        location,
        "TensorFlow meta graph",
        meta_graph.graph_def,
        saved=_saved_state(meta_graph, prefix),
        producers=meta_graph.meta_info_def.stripped_op_list,
        facts=facts,
        trust=trust,
    )


def _saved_state(meta_graph: Any, prefix: str | None) -> SavedState:
    """How a MetaGraphDef restores its variables from the checkpoint `prefix`, and its initializers."""
    nodes = [name for key in _INITIALIZERS for name in meta_graph.collection_def[key].node_list.value]
    known = {node.name for node in meta_graph.graph_def.node}
    return SavedState(
        prefix,
        meta_graph.saver_def.restore_op_name.partition(":")[0],
        meta_graph.saver_def.filename_tensor_name,
        tuple(name for name in nodes if name.partition(":")[0] in known),
    )


def _parse(location: str, message: Any) -> Any:
    """Parse the file as this protobuf message, in binary or text form.

    Raises:
        SourceError: It is not such a message.
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
