"""Reads SavedModels of TensorFlow 1 and 2, and TensorFlow Hub modules: a graph, and a checkpoint next to it.

The folder: https://www.tensorflow.org/guide/saved_model; a module of Hub's first format has ``tfhub_module.pb`` too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.formats.source import Source
from tfpt.formats.tensorflow.checkpoint import open_checkpoint
from tfpt.formats.tensorflow.collections import order_in_graph
from tfpt.formats.tensorflow.graph import GraphSource
from tfpt.formats.tensorflow.messages import SAVED_MODEL_FILES
from tfpt.formats.tensorflow.meta_graph import Signature
from tfpt.io.locations import folder_of, inside, is_file, is_folder, name_of
from tfpt.tensors import TensorSpec

_HUB = "tfhub_module.pb"
# Files next to the model without weights: their path means the model.
BESIDE = ("fingerprint.pb", "keras_metadata.pb", _HUB)

# Functions that save and restore variables (tensorflow/python/checkpoint/functional_saver.py).
_SAVING = ("__inference__traced_save_", "__inference__traced_restore_")


class SavedModelSource(Source):
    """The variables of a SavedModel, and the constants that are weights; all constants if it has no variables.

    Next to variables, the listed constants are those of TensorFlow 2's objects (``self.w = tf.constant(…)``) and of
    their functions; in graphs of TensorFlow 1 constants are initial values of variables, and are not listed.

    Args:
        location: The folder, or the ``saved_model.pb`` or ``saved_model.pbtxt`` in it.
        verify_checksums: Whether `read` verifies a variable's checksum.
        dequantize: Whether quantized constants of its graphs are dequantized.

    Attributes:
        location: The folder; or the file, if it has another name.
        tags: The tags of each of its graphs.
        signatures: The signatures of each of its graphs, by name, by the graph's tags.
        paths: The path through objects of each variable, if the checkpoint is object-based.
        sizes: Bytes in the files of each tensor of strings.

    Raises:
        SourceError: There is no SavedModel, or it is damaged.
    """

    tags: tuple[tuple[str, ...], ...]
    signatures: Mapping[tuple[str, ...], Mapping[str, Signature]]

    def __init__(self, location: str, verify_checksums: bool = True, dequantize: bool = False) -> None:
        file = _file_of(location)
        folder = location if is_folder(location) else folder_of(file)
        self._graph = graph = GraphSource(file, dequantize)
        if graph.format != "TensorFlow SavedModel":
            raise SourceError(f"the file is a {graph.format}", where=file, expected="a SavedModel")
        self.location = folder if is_folder(location) else location
        self.tags = tuple([meta_graph.tags for meta_graph in graph.meta_graphs])
        self.signatures = {meta_graph.tags: meta_graph.signatures for meta_graph in graph.meta_graphs}
        self._inner = inner = _values_of(graph, inside(folder, "variables", "variables"), verify_checksums)
        self._constants = {} if inner is graph else _constants_beside(inner, graph)
        kind_of = "Hub module" if is_file(inside(folder, _HUB)) else "SavedModel"
        version = "TF2" if any(meta_graph.has_objects for meta_graph in graph.meta_graphs) else "TF1"
        self.format = f"TensorFlow {kind_of} ({version})"
        self.paths = inner.paths
        constants = self._constants.items()
        self.specs = MappingProxyType(
            {
                **inner.specs,
                **{
                    own: TensorSpec(own, graph.specs[name].shape, graph.specs[name].dtype)
                    for own, name in constants
                },
            }
        )
        self.roles = {
            **inner.roles,
            **{own: graph.roles[name] for own, name in constants if name in graph.roles},
        }
        self.quantized = {
            **inner.quantized,
            **{own: graph.quantized[name] for own, name in constants if name in graph.quantized},
        }
        self.sizes = {
            **inner.sizes,
            **{own: graph.sizes[name] for own, name in constants if name in graph.sizes},
        }
        self.aliases, self.skipped = inner.aliases, inner.skipped

    @property
    def details(self) -> list[str]:
        """The signatures in words, one per line."""
        return [
            f"signature {name}: {signature}" + (f"  (tags {', '.join(tags)})" if len(self.tags) > 1 else "")
            for tags, signatures in self.signatures.items()
            for name, signature in signatures.items()
        ]

    @property
    def files(self) -> Sequence[str]:
        """The graph, and the files of the variables."""
        return tuple(dict.fromkeys([*self._graph.files, *self._inner.files]))

    @property
    def order(self) -> Sequence[str] | None:
        """That of the graph's collection of variables, or of the objects; constants last."""
        found = self._inner.order
        if not any(meta_graph.has_objects for meta_graph in self._graph.meta_graphs):
            found = order_in_graph(self._graph.location, self._inner.specs) or found
        return None if found is None else [*found, *self._constants]

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Listed tensors that cannot be read, each with the reason."""
        return self._inner.unavailable

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The values of one tensor, as the checkpoint's or the graph's own source reads them."""
        if name in self._constants:
            return self._graph.read(self._constants[name])
        return self._inner.read(name)

    def release(self, name: str) -> None:
        """Release the pages of this tensor."""
        if name in self._constants:
            self._graph.release(self._constants[name])
        else:
            self._inner.release(name)

    def fingerprint(self) -> str:
        """A hash of the fingerprints of the graphs and of the checkpoint."""
        both = self._graph.fingerprint() + ("" if self._inner is self._graph else self._inner.fingerprint())
        return hashlib.sha256(both.encode()).hexdigest()[:32]

    def close(self) -> None:
        """Close the files."""
        self._inner.close()
        self._graph.close()


def _file_of(location: str) -> str:
    folder = location
    if not is_folder(location):
        if name_of(location) not in BESIDE:
            return location
        folder = folder_of(location)
    for name in SAVED_MODEL_FILES:
        if is_file(inside(folder, name)):
            return inside(folder, name)
    raise SourceError(
        "there is no SavedModel in this folder", where=folder, expected=" or ".join(SAVED_MODEL_FILES)
    )


def _values_of(graph: GraphSource, prefix: str, verify_checksums: bool) -> Source:
    """The source of the variables: the checkpoint next to the graph, or else the graph."""
    if is_file(f"{prefix}.index") or is_file(prefix):
        return open_checkpoint(prefix, verify_checksums)
    if graph.has_variables:
        raise SourceError(
            "the variables of this SavedModel are missing",
            where=graph.location,
            expected=f"{prefix}.index and the data files next to it",
            got="a graph that has variables",
            hint="download the whole folder, including variables/",
        )
    return graph


def _constants_beside(variables: Source, graph: GraphSource) -> dict[str, str]:
    """The constants to list in addition to variables: listed name, and name in the graph."""
    captured = {name for meta_graph in graph.meta_graphs for name in meta_graph.captured}
    if not any(meta_graph.has_objects for meta_graph in graph.meta_graphs):
        return {}
    if all(name in variables.roles for name in variables.specs):
        # There are no other weights: all constants except those of TensorFlow's saving functions.
        wanted = [name for name in graph.specs if not graph.functions.get(name, "").startswith(_SAVING)]
    else:
        wanted = [
            name
            for name, spec in graph.specs.items()
            if name not in graph.roles and (name in captured or (name in graph.functions and spec.size > 1))
        ]
    found: dict[str, str] = {}
    for name in wanted:
        if graph.repeats(name):
            continue
        own = name
        while own in variables.specs or own in variables.aliases or own in found:
            own = f"graph/{own}"
        found[own] = name
    return found
