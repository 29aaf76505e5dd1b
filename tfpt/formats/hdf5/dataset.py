"""The content of an HDF5 file, independent of the reader: datasets, and groups with attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tfpt.errors import SourceError
from tfpt.io.limits import most_unpacked
from tfpt.tensors import TensorSpec, format_shape, string_array


@dataclass(frozen=True)
class Dataset:
    """One dataset.

    Attributes:
        path: Its path in the file, without a leading slash.
        spec: Its shape and dtype, under the path as its name; dtype ``string`` for text.
        held: The dtype of numbers, in the file's byte order; `None` for text.
        itemsize: How many bytes an element takes in the file.
    """

    path: str
    spec: TensorSpec
    held: np.dtype | None
    itemsize: int

    @property
    def claimed(self) -> int:
        """How many bytes its elements take before compression."""
        return self.spec.size * self.itemsize


class Tree(Protocol):
    """An open file.

    Attributes:
        location: The file's path or URL.
        datasets: By path, groups in natural order (``vars/2`` before ``vars/10``).
        groups: The paths of all groups; the root's is empty.
        skipped: Objects that `datasets` leaves out, by path, each with the reason.
    """

    location: str
    datasets: Mapping[str, Dataset]
    groups: frozenset[str]
    skipped: Mapping[str, str]

    def texts(self, path: str, attribute: str) -> list[str] | None:
        """An attribute of the group or dataset at `path`, as a list of texts; `None` if there is none.

        Raises:
            SourceError: It is neither text nor numbers, or it is damaged.
        """
        ...

    def read(self, dataset: Dataset) -> np.ndarray:
        """The values: C-contiguous, native byte order; text as an array of `bytes`. Safe to call from several threads.

        Raises:
            SourceError: They are damaged, or claim more than their bytes can fill (`tfpt.io.limits.most_unpacked`).
        """
        ...

    def sample(self, dataset: Dataset) -> bytes:
        """A few stored bytes of the values, for a fingerprint; empty if nothing is stored."""
        ...

    def release(self, dataset: Dataset) -> None:
        """Say that the values will not be needed again soon."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def refuse_bomb(location: str, dataset: Dataset, stored: int, unpacked: int = 0) -> None:
    """Refuse a dataset whose claimed size is out of proportion to its stored bytes.

    Args:
        location: The file.
        dataset: The dataset.
        stored: How many bytes of it the file contains.
        unpacked: How many bytes all its chunks take unpacked; they may extend beyond the dataset.

    Raises:
        SourceError: They are more than `tfpt.io.limits.most_unpacked`.
    """
    claimed = max(dataset.claimed, unpacked)
    most = most_unpacked(claimed, stored)
    if claimed > most:
        raise SourceError(
            f"dataset {dataset.path!r} claims a size that its bytes cannot fill",
            where=f"{location}, /{dataset.path}",
            expected=f"{most:,} bytes at most, of {stored:,} stored",
            got=f"{format_shape(dataset.spec.shape)} {dataset.spec.dtype}, {claimed:,} bytes unpacked",
            hint="the file is damaged or forged: do not trust it",
        )


def native(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Numbers from the file, in this machine's byte order and the dataset's shape; read-only.

    Args:
        values: One dimension, dtype as `dataset.held`, or raw bytes of it.
        dataset: The dataset.
    """
    assert dataset.held is not None
    if dataset.spec.dtype == "bool":
        # Any byte but zero is true; a numpy bool must be 0 or 1.
        values = np.not_equal(values.view(np.uint8), 0)
    else:
        values = np.asarray(values.view(dataset.held), dataset.held.newbyteorder("="))
    values = values.reshape(dataset.spec.shape)
    values.flags.writeable = False
    return values


def as_texts(texts: list[bytes], dataset: Dataset) -> np.ndarray:
    """Texts as an array of objects, in the dataset's shape; read-only."""
    values = string_array(texts, dataset.spec.shape)
    values.flags.writeable = False
    return values
