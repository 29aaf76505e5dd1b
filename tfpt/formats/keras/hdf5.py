"""HDF5 files that Keras wrote, and any others: detects the layout, and reads that of the years before Keras 3.

In the older layout a weights group (the root, or ``model_weights`` where the whole model was saved) has the attribute
``layer_names``, and each layer's group ``weight_names``. A weight is at ``layer/weight``, where the weight's name has
slashes of its own and mostly repeats the layer's. ``optimizer_weights`` beside it has ``weight_names`` too.
The writer: keras/src/legacy/saving/legacy_h5_format.py. Keras 3's layout: see `tfpt.formats.keras.weights`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tfpt.errors import SourceError
from tfpt.formats.hdf5.dataset import Tree
from tfpt.formats.hdf5.open_file import HDF5File
from tfpt.formats.keras.source import HDF5Source, Tensor, text_of
from tfpt.formats.keras.weights import is_keras3, weight_tensors
from tfpt.formats.source import Role
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.limits import KERAS_CONFIG
from tfpt.io.storage import open_storage


def open_hdf5(location: str) -> HDF5Source:
    """The tensors of an HDF5 file.

    Of Keras' older format (Keras 1, 2, ``model.save("x.h5")``, transformers' ``tf_model.h5``): see
    `tfpt.formats.keras.hdf5`. Of Keras 3's ``.weights.h5``: see `tfpt.formats.keras.weights`. In any other HDF5
    file every dataset is a tensor under its path.

    Raises:
        SourceError: The file is damaged; or it is of a kind that needs h5py, which is missing.
    """
    file = HDF5File(open_storage(location))
    try:
        root = ""
        if _names_of(file, "", "layer_names") is None and "model_weights" in file.groups:
            root = "model_weights"
        if _names_of(file, root, "layer_names") is not None:
            return legacy_source(location, file, root)
        keras3 = is_keras3(file.datasets)
        tensors = (
            weight_tensors(file)
            if keras3
            else [Tensor(path, each, file) for path, each in file.datasets.items()]
        )
        source = HDF5Source(location, tensors, files=[file])
        source.format = "Keras 3 weights (HDF5)" if keras3 else "HDF5"
        return source
    except BaseException:
        file.close()
        raise


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
    source.config = _json_of(file, "", "model_config")
    source.keras_version = text_of(file, root, "keras_version") or text_of(file, "", "keras_version")
    source.backend = text_of(file, root, "backend") or text_of(file, "", "backend")
    return source


def _listed(file: Tree, root: str, prefix: str) -> Iterator[str]:
    """The paths of the weights that the attributes name, in their order; those of the optimizer last."""
    # Weights of the model itself, in no layer: Keras lists their group nowhere.
    for layer in [*(_names_of(file, root, "layer_names") or []), "top_level_model_weights"]:
        group = _plain(prefix + layer)
        if layer and group in file.groups:
            for weight in _names_of(file, group, "weight_names") or []:
                yield _present(file, _plain(f"{group}/{weight}"))
    if _OPTIMIZER in file.groups:
        for weight in _names_of(file, _OPTIMIZER, "weight_names") or []:
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


def _names_of(tree: Tree, group: str, attribute: str) -> list[str] | None:
    """A list of names, which Keras splits when it is long: ``weight_names``, or ``weight_names0``, ``weight_names1`` …

    `None` where there is no such attribute. The splitting: keras/src/legacy/saving/legacy_h5_format.py,
    save_attributes_to_hdf5_group.

    Raises:
        SourceError: An attribute is damaged, or is no text.
    """
    whole = tree.texts(group, attribute)
    if whole is not None:
        return whole
    names: list[str] = []
    number = 0
    while (part := tree.texts(group, f"{attribute}{number}")) is not None:
        names += part
        number += 1
    return names if number else None


def _json_of(tree: Tree, group: str, attribute: str) -> Any:
    """An attribute that is JSON, parsed; `None` where there is none, or none that can be parsed.

    A configuration explains the weights and is not needed to read them.
    """
    text = text_of(tree, group, attribute)
    try:
        return None if text is None or len(text) > KERAS_CONFIG else json.loads(text)
    except (ValueError, RecursionError):
        return None
