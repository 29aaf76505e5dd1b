"""SavedModels of TensorFlow 1 and 2, and modules of TensorFlow Hub: a graph, and a checkpoint beside it.

The folder: https://www.tensorflow.org/guide/saved_model; a module of Hub's first format has ``tfhub_module.pb`` too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from tfpt.errors import SourceError
from tfpt.sources.places import folder_of, inside, is_file, is_folder
from tfpt.sources.source import Quantised, Role, Source
from tfpt.sources.tensorflow.bundle_index import FETCH_AGAIN
from tfpt.sources.tensorflow.checkpoint import open_checkpoint
from tfpt.sources.tensorflow.graph import GraphSource
from tfpt.sources.tensorflow.messages import read_message
from tfpt.sources.tensorflow.meta_graph import MetaGraph, Signature, read_meta_graph
from tfpt.sources.tensorflow.wire import spans
from tfpt.tensors import TensorSpec

_FILES = ("saved_model.pb", "saved_model.pbtxt")
_HUB = "tfhub_module.pb"
_META_GRAPHS = 2
_CHUNK = 1 << 22


class SavedModelSource:
    """The variables of a SavedModel; where it has none, the constants of its graphs.

    Args:
        location: The folder, or the ``saved_model.pb`` or ``saved_model.pbtxt`` in it.
        verify_checksums: Whether `read` compares a variable's bytes with their checksum.
        dequantise: Whether quantised constants of its graphs are read as the numbers they stand for.

    Attributes:
        location: The folder; the file where it stands by itself under another name.
        tags: The tags of each of its graphs.
        signatures: The ways to call each of its graphs, by name, by the graph's tags.
        paths: The path through objects of each variable, where it is a checkpoint of objects.

    Raises:
        SourceError: There is no SavedModel, or it is damaged.
    """

    location: str
    side: Literal["tf", "pt"] = "tf"
    format: str
    specs: Mapping[str, TensorSpec]
    roles: Mapping[str, Role]
    aliases: Mapping[str, str]
    skipped: Mapping[str, str]
    quantised: Mapping[str, Quantised]
    tags: tuple[tuple[str, ...], ...]
    signatures: Mapping[tuple[str, ...], Mapping[str, Signature]]

    def __init__(self, location: str, verify_checksums: bool = True, dequantise: bool = False) -> None:
        self._file = _file_of(location)
        folder = location if is_folder(location) else folder_of(self._file)
        self._data, kind, _ = read_message(self._file)
        if kind != "saved model":
            raise SourceError(
                f"the file is a {kind} of TensorFlow's", where=self._file, expected="a SavedModel"
            )
        graphs = _graphs(self._data, self._file)
        self.location = folder if is_folder(location) else location
        self.tags = tuple([graph.tags for graph in graphs])
        self.signatures = {graph.tags: graph.signatures for graph in graphs}
        prefix = inside(folder, "variables", "variables")
        self._inner: Source
        if is_file(f"{prefix}.index") or is_file(prefix):
            self._inner = open_checkpoint(prefix, verify_checksums)
        else:
            self._inner = _constants(self._file, prefix, dequantise)
        kind_of = "Hub module" if is_file(inside(folder, _HUB)) else "SavedModel"
        version = "TF2" if any(graph.has_objects for graph in graphs) else "TF1"
        self.format = f"TensorFlow {kind_of} ({version})"
        self.paths: Mapping[str, str] = getattr(self._inner, "paths", {})
        self.specs, self.roles, self.aliases = self._inner.specs, self._inner.roles, self._inner.aliases
        self.skipped, self.quantised = self._inner.skipped, self._inner.quantised

    @property
    def details(self) -> list[str]:
        """The signatures in words, one a line."""
        return [
            f"signature {name}: {signature}" + (f"  (tags {', '.join(tags)})" if len(self.tags) > 1 else "")
            for tags, signatures in self.signatures.items()
            for name, signature in signatures.items()
        ]

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The values of one tensor, as the checkpoint's or the graph's own source reads them."""
        return self._inner.read(name)

    def release(self, name: str) -> None:
        """Let go of the pages that hold this tensor."""
        self._inner.release(name)

    def fingerprint(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the graphs and of the fingerprint of what holds values."""
        hashed = hashlib.sha256(self._inner.fingerprint().encode())
        for at in range(0, len(self._data), _CHUNK):
            hashed.update(self._data[at : at + _CHUNK])
        return hashed.hexdigest()[:32]

    def close(self) -> None:
        """Let go of the files."""
        self._inner.close()


def _file_of(location: str) -> str:
    if not is_folder(location):
        return location
    for name in _FILES:
        if is_file(inside(location, name)):
            return inside(location, name)
    raise SourceError("there is no SavedModel in this folder", where=location, expected=" or ".join(_FILES))


def _graphs(data: memoryview, file: str) -> list[MetaGraph]:
    try:
        return [read_meta_graph(data, *span) for span in spans(data, 0, len(data), _META_GRAPHS)]
    except (ValueError, DecodeError) as error:
        raise SourceError(f"the SavedModel is damaged: {error}", where=file, hint=FETCH_AGAIN) from None


def _constants(file: str, prefix: str, dequantise: bool) -> GraphSource:
    source = GraphSource(file, dequantise)
    if source.has_variables:
        raise SourceError(
            "the variables of this SavedModel are missing",
            where=file,
            expected=f"{prefix}.index and the data files beside it",
            got="a graph that has variables",
            hint="fetch the whole folder, the one called variables included",
        )
    return source
