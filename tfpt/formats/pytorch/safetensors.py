"""Reads safetensors files, a tensor at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.pytorch.safetensors_header import parse
from tfpt.formats.pytorch.sampling import middle_of, sample_hash
from tfpt.formats.source import Source
from tfpt.io.locations import as_location
from tfpt.io.storage import Storage, open_storage, samples
from tfpt.nearest import nearest
from tfpt.tensors import TensorSpec, dtype


class SafetensorsSource(Source):
    """A `tfpt.formats.source.Source` over one safetensors file.

    Attributes:
        metadata: The header's free-form part, as it is.
        skipped: Tensors of a dtype that tfpt cannot hold, by name, with the reason.

    Raises:
        SourceError: The file cannot be read, or its header does not describe it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from safetensors.numpy import save_file
        >>> path = Path(tempfile.mkdtemp()) / "w.safetensors"
        >>> save_file({"bias": np.array([1, 2], np.float32)}, path)
        >>> source = SafetensorsSource(path)
        >>> str(source.specs["bias"]), source.read("bias").tolist()
        ('bias [2] float32', [1.0, 2.0])
    """

    side = "pt"
    format = "safetensors"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.location = as_location(path)
        self._file: Storage | None = open_storage(self.location)
        header = parse(self.location, self._file.data)
        self.metadata: Mapping[str, str] = header.metadata
        self.specs = header.specs
        self.skipped = header.skipped
        self._offsets = header.offsets

    @property
    def details(self) -> list[str]:
        """The metadata in words, one a line."""
        return [f"{key}: {value}" for key, value in self.metadata.items()]

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor; not writable."""
        spec, file = self._find(name)
        begin = self._offsets[name]
        held = dtype(spec.dtype).numpy
        assert held is not None
        values = file.data[begin : begin + spec.nbytes]
        # Headers are padded to 8 bytes today; files of other writers may start their data anywhere.
        if values.size and values.ctypes.data % held.alignment:
            values = values.copy()
        return values.view(held).reshape(spec.shape)

    def release(self, name: str) -> None:
        """Say that the tensor is not needed again soon; its arrays stay valid."""
        spec, file = self._find(name)
        file.release(self._offsets[name], spec.nbytes)

    def fingerprint(self) -> str:
        """A hash of the header's content and of 64 bytes of every tensor (`tfpt.formats.pytorch.sampling`)."""
        spans = []
        for name, spec in self.specs.items():
            begin, size = middle_of(spec.nbytes)
            spans.append((self._offsets[name] + begin, self._offsets[name] + begin + size))
        if self._file is None:
            raise SourceError("the file was closed", where=self.location)
        found = dict(zip(self.specs, samples(self._file, spans), strict=True))
        return sample_hash(self.specs.values(), lambda name: np.frombuffer(found[name], np.uint8))

    def close(self) -> None:
        """Let go of the file. Arrays that were read stay valid."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _find(self, name: str) -> tuple[TensorSpec, Storage]:
        if self._file is None:
            raise SourceError("the file was closed", where=self.location)
        if name not in self.specs:
            reason = self.skipped.get(name)
            raise SourceError(
                f"tensor {name!r} cannot be read: {reason}" if reason else f"there is no tensor {name!r}",
                where=self.location,
                nearest=() if reason else nearest(name, self.specs),
            )
        return self.specs[name], self._file
