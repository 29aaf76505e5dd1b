"""The part that all sources over HDF5 share: names that stand for datasets of one or more files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.sources.keras.datasets import Entry
from tfpt.sources.keras.opening import Opened
from tfpt.sources.keras.values import read_sample, read_values
from tfpt.sources.pytorch.sampling import sample_hash
from tfpt.sources.source import NO_ALIASES, NONE_QUANTISED, NOTHING_SKIPPED, Quantised, Role
from tfpt.tensors import TensorSpec


@dataclass(frozen=True)
class Tensor:
    """A dataset under the name that `specs` has for it.

    Attributes:
        name: The name.
        entry: The dataset.
        opened: The file that it lies in.
        role: What it is for; `None` for a weight.
    """

    name: str
    entry: Entry
    opened: Opened
    role: Role | None = None


class HDF5Source:
    """A `tfpt.sources.source.Source` over datasets of HDF5 files.

    Args:
        location: Where it is, as a person would name it.
        tensors: What it holds, in order; names are unique.
        aliases: Other names, alias to name.

    Attributes:
        config: The model's configuration as Keras saved it, parsed JSON; `None` where there is none.
        keras_version: The version of Keras that saved it, where the file says so.
        backend: The backend that Keras ran on, where the file says so.
    """

    side: Literal["tf", "pt"] = "tf"
    format: str = "HDF5"
    skipped: Mapping[str, str] = NOTHING_SKIPPED
    quantised: Mapping[str, Quantised] = NONE_QUANTISED
    config: object = None
    keras_version: str | None = None
    backend: str | None = None

    def __init__(self, location: str, tensors: list[Tensor], aliases: Mapping[str, str] = NO_ALIASES) -> None:
        self.location = location
        self._tensors = {tensor.name: tensor for tensor in tensors}
        assert len(self._tensors) == len(tensors), "names are unique"
        self.specs: Mapping[str, TensorSpec] = {
            t.name: TensorSpec(t.name, t.entry.spec.shape, t.entry.spec.dtype) for t in tensors
        }
        roles = {tensor.name: _role(tensor) for tensor in tensors}
        self.roles: Mapping[str, Role] = {name: role for name, role in roles.items() if role is not None}
        self.aliases: Mapping[str, str] = aliases
        self._closed = False

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor: a read-only view of the file, or a copy (`tfpt.sources.keras.values`)."""
        tensor = self._find(name)
        return read_values(tensor.opened, tensor.entry)

    def release(self, name: str) -> None:
        """Let go of the tensor's pages; its arrays stay valid."""
        tensor = self._find(name)
        if tensor.entry.offset is not None:
            tensor.opened.storage.release(tensor.entry.offset, self.specs[tensor.name].nbytes)

    def fingerprint(self) -> str:
        """A hash of names, shapes and dtypes, and of up to 64 bytes of every tensor (`sample_hash`)."""

        def sample(name: str) -> np.ndarray:
            tensor = self._find(name)
            return read_sample(tensor.opened, tensor.entry)

        return sample_hash(self.specs.values(), sample)

    def close(self) -> None:
        """Close the files. Arrays that were read stay valid."""
        self._closed = True
        for opened in {id(t.opened): t.opened for t in self._tensors.values()}.values():
            opened.close()

    def _find(self, name: str) -> Tensor:
        if self._closed:
            raise SourceError("the file was closed", where=self.location)
        tensor = self._tensors.get(self.aliases.get(name, name))
        if tensor is None:
            close = nearest(name, self.specs)
            raise SourceError(f"there is no tensor {name!r}", where=self.location, nearest=close)
        return tensor


def _role(tensor: Tensor) -> Role | None:
    # Text and tables: vocabularies, notes of whoever wrote the file.
    return "record" if tensor.entry.held is None else tensor.role
