"""Opens a TensorFlow checkpoint of any kind, and reads object-based ones.

An object-based checkpoint (TensorFlow 2) is a V2 checkpoint with paths as keys, and a graph that names the variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from tfpt.formats.source import Source
from tfpt.formats.tensorflow.bundle import BundleSource
from tfpt.formats.tensorflow.bundle_index import damaged, index_bytes, is_v1
from tfpt.formats.tensorflow.location import locate
from tfpt.formats.tensorflow.object_graph import GRAPH_KEY, Naming, name_by_graph, name_by_keys, path_of
from tfpt.formats.tensorflow.sstable import Table
from tfpt.formats.tensorflow.v1 import V1Source
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.tensors import TensorSpec


def open_checkpoint(location: str, verify_checksums: bool = True) -> Source:
    """The checkpoint that `location` names: its prefix, one of its files, or its folder.

    The kind is detected from its content: V1, V2 with the names of variables, or V2 with the paths of objects.

    Raises:
        SourceError: There is no checkpoint, or it is damaged.
    """
    files = locate(location)
    index = index_bytes(files.index)
    key, header = next(iter(Table(index, files.index)), (b"?", b""))
    if not key and is_v1(header):
        return V1Source(location, verify_checksums)
    bundle = BundleSource(files, verify_checksums, index)
    return ObjectSource(bundle) if GRAPH_KEY in bundle.specs else bundle


# Keras 3's `model.export` tracks every variable a second time in this list (keras/src/export/saved_model.py).
_COPIES = "_all_variables/"


class ObjectSource(Source):
    """The tensors of an object-based checkpoint, under readable names.

    A variable has its full name (``dense/kernel``) if the checkpoint has one and it is unique, else its path
    (``layer_with_weights-0/kernel``). Key and path are aliases. A variable that several objects share is stored, and
    listed, once; so is one that Keras exported twice with equal values.

    If the data file with the graph of objects is missing, variables are named by their paths; a damaged graph is an
    error, since names would otherwise depend on the damage.

    Args:
        bundle: The checkpoint, open.

    Attributes:
        paths: The path through objects of each tensor, by its name.
        sizes: Bytes in the data files of each tensor of strings.
        unavailable: Tensors whose data file is missing, each with the reason.

    Raises:
        SourceError: The graph of objects is damaged.
    """

    format = "TensorFlow object-based checkpoint"

    def __init__(self, bundle: BundleSource) -> None:
        self.location = bundle.location
        self._bundle = bundle
        copies = _copies(bundle)
        naming = _naming(bundle, copies)
        self._keys = {naming.names[key]: key for key in bundle.specs if key not in copies}
        self.specs = MappingProxyType(
            {
                name: TensorSpec(name, bundle.specs[key].shape, bundle.specs[key].dtype)
                for name, key in self._keys.items()
            }
        )
        self.roles = MappingProxyType({naming.names[key]: role for key, role in naming.roles.items()})
        self.paths = {name: path_of(key) for name, key in self._keys.items()}
        aliases = {}
        # Copies last: the path of a variable refers to the original.
        for key in sorted(bundle.specs, key=lambda key: key in copies):
            name = naming.names[copies.get(key, key)]
            for other in (key, path_of(key)):
                if other not in self.specs:
                    aliases[other] = name
        self.aliases = MappingProxyType(aliases)
        self.skipped, self.quantized = bundle.skipped, bundle.quantized
        self.sizes = {naming.names[key]: size for key, size in bundle.sizes.items() if key not in copies}

    @property
    def order(self) -> Sequence[str] | None:
        """That of the objects, which is that of the data."""
        order = self._bundle.order
        names = {key: name for name, key in self._keys.items()}
        return None if order is None else [names[key] for key in order if key in names]

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Listed tensors that cannot be read, by name, each with the reason."""
        missing = self._bundle.unavailable
        return {name: missing[key] for name, key in self._keys.items() if key in missing}

    @property
    def files(self) -> Sequence[str]:
        """The files of the bundle."""
        return self._bundle.files

    def read(self, name: str) -> npt.NDArray[np.generic]:
        """The values of one tensor, by its name or an alias; otherwise as `BundleSource.read`."""
        key = self._key(name)
        if key is None:
            raise self.no_such_tensor(name)
        return self._bundle.read(key)

    def release(self, name: str) -> None:
        """Release the pages of this tensor."""
        key = self._key(name)
        if key is not None:
            self._bundle.release(key)

    def fingerprint(self) -> str:
        """The fingerprint of the checkpoint's index."""
        return self._bundle.fingerprint()

    def close(self) -> None:
        """Close the data files."""
        self._bundle.close()

    def _key(self, name: str) -> str | None:
        return self._keys.get(self.aliases.get(name, name))


def _naming(bundle: BundleSource, copies: Mapping[str, str]) -> Naming:
    keys = [key for key in bundle.specs if key not in copies]
    if not bundle.is_present(GRAPH_KEY):
        return name_by_keys(keys)
    value = bundle.read(GRAPH_KEY)
    try:
        if value.shape or not isinstance(message := value.item(), bytes):
            raise ValueError("it is not one string")
        return name_by_graph(message, keys)
    except ValueError as error:
        raise damaged(
            bundle.location,
            f"the graph of the checkpoint's objects is damaged: {error}",
            expected=f"a TrackableObjectGraph under {GRAPH_KEY}",
            hint=f"{DOWNLOAD_AGAIN}; BundleSource of tfpt.formats.tensorflow.bundle reads the tensors by their keys",
        ) from None


def _copies(bundle: BundleSource) -> dict[str, str]:
    """Keys of variables that Keras exported a second time, each with the key of the original."""
    listed = dict.fromkeys(key for key in bundle.specs if key.startswith(_COPIES))
    if not listed:
        return {}
    originals: dict[tuple[object, ...], list[str]] = {}
    for key in bundle.specs:
        if key not in listed:
            originals.setdefault(_content(bundle, key), []).append(key)
    copies = {}
    for key in listed:
        same = originals.get(_content(bundle, key))
        if same:
            # Several variables may have equal values, such as zero biases; it does not matter which one it copies.
            copies[key] = same[0]
    return copies if len(copies) == len(listed) else {}


def _content(bundle: BundleSource, key: str) -> tuple[object, ...]:
    spec = bundle.specs[key]
    return spec.shape, spec.dtype, bundle.checksum(key)
