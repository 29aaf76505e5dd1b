"""Writes safetensors: the header first, then every tensor at its final offset, from any thread.

The format: 8 bytes of header length (little-endian), a JSON header padded with spaces, the values without gaps
(https://huggingface.co/docs/safetensors). The layout is the official serializer's, byte for byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tfpt.errors import SinkError
from tfpt.execution.sinks.ledger import Ledger
from tfpt.io.output_file import AtomicFile, Discarding
from tfpt.operations.strided import contiguous
from tfpt.tensors import BY_SAFETENSORS, TensorSpec, dtype

# The official order (`prepare` in safetensors/src/tensor.rs): by `Dtype`, last of the enum first, then by name.
_RANK = {
    code: rank
    for rank, code in enumerate(
        "U64 I64 F64 C64 F32 U32 I32 BF16 F16 U16 I16 F8_E5M2FNUZ F8_E4M3FNUZ F8_E4M3 F8_E5M2 I8 U8 BOOL".split()  # noqa: SIM905
    )
}
_LARGEST_HEADER = 100_000_000  # MAX_HEADER_SIZE there: no reader accepts more.
_METADATA = "__metadata__"


class SafetensorsSink(Discarding):
    """A `tfpt.execution.sinks.sink.Sink` that streams into a safetensors file, with one tensor per thread in memory.

    Disk space is reserved up front, so that a full disk is detected before any work. Arrays are not kept.

    Args:
        path: The output file.
        specs: All of its tensors, in any order.
        metadata: The header's `__metadata__`.
        overwrite: Whether an existing file may be replaced.

    Raises:
        SinkError: The format does not support a dtype, a name or the metadata, or there is no space for the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "w.safetensors"
        >>> with SafetensorsSink(path, [TensorSpec("bias", (2,), "float32")], {"format": "pt"}) as sink:
        ...     sink.write("bias", np.array([1, 2], np.float32))
        ...     sink.commit()
        >>> path.stat().st_size - int.from_bytes(path.read_bytes()[:8], "little")
        16
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        specs: Iterable[TensorSpec],
        metadata: Mapping[str, str],
        overwrite: bool = False,
    ) -> None:
        self._ledger = Ledger(Path(path), specs)
        header, self._offsets, size = _lay_out(Path(path), self._ledger.specs.values(), metadata)
        self._file = AtomicFile(path, overwrite)
        try:
            self._file.reserve(size)
            self._file.write_at(0, np.frombuffer(header, np.uint8))
        except BaseException:
            self._file.discard()
            raise

    def write(self, name: str, array: np.ndarray) -> None:
        """Write one tensor at its offset; an array that is not C-contiguous is copied first."""
        with self._ledger.entry(name, array):
            self._file.write_at(self._offsets[name], contiguous(array))

    def finish(self) -> AtomicFile:
        """Check that no tensor is missing and flush the file to disk."""
        try:
            self._ledger.close()
            self._file.finish()
        except BaseException:
            self._file.discard()
            raise
        return self._file

    def commit(self) -> None:
        """Check that no tensor is missing and give the file its final name."""
        self.finish().commit()

    def discard(self) -> None:
        """Remove the temporary file."""
        self._file.discard()


def _lay_out(
    path: Path, specs: Iterable[TensorSpec], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, int], int]:
    """Everything before the first tensor, the offset of each tensor, and the size of the file."""
    header: dict[str, object] = {}
    if metadata:
        for key, value in metadata.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise SinkError("metadata must be strings", where=str(path), got=f"{key!r}: {value!r}")
        header[_METADATA] = dict(sorted(metadata.items()))
    begins: dict[str, int] = {}
    end = 0
    for _, code, spec in sorted((_rank(path, spec) for spec in specs), key=lambda row: (row[0], row[2].name)):
        begins[spec.name] = end
        end += spec.nbytes
        header[spec.name] = {
            "dtype": code,
            "shape": list(spec.shape),
            "data_offsets": [begins[spec.name], end],
        }
    try:
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise SinkError(
            "a name or the metadata is not Unicode", where=str(path), got=repr(error.object)
        ) from None
    text += b" " * (-len(text) % 8)
    if len(text) > _LARGEST_HEADER:
        limit = f"at most {_LARGEST_HEADER:,} bytes"
        raise SinkError(
            "the header is too large", where=str(path), expected=limit, got=f"{len(text):,} bytes"
        )
    start = 8 + len(text)
    offsets = {name: start + begin for name, begin in begins.items()}
    return len(text).to_bytes(8, "little") + text, offsets, start + end


def _rank(path: Path, spec: TensorSpec) -> tuple[int, str, TensorSpec]:
    code = dtype(spec.dtype).safetensors
    if code is None:
        codes = ", ".join(known.name for known in BY_SAFETENSORS.values())
        what = f"safetensors has no dtype for {spec.name!r}"
        raise SinkError(
            what, where=str(path), expected=codes, got=spec.dtype, hint="write a .pth file, or another dtype"
        )
    if spec.name == _METADATA:
        raise SinkError(f"safetensors reserves the name {_METADATA!r}", where=str(path))
    return _RANK[code], code, spec
