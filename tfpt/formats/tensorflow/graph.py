"""Reads graphs that contain their weights: frozen graphs, meta graphs, and SavedModels without variables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from tfpt.errors import SourceError
from tfpt.formats.source import Quantized, Source
from tfpt.formats.tensorflow.checkpoint import open_checkpoint
from tfpt.formats.tensorflow.constants import Constants, role_of
from tfpt.formats.tensorflow.dequantize import dequantize as dequantized
from tfpt.formats.tensorflow.dequantize import described
from tfpt.formats.tensorflow.location import locate
from tfpt.formats.tensorflow.messages import Kind, read_message
from tfpt.formats.tensorflow.meta_graph import MetaGraph, read_meta_graph
from tfpt.formats.tensorflow.tensor_proto import Stored, decode
from tfpt.formats.tensorflow.wire import spans
from tfpt.io.cached_blocks import View
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.fingerprints import fingerprint_of
from tfpt.io.locations import folder_of, inside, is_file
from tfpt.io.storage import open_storage
from tfpt.tensors import DTYPES, TensorSpec

_FORMATS: Mapping[Kind, str] = {
    "graph": "TensorFlow graph",
    "meta graph": "TensorFlow meta graph",
    "saved model": "TensorFlow SavedModel",
}

_META_GRAPHS = 2
_ELSEWHERE = "a variable: its values are in the checkpoint that was saved with the graph"


def open_graph(location: str, verify_checksums: bool = True, dequantize: bool = False) -> Source:
    """The graph in a file; for a ``.meta`` next to its checkpoint, that checkpoint.

    Args:
        location: The file.
        verify_checksums: Whether the checksums of the checkpoint's tensors are verified; a graph has no checksums.
        dequantize: Whether quantized constants are dequantized.

    Raises:
        SourceError: The file is not a graph, or it or the checkpoint is damaged.
    """
    if location.endswith(".meta"):
        try:
            locate(location)
        except SourceError:
            return GraphSource(location, dequantize)
        return open_checkpoint(location, verify_checksums)
    return GraphSource(location, dequantize)


class GraphSource(Source):
    """The constants of a graph, read in place from the file.

    A constant has the name of its node, below the name of its function if it is in one; nodes that pass it on
    unchanged, such as ``w/read`` in a frozen graph, are aliases. If several graphs of a file have a constant of the
    same name and other values, the later ones are named below their graph's tags. Constants that are not weights have
    the role ``constant``. Variables are in `skipped`, not in `specs`: a graph has no values for them.

    Args:
        location: A GraphDef, a MetaGraphDef or a SavedModel, binary or as text; text is parsed as a whole.
        dequantize: Whether constants that the graph dequantizes are read as float32 numbers, rather than as stored.

    Attributes:
        meta_graphs: The description of each graph; empty for a bare GraphDef.
        functions: The function of each constant that is in one, by the constant's name.
        sizes: Bytes in the file of each constant of strings.

    Raises:
        SourceError: The file is none of these, it is damaged, or its values are in TensorFlow.js shards.
    """

    meta_graphs: tuple[MetaGraph, ...]

    def __init__(self, location: str, dequantize: bool = False) -> None:
        self.location = location
        data, kind, self._storage = read_message(location)
        self._data: View | None = data
        self.format = _FORMATS[kind]
        self._constants = constants = Constants()
        try:
            self.meta_graphs = tuple(_meta_graphs(data, kind))
            if kind == "graph":
                constants.add_graph(data, 0, len(data), "")
            for number, graph in enumerate(self.meta_graphs):
                constants.add_graph(data, *graph.graph, ",".join(graph.tags) or str(number))
        except (ValueError, DecodeError) as error:
            raise SourceError(f"the graph is damaged: {error}", where=location, hint=DOWNLOAD_AGAIN) from None
        if kind == "graph":
            refuse_stripped(location, constants.stored)
        self._scales = constants.scales if dequantize else {}
        specs = {
            name: TensorSpec(name, stored.spec.shape, "float32") if name in self._scales else stored.spec
            for name, stored in constants.stored.items()
        }
        self.specs = MappingProxyType(specs)
        self.roles = MappingProxyType(
            {name: role for name, spec in specs.items() if (role := role_of(spec)) is not None}
        )
        self.aliases = MappingProxyType(constants.aliases)
        self.functions: Mapping[str, str] = MappingProxyType(constants.functions)
        self.skipped = MappingProxyType(
            {name: _ELSEWHERE for name in constants.variables if name not in constants.stored}
        )
        self.sizes = MappingProxyType(
            {name: stored.held for name, stored in constants.stored.items() if stored.spec.dtype == "string"}
        )
        self.quantized = MappingProxyType({} if dequantize else self._described())

    @property
    def order(self) -> Sequence[str] | None:
        """That of the graph's nodes."""
        return tuple(self.specs)

    @property
    def has_variables(self) -> bool:
        """Whether the graph has variables, whose values are in a checkpoint."""
        return bool(self._constants.variables)

    def repeats(self, name: str) -> bool:
        """Whether another function has the same constant: TensorFlow traces a layer several times."""
        return name in self._constants.repeated

    def _described(self) -> dict[str, Quantized]:
        """How each quantized constant is dequantized, if the graph says so by constants."""
        found: dict[str, Quantized] = {}
        for name, stored in self._constants.stored.items():
            scale = self._constants.scales.get(name)
            if scale is None:
                # It is the input of another operation, with its own rule.
                if stored.spec.dtype.startswith("q") and role_of(stored.spec) is None:
                    found[name] = Quantized(scheme="a scale that is not a constant of the graph")
                continue
            held = DTYPES[stored.spec.dtype].numpy
            found[name] = Quantized(scheme=scale.mode)
            # An invalid rule is reported when it is used: on reading with `dequantize`.
            with suppress(ValueError, TypeError):
                if held is not None:
                    found[name] = described(held, self._stored(scale.low), self._stored(scale.high), scale)
        return found

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The values of one constant, by its name or an alias: C-contiguous, as in `specs`, read-only.

        Safe to call from several threads.

        Raises:
            SourceError: There is no such constant, its values do not fit its shape, or the source was closed.
        """
        name = self.aliases.get(name, name)
        if name not in self.specs:
            raise self._no_such(name)
        try:
            values = self._stored(name)
            scale = self._scales.get(name)
            if scale is not None:
                values = dequantized(values, self._stored(scale.low), self._stored(scale.high), scale)
        except ValueError as error:
            raise SourceError(
                str(error),
                where=f"{self.location}, byte {self._constants.stored[name].begin}",
                hint=DOWNLOAD_AGAIN,
            ) from None
        values.flags.writeable = False
        return values

    def _stored(self, name: str) -> npt.NDArray[np.generic]:
        return decode(self._view(), self._constants.stored[name])

    def _view(self) -> View:
        if self._data is None:
            raise SourceError("the file was closed", where=self.location)
        return self._data

    def _no_such(self, name: str) -> SourceError:
        if name in self._constants.variables:
            return SourceError(
                f"{name!r} is a variable: the graph describes it, but has no values",
                where=self.location,
                hint="open the checkpoint that was saved with the graph: its values are there",
            )
        return self.no_such_tensor(name)

    def release(self, name: str) -> None:
        """Release the pages of this constant."""
        stored = self._constants.stored.get(self.aliases.get(name, name))
        if stored is not None and self._storage is not None:
            self._storage.release(stored.begin, stored.end - stored.begin)

    def fingerprint(self) -> str:
        """A hash of the message, without the middle of constants of more than 256 KB: a graph has no checksums."""
        return fingerprint_of(self._view(), self._constants.spans)

    def close(self) -> None:
        """Close the file. Arrays that were read stay valid."""
        if self._storage is not None:
            self._storage.close()
        self._data = self._storage = None


def _meta_graphs(data: View, kind: Kind) -> Iterable[MetaGraph]:
    if kind == "meta graph":
        return [read_meta_graph(data, 0, len(data))]
    if kind == "saved model":
        return [read_meta_graph(data, *span) for span in spans(data, 0, len(data), _META_GRAPHS)]
    return []


_MANIFESTS = ("weights_manifest.json", "model.json")
_LARGEST_MANIFEST = 64 << 20


def refuse_stripped(location: str, constants: Mapping[str, Stored]) -> None:
    """Refuse a graph whose weights are in other files, as in models of TensorFlow.js.

    Its converter of 2018 (tensorflowjs_converter, up to 0.8) clears `tensor_content` of every constant in
    ``tensorflowjs_model.pb``; short lists of values, such as folded batch norms, are in other fields and remain. To
    TensorFlow a constant without values is zeros, and its optimizer (grappler) writes zeros so: a single such constant
    proves nothing. A graph is refused if a manifest next to it names a constant without values, or if no kernel has
    values: a network with all-zero kernels computes nothing.

    Raises:
        SourceError: The values are in other files; names the manifest.
    """
    weights = [
        (name, stored)
        for name, stored in constants.items()
        if stored.spec.size > 1 and role_of(stored.spec) is None
    ]
    bare = [name for name, stored in weights if not stored.held]
    if not bare:
        return
    manifest = next((place for place in _beside(location) if _names(place).intersection(bare)), None)
    kernels = [stored for _, stored in weights if len(stored.spec.shape) > 1] or [
        stored for _, stored in weights
    ]
    if manifest is None and (len(bare) < 2 or any(stored.held for stored in kernels)):
        return
    raise SourceError(
        "the values of this graph's constants are in other files, in TensorFlow.js shards",
        where=location,
        expected="values in the graph",
        got=f"none for {len(bare)} of {len(weights)} weights, such as {bare[0]!r}",
        hint=f"tfpt inspect {manifest}"
        if manifest
        else "open the weights_manifest.json that was next to the graph, with its shards; or freeze the graph again",
    )


def _beside(location: str) -> list[str]:
    places = [inside(folder_of(location), name) for name in _MANIFESTS]
    return [place for place in places if is_file(place)]


def _names(manifest: str) -> set[str]:
    """The names of the weights in a manifest; empty for any other file."""
    data = open_storage(manifest).data
    if len(data) > _LARGEST_MANIFEST:
        return set()
    try:
        content = json.loads(data[:].tobytes())
    except (ValueError, RecursionError):
        return set()
    groups = content.get("weightsManifest") if isinstance(content, dict) else content
    found = set()
    for group in groups if isinstance(groups, list) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        for weight in weights if isinstance(weights, list) else ():
            if isinstance(weight, dict) and isinstance(weight.get("name"), str):
                found.add(weight["name"])
    return found
