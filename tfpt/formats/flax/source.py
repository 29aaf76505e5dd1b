"""Reads what `flax.serialization.to_bytes` wrote: ``flax_model.msgpack``, and training states."""

from __future__ import annotations

from tfpt.formats.flax.msgpack import read_msgpack
from tfpt.formats.numpy.source import NumpySource
from tfpt.formats.pickle.naming import named
from tfpt.io.blobs import Stored
from tfpt.io.locations import name_of
from tfpt.io.storage import Storage


class FlaxSource(NumpySource):
    """A `tfpt.formats.source.Source` over a Flax file.

    Names are the keys that lead to an array, joined by slashes; arrays are views of the file, and those that Flax split
    into chunks are joined when they are read. The state of an optimizer (``opt_state``) gets its role.

    Raises:
        SourceError: The file cannot be read, or is damaged.

    Example:
        >>> import msgpack, tempfile
        >>> path = tempfile.mkdtemp() + "/flax_model.msgpack"
        >>> array = msgpack.ExtType(1, msgpack.packb([[2], "int8", b"\\x01\\x02"]))
        >>> with open(path, "wb") as file:
        ...     _ = file.write(msgpack.packb({"params": {"bias": array}}))
        >>> source = FlaxSource(path)
        >>> list(source.specs), source.read("params/bias").tolist()
        (['params/bias'], [1, 2])
    """

    is_tree = True

    def _fill(self, storage: Storage) -> None:
        self.format = "Flax"
        data = Stored(storage, 0, len(storage.data))
        entries, skipped = named(self.location, read_msgpack(self.location, data), data)
        stem = name_of(self.location).rpartition(".")[0] or name_of(self.location)
        self._insert(self.location, {name or stem: entry for name, entry in entries.items()})
        self._skipped.update(skipped)
