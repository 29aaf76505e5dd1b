"""Tensors in torch files: views of storages, sparse and quantized tensors, and their values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.tensors import DTYPES as KNOWN

# numpy's own limit.
AXES = 64
_LARGEST = 2**63 - 1

# torch's element types, the name of tfpt's dtype for each, and bytes of an element; torch/storage.py has the names of
# the storages. Quantized elements are read as integers.
DTYPES: dict[str, tuple[str | None, int]] = {
    known.torch: (known.name, known.itemsize) for known in KNOWN.values() if known.torch is not None
}
DTYPES |= {"qint8": ("int8", 1), "quint8": ("uint8", 1), "qint32": ("int32", 4)}
DTYPES |= {"complex32": (None, 4), "float8_e8m0fnu": (None, 1), "float4_e2m1fn_x2": (None, 1)}
DTYPES |= dict.fromkeys(("quint4x2", "quint2x4", "bits1x8", "bits2x4", "bits4x2", "bits8"), (None, 1))
DTYPES |= {"bits16": (None, 2)} | {
    f"{sign}int{bits}": (None, 1) for sign in ("", "u") for bits in range(1, 8)
}
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}


@dataclass(frozen=True)
class StorageRef:
    """A storage in the file, or a part of it.

    Attributes:
        key: Its name in the file.
        dtype: torch's name of their elements.
        first: The first element of the part.
        size: The number of elements of the part.
    """

    key: str
    dtype: str
    first: int
    size: int

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return DTYPES[self.dtype][1]

    @property
    def nbytes(self) -> int:
        """The size of the part in bytes."""
        return self.size * self.itemsize


@dataclass(frozen=True)
class Quantizer:
    """How the integers of a quantized tensor represent real numbers.

    Attributes:
        scheme: torch's name of the scheme.
        scale: For the tensor, or a tensor of one for each index of `axis`.
        zero: The integer that represents 0, or a tensor of them.
        axis: None if there is one pair for the whole tensor.
    """

    scheme: str
    scale: float | Tensor
    zero: int | Tensor
    axis: int | None = None


@dataclass(frozen=True)
class Nameless:
    """A tensor that cannot be an array, and why."""

    why: str


@dataclass(frozen=True)
class Tensor:
    """A view of a storage.

    Attributes:
        dtype: torch's name of the elements.
        shape: The sizes of the axes.
        storage: The storage of the elements.
        offset: The first element, counted from the start of the storage.
        strides: Elements from one index of an axis to the next.
        conjugate: Whether the values are the conjugates of those that are stored.
        negative: Whether they are the negatives.
        quantizer: How the integers of a quantized tensor represent real numbers.
    """

    dtype: str
    shape: tuple[int, ...]
    storage: StorageRef
    offset: int
    strides: tuple[int, ...]
    conjugate: bool = False
    negative: bool = False
    quantizer: Quantizer | None = None

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return DTYPES[self.dtype][1]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the contiguous values."""
        return self.size * self.itemsize

    @property
    def end(self) -> int:
        """The end of the tensor, in elements from the start of the storage; 0 for an empty one."""
        if 0 in self.shape:
            return 0
        return 1 + self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))

    @property
    def why(self) -> str | None:
        """Why it cannot be read; None where it can."""
        if DTYPES[self.dtype][0] is None:
            return f"dtype torch.{self.dtype}"
        return None if self.nbytes <= _LARGEST else "more than 2**63 bytes"


@dataclass(frozen=True)
class Sparse:
    """A sparse tensor.

    Attributes:
        layout: torch's name of the layout.
        parts: Indices and values (COO); compressed indices, plain indices and values (CSR, CSC).
        shape: The sizes of the axes.
    """

    layout: str
    parts: tuple[Tensor, ...]
    shape: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """torch's name of the elements."""
        return self.parts[-1].dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the dense values and of the stored parts."""
        return math.prod(self.shape) * self.parts[-1].itemsize + sum(part.nbytes for part in self.parts)

    @property
    def why(self) -> str | None:
        """Why it cannot be read; None where it can."""
        readable = self.layout == "torch.sparse_coo" or (
            self.layout in ("torch.sparse_csr", "torch.sparse_csc") and len(self.shape) == 2
        )
        if not readable:
            return f"{self.layout} tensor"
        if self.nbytes > _LARGEST:
            return "more than 2**63 bytes"
        return next((part.why for part in self.parts if part.why), None)


# Returns bytes of a storage: its key, the first byte, their number.
Bytes = Callable[[str, int, int], npt.NDArray[np.uint8]]


def values_of(tensor: Tensor | Sparse, raw: Bytes, *, swap: bool = False) -> np.ndarray:
    """The values, C-contiguous and in native byte order: a view if possible.

    Args:
        tensor: One whose `why` is None.
        raw: Returns the bytes.
        swap: Whether to swap their byte order.

    Raises:
        ValueError: Indices of a sparse tensor are out of range.
    """
    if isinstance(tensor, Sparse):
        return _dense(tensor, [values_of(part, raw, swap=swap) for part in tensor.parts])
    held = _held(tensor.dtype)
    if not tensor.size:
        return np.zeros(tensor.shape, held)
    # Only the bytes from the first element to the last.
    start, count = tensor.offset, tensor.end - tensor.offset
    first = tensor.storage.first * tensor.storage.itemsize + start * tensor.itemsize
    found = raw(tensor.storage.key, first, count * tensor.itemsize)
    if found.ctypes.data % held.alignment:
        found = found.copy()
    if swap:
        half = held.itemsize // 2 if held.kind == "c" else held.itemsize
        found = found.view(f"u{half}").byteswap().view(np.uint8)
    strides = tuple(step * held.itemsize for step in tensor.strides)
    values = np.ndarray(tensor.shape, held, found, strides=strides)
    values = np.ascontiguousarray(values).reshape(tensor.shape)
    if tensor.conjugate:
        values = np.asarray(np.conj(values))
    return np.asarray(np.negative(values)) if tensor.negative else values


def _held(word: str) -> np.dtype:
    name = DTYPES[word][0]
    assert name is not None
    held = KNOWN[name].numpy
    assert held is not None
    return held


def _dense(tensor: Sparse, parts: list[np.ndarray]) -> np.ndarray:
    values, shape = parts[-1], tensor.shape
    if tensor.layout == "torch.sparse_coo":
        places = parts[0]
        if places.ndim != 2 or values.shape != (places.shape[1], *shape[places.shape[0] :]):
            raise ValueError("the indices of a sparse tensor do not fit its values")
        axes = tuple(places)
    else:
        starts, plain = parts[0], parts[1]
        rows = shape[0] if tensor.layout == "torch.sparse_csr" else shape[1]
        fits = starts.shape == (rows + 1,) and plain.shape == values.shape == (len(plain.reshape(-1)),)
        if not fits or starts[0] != 0 or starts[-1] != len(plain) or (np.diff(starts) < 0).any():
            raise ValueError("the indices of a sparse tensor do not fit its values")
        compressed = np.repeat(np.arange(rows), np.diff(starts))
        axes = (compressed, plain) if tensor.layout == "torch.sparse_csr" else (plain, compressed)
    for axis, size in zip(axes, shape, strict=False):
        if axis.size and not 0 <= int(axis.min()) <= int(axis.max()) < size:
            raise ValueError("an index of a sparse tensor is out of range")
    dense = np.zeros(shape, values.dtype)
    if not axes:
        dense[...] = values.sum(0) if len(values) else 0
        return dense
    flat = np.ravel_multi_index(axes, shape[: len(axes)]) if len(values) else np.zeros(0, np.int64)
    if len(np.unique(flat)) == len(flat):
        dense[axes] = values
        return dense
    # Values of duplicate indices are added; types of 8 and 16 bits in a larger type.
    sums = dense.astype(np.result_type(values.dtype, np.float32)) if values.dtype.kind in "Vf" else dense
    np.add.at(sums, axes, values.astype(sums.dtype))
    return sums.astype(values.dtype)
