"""Reads the constants of TensorFlow Lite models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tfpt.errors import SourceError
from tfpt.formats.source import Role, Source
from tfpt.formats.tflite.schema import PACKED, Constant, read_model, read_use
from tfpt.formats.tflite.sparsity import stored_count
from tfpt.io.cached_blocks import View, view_of
from tfpt.io.fingerprints import fingerprint_of
from tfpt.io.locations import as_location
from tfpt.io.storage import Storage, open_storage
from tfpt.tensors import TensorSpec, dtype

# The dtypes of shapes, axes and vocabularies; weights have them only if they are quantized.
_OF_CONSTANTS = ("int32", "int64", "string", "bool", "resource", "variant")


class TfliteSource(Source):
    """A `tfpt.formats.source.Source` over a TensorFlow Lite model.

    Its tensors are those with values in the file, under their names there; those of other subgraphs (`while` bodies,
    other signatures) are below the subgraph's name, and a second tensor of the same name is ``name#2``.

    Args:
        location: The file.
        dequantize: Whether quantized tensors are listed and read as float32 numbers, rather than as the stored
            integers.

    Attributes:
        description: The writer's description of the model.
        metadata_names: The names of the model's metadata.
        sizes: Bytes in the file of each constant of strings.

    Raises:
        SourceError: The file cannot be read, or is damaged.
    """

    format = "TensorFlow Lite model"

    def __init__(self, location: str, dequantize: bool = False) -> None:
        self.location = as_location(location)
        self._storage: Storage | None = open_storage(self.location)
        self._view: View | None = view_of(self._storage)
        model = read_model(self.location, self._view)
        self.description = model.description
        self.metadata_names = model.metadata
        self._constants = model.constants
        self._places = model.places
        self._dequantize = dequantize
        self.quantized = MappingProxyType(
            {
                name: constant.quantization.described()
                for name, constant in model.constants.items()
                if constant.quantization is not None and not dequantize
            }
        )
        roles: dict[str, Role] = {}
        specs: dict[str, TensorSpec] = {}
        for name, constant in model.constants.items():
            spec = constant.spec
            if spec.dtype in _OF_CONSTANTS and constant.quantization is None:
                roles[name] = "constant"
            is_real = dequantize and constant.quantization is not None
            specs[name] = TensorSpec(name, spec.shape, "float32") if is_real else spec
        self.sizes = {
            name: constant.size
            for name, constant in model.constants.items()
            if constant.spec.dtype == "string"
        }
        self._unavailable = {
            name: reason for name, constant in model.constants.items() if (reason := self._obstacle(constant))
        }
        self.specs = MappingProxyType(specs)
        self.roles = MappingProxyType(roles)

    @property
    def order(self) -> Sequence[str] | None:
        """That in which operators read them; the converter's own order has nothing to do with the network."""
        if self._view is None:
            return None
        try:
            used = {place: number for number, place in enumerate(read_use(self.location, self._view))}
        except SourceError:  # the tensors can be read without the operators
            return None
        return sorted(self.specs, key=lambda name: used.get(self._places[name], len(used)))

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Listed tensors that cannot be read, each with the reason."""
        return self._unavailable

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor; read-only.

        Raises:
            SourceError: There is no such tensor, its values are in another file, or dequantizing was requested and they
                are quantized in blocks, or by scales that do not fit.
        """
        constant = self._constant(name)
        if (obstacle := self._obstacle(constant)) is not None:
            raise SourceError(
                f"tensor {name!r} cannot be read: {obstacle}",
                where=self.location,
                expected="values in the file, and one scale for the tensor or for each index of an axis",
                hint="open it with dequantize=False to get the integers"
                if constant.obstacle is None
                else "convert the model again without external weights",
            )
        try:
            values = self._decoded(constant, self._bytes(constant))
        except ValueError as error:
            what = f"not a valid TensorFlow Lite model: of tensor {name!r} {error}"
            raise SourceError(what, where=f"{self.location}, byte {constant.begin}") from None
        if self._dequantize and constant.quantization is not None:
            values = constant.quantization.real(integers(values))
        values.flags.writeable = False
        return values

    def _obstacle(self, constant: Constant) -> str | None:
        """Why a tensor cannot be read; None if it can."""
        rule = constant.quantization
        if constant.obstacle is not None or rule is None or not self._dequantize:
            return constant.obstacle
        if rule.scheme != "affine":
            return f"it cannot be dequantized: {rule.scheme} quantization"
        return (
            None
            if rule.problem is None
            else f"it cannot be dequantized: its scales do not fit, {rule.problem}"
        )

    def _decoded(self, constant: Constant, raw: npt.NDArray[np.uint8]) -> np.ndarray:
        if constant.sparsity is None:
            return decode(raw, constant.spec)
        count = stored_count(len(raw), constant.spec)
        stored = decode(raw, TensorSpec(constant.spec.name, (count,), constant.spec.dtype))
        return constant.sparsity.dense(stored, constant.spec.shape)

    def release(self, name: str) -> None:
        """Say that the tensor will not be needed again soon; its arrays stay valid."""
        constant = self._constant(name)
        if self._storage is not None:
            self._storage.release(constant.begin, constant.size)

    def fingerprint(self) -> str:
        """A hash of the file, without the middle of tensors of more than 256 KB."""
        if self._view is None:
            raise SourceError("the file was closed", where=self.location)
        spans = {(each.begin, each.begin + each.size) for each in self._constants.values()}
        return fingerprint_of(self._view, spans, "dequantized" if self._dequantize else "")

    def close(self) -> None:
        """Close the file. Arrays that were read stay valid."""
        if self._storage is not None:
            self._storage.close()
        self._storage = self._view = None

    def _constant(self, name: str) -> Constant:
        if self._storage is None:
            raise SourceError("the file was closed", where=self.location)
        if name not in self._constants:
            raise self.no_such_tensor(name)
        return self._constants[name]

    def _bytes(self, constant: Constant) -> npt.NDArray[np.uint8]:
        if self._storage is None:
            raise SourceError("the file was closed", where=self.location)
        return self._storage.data[constant.begin : constant.begin + constant.size]


def decode(raw: npt.NDArray[np.uint8], spec: TensorSpec) -> np.ndarray:
    """The values: C-contiguous, native byte order, read-only; a view of `raw` if it is aligned.

    Args:
        raw: As many bytes as the tensor takes.
        spec: Its shape and dtype. Strings are `bytes` in an array of objects.

    Raises:
        ValueError: The lengths of strings do not fit the bytes.

    Example:
        >>> decode(np.array([0x2F, 0x07], np.uint8), TensorSpec("w", (3,), "int4")).tolist()
        [-1, 2, 7]
    """
    held = dtype(spec.dtype).numpy
    assert held is not None
    if spec.dtype == "string":
        values = _strings(raw.tobytes(), spec.size)
    elif spec.dtype in PACKED:
        values = _unpacked(raw, PACKED[spec.dtype], spec.size, spec.dtype.startswith("u")).astype(held)
    else:
        aligned = raw.copy() if raw.size and raw.ctypes.data % held.alignment else raw
        stored = aligned.view(held.newbyteorder("<") if held.kind in "iufc" else held)
        values = stored.astype(held, copy=False)
    values = values.reshape(spec.shape)
    values.flags.writeable = False
    return values


def integers(values: np.ndarray) -> np.ndarray:
    """Integers of four and two bits as bytes, so that numpy can compute with them; others unchanged."""
    small = (ml_dtypes.int4, ml_dtypes.int2)
    if values.dtype in map(np.dtype, small):
        return values.astype(np.int8)
    return values.astype(np.uint8) if values.dtype == np.dtype(ml_dtypes.uint4) else values


def _unpacked(raw: npt.NDArray[np.uint8], bits: int, size: int, is_unsigned: bool) -> np.ndarray:
    """One element per byte; the first one is in the lowest bits (UnpackDenseInt4IntoInt8 in TensorFlow Lite)."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = ((raw[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:size]
    if is_unsigned:
        return fields
    # The highest bit is the sign: shifted to the top of the byte and back.
    return (fields << (8 - bits)).view(np.int8) >> (8 - bits)


def _strings(raw: bytes, size: int) -> np.ndarray:
    """Layout: their number, where each starts, where the last ends (int32 each), the bytes (lite/string_util.h)."""
    if len(raw) < 4 or int.from_bytes(raw[:4], "little") != size or len(raw) < 4 * (size + 2):
        raise ValueError(f"{size:,} strings do not fit its {len(raw):,} bytes")
    places = np.frombuffer(raw, "<i4", size + 1, 4).tolist()
    found = np.empty(size, np.object_)
    for index, (begin, end) in enumerate(pairwise(places)):
        if not 4 * (size + 2) <= begin <= end <= len(raw):
            raise ValueError(f"string {index} is outside its bytes")
        found[index] = raw[begin:end]
    return found
