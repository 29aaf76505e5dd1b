"""Opens HDF5 files: parsed by tfpt where possible, otherwise by the HDF5 library in another process."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from tfpt.formats.hdf5.blocks import UnfamiliarError
from tfpt.formats.hdf5.classic import ClassicTree
from tfpt.formats.hdf5.dataset import Dataset
from tfpt.formats.hdf5.subprocess_reader import SubprocessTree
from tfpt.io.storage import Storage


class HDF5File:
    """A `tfpt.formats.hdf5.dataset.Tree` of any HDF5 file.

    Args:
        storage: The file, which is closed with this.

    Raises:
        SourceError: The file is damaged; or only h5py can read it, which is not installed.
    """

    location: str
    datasets: Mapping[str, Dataset]
    groups: frozenset[str]
    skipped: Mapping[str, str]

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.location = storage.location
        self._classic: ClassicTree | None = None
        self._confined: SubprocessTree | None = None
        self._lock = threading.Lock()
        try:
            try:
                self._classic = ClassicTree(storage)
            except UnfamiliarError:
                self._confined = SubprocessTree(storage)
            tree = self._classic or self._confined
            assert tree is not None
        except BaseException:
            storage.close()
            raise
        self.datasets, self.groups, self.skipped = tree.datasets, tree.groups, tree.skipped

    def texts(self, path: str, attribute: str) -> list[str] | None:
        """An attribute as a list of texts."""
        if self._classic is not None:
            try:
                return self._classic.texts(path, attribute)
            except UnfamiliarError:
                pass
        return self._library().texts(path, attribute)

    def read(self, dataset: Dataset) -> np.ndarray:
        """The values of a dataset."""
        if self._classic is not None and self._classic.is_read_here(dataset):
            return self._classic.read(dataset)
        return self._library().read(dataset)

    def sample(self, dataset: Dataset) -> bytes:
        """A few stored bytes of the values."""
        return (self._classic or self._library()).sample(dataset)

    def release(self, dataset: Dataset) -> None:
        """Say that the values will not be needed again soon."""
        if self._classic is not None:
            self._classic.release(dataset)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._confined is not None:
                self._confined.close()
        self.storage.close()

    def _library(self) -> SubprocessTree:
        """The HDF5 library's process, started on first use."""
        with self._lock:
            if self._confined is None:
                self._confined = SubprocessTree(self.storage)
            return self._confined
