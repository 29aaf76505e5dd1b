"""Keras' HDF5 format of the years before Keras 3: groups of layers, and attributes that say their order.

A weights group (the root, or ``model_weights`` where the whole model was saved) has the attribute ``layer_names``, and
each layer's group ``weight_names``: a weight lies at ``layer/weight``, where the weight's name has slashes of its own
and mostly repeats the layer's. ``optimizer_weights`` beside it has ``weight_names`` too.
The writer: keras/src/legacy/saving/legacy_h5_format.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tfpt.errors import SourceError
from tfpt.formats.hdf5.dataset import Tree
from tfpt.formats.keras.attributes import json_of, names_of, text_of
from tfpt.formats.keras.tensors import HDF5Source, Tensor
from tfpt.formats.source import Role
from tfpt.io.damage import DOWNLOAD_AGAIN

_OPTIMIZER = "optimizer_weights"
# Adam/iter:0, iterations_1:0, adam/iteration: what the optimizers of Keras 1, 2 and 3 called it.
_COUNTER = re.compile(r"(^|/)(iter|iterations?)(_\d+)?(:0)?$")


def legacy_source(location: str, file: Tree, root: str) -> HDF5Source:
    """The tensors of an open file of this format.

    Names are the paths of datasets as they lie below the weights group, in the order of ``layer_names`` and
    ``weight_names``; datasets that no list names follow. A weight that lies at two paths is two tensors. What lies
    outside the weights group keeps its whole path: ``optimizer_weights/…``, with the role ``slot`` or ``counter``.

    Args:
        location: Where the file is.
        file: The file.
        root: The path of the weights group.

    Raises:
        SourceError: The lists name a weight that is not there.
    """
    prefix = f"{root}/" if root else ""
    # Of a weight that the file holds and that cannot be read, `skipped` says why.
    listed = [path for path in _listed(file, root, prefix) if path in file.datasets]
    tensors: dict[str, Tensor] = {}
    for path in dict.fromkeys([*listed, *file.datasets]):
        role = _role(path) if path.startswith(f"{_OPTIMIZER}/") else None
        inside = path.startswith(prefix)
        name = path[len(prefix) :] if inside else path
        # A dataset outside of the weights group under a name that is taken inside.
        name = f"/{name}" if name in tensors else name
        tensors[name] = Tensor(name, file.datasets[path], file, role)
    source = HDF5Source(location, list(tensors.values()), files=[file])
    source.skipped = {path.removeprefix(prefix): reason for path, reason in file.skipped.items()}
    source.format = "Keras model (HDF5)" if root else "Keras weights (HDF5)"
    source.config = json_of(file, "", "model_config")
    source.keras_version = text_of(file, root, "keras_version") or text_of(file, "", "keras_version")
    source.backend = text_of(file, root, "backend") or text_of(file, "", "backend")
    return source


def _listed(file: Tree, root: str, prefix: str) -> Iterator[str]:
    """The paths of the weights that the attributes name, in their order; those of the optimizer last."""
    # Weights of the model itself, in no layer: Keras lists their group nowhere.
    for layer in [*(names_of(file, root, "layer_names") or []), "top_level_model_weights"]:
        group = _plain(prefix + layer)
        if layer and group in file.groups:
            for weight in names_of(file, group, "weight_names") or []:
                yield _present(file, _plain(f"{group}/{weight}"))
    if _OPTIMIZER in file.groups:
        for weight in names_of(file, _OPTIMIZER, "weight_names") or []:
            yield _present(file, _plain(f"{_OPTIMIZER}/{weight}"))


def _present(file: Tree, path: str) -> str:
    if path not in file.datasets and path not in file.skipped:
        raise SourceError(
            "the file names a weight that it does not hold",
            where=file.location,
            expected=f"a dataset at /{path}",
            hint=DOWNLOAD_AGAIN,
        )
    return path


def _plain(path: str) -> str:
    # HDF5 takes a//b and a/./b for a/b.
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _role(path: str) -> Role:
    return "counter" if _COUNTER.search(path) else "slot"
