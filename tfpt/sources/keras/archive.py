"""Keras 3's ``.keras``: a zip archive of the model's configuration and its ``model.weights.h5``."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tfpt.errors import SourceError
from tfpt.sources.keras.attributes import text_of
from tfpt.sources.keras.datasets import Entry, list_datasets
from tfpt.sources.keras.layer_names import LayerNames
from tfpt.sources.keras.members import damaged_member, open_member, read_member
from tfpt.sources.keras.opening import Opened, damage
from tfpt.sources.keras.tensors import HDF5Source
from tfpt.sources.keras.weights import role_of, weight_tensors
from tfpt.sources.storage import Storage, open_storage

_WEIGHTS = "model.weights.h5"


class ArchiveSource(HDF5Source):
    """A `tfpt.sources.source.Source` over a ``.keras`` archive.

    Names are those of ``model.weights`` (``my_conv/kernel``), told from the configuration as
    `tfpt.sources.keras.layer_names` says, and the paths in the weights file where they cannot be told; the paths are
    aliases of the names. What the optimizer and metrics keep has the path as its name.

    Attributes:
        paths: The path in the weights file of each tensor that has another name.

    Raises:
        SourceError: The archive is damaged or forged, or has no ``model.weights.h5``; or h5py is missing.
    """

    format = "Keras 3 archive"

    def __init__(self, location: str) -> None:
        storage = open_storage(location)
        with damaged_member(location), storage.open() as file, zipfile.ZipFile(file) as archive:
            members = _members(archive, location)
            config = _json(archive, members, "config.json", location)
            metadata = _json(archive, members, "metadata.json", location)
            opened = Opened(_weights(storage, archive, members, location))
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        version = version if isinstance(version, str) else None
        try:
            entries = list_datasets(opened)
            told = _names(opened, entries, config, version)
        except BaseException:
            opened.close()
            raise
        aliases = {**told.shorter, **told.names}
        # Named ones first, in the model's order.
        ordered = {path: entries[path] for path in (*told.names, *entries)}
        super().__init__(location, weight_tensors(opened, ordered, told.names), aliases)
        self._opened = opened
        self.paths: Mapping[str, str] = {name: path for path, name in told.names.items()}
        self.config = config
        self.keras_version = version

    def close(self) -> None:
        """Close the file. Arrays that were read stay valid."""
        super().close()
        self._opened.close()


def _names(opened: Opened, entries: dict[str, Entry], config: object, version: str | None) -> LayerNames:
    # TensorFlow 2.12 laid layers below another word: keras/src/saving/saving_lib.py, H5IOStore.get.
    old = "_layer_checkpoint_dependencies"
    plain = {path.replace(old, "layers"): path for path in entries if role_of(path) in (None, "counter")}
    plain = {path: raw for path, raw in plain.items() if not raw.startswith("optimizer/")}
    labels: dict[str, str] = {}
    with opened.lock, damage(opened.storage.location, "the file's attributes cannot be read"):
        for owner in {path.rpartition("/")[0] for path in plain.values()}:
            label = text_of(opened, opened.file[owner], "name") if owner.endswith("vars") else None
            if label is not None:
                labels[owner.removesuffix("vars").rstrip("/").replace(old, "layers")] = label
    told = LayerNames(config, list(plain), labels, version)
    told.names = {plain[path]: name for path, name in told.names.items()}
    return told


def _members(archive: zipfile.ZipFile, location: str) -> dict[str, zipfile.ZipInfo]:
    """The archive's members by name, of which none lies outside and none twice."""
    members = archive.infolist()
    for name, count in Counter(member.filename for member in members).items():
        parts = name.replace("\\", "/").split("/")
        outside = ".." in parts or name.startswith(("/", "\\")) or ":" in parts[0]
        if outside or count > 1:
            raise SourceError(
                "the archive has a member that lies outside of it"
                if outside
                else "the archive has a member twice",
                where=location,
                got=repr(name)[:200],
                hint="Keras writes no such archive: do not trust it",
            )
    return {member.filename: member for member in members}


def _json(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, location: str) -> Any:
    """A member that is JSON; `None` where there is none, or none that can be parsed: weights are read without it."""
    if name not in members:
        return None
    try:
        return json.loads(read_member(archive, members[name], location))
    except (ValueError, RecursionError):
        return None


def _weights(
    storage: Storage, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], location: str
) -> Storage:
    if _WEIGHTS not in members:
        raise SourceError(
            "the archive has no weights that tfpt reads",
            where=location,
            expected=_WEIGHTS,
            got=", ".join(name for name in members if name.startswith("model.weights"))
            or "no weights at all",
            hint="load the model with Keras and save it again with model.save",
        )
    return open_member(storage, archive, members[_WEIGHTS])
