"""A source whose tensors are named by storage paths: object paths of a checkpoint, dataset paths of a Keras archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from tfpt.formats.source import Source

T = TypeVar("T")


class ByPath(Source):
    """A wrapper of a source that names tensors by their storage paths.

    Readable names may contain counters of the training process (``dense_3/kernel``); paths contain attribute names
    (``encoder/output/kernel``), which are the same in every run: `Source.paths`. Tensors without a path keep their
    names.

    Example:
        >>> import tempfile
        >>> import tensorflow as tf
        >>> from tfpt.formats.tensorflow.checkpoint import open_checkpoint
        >>> path = tf.train.Checkpoint(head=tf.Variable([1.0], name="dense_3/kernel")).write(tempfile.mkdtemp() + "/m")
        >>> source = open_checkpoint(path)
        >>> list(source.specs)[-1], list(ByPath(source).specs)[-1]
        ('dense_3/kernel', 'head')
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.describe_as(source)
        self.paths = self.aliases = MappingProxyType({})
        self._names = {source.paths.get(name, name): name for name in source.specs}
        self.specs = {path: replace(source.specs[name], name=path) for path, name in self._names.items()}
        self.roles = self._by_path(source.roles)
        self.skipped = self._by_path(source.skipped)
        self.quantized = self._by_path(source.quantized)
        self.sizes = self._by_path(source.sizes)

    @property
    def files(self) -> Sequence[str]:
        """The source's own."""
        return self._source.files

    @property
    def details(self) -> Sequence[str]:
        """The source's own."""
        return self._source.details

    @property
    def unavailable(self) -> Mapping[str, str]:
        """The source's own, by path."""
        return self._by_path(self._source.unavailable)

    def _by_path(self, table: Mapping[str, T]) -> dict[str, T]:
        return {self._source.paths.get(name, name): value for name, value in table.items()}

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
