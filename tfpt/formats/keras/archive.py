"""Keras 3's ``.keras``: a zip archive of the model's configuration and its ``model.weights.h5``."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.hdf5.open_file import HDF5File
from tfpt.formats.keras.attributes import text_of
from tfpt.formats.keras.layer_names import LayerNames
from tfpt.formats.keras.tensors import HDF5Source
from tfpt.formats.keras.weights import role_of, weight_tensors
from tfpt.io.limits import KERAS_CONFIG
from tfpt.io.storage import Storage, open_storage
from tfpt.io.zips import Member, directory, open_member, read_member

_WEIGHTS = "model.weights.h5"


class ArchiveSource(HDF5Source):
    """A `tfpt.formats.source.Source` over a ``.keras`` archive.

    Names are those of ``model.weights`` (``my_conv/kernel``), told from the configuration as
    `tfpt.formats.keras.layer_names` says, and the paths in the weights file where they cannot be told; the paths are
    aliases of the names. What the optimizer and metrics keep has the path as its name.

    Args:
        location: Where it is.
        verify_checksums: Whether to compare the weights with their checksum before the first of them is read.

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
            told = _names(file5, config, version)
            # Named ones first, in the model's order.
            super().__init__(
                location, weight_tensors(file5, told.names), {**told.shorter, **told.names}, [file5]
            )
        except BaseException:
            file5.close()
            raise
        self._member = weights if verify_checksums and isinstance(weights, Member) else None
        self._checksum = checksum
        self.paths: Mapping[str, str] = {name: path for path, name in told.names.items()}
        self.config = config
        self.keras_version = version

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor; the first time, all weights are compared with their checksum in the archive."""
        self._find(name)
        if self._member is not None:
            self._member.verify()
        return super().read(name)

    def fingerprint(self) -> str:
        """A hash of names, shapes and dtypes, and of the checksum of the weights that the archive holds."""
        return self._hashed(lambda _: self._checksum.to_bytes(4, "little"))


def _names(file: HDF5File, config: object, version: str | None) -> LayerNames:
    # TensorFlow 2.12 laid layers below another word: keras/src/saving/saving_lib.py, H5IOStore.get.
    old = "_layer_checkpoint_dependencies"
    plain = {
        path.replace(old, "layers"): path for path in file.datasets if role_of(path) in (None, "counter")
    }
    plain = {path: raw for path, raw in plain.items() if not raw.startswith("optimizer/")}
    labels: dict[str, str] = {}
    for owner in {path.rpartition("/")[0] for path in plain.values()}:
        label = text_of(file, owner, "name") if owner.endswith("vars") else None
        if label is not None:
            labels[owner.removesuffix("vars").rstrip("/").replace(old, "layers")] = label
    told = LayerNames(config, list(plain), labels, version)
    told.names = {plain[path]: name for path, name in told.names.items()}
    return told


def _json(storage: Storage, members: Mapping[str, zipfile.ZipInfo], name: str) -> Any:
    """A member that is JSON; `None` where there is none, or none that can be parsed: weights are read without it."""
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
            "the archive has no weights that tfpt reads",
            where=storage.location,
            expected=_WEIGHTS,
            got=", ".join(name for name in members if name.startswith("model.weights"))
            or "no weights at all",
            hint="load the model with Keras and save it again with model.save",
        )
    return open_member(storage, members[_WEIGHTS])
