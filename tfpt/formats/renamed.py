"""A source under other names: by the location in the file, or as Keras calls layers and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, TypeVar

import numpy as np

from tfpt.formats.source import Source

T = TypeVar("T")
# What a file's tensors are called: see `source.names` in docs/language.md.
Names = Literal["readable", "path", "keras"]


def renamed(source: Source, names: Names) -> Source:
    """The source with the chosen kind of names.

    ``path`` and ``keras`` do not contain counters of the training process, as readable names may
    (``dense_3/kernel``): paths have attribute names (``encoder/output/kernel``), see `Source.paths`, and ``keras`` is
    one set of names for all files of a Keras model, see `tfpt.formats.keras.by_layer`. A tensor that has no such
    name keeps its own.

    Example:
        >>> import tempfile
        >>> import tensorflow as tf
        >>> from tfpt.formats.tensorflow.checkpoint import open_checkpoint
        >>> path = tf.train.Checkpoint(head=tf.Variable([1.0], name="dense_3/kernel")).write(tempfile.mkdtemp() + "/m")
        >>> source = open_checkpoint(path)
        >>> list(source.specs)[-1], list(renamed(source, "path").specs)[-1]
        ('dense_3/kernel', 'head')
    """
    if names == "readable":
        return source
    if names == "path":
        return Renamed(source, source.paths)
    # Imported here: only mappings of Keras models need it.
    from tfpt.formats.keras.by_layer import names_by_layer

    return Renamed(source, names_by_layer(source))


class Renamed(Source):
    """A wrapper of a source that has other names.

    Args:
        source: The source.
        table: The new name of each tensor that gets one, by its name. Names of the result must be unique.
    """

    def __init__(self, source: Source, table: Mapping[str, str]) -> None:
        self._source = source
        self._table = table
        self.describe_as(source)
        self.paths = self.aliases = MappingProxyType({})
        self._names = {table.get(name, name): name for name in source.specs}
        self.specs = {new: replace(source.specs[name], name=new) for new, name in self._names.items()}
        self.roles = self._renamed(source.roles)
        self.skipped = self._renamed(source.skipped)
        self.quantized = self._renamed(source.quantized)
        self.sizes = self._renamed(source.sizes)

    @property
    def files(self) -> Sequence[str]:
        """The source's own."""
        return self._source.files

    @property
    def details(self) -> Sequence[str]:
        """The source's own."""
        return self._source.details

    @property
    def order(self) -> Sequence[str] | None:
        """The source's own, by the new names."""
        order = self._source.order
        return None if order is None else [self._table.get(name, name) for name in order]

    @property
    def unavailable(self) -> Mapping[str, str]:
        """The source's own, by the new names."""
        return self._renamed(self._source.unavailable)

    def _renamed(self, table: Mapping[str, T]) -> dict[str, T]:
        return {self._table.get(name, name): value for name, value in table.items()}

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor."""
        return self._source.read(self._names.get(name, name))

    def release(self, name: str) -> None:
        """Say that this tensor is not needed again soon."""
        self._source.release(self._names.get(name, name))

    def fingerprint(self) -> str:
        """The source's own."""
        return self._source.fingerprint()

    def close(self) -> None:
        """Close the source."""
        self._source.close()
