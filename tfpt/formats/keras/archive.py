"""Keras 3's ``.keras``: a zip archive of the model's configuration and its ``model.weights.h5``."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.hdf5.open_file import HDF5File
from tfpt.formats.keras.layer_names import LayerNames
from tfpt.formats.keras.source import HDF5Source, text_of
from tfpt.formats.keras.weights import names_of_weights, role_of, weight_tensors
from tfpt.io.limits import KERAS_CONFIG
from tfpt.io.storage import Storage, open_storage
from tfpt.io.zips import Member, directory, open_member, read_member

_WEIGHTS = "model.weights.h5"


class ArchiveSource(HDF5Source):
    """A `tfpt.formats.source.Source` over a ``.keras`` archive.

    Names are those of ``model.weights`` (``my_conv/kernel``), derived from the configuration as
    `tfpt.formats.keras.layer_names` says, or else the paths in the weights file; the paths are aliases of the names.
    Variables of the optimizer and of metrics are named by their paths.

    Args:
        location: The archive's path or URL.
        verify_checksums: Whether to verify the checksum of all weights before the first is read.

    Attributes:
        paths: The path in the weights file of each tensor that has another name.

    Raises:
        SourceError: The archive is damaged or forged, or has no ``model.weights.h5``.
    """

    format = "Keras 3 archive"

    def __init__(self, location: str, verify_checksums: bool = True) -> None:
        storage = open_storage(location)
        try:
            members = {info.filename: info for info in directory(storage)}
            config = _json(storage, members, "config.json")
            metadata = _json(storage, members, "metadata.json")
            weights = _weights(storage, members)
            checksum = members[_WEIGHTS].CRC
        except BaseException:
            storage.close()
            raise
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        version = version if isinstance(version, str) else None
        file5 = HDF5File(weights)
        try:
            plain = _plain_paths(file5)
            labels = _labels(file5, plain)
            layers = LayerNames(config, list(plain), labels, version)
            names = {plain[path]: name for path, name in layers.names.items()}
            # Weights with a name first, in the model's order.
            super().__init__(location, weight_tensors(file5, names), {**layers.shorter, **names}, [file5])
        except BaseException:
            file5.close()
            raise
        self._member = weights if verify_checksums and isinstance(weights, Member) else None
        self._checksum = checksum
        self.paths: Mapping[str, str] = {name: path for path, name in names.items()}
        self.ordered = bool(names)
        self.find_layer_names = lambda: _by_layer(file5, plain, names, config, version)
        self.config = config
        self.keras_version = version

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor; the first read verifies the checksum of all weights."""
        self._find(name)
        if self._member is not None:
            self._member.verify()
        return super().read(name)

    def fingerprint(self) -> str:
        """A hash of names, shapes and dtypes, and of the checksum of the weights in the archive."""
        return self._hashed(lambda _: self._checksum.to_bytes(4, "little"))


# TensorFlow 2.12 has another name for the group of layers: keras/src/saving/saving_lib.py, H5IOStore.get.
_OLD_LAYERS = "_layer_checkpoint_dependencies"


def _plain_paths(file: HDF5File) -> dict[str, str]:
    """The paths of the model's variables, by the path that today's Keras would give each."""
    return {
        path.replace(_OLD_LAYERS, "layers"): path
        for path in file.datasets
        if role_of(path) in (None, "counter") and not path.startswith("optimizer/")
    }


def _labels(file: HDF5File, plain: Mapping[str, str]) -> dict[str, str]:
    """The file's own names of objects that have variables, by the object's path."""
    labels: dict[str, str] = {}
    for owner in {path.rpartition("/")[0] for path in plain.values()}:
        label = text_of(file, owner, "name") if owner.endswith("vars") else None
        if label is not None:
            labels[owner.removesuffix("vars").rstrip("/").replace(_OLD_LAYERS, "layers")] = label
    return labels


def _by_layer(
    file: HDF5File, plain: Mapping[str, str], names: Mapping[str, str], config: object, version: str | None
) -> dict[str, str]:
    """The names by layer of `tfpt.formats.keras.by_layer`, by the names of the source."""
    known = LayerNames(config, list(plain), _labels(file, plain), version, by_layer=True).names
    labeled = names_of_weights(file)
    found: dict[str, str] = {}
    for path, raw in plain.items():
        name = known.get(path)
        # The file names layers that the configuration does not know.
        if name is None or "/vars/" in name:
            name = labeled.get(raw, name)
        if name is not None:
            found[names.get(raw, raw)] = name
    return found


def _json(storage: Storage, members: Mapping[str, zipfile.ZipInfo], name: str) -> Any:
    """A JSON member; `None` if it is absent or cannot be parsed: the weights can be read without it."""
    if name not in members:
        return None
    content = read_member(storage, members[name], KERAS_CONFIG)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _weights(storage: Storage, members: Mapping[str, zipfile.ZipInfo]) -> Storage:
    if _WEIGHTS not in members:
        raise SourceError(
            "the archive has no weights that tfpt can read",
            where=storage.location,
            expected=_WEIGHTS,
            got=", ".join(name for name in members if name.startswith("model.weights"))
            or "no weights at all",
            hint="load the model with Keras and save it again with model.save",
        )
    return open_member(storage, members[_WEIGHTS])
