"""Reads what `torch.save` wrote: a dict of tensors, perhaps inside a training checkpoint. It needs no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.pytorch.contents import Contents, read_contents
from tfpt.formats.pytorch.state_dict import find_tensors
from tfpt.formats.pytorch.tensors import DTYPES, Bytes, Sparse, Tensor, values_of
from tfpt.formats.source import Quantized, Source
from tfpt.io import limits
from tfpt.io.locations import as_location
from tfpt.io.storage import open_storage
from tfpt.tensors import TensorSpec

_AFFINE = ("per_tensor_affine", "per_channel_affine")


class TorchSource(Source):
    """A `tfpt.formats.source.Source` over a `.pth`, `.pt` or `.bin` file.

    No code in the file is run: its pickle is parsed by a reader that knows only tensors and plain containers. A
    training checkpoint such as `{"epoch": 3, "state_dict": {...}}` is unwrapped if it contains one dict of tensors.
    The checksum of a storage is compared when its first tensor is read.

    Quantized tensors are read as the stored integers, and sparse ones as dense. Tensors in a tuple or a list are named
    by its key and their index: ``fc._packed_params.0``.

    Args:
        path: The file.
        verify_checksums: Whether to compare the checksums of a zip archive.
        dequantize: Read the float32 values that the integers of quantized tensors represent.

    Attributes:
        inside: The keys that lead to the tensors, joined by dots ("state_dict"); empty if they are at the top.
        skipped: The other values, by their path of keys, with the reason.

    Raises:
        SourceError: The file cannot be read, is damaged, would run code, or does not contain exactly one dict of
        tensors.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "w.pth"
        >>> torch.save({"epoch": 3, "state_dict": {"bias": torch.tensor([1.0, 2.0])}}, path)
        >>> source = TorchSource(path)
        >>> source.inside, source.read("bias").tolist(), source.skipped
        ('state_dict', [1.0, 2.0], {'epoch': 'int'})
    """

    side = "pt"
    format = "PyTorch"

    def __init__(
        self, path: str | os.PathLike[str], *, verify_checksums: bool = True, dequantize: bool = False
    ) -> None:
        self.location = as_location(path)
        storage = open_storage(self.location)
        contents = read_contents(storage, verify_checksums=verify_checksums)
        self._contents: Contents | None = contents
        skipped: dict[str, str] = {}
        self.inside, entries = find_tensors(self.location, contents.content, skipped)
        self._tensors: dict[str, Tensor | Sparse] = {}
        specs: dict[str, TensorSpec] = {}
        self.specs = specs
        # Tied weights are several tensors of one storage.
        budget = max(limits.EXPANDED_FREELY, limits.EXPANDED_GROWTH * len(storage.data))
        for name, tensor in entries.items():
            why = tensor.why
            if why is None and tensor.nbytes > budget:
                why = f"{tensor.nbytes:,} bytes, expanded from a file of {len(storage.data):,}"
            if why is not None:
                skipped[f"{self.inside}.{name}" if self.inside else name] = why
                continue
            budget -= tensor.nbytes
            self._tensors[name] = tensor
            known, _ = DTYPES[tensor.dtype]
            assert known is not None
            specs[name] = TensorSpec(name, tensor.shape, known)
        self.skipped = skipped
        found = quantized(self.location, self._tensors, contents.raw, swap=contents.swapped)
        self._how = found
        self._to_float = found if dequantize else {}
        self.quantized = {} if dequantize else found
        for name in self._to_float:
            specs[name] = TensorSpec(name, specs[name].shape, "float32")

    @property
    def order(self) -> Sequence[str] | None:
        """That of the state dict, which is that of the model."""
        return tuple(self.specs)

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor; not writable."""
        tensor, contents = self._find(name)
        try:
            values = values_of(tensor, contents.raw, swap=contents.swapped)
        except ValueError as error:
            raise SourceError(f"tensor {name!r} cannot be read: {error}", where=self.location) from None
        if name in self._to_float:
            values = dequantized(values, self._to_float[name])
        values.flags.writeable = False
        return values

    def release(self, name: str) -> None:
        """Hint that the tensor is not needed again soon; arrays that were read stay valid."""
        tensor, contents = self._find(name)
        for part in tensor.parts if isinstance(tensor, Sparse) else (tensor,):
            contents.release(part.storage.key)

    def fingerprint(self) -> str:
        """A hash of names, shapes and dtypes, and of the checksum of every storage, or else of 64 bytes of it."""
        digest = hashlib.sha256()
        for name in self.specs:
            tensor, contents = self._find(name)
            digest.update(f"{name!r} {tensor.shape} {self._how.get(name)!r}\n".encode(errors="surrogatepass"))
            for part in tensor.parts if isinstance(tensor, Sparse) else (tensor,):
                # The key of a storage may be its address in the writing process.
                place = (part.dtype, part.shape, part.storage.first, part.offset, part.strides)
                digest.update(f"{place} {part.conjugate} {part.negative}\n".encode())
                digest.update(contents.digest(part.storage.key))
        return digest.hexdigest()[:32]

    def close(self) -> None:
        """Close the file; arrays that were read stay valid."""
        self._contents = None
        self._tensors = {}

    def _find(self, name: str) -> tuple[Tensor | Sparse, Contents]:
        if self._contents is None:
            raise SourceError("the file was closed", where=self.location)
        if name not in self._tensors:
            raise self.no_such_tensor(name, f"{self.inside}.{name}" if self.inside else name)
        return self._tensors[name], self._contents


def quantized(
    where: str, tensors: Mapping[str, Tensor | Sparse], raw: Bytes, *, swap: bool
) -> dict[str, Quantized]:
    """How each quantized tensor represents real numbers, by name.

    Args:
        where: The file, for errors.
        tensors: All tensors of the file.
        raw: Returns the bytes of storages.
        swap: Whether to swap their byte order.

    Raises:
        SourceError: There are too many scales.
    """
    found: dict[str, Quantized] = {}
    left = limits.SCALES
    for name, tensor in tensors.items():
        how = None if isinstance(tensor, Sparse) else tensor.quantizer
        if how is None:
            continue
        if not isinstance(how.scale, Tensor) or not isinstance(how.zero, Tensor):
            assert not isinstance(how.scale, Tensor)
            assert not isinstance(how.zero, Tensor)
            found[name] = Quantized((how.scale,), (how.zero,))
            continue
        left -= how.scale.size
        if left < 0:
            raise SourceError(
                "the quantized tensors of the file have too many scales",
                where=where,
                expected=f"at most {limits.SCALES:,}",
            )
        scales, zeros = (values_of(each, raw, swap=swap) for each in (how.scale, how.zero))
        found[name] = Quantized(
            tuple(map(float, scales)),
            tuple(zeros.tolist()),
            how.axis,
            "affine" if how.scheme in _AFFINE else how.scheme,
        )
    return found


def dequantized(values: np.ndarray, how: Quantized) -> np.ndarray:
    """The float32 values that the integers represent, each rounded once.

    Example:
        >>> dequantized(np.array([[-3, 17]], np.int8), Quantized((0.5,), (-3,))).tolist()
        [[0.0, 10.0]]
        >>> dequantized(np.array([[1, 2], [3, 4]], np.int8), Quantized((1.0, 0.5), (0, 2), axis=1)).tolist()
        [[1.0, 0.0], [3.0, 1.0]]
    """
    shape = [1] * values.ndim
    if how.axis is not None:
        shape[how.axis] = -1
        scales, zeros = (np.array(each, np.float64).reshape(shape) for each in (how.scales, how.zero_points))
    else:
        scales, zeros = np.float64(how.scales[0]), np.float64(how.zero_points[0])
    return ((values - zeros) * scales).astype(np.float32)
