"""Opens HDF5 files, of Keras or others: detects the layout, and reads the one that Keras used before version 3.

In the older layout a weights group (the root, or ``model_weights`` where the whole model was saved) has the attribute
``layer_names``, and each layer's group ``weight_names``. A weight is at ``layer/weight``, where the weight's name has
slashes of its own and mostly repeats the layer's. ``optimizer_weights`` beside it has ``weight_names`` too.
The writer: keras/src/legacy/saving/legacy_h5_format.py. Keras 3's layout: see `tfpt.formats.keras.weights`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tfpt.errors import SourceError
from tfpt.formats.hdf5.dataset import Tree
from tfpt.formats.hdf5.open_file import HDF5File
from tfpt.formats.keras.by_layer import in_layer
from tfpt.formats.keras.source import HDF5Source, Tensor, text_of
from tfpt.formats.keras.weights import is_keras3, names_of_weights, weight_tensors
from tfpt.formats.source import Role
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.limits import KERAS_CONFIG
from tfpt.io.storage import open_storage


def open_hdf5(location: str) -> HDF5Source:
    """The tensors of an HDF5 file.

    Keras' older format (Keras 1, 2, ``model.save("x.h5")``, transformers' ``tf_model.h5``): see
    `legacy_source`. Keras 3's ``.weights.h5``: see `tfpt.formats.keras.weights`. In any other HDF5
    file every dataset is a tensor under its path.

    Raises:
        SourceError: The file is damaged, or needs h5py, which is not installed.
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
        if keras3:
            source.find_layer_names = lambda: names_of_weights(file)
        source.format = "Keras 3 weights (HDF5)" if keras3 else "HDF5"
        return source
    except BaseException:
        file.close()
        raise


_OPTIMIZER = "optimizer_weights"
# Adam/iter:0, iterations_1:0, adam/iteration: the name in the optimizers of Keras 1, 2 and 3.
_COUNTER = re.compile(r"(^|/)(iter|iterations?)(_\d+)?(:0)?$")


def legacy_source(location: str, file: Tree, root: str) -> HDF5Source:
    """The tensors of an open file in the layout of Keras 1 and 2.

    Names are the paths of datasets relative to the weights group, in the order of ``layer_names`` and
    ``weight_names``; unlisted datasets follow. A weight at two paths is two tensors. Datasets outside the weights
    group keep their whole path: ``optimizer_weights/…``, with the role ``slot`` or ``counter``.

    Args:
        location: The file's path or URL.
        file: The open file.
        root: The path of the weights group.

    Raises:
        SourceError: The lists name a weight that does not exist.
    """
    prefix = f"{root}/" if root else ""
    # `skipped` says why a weight that is in the file cannot be read.
    listed = [path for path in _listed(file, root, prefix) if path in file.datasets]
    tensors: dict[str, Tensor] = {}
    for path in dict.fromkeys([*listed, *file.datasets]):
        role = _role(path) if path.startswith(f"{_OPTIMIZER}/") else None
        inside = path.startswith(prefix)
        name = path[len(prefix) :] if inside else path
        # A dataset outside the weights group whose name is taken inside it.
        name = f"/{name}" if name in tensors else name
        tensors[name] = Tensor(name, file.datasets[path], file, role)
    source = HDF5Source(location, list(tensors.values()), files=[file])
    source.skipped = {path.removeprefix(prefix): reason for path, reason in file.skipped.items()}
    source.format = "Keras model (HDF5)" if root else "Keras weights (HDF5)"
    source.find_layer_names = lambda: _by_layer(file, root, source.specs)
    source.ordered = bool(listed)
    source.config = _json_of(file, "", "model_config")
    source.keras_version = text_of(file, root, "keras_version") or text_of(file, "", "keras_version")
    source.backend = text_of(file, root, "backend") or text_of(file, "", "backend")
    return source


def _by_layer(file: Tree, root: str, names: Iterable[str]) -> dict[str, str]:
    """The names by layer of `tfpt.formats.keras.by_layer`, by the names of the source."""
    # Names of layers may have slashes; the longest comes first.
    layers = sorted(
        {_plain(layer) for layer in _names_of(file, root, "layer_names") or []}, key=len, reverse=True
    )
    several = [layer for layer in layers if "/" in layer]
    single = frozenset(layers)
    found: dict[str, str] = {}
    for name in names:
        first = name.partition("/")[0]
        layer = next(
            (each for each in several if name.startswith(f"{each}/")), first if first in single else None
        )
        if layer and len(name) > len(layer):
            found[name] = in_layer(layer, name[len(layer) + 1 :])
    return found


def _listed(file: Tree, root: str, prefix: str) -> Iterator[str]:
    """The paths of the weights in the order of the attributes; the optimizer's last."""
    # Weights of the model itself, outside any layer; Keras does not list their group.
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
            "the file lists a weight that it does not contain",
            where=file.location,
            expected=f"a dataset at /{path}",
            hint=DOWNLOAD_AGAIN,
        )
    return path


def _plain(path: str) -> str:
    # To HDF5, a//b and a/./b are a/b.
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _role(path: str) -> Role:
    return "counter" if _COUNTER.search(path) else "slot"


def _names_of(tree: Tree, group: str, attribute: str) -> list[str] | None:
    """A list of names, which Keras splits if it is long: ``weight_names``, or ``weight_names0``, ``weight_names1`` …

    `None` if there is no such attribute. The writer: keras/src/legacy/saving/legacy_h5_format.py,
    save_attributes_to_hdf5_group.

    Raises:
        SourceError: An attribute is damaged, or is not text.
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
    """A JSON attribute, parsed; `None` if it is absent or cannot be parsed.

    The weights can be read without the configuration.
    """
    text = text_of(tree, group, attribute)
    try:
        return None if text is None or len(text) > KERAS_CONFIG else json.loads(text)
    except (ValueError, RecursionError):
        return None
