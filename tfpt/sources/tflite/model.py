"""Reads the constants of TensorFlow Lite models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.nearest import nearest
from tfpt.sources.places import as_location
from tfpt.sources.source import NO_ALIASES, NOTHING_SKIPPED, Quantised, Role
from tfpt.sources.storage import Storage, open_storage
from tfpt.sources.tflite.schema import Constant, read_model
from tfpt.sources.tflite.values import decode, integers
from tfpt.tensors import TensorSpec

# What shapes, axes and tables of words are of; weights are of these only where they are quantised.
_OF_CONSTANTS = ("int32", "int64", "string", "bool", "resource", "variant")
_SAMPLE = 64


class TfliteSource:
    """A `tfpt.sources.source.Source` over a TensorFlow Lite model.

    Its tensors are those whose values are in the file, under the names it has for them; those of a second subgraph
    (`while` bodies, other signatures) after the subgraph's name, and a second tensor of a name as ``name#2``.

    Args:
        location: The file.
        dequantise: Whether quantised tensors are listed and read as the float32 numbers that they stand for, and not
            as the integers that are stored.

    Attributes:
        description: What the model's writer says of it.
        metadata: The names of the metadata in the model.

    Raises:
        SourceError: The file cannot be read, or is damaged.
    """

    side: Literal["tf", "pt"] = "tf"
    format: str = "TensorFlow Lite model"
    aliases: Mapping[str, str] = NO_ALIASES
    skipped: Mapping[str, str] = NOTHING_SKIPPED

    def __init__(self, location: str, dequantise: bool = False) -> None:
        self.location = as_location(location)
        self._storage: Storage | None = open_storage(self.location)
        model = read_model(self.location, self._storage.data)
        self.description = model.description
        self.metadata = model.metadata
        self._constants = model.constants
        self._dequantise = dequantise
        self.quantised: Mapping[str, Quantised] = MappingProxyType(
            {
                name: constant.quantisation.described()
                for name, constant in model.constants.items()
                if constant.quantisation is not None and not dequantise
            }
        )
        roles: dict[str, Role] = {}
        specs: dict[str, TensorSpec] = {}
        for name, constant in model.constants.items():
            spec = constant.spec
            if spec.dtype in _OF_CONSTANTS and constant.quantisation is None:
                roles[name] = "constant"
            is_real = dequantise and constant.quantisation is not None
            specs[name] = TensorSpec(name, spec.shape, "float32") if is_real else spec
        self.specs: Mapping[str, TensorSpec] = MappingProxyType(specs)
        self.roles: Mapping[str, Role] = MappingProxyType(roles)

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor: a read-only view of the file where that is possible, or a copy.

        Raises:
            SourceError: There is no such tensor, or its values are sparse, in another file, or quantised in blocks
                and were to be dequantised.
        """
        constant, raw = self._raw(name)
        if constant.obstacle is not None:
            raise SourceError(
                f"tensor {name!r} cannot be read: {constant.obstacle}",
                where=self.location,
                expected="values that are in the file, one after another",
                hint="convert the model again without sparsity and external weights",
            )
        try:
            values = decode(raw, constant.spec)
        except ValueError as error:
            what = f"not a valid TensorFlow Lite model: of tensor {name!r} {error}"
            raise SourceError(what, where=f"{self.location}, byte {constant.begin}") from None
        if not self._dequantise or constant.quantisation is None:
            return values
        if constant.quantisation.scheme != "affine":
            raise SourceError(
                f"tensor {name!r} cannot be dequantised",
                where=self.location,
                expected="one scale for the tensor, or for each place of an axis",
                got=f"{constant.quantisation.scheme} quantisation",
                hint="open it with dequantise=False to have the integers",
            )
        real = constant.quantisation.real(integers(values))
        real.flags.writeable = False
        return real

    def release(self, name: str) -> None:
        """Let go of the tensor's pages; its arrays stay valid, their bytes are read again when looked at."""
        constant, _ = self._raw(name)
        if self._storage is not None:
            self._storage.release(constant.begin, constant.size)

    def fingerprint(self) -> str:
        """A hash of names, shapes, dtypes and scales, and of 64 bytes of every tensor."""
        digest = hashlib.sha256()
        for name, spec in self.specs.items():
            constant, raw = self._raw(name)
            digest.update(f"{name!r} {spec.shape} {spec.dtype} {constant.spec.dtype}\n".encode())
            if constant.quantisation is not None:
                digest.update(constant.quantisation.scales.tobytes())
                digest.update(constant.quantisation.zero_points.tobytes())
            middle = max(0, len(raw) // 2 - _SAMPLE // 2)
            digest.update(raw[middle : middle + _SAMPLE].tobytes())
        return digest.hexdigest()[:32]

    def close(self) -> None:
        """Let go of the file; it stays mapped as long as an array of it lives."""
        self._storage = None

    def _raw(self, name: str) -> tuple[Constant, npt.NDArray[np.uint8]]:
        if self._storage is None:
            raise SourceError("the file was closed", where=self.location)
        if name not in self._constants:
            close = nearest(name, self.specs)
            raise SourceError(f"there is no tensor {name!r}", where=self.location, nearest=close)
        constant = self._constants[name]
        return constant, self._storage.data[constant.begin : constant.begin + constant.size]
