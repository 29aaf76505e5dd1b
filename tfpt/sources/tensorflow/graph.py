"""Graphs with their weights inside: frozen graphs, meta graphs, and SavedModels without variables."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from tfpt.errors import SourceError
from tfpt.sources.source import NONE_QUANTISED, NOTHING_SKIPPED, Quantised, Role, Source
from tfpt.sources.tensorflow.bundle_index import FETCH_AGAIN
from tfpt.sources.tensorflow.checkpoint import open_checkpoint
from tfpt.sources.tensorflow.constants import Constants, role_of
from tfpt.sources.tensorflow.dequantise import dequantise as dequantised
from tfpt.sources.tensorflow.location import locate
from tfpt.sources.tensorflow.lookup import no_such_tensor
from tfpt.sources.tensorflow.messages import Kind, read_message
from tfpt.sources.tensorflow.meta_graph import MetaGraph, read_meta_graph
from tfpt.sources.tensorflow.tensor_proto import decode
from tfpt.sources.tensorflow.wire import spans
from tfpt.tensors import TensorSpec

_FORMATS: Mapping[Kind, str] = {
    "graph": "TensorFlow graph",
    "meta graph": "TensorFlow meta graph",
    "saved model": "TensorFlow SavedModel",
}

_META_GRAPHS = 2
_CHUNK = 1 << 22


def open_graph(location: str, verify_checksums: bool = True, dequantise: bool = False) -> Source:
    """The graph in a file; for a ``.meta`` beside the checkpoint that it was saved with, that checkpoint.

    Args:
        location: The file.
        verify_checksums: Whether the checkpoint's tensors are compared with their checksums; a graph has none.
        dequantise: Whether quantised constants are read as the numbers they stand for.

    Raises:
        SourceError: The file is no graph, or it or the checkpoint is damaged.
    """
    if location.endswith(".meta"):
        try:
            locate(location)
        except SourceError:
            return GraphSource(location, dequantise)
        return open_checkpoint(location, verify_checksums)
    return GraphSource(location, dequantise)


class GraphSource:
    """The constants of a graph, read where they lie in the file.

    A constant has the name of its node, below the name of its function where it is in one; nodes that hand it on as it
    is, such as ``w/read`` in a frozen graph, are aliases. In a file of several graphs a constant that another graph has
    under the same name with other values is named below the tags of its own. Those that are no weights have the role
    ``constant``. Variables are not in `specs`: a graph has no values for them.

    Args:
        location: A GraphDef, a MetaGraphDef or a SavedModel, binary or as text; text is parsed as a whole.
        dequantise: Whether constants that the graph dequantises are float32, with the numbers they stand for; else
            they are as they are stored.

    Attributes:
        meta_graphs: What is said of each graph; nothing for a bare GraphDef.

    Raises:
        SourceError: The file is none of these, or it is damaged.
    """

    location: str
    side: Literal["tf", "pt"] = "tf"
    format: str
    specs: Mapping[str, TensorSpec]
    roles: Mapping[str, Role]
    aliases: Mapping[str, str]
    skipped: Mapping[str, str]
    quantised: Mapping[str, Quantised]
    meta_graphs: tuple[MetaGraph, ...]

    def __init__(self, location: str, dequantise: bool = False) -> None:
        self.location = location
        self._data, kind, self._storage = read_message(location)
        self.format = _FORMATS[kind]
        self._constants = Constants()
        try:
            self.meta_graphs = tuple(_meta_graphs(self._data, kind))
            if kind == "graph":
                self._constants.add_graph(self._data, 0, len(self._data), "")
            for number, graph in enumerate(self.meta_graphs):
                self._constants.add_graph(self._data, *graph.graph, ",".join(graph.tags) or str(number))
        except (ValueError, DecodeError) as error:
            raise SourceError(f"the graph is damaged: {error}", where=location, hint=FETCH_AGAIN) from None
        self._scales = self._constants.scales if dequantise else {}
        specs = {
            name: TensorSpec(name, stored.spec.shape, "float32") if name in self._scales else stored.spec
            for name, stored in self._constants.stored.items()
        }
        self.specs = MappingProxyType(specs)
        self.roles = MappingProxyType(
            {name: role for name, spec in specs.items() if (role := role_of(spec)) is not None}
        )
        self.aliases = MappingProxyType(self._constants.aliases)
        self.skipped = NOTHING_SKIPPED
        self.quantised = (
            NONE_QUANTISED
            if dequantise
            else {name: Quantised(scheme=scale.mode) for name, scale in self._constants.scales.items()}
        )

    @property
    def has_variables(self) -> bool:
        """Whether the graph has variables, whose values are elsewhere."""
        return bool(self._constants.variables)

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The values of one constant, by its name or an alias: C-contiguous, as in `specs`, not writable.

        A view of the file where the values lie there aligned, and otherwise a copy. Safe to call from several threads.

        Raises:
            SourceError: There is no such constant, or its values do not fit its shape.
        """
        name = self.aliases.get(name, name)
        if name not in self.specs:
            raise self._no_such(name)
        try:
            values = self._stored(name)
            scale = self._scales.get(name)
            if scale is not None:
                values = dequantised(values, self._stored(scale.low), self._stored(scale.high), scale)
        except ValueError as error:
            raise SourceError(
                str(error),
                where=f"{self.location}, byte {self._constants.stored[name].begin}",
                hint=FETCH_AGAIN,
            ) from None
        values.flags.writeable = False
        return values

    def _stored(self, name: str) -> npt.NDArray[np.generic]:
        return decode(self._data, self._constants.stored[name])

    def _no_such(self, name: str) -> SourceError:
        if name in self._constants.variables:
            return SourceError(
                f"{name!r} is a variable: the graph says what it is, and not its values",
                where=self.location,
                hint="open the checkpoint that was saved with the graph: its values are there",
            )
        return no_such_tensor(name, self.specs, self.location)

    def release(self, name: str) -> None:
        """Let go of the pages that hold this constant."""
        stored = self._constants.stored.get(self.aliases.get(name, name))
        if stored is not None and self._storage is not None:
            self._storage.release(stored.begin, stored.end - stored.begin)

    def fingerprint(self) -> str:
        """The first 32 hexadecimal digits of the SHA-256 of the whole message: a graph holds no checksums."""
        hashed = hashlib.sha256()
        for at in range(0, len(self._data), _CHUNK):
            hashed.update(self._data[at : at + _CHUNK])
        return hashed.hexdigest()[:32]

    def close(self) -> None:
        """Nothing to do: the file is mapped as long as this object or an array of it lives."""


def _meta_graphs(data: memoryview, kind: Kind) -> list[MetaGraph]:
    if kind == "meta graph":
        return [read_meta_graph(data, 0, len(data))]
    if kind == "saved model":
        return [read_meta_graph(data, *span) for span in spans(data, 0, len(data), _META_GRAPHS)]
    return []
