"""The base of all sources over HDF5: names for the datasets of one or more files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.hdf5.dataset import Dataset, Tree
from tfpt.formats.source import Role, Source
from tfpt.tensors import TensorSpec


@dataclass(frozen=True)
class Tensor:
    """A dataset and its name in `specs`.

    Attributes:
        name: The name.
        dataset: The dataset.
        file: The file that contains it.
        role: Its role; `None` for a weight.
    """

    name: str
    dataset: Dataset
    file: Tree
    role: Role | None = None


class HDF5Source(Source):
    """A `tfpt.formats.source.Source` over datasets of HDF5 files.

    Args:
        location: Its path or URL, as the user would write it.
        tensors: The tensors, in order; names are unique.
        aliases: Other names, alias to name.
        files: The files that contain them, which are closed with the source.

    Attributes:
        config: The model's configuration as Keras saved it, parsed JSON; `None` if there is none.
        keras_version: The version of Keras that saved it, if the file says so.
        backend: The backend that Keras ran on, if the file says so.
        find_layer_names: Called for `layer_names`.
        ordered: Whether the tensors are in the order in which they were created.
    """

    format = "HDF5"
    config: object = None
    keras_version: str | None = None
    backend: str | None = None

    def __init__(
        self,
        location: str,
        tensors: list[Tensor],
        aliases: Mapping[str, str] = MappingProxyType({}),
        files: Sequence[Tree] = (),
    ) -> None:
        self.location = location
        self._tensors = {tensor.name: tensor for tensor in tensors}
        assert len(self._tensors) == len(tensors), "names are unique"
        self.specs = {t.name: TensorSpec(t.name, t.dataset.spec.shape, t.dataset.spec.dtype) for t in tensors}
        roles = {tensor.name: _role(tensor) for tensor in tensors}
        self.roles = {name: role for name, role in roles.items() if role is not None}
        self.aliases = aliases
        self.skipped = {path: reason for file in files for path, reason in file.skipped.items()}
        self._files = list(files)
        self._locations = [file.location for file in files]
        self._closed = False
        self.find_layer_names: Callable[[], Mapping[str, str]] = dict
        self.ordered = False

    @property
    def layer_names(self) -> Mapping[str, str]:
        """As `find_layer_names`, if this is a file of Keras."""
        return self.find_layer_names()

    @property
    def order(self) -> Sequence[str] | None:
        """As the layers are listed: in the attributes of an older file, or in the configuration."""
        return tuple(self.specs) if self.ordered else None

    @property
    def files(self) -> Sequence[str]:
        """`location`, and the other files that belong to it."""
        return tuple(dict.fromkeys([self.location, *self._locations]))

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor; not writable."""
        tensor = self._find(name)
        return tensor.file.read(tensor.dataset)

    def release(self, name: str) -> None:
        """Say that the tensor will not be needed again soon; its arrays stay valid."""
        tensor = self._find(name)
        tensor.file.release(tensor.dataset)

    def fingerprint(self) -> str:
        """A hash of names, shapes and dtypes, and of up to 64 stored bytes of every tensor."""
        return self._hashed(lambda tensor: tensor.file.sample(tensor.dataset))

    def close(self) -> None:
        """Close the files. Arrays that were read stay valid."""
        self._closed = True
        for file in self._files:
            file.close()

    def _hashed(self, sample: Callable[[Tensor], bytes]) -> str:
        digest = hashlib.sha256()
        for spec in self.specs.values():
            tensor = self._find(spec.name)
            digest.update(f"{spec.name!r} {spec.shape} {spec.dtype}\n".encode(errors="surrogatepass"))
            digest.update(sample(tensor))
        return digest.hexdigest()[:32]

    def _find(self, name: str) -> Tensor:
        if self._closed:
            raise SourceError("the file was closed", where=self.location)
        tensor = self._tensors.get(self.aliases.get(name, name))
        if tensor is None:
            if name in self.skipped:
                raise SourceError(
                    f"tensor {name!r} cannot be read",
                    where=self.location,
                    expected="numbers or text in the file itself",
                    got=self.skipped[name],
                    hint="leave it out: a model's weights are in other datasets",
                )
            raise self.no_such_tensor(name)
        return tensor


def _role(tensor: Tensor) -> Role | None:
    # Text and tables: vocabularies, the writer's notes.
    return "record" if tensor.dataset.held is None else tensor.role


def text_of(tree: Tree, group: str, attribute: str) -> str | None:
    """A text attribute, or `None`."""
    texts = tree.texts(group, attribute)
    return texts[0] if texts else None
