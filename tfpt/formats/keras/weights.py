"""Keras 3's ``.weights.h5``, whole or in shards: a group for each object of a model, with numbered variables.

The layout (keras/src/saving/saving_lib.py, `_save_state`): ``layers/conv2d_1/vars/0`` is the first variable of the
second Conv2D of the model. The file has no names of variables: which layer a number belongs to is in the model's
configuration, which only a ``.keras`` archive has (`tfpt.formats.keras.archive`). Names here are the paths.

Weights in shards have a JSON index (`ShardedH5IOStore` in the same file), which maps groups to files:
``"/layers/dense/vars"`` to one name or several; a group that does not fit continues in the next file. Names, shapes
and dtypes are only in the files, so all of them have to be present before anything is known of the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from tfpt.errors import SourceError
from tfpt.formats.hdf5.dataset import Tree
from tfpt.formats.hdf5.open_file import HDF5File
from tfpt.formats.keras.by_layer import by_labels
from tfpt.formats.keras.source import HDF5Source, Tensor, text_of
from tfpt.formats.source import Role
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.locations import folder_of, inside, is_file, name_of
from tfpt.io.storage import open_storage

_VARIABLE = re.compile(r"(^|/)vars/[^/]+$")
# The model's attributes for metrics and running losses, as named by Keras 2.12 to 3.
_METRICS = re.compile(r"^_?(compiled?_|loss_|mean_)?(metrics|tracker)/|^metrics/|^_?loss_tracker/")
# Keras 3.0 to 3.2 and Keras 2 save the state of random generators among the layers.
_RANDOM = re.compile(r"(^|/)_?(seed_generator|random_generator|generator)/vars/0$")


def is_keras3(paths: Iterable[str]) -> bool:
    """Whether datasets have the layout of Keras 3.

    Example:
        >>> is_keras3(["layers/dense/vars/0"]), is_keras3(["dense/dense/kernel:0"])
        (True, False)
    """
    return any(_VARIABLE.search(path) for path in paths)


def role_of(path: str) -> Role | None:
    """The role of the variable at a path; `None` for a weight.

    Example:
        >>> role_of("optimizer/vars/0"), role_of("optimizer/vars/2"), role_of("layers/dense/vars/0")
        ('counter', 'slot', None)
    """
    if path.startswith(("optimizer/", "_optimizer/")):
        # The first variable is the number of steps: keras/src/optimizers/base_optimizer.py, __init__.
        return "counter" if path.endswith("optimizer/vars/0") else "slot"
    if _METRICS.search(path):
        return "metric"
    return "counter" if _RANDOM.search(path) else None


def weight_tensors(file: Tree, names: Mapping[str, str] | None = None) -> list[Tensor]:
    """The datasets of a file as tensors, named as `names` says, or else by their paths.

    Those in `names` come first, in its order.
    """
    known = names or {}
    order = dict.fromkeys((*known, *file.datasets))
    return [Tensor(known.get(path, path), file.datasets[path], file, role_of(path)) for path in order]


def names_of_weights(*files: Tree) -> dict[str, str]:
    """The names by layer of `tfpt.formats.keras.by_layer`, by path, as far as the files have names of layers.

    Args:
        files: The file of the weights, or all its shards.
    """
    labels: dict[str, str | None] = {}

    def label(path: str) -> str | None:
        if path not in labels:
            group = f"{path}/vars"
            found = (text_of(file, group, "name") for file in files if group in file.groups)
            labels[path] = next((text for text in found if text is not None), None)
        return labels[path]

    shapes = {
        path: dataset.spec.shape
        for file in files
        for path, dataset in file.datasets.items()
        if role_of(path) is None
    }
    return by_labels(shapes, label)


# The index has one line for each layer.
_LARGEST_INDEX = 64 << 20


class ShardedWeightsSource(HDF5Source):
    """A `tfpt.formats.source.Source` over sharded Keras weights; names as in `tfpt.formats.keras.weights`.

    Raises:
        SourceError: The index cannot be read, a file that it names is missing or damaged, or two files contain the same
            variable.
    """

    format = "Keras 3 weights in shards"

    def __init__(self, location: str) -> None:
        files: list[HDF5File] = []
        tensors: dict[str, Tensor] = {}
        try:
            for name in shard_names(location):
                shard = HDF5File(open_storage(_present(location, name)))
                files.append(shard)
                for tensor in weight_tensors(shard):
                    if tensor.name in tensors:
                        raise SourceError(
                            "two files of these weights contain the same variable",
                            where=f"{shard.location}, /{tensor.name}",
                            expected="each variable in one file",
                            got=f"another in {tensors[tensor.name].file.location}",
                            hint="files of several models may be mixed up: download them into separate folders",
                        )
                    tensors[tensor.name] = tensor
        except BaseException:
            for shard in files:
                shard.close()
            raise
        super().__init__(location, list(tensors.values()), files=files)
        self.find_layer_names = lambda: names_of_weights(*files)


def shard_names(location: str) -> list[str]:
    """The names of the files that an index names, in its order.

    Raises:
        SourceError: It is not an index, or names something other than a file in its folder.
    """
    data = open_storage(location).data
    try:
        if len(data) > _LARGEST_INDEX:
            raise ValueError(f"{len(data):,} bytes")
        table = json.loads(data[: len(data)].tobytes())["weight_map"]
        files = [name for value in table.values() for name in (value if isinstance(value, list) else [value])]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"the index of sharded weights cannot be read: {error!r:.200}",
            where=location,
            expected="JSON with a weight_map from groups to files",
            hint=DOWNLOAD_AGAIN,
        ) from None
    for name in files:
        if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in "/\\\0:"):
            raise SourceError(
                "the index names a file outside its folder",
                where=location,
                expected="the plain name of a .weights.h5 file",
                got=repr(name)[:200],
            )
    return list(dict.fromkeys(files))


def _present(location: str, name: str) -> str:
    place = inside(folder_of(location), name)
    if not is_file(place):
        raise SourceError(
            "a file of these weights is missing",
            where=place,
            expected=f"a file that {name_of(location)} names, in the same folder",
            got=f"nothing called {name} in {folder_of(location)}",
            hint="put it there under exactly this name; shapes are only in these files",
        )
    return place
