"""SavedModels of TensorFlow 1 and 2, run as the graph that they hold.

Both kinds are a graph, a checkpoint and signatures, and both are run alike: the graph in a session, its variables
restored by its own restore operation, its function calls inlined. No saved object is made again, so neither old Keras
models nor custom classes stand in the way (see `tfpt.networks.running.inlining`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfpt.errors import SourceError
from tfpt.io.locations import folder_of, inside, is_file, is_folder
from tfpt.nearest import nearest
from tfpt.networks.running.graph import GraphNetwork
from tfpt.networks.running.importing import import_tensorflow
from tfpt.networks.running.restoring import Saved
from tfpt.networks.running.saved_graph import parse, saved_of

_FILES = ("saved_model.pb", "saved_model.pbtxt")
# tensorflow/python/saved_model/constants.py: what makes a model of TensorFlow 2 ready is stored as a signature.
_INIT, _OWN = "__saved_model_init_op", "__saved_model_"
_DEFAULT = "serving_default"


def open_saved_model(location: str, signature: str | None = None, trust: bool = False) -> GraphNetwork:
    """The network of a SavedModel as one of its signatures calls it.

    Args:
        location: The folder, or the ``saved_model.pb`` in it.
        signature: Which one; else ``serving_default``, or the only one.
        trust: Also run operations that read files, run code or reach other machines.

    Raises:
        SourceError: It is damaged, or has no such signature, or several and none is called ``serving_default``.
    """
    tf = import_tensorflow()
    folder = location if is_folder(location) else folder_of(location)
    file = next((inside(folder, name) for name in _FILES if is_file(inside(folder, name))), location)
    message = parse(location if is_file(location) else file, _message(tf))
    graphs = list(message.meta_graphs)
    if not graphs:
        raise SourceError("the SavedModel holds no graph", where=location)
    name, meta_graph = _chosen(graphs, signature, location)
    found = meta_graph.signature_def[name] if name else None
    prefix = inside(folder, "variables", "variables")
    kind = "TF2" if meta_graph.HasField("object_graph_def") else "TF1"
    return GraphNetwork(
        location,
        f"TensorFlow SavedModel ({kind})",
        meta_graph.graph_def,
        saved=_saved(meta_graph, prefix if is_file(f"{prefix}.index") else None, folder),
        inputs={} if found is None else _tensors(found.inputs),
        outputs=() if found is None else tuple(_tensors(found.outputs).values()),
        producers=meta_graph.meta_info_def.stripped_op_list,
        facts={"signature": name} if name else {},
        trust=trust,
    )


def _message(tf: Any) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    del tf
    return saved_model_pb2.SavedModel()


def _chosen(graphs: list[Any], signature: str | None, where: str) -> tuple[str, Any]:
    """The name of the signature, empty where there is none, and its graph; of several graphs the one for serving."""
    graphs = sorted(graphs, key=lambda graph: "serve" not in graph.meta_info_def.tags)
    there: dict[str, Any] = {}
    for graph in graphs:
        for name in sorted(graph.signature_def):
            if not name.startswith(_OWN):
                there.setdefault(name, graph)
    if signature is None:
        if not there:
            return "", graphs[0]
        if _DEFAULT not in there and len(there) > 1:
            raise SourceError(
                "the SavedModel has several signatures",
                where=where,
                expected="one of them",
                got=", ".join(there),
                hint=f"--signature {next(iter(there))}",
            )
        signature = _DEFAULT if _DEFAULT in there else next(iter(there))
    if signature not in there:
        raise SourceError(
            f"the SavedModel has no signature {signature}",
            where=where,
            expected=", ".join(there) or "none",
            nearest=nearest(signature, there),
        )
    return signature, there[signature]


def _saved(meta_graph: Any, prefix: str | None, folder: str) -> Saved:
    saved = saved_of(meta_graph, prefix)
    starters = list(saved.starters)
    if _INIT in meta_graph.signature_def:
        starters += [info.name.partition(":")[0] for info in meta_graph.signature_def[_INIT].outputs.values()]
    assets = {
        asset.tensor_info.name: inside(folder, "assets", asset.filename)
        for asset in meta_graph.asset_file_def
        if _stays_inside(asset.filename)
    }
    return Saved(
        prefix, saved.operation, saved.filename, tuple(starters), assets or _assets(meta_graph, folder)
    )


def _assets(meta_graph: Any, folder: str) -> dict[str, str]:
    """The files as TensorFlow 1 lists them: messages in a collection."""
    from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef

    found = {}
    for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
        asset = AssetFileDef()
        if packed.Unpack(asset) and _stays_inside(asset.filename):
            found[asset.tensor_info.name] = inside(folder, "assets", asset.filename)
    return found


def _stays_inside(name: str) -> bool:
    """Whether an asset's name leads to a file in the folder of assets."""
    return not name.startswith("/") and ".." not in name.split("/")


def _tensors(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Key → tensor, of arguments that are one tensor each."""
    return {key: info.name for key, info in sorted(arguments.items()) if info.name}
