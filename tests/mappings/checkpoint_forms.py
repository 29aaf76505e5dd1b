"""The forms in which recorded variables are stored: each writes a checkpoint and returns its path."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import h5py
import msgpack
import numpy as np

from tfpt.execution.sinks.bundle import write_bundle
from tfpt.formats.tensorflow.object_graph import GRAPH_KEY
from tfpt.formats.tensorflow.tensorflow_pb2 import TrackableObjectGraph

Variables: TypeAlias = Mapping[str, np.ndarray]


def write_v2_bundle(folder: Path, variables: Variables) -> Path:
    """What the Saver of TensorFlow 1 writes."""
    write_bundle(folder / "model.ckpt", variables, write_state=False)
    return folder / "model.ckpt"


def write_shards(folder: Path, variables: Variables) -> Path:
    """The same in several data files, as of models trained on TPUs."""
    write_bundle(folder / "model.ckpt", variables, num_shards=3, write_state=False)
    return folder / "model.ckpt"


def write_npz(folder: Path, variables: Variables) -> Path:
    np.savez(folder / "model.npz", **variables)  # type: ignore[arg-type]
    return folder / "model.npz"


def write_pickle(folder: Path, variables: Variables) -> Path:
    with (folder / "model.pkl").open("wb") as file:
        pickle.dump(dict(variables), file)
    return folder / "model.pkl"


def write_objects(folder: Path, variables: Variables) -> Path:
    """What tf.train.Checkpoint writes: variables by their paths in a tree of objects, which is stored beside them."""
    graph = TrackableObjectGraph()
    nodes: dict[str, int] = {}

    def node(path: str) -> int:
        if path not in nodes:
            nodes[path] = len(nodes)
            graph.nodes.add()
            if path:
                above, _, name = path.rpartition("/")
                graph.nodes[node(above)].children.add(node_id=nodes[path], local_name=name)
        return nodes[path]

    node("")
    stored: dict[str, np.ndarray] = {}
    for path, value in variables.items():
        key = f"{path}/.ATTRIBUTES/VARIABLE_VALUE"
        stored[key] = value
        variable, slot, names = path.partition("/.OPTIMIZER_SLOT/")
        if slot:
            optimizer, _, name = names.rpartition("/")
            number = len(nodes)
            nodes[path] = number
            graph.nodes.add()
            graph.nodes[node(optimizer)].slot_variables.add(
                original_variable_node_id=node(variable), slot_name=name, slot_variable_node_id=number
            )
        else:
            number = node(path)
        graph.nodes[number].attributes.add(name="VARIABLE_VALUE", checkpoint_key=key)
    stored[GRAPH_KEY] = np.array(graph.SerializeToString(), dtype=object)
    write_bundle(folder / "model.ckpt", stored, write_state=False)
    return folder / "model.ckpt"


def write_keras_h5(folder: Path, variables: Variables) -> Path:
    """The HDF5 files of Keras 2: a group for each layer, which lists its weights."""
    layers: dict[str, list[str]] = {}
    for name in variables:
        layer, _, weight = name.partition("/")
        layers.setdefault(layer, []).append(weight)
    with h5py.File(folder / "tf_model.h5", "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight in weights:
                group[weight] = variables[f"{layer}/{weight}"]
    return folder / "tf_model.h5"


def write_flax(folder: Path, variables: Variables) -> Path:
    """What flax.serialization.to_bytes makes of a tree of arrays: nested maps; an array is an extension of type 1."""
    tree: dict[str, object] = {}
    for name, value in variables.items():
        *path, leaf = name.split("/")
        node = tree
        for part in path:
            node = node.setdefault(part, {})  # type: ignore[assignment]
        array = (value.shape, value.dtype.name, value.tobytes())
        node[leaf] = msgpack.ExtType(1, msgpack.packb(array, use_bin_type=True))
    (folder / "flax_model.msgpack").write_bytes(msgpack.packb(tree, strict_types=True))
    return folder / "flax_model.msgpack"


FORMS: dict[str, Callable[[Path, Variables], Path]] = {
    "bundle": write_v2_bundle,
    "objects": write_objects,
    "shards": write_shards,
    "npz": write_npz,
    "pickle": write_pickle,
    "keras_h5": write_keras_h5,
    "flax": write_flax,
}
