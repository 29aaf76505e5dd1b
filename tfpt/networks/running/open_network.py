"""Opens a TensorFlow network according to the content of its file: a graph, a SavedModel, a Keras model, or TFLite."""

from __future__ import annotations

import os
from typing import Any

from tfpt.errors import SourceError, TfptError
from tfpt.formats import recognition as formats
from tfpt.formats.tensorflow.location import locate
from tfpt.formats.tensorflow.messages import read_message
from tfpt.io.locations import as_location, folder_of, inside, is_file, is_folder, is_remote
from tfpt.networks.running.network import TensorFlowNetwork

_EXPECTED = (
    "a .meta with its checkpoint, a SavedModel, a frozen graph (.pb), a whole Keras model (.keras, .h5), or a "
    "TensorFlow Lite model (.tflite)"
)


def open_network(
    path: str | os.PathLike[str],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    signature: str | None = None,
    trust: bool = False,
) -> TensorFlowNetwork:
    """Open a TensorFlow network so that it can be run.

    Args:
        path: A ``.meta`` file, or the checkpoint beside it (its prefix, one of its files or its folder); the folder of
            a SavedModel; a frozen graph; a Keras model; a TensorFlow Lite model.
        checkpoint: The checkpoint with a graph's variables, if it is not beside the graph.
        signature: The SavedModel signature to use; by default ``serving_default``, or the only one.
        trust: Allow the network to run its own code, access files, and contact other machines.

    Raises:
        SourceError: There is no network, TensorFlow cannot read it, or it would run code.
    """
    location = as_location(path)
    if is_remote(location):
        raise SourceError(
            "a network can only be run from this machine's files",
            where=location,
            hint="download it, and pass the path of the copy",
        )
    kind = formats.recognize(location)
    if kind is formats.CHECKPOINT:
        location, checkpoint = _meta_of(location, checkpoint)
        kind = formats.GRAPH
    if kind is formats.SAVED_MODEL:
        from tfpt.networks.running.graph_files import open_saved_model

        return open_saved_model(location, signature, trust)
    if signature is not None:
        raise SourceError("only a SavedModel has signatures", where=location, got=f"--signature {signature}")
    if kind is formats.GRAPH:
        from tfpt.networks.running.graph_files import open_graph_file

        message = read_message(location)[1]
        prefix = _prefix(location, checkpoint, message == "meta graph")
        return open_graph_file(location, message, prefix, trust)
    if checkpoint is not None:
        raise SourceError(
            "this file contains its weights", where=location, got=f"--checkpoint {os.fspath(checkpoint)}"
        )
    if kind in (formats.KERAS_ARCHIVE, formats.HDF5):
        from tfpt.networks.running.keras import open_keras

        # Keras decides by the file name. If it read another format than was checked here, it could be another model.
        if (kind is formats.KERAS_ARCHIVE) != location.endswith(".keras"):
            ending = ".keras" if kind is formats.KERAS_ARCHIVE else ".h5"
            raise SourceError(
                "the file name indicates another format than the content",
                where=location,
                expected=f"a name that ends in {ending}",
                got=kind.name,
                hint=f"rename the file, or a copy, to NAME{ending}",
            )
        return open_keras(location, trust)
    if kind is formats.TFLITE:
        from tfpt.networks.running.tflite import TfliteNetwork

        return TfliteNetwork(location, trust)
    raise SourceError(
        "the file contains no TensorFlow network", where=location, expected=_EXPECTED, got=kind.name
    )


def _meta_of(location: str, checkpoint: Any) -> tuple[str, Any]:
    """The ``.meta`` file beside a checkpoint, and the checkpoint to use."""
    try:
        prefix = locate(location).prefix
    except SourceError as error:
        if is_folder(location) or is_file(location):
            raise
        raise SourceError(
            "there is no TensorFlow network of this name",
            where=location,
            expected=_EXPECTED,
            got=error.got,
            hint="tfpt record --list NETWORK lists what a network computes",
        ) from error
    if is_folder(location) and is_file(inside(location, "keras_metadata.pb")):
        raise SourceError("the SavedModel is incomplete", where=location, expected="saved_model.pb")
    meta = f"{prefix}.meta"
    if not is_file(meta):
        raise SourceError(
            "a checkpoint has weights, but not the network they belong to",
            where=location,
            expected=f"{meta} beside it",
            hint=f"tfpt record GRAPH --checkpoint {prefix}, with the graph's .meta or .pb",
        )
    return meta, checkpoint if checkpoint is not None else prefix


def _prefix(location: str, checkpoint: str | os.PathLike[str] | None, is_meta: bool) -> str | None:
    """The checkpoint of a graph: the one given by the user, or the one beside a ``.meta``."""
    if checkpoint is not None:
        return locate(checkpoint).prefix
    if not is_meta:
        return None
    try:
        return locate(location).prefix if location.endswith(".meta") else None
    except TfptError as error:
        if not is_folder(folder_of(location)):
            raise
        raise SourceError(
            "the checkpoint of this graph is not beside it",
            where=location,
            expected=error.expected,
            hint="--checkpoint PREFIX",
        ) from None
