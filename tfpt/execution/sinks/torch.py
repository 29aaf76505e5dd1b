"""Writes what `torch.save` writes: a plain dict of tensors, ready for `load_state_dict`."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from tfpt.errors import SinkError
from tfpt.execution.sinks.ledger import Ledger
from tfpt.io.output_file import AtomicFile, Discarding
from tfpt.operations.strided import contiguous
from tfpt.tensors import TensorSpec, dtype

if TYPE_CHECKING:
    import torch


class TorchSink(Discarding):
    """A `tfpt.execution.sinks.sink.Sink` for `.pth` and `.pt`; all tensors stay in memory until `commit` saves them.

    The file contains only the state dict, in the order of `specs`, so that
    `model.load_state_dict(torch.load(path, weights_only=True))` works. It has no metadata: `load_state_dict` would
    reject any additional key. Write safetensors if you need metadata.

    Args:
        path: The output file.
        specs: All of its tensors.
        metadata: Not written; accepted for compatibility with the other sinks.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: PyTorch does not have a dtype, or there is no space for the file.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "w.pth"
        >>> with TorchSink(path, [TensorSpec("bias", (2,), "bfloat16")], {}) as sink:
        ...     sink.write("bias", np.array([1, 2], dtype("bfloat16").numpy))
        ...     sink.commit()
        >>> torch.load(path, weights_only=True)
        {'bias': tensor([1., 2.], dtype=torch.bfloat16)}
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        specs: Iterable[TensorSpec],
        metadata: Mapping[str, str],
        overwrite: bool = False,
    ) -> None:
        self._ledger = Ledger(Path(path), specs)
        for spec in self._ledger.specs.values():
            if dtype(spec.dtype).torch is None:
                raise SinkError(f"PyTorch has no dtype for {spec.name!r}", where=str(path), got=spec.dtype)
        self._arrays: dict[str, np.ndarray] = {}
        self._file = AtomicFile(path, overwrite)
        try:
            # A lower bound: the pickle and the zip directory need more.
            self._file.reserve(sum(spec.nbytes for spec in self._ledger.specs.values()))
        except BaseException:
            self._file.discard()
            raise

    def write(self, name: str, array: np.ndarray) -> None:
        """Keep one tensor until `commit`; an array that is not C-contiguous is copied."""
        with self._ledger.entry(name, array):
            self._arrays[name] = contiguous(array)

    def finish(self) -> AtomicFile:
        """Check that no tensor is missing, save them and flush the file to disk."""
        try:
            self._ledger.close()
            self._save()
            self._file.finish()
        except BaseException:
            self.discard()
            raise
        self._arrays.clear()
        return self._file

    def commit(self) -> None:
        """Check that no tensor is missing, save them and give the file its final name."""
        self.finish().commit()

    def discard(self) -> None:
        """Remove the temporary file."""
        self._arrays.clear()
        self._file.discard()

    def _save(self) -> None:
        import torch

        tensors = {name: _tensor(self._arrays[name], spec) for name, spec in self._ledger.specs.items()}
        with _Writer(self._file.descriptor) as writer:
            try:
                torch.save(tensors, cast(IO[bytes], writer))
                writer.flush()
            except (OSError, RuntimeError):
                # torch reports a failed write as "unexpected pos"; the writer knows the reason.
                if writer.failure is None:
                    raise
            if writer.failure is not None:
                raise self._file.explain(writer.failure)
            self._file.truncate(writer.position)


class _Writer(io.RawIOBase):
    """A file opened for writing that remembers why a write failed, and ignores all later writes.

    If `write` raised, torch's C++ writer would be destroyed midway, which may abort the process.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.position = 0
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        left = memoryview(data).cast("B")  # type: ignore[arg-type]
        size = len(left)
        try:
            while left and self.failure is None:
                written = os.pwrite(self._descriptor, left[: 1 << 30], self.position + size - len(left))
                left = left[written:]
        except OSError as error:
            self.failure = error
        self.position += size
        return size


def _tensor(array: np.ndarray, spec: TensorSpec) -> torch.Tensor:
    """The array as a tensor over the same memory."""
    import torch

    wanted = getattr(torch, str(dtype(spec.dtype).torch))
    # torch does not accept ml_dtypes, but an array can be viewed as an integer type of the same width.
    if array.dtype.itemsize in (1, 2, 4, 8):
        array = array.view(f"i{array.dtype.itemsize}")
    with warnings.catch_warnings():
        # Arrays that map a file are read-only; they are only read here.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array).view(wanted)
