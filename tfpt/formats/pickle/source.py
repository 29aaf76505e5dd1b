"""Reads pickles of arrays in dicts and lists, as Python, joblib and JAX leave them, under any name."""

from __future__ import annotations

from tfpt.errors import SourceError
from tfpt.formats.numpy.source import NumpySource
from tfpt.formats.pickle.contents import read_pickle
from tfpt.formats.pickle.naming import named
from tfpt.io.blobs import Stored
from tfpt.io.locations import name_of
from tfpt.io.storage import Storage


class PickleSource(NumpySource):
    """A `tfpt.formats.source.Source` over a pickle.

    Names are the keys and indices that lead to an array, joined by slashes; a single array is named after its file.
    Pickles are never run (`tfpt.formats.pickle.contents`). Uncompressed arrays of joblib are between the opcodes.

    Raises:
        SourceError: The file cannot be read, is damaged, or would run code.

    Example:
        >>> import pickle, tempfile
        >>> import numpy as np
        >>> path = tempfile.mkdtemp() + "/w.pkl"
        >>> with open(path, "wb") as file:
        ...     pickle.dump({"dense": {"kernel": np.ones((2, 3), np.float32)}}, file)
        >>> [str(spec) for spec in PickleSource(path).specs.values()]
        ['dense/kernel [2, 3] float32']
    """

    is_tree = True

    def _fill(self, storage: Storage) -> None:
        self.format = "pickle"
        data = Stored(storage, 0, len(storage.data))
        content, _ = read_pickle(self.location, data)
        entries, skipped = named(self.location, content, data)
        if not entries:
            raise SourceError(
                "the pickle contains no array",
                where=self.location,
                expected="arrays in dicts and lists",
                got=", ".join(
                    f"{name or 'a single value'}: {what}" for name, what in list(skipped.items())[:8]
                )
                or "an empty one",
            )
        stem = name_of(self.location).rpartition(".")[0] or name_of(self.location)
        self._insert(self.location, {name or stem: entry for name, entry in entries.items()})
        self._skipped.update(skipped)
