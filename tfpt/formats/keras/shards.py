"""Keras 3's weights in several files: a JSON index, and ``.weights.h5`` files beside it.

The index (keras/src/saving/saving_lib.py, `ShardedH5IOStore`) maps groups to files, ``"/layers/dense/vars"`` to one
name or to several; a group that is full goes on in the next file. Names, shapes and dtypes are in the files alone, so
that all of them have to be there before anything can be said of the model.
"""

from __future__ import annotations

import json

from tfpt.errors import SourceError
from tfpt.formats.hdf5.open_file import HDF5File
from tfpt.formats.keras.tensors import HDF5Source, Tensor
from tfpt.formats.keras.weights import weight_tensors
from tfpt.io.damage import DOWNLOAD_AGAIN
from tfpt.io.locations import folder_of, inside, is_file, name_of
from tfpt.io.storage import open_storage

# The index has one line for each layer.
_LARGEST_INDEX = 64 << 20


class ShardedWeightsSource(HDF5Source):
    """A `tfpt.formats.source.Source` over sharded Keras weights; names as in `tfpt.formats.keras.weights`.

    Raises:
        SourceError: The index cannot be read, a file that it names is missing or damaged, or two files hold the same
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
                            "two files of these weights hold the same variable",
                            where=f"{shard.location}, /{tensor.name}",
                            expected="each variable in one file",
                            got=f"another in {tensors[tensor.name].file.location}",
                            hint="files of several models may be mixed up: fetch them again into a folder of their own",
                        )
                    tensors[tensor.name] = tensor
        except BaseException:
            for shard in files:
                shard.close()
            raise
        super().__init__(location, list(tensors.values()), files=files)


def shard_names(location: str) -> list[str]:
    """The names of the files that an index names, in its order.

    Raises:
        SourceError: It is no index, or names something that is not a file beside it.
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
                "the index names a file that does not lie beside it",
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
            expected=f"a file that {name_of(location)} names, beside it",
            got=f"nothing called {name} in {folder_of(location)}",
            hint="put it there under exactly this name; shapes are in the files alone",
        )
    return place
