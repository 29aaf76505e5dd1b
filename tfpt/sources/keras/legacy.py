"""Keras' HDF5 format of the years before Keras 3: groups of layers, and attributes that say their order.

A weights group (the root, or ``model_weights`` where the whole model was saved) has the attribute ``layer_names``, and
each layer's group ``weight_names``: a weight lies at ``layer/weight``, where the weight's name has slashes of its own
and mostly repeats the layer's. ``optimizer_weights`` beside it has ``weight_names`` too.
The writer: keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tfpt.errors import SourceError
from tfpt.sources.keras.attributes import json_of, names_of, text_of
from tfpt.sources.keras.datasets import Entry
from tfpt.sources.keras.opening import FETCH_AGAIN, Opened, import_h5py
from tfpt.sources.keras.tensors import HDF5Source, Tensor
from tfpt.sources.source import Role

_OPTIMIZER = "optimizer_weights"
# Adam/iter:0, iterations_1:0, adam/iteration: what the optimizers of Keras 1, 2 and 3 called it.
_COUNTER = re.compile(r"(^|/)(iter|iterations?)(_\d+)?(:0)?$")


def legacy_source(location: str, opened: Opened, group: Any, entries: dict[str, Entry]) -> HDF5Source:
    """The tensors of an open file of this format.

    Names are the paths of datasets as they lie below the weights group, in the order of ``layer_names`` and
    ``weight_names``; datasets that no list names follow. A weight that lies at two paths is two tensors. What lies
    outside the weights group keeps its whole path: ``optimizer_weights/…``, with the role ``slot`` or ``counter``.

    Args:
        location: Where the file is.
        opened: The file; whoever calls holds its lock.
        group: The weights group.
        entries: All datasets of the file.

    Raises:
        SourceError: The lists name a weight that is not there.
    """
    root = group.name.strip("/")
    prefix = f"{root}/" if root else ""
    listed = list(_listed(opened, group, prefix, entries))
    order = dict.fromkeys([*listed, *entries])
    tensors: dict[str, Tensor] = {}
    for path in order:
        role = _role(path) if path.startswith(f"{_OPTIMIZER}/") else None
        inside = path.startswith(prefix)
        name = path[len(prefix) :] if inside else path
        # A dataset outside of the weights group under a name that is taken inside.
        name = f"/{name}" if name in tensors else name
        tensors[name] = Tensor(name, entries[path], opened, role)
    source = HDF5Source(location, list(tensors.values()))
    source.format = "Keras model (HDF5)" if root else "Keras weights (HDF5)"
    source.config = json_of(opened, opened.file, "model_config")
    source.keras_version = text_of(opened, group, "keras_version") or text_of(
        opened, opened.file, "keras_version"
    )
    source.backend = text_of(opened, group, "backend") or text_of(opened, opened.file, "backend")
    return source


def _listed(opened: Opened, group: Any, prefix: str, entries: dict[str, Entry]) -> Iterator[str]:
    """The paths of the weights that the attributes name, in their order; those of the optimizer last."""
    h5py = import_h5py(opened.storage.location)
    # Weights of the model itself, in no layer: Keras lists their group nowhere.
    layers = [*(names_of(opened, group, "layer_names") or []), "top_level_model_weights"]
    for layer in layers:
        inner = group.get(layer) if layer else None
        if isinstance(inner, h5py.Group):
            for weight in names_of(opened, inner, "weight_names") or []:
                yield _present(opened, prefix + _plain(f"{layer}/{weight}"), entries)
    optimizer = opened.file.get(_OPTIMIZER)
    if isinstance(optimizer, h5py.Group):
        for weight in names_of(opened, optimizer, "weight_names") or []:
            yield _present(opened, _plain(f"{_OPTIMIZER}/{weight}"), entries)


def _present(opened: Opened, path: str, entries: dict[str, Entry]) -> str:
    if path not in entries:
        raise SourceError(
            "the file names a weight that it does not hold",
            where=opened.storage.location,
            expected=f"a dataset at /{path}",
            hint=FETCH_AGAIN,
        )
    return path


def _plain(path: str) -> str:
    # HDF5 takes a//b and a/./b for a/b.
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _role(path: str) -> Role:
    return "counter" if _COUNTER.search(path) else "slot"
