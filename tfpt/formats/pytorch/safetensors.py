"""Reads safetensors files, a tensor at a time."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.source import Source
from tfpt.io.damage import refuse_pointer
from tfpt.io.fingerprints import middle_of, sample_hash
from tfpt.io.limits import SAFETENSORS_HEADER
from tfpt.io.locations import as_location
from tfpt.io.storage import Bytes, Storage, open_storage, samples
from tfpt.tensors import BY_SAFETENSORS, TensorSpec, dtype, format_shape

_METADATA = "__metadata__"
# numpy's own limits.
_MOST_AXES = 64
_MOST_BYTES = 2**63 - 1
# Also matches unsupported dtypes: F4, F6_E2M3, F8_E8M0, and future ones.
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,19}")


class SafetensorsSource(Source):
    """A `tfpt.formats.source.Source` over one safetensors file.

    Attributes:
        metadata: The header's free-form part.
        skipped: Tensors of a dtype that tfpt does not support, by name, with the reason.

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
        """The metadata, one entry a line."""
        return [f"{key}: {value}" for key, value in self.metadata.items()]

    def read(self, name: str) -> np.ndarray:
        """The values of one tensor; not writable."""
        spec, file = self._find(name)
        begin = self._offsets[name]
        held = dtype(spec.dtype).numpy
        assert held is not None
        values = file.data[begin : begin + spec.nbytes]
        # Current writers pad headers to 8 bytes; in other files the data may start anywhere.
        if values.size and values.ctypes.data % held.alignment:
            values = values.copy()
        return values.view(held).reshape(spec.shape)

    def release(self, name: str) -> None:
        """Hint that the tensor is not needed again soon; arrays that were read stay valid."""
        spec, file = self._find(name)
        file.release(self._offsets[name], spec.nbytes)

    def fingerprint(self) -> str:
        """A hash of the header's content and of 64 bytes of every tensor (`tfpt.io.fingerprints`)."""
        spans = []
        for name, spec in self.specs.items():
            begin, size = middle_of(spec.nbytes)
            spans.append((self._offsets[name] + begin, self._offsets[name] + begin + size))
        if self._file is None:
            raise SourceError("the file was closed", where=self.location)
        found = dict(zip(self.specs, samples(self._file, spans), strict=True))
        return sample_hash(self.specs.values(), lambda name: np.frombuffer(found[name], np.uint8))

    def close(self) -> None:
        """Close the file. Arrays that were read stay valid."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _find(self, name: str) -> tuple[TensorSpec, Storage]:
        if self._file is None:
            raise SourceError("the file was closed", where=self.location)
        if name not in self.specs:
            raise self.no_such_tensor(name)
        return self.specs[name], self._file


@dataclass(frozen=True)
class Header:
    """The content of a header.

    Attributes:
        metadata: The free-form part; empty where there is none.
        specs: The tensors by name, in the order of their data.
        offsets: The position of the values of each in the file.
        skipped: Tensors of a dtype that tfpt cannot hold, by name, with the reason.
    """

    metadata: Mapping[str, str]
    specs: Mapping[str, TensorSpec]
    offsets: Mapping[str, int]
    skipped: Mapping[str, str]


def parse(location: str, data: Bytes) -> Header:
    """The header of the file whose bytes are `data` (uint8).

    Raises:
        SourceError: It is not a header, or does not fit the file.

    Example:
        >>> import numpy as np
        >>> text = b'{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}'
        >>> header = parse("f", np.frombuffer(len(text).to_bytes(8, "little") + text + b"xy", np.uint8))
        >>> header.specs["a"].shape, header.offsets["a"] == 8 + len(text)
        ((2,), True)
    """
    entries, start = _read_json(location, data)
    metadata = _metadata(location, entries.pop(_METADATA, {}))
    rows = sorted((_entry(location, name, entry) for name, entry in entries.items()), key=lambda row: row[:2])
    specs: dict[str, TensorSpec] = {}
    offsets: dict[str, int] = {}
    skipped: dict[str, str] = {}
    reached = 0
    for begin, end, name, spec in rows:
        if begin != reached:
            what = (
                f"{name!r} overlaps the tensor before it"
                if begin < reached
                else f"there is a gap before {name!r}"
            )
            raise _damaged(location, what, f"data that begins at {reached:,}", f"{begin:,}")
        reached = end
        if isinstance(spec, str):
            skipped[name] = spec
        else:
            specs[name] = spec
            offsets[name] = start + begin
    if start + reached != len(data):
        what = (
            "the file is cut off" if start + reached > len(data) else "bytes are left after the last tensor"
        )
        raise _damaged(location, what, f"{start + reached:,} bytes", f"{len(data):,} bytes")
    return Header(metadata, specs, offsets, skipped)


def _read_json(location: str, data: Bytes) -> tuple[dict[str, object], int]:
    """The header's object, and where the data begins."""
    refuse_pointer(data, location)
    if len(data) < 8:
        raise _damaged(location, "there is no header", "8 bytes of its length", f"{len(data)} bytes")
    length = int.from_bytes(bytes(data[:8]), "little")
    if length > SAFETENSORS_HEADER:
        raise _damaged(
            location, "the header is too long", f"at most {SAFETENSORS_HEADER:,} bytes", f"{length:,} bytes"
        )
    if length > len(data) - 8:
        raise _damaged(
            location, "the header is longer than the file", f"{length:,} bytes", f"{len(data) - 8:,} bytes"
        )
    try:
        text = bytes(data[8 : 8 + length]).decode()
        if not text.startswith("{"):
            raise _damaged(location, "the header is not a JSON object", "{", repr(text[:20]))
        entries = json.loads(text, object_pairs_hook=_without_duplicates)
    except UnicodeDecodeError as error:
        raise _damaged(location, "the header is not UTF-8", got=str(error)) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(location, "the header is not JSON", got=str(error)) from None
    return entries, 8 + length


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {twice[:200]!r}")
    return found


def _metadata(location: str, entry: object) -> dict[str, str]:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise _damaged(location, f"{_METADATA} is not a map of strings", got=repr(entry)[:80])
    return entry


def _entry(location: str, name: str, entry: object) -> tuple[int, int, str, TensorSpec | str]:
    """Where the data of one tensor begins and ends, its name, and its spec, or why it is skipped."""
    keys = {"dtype", "shape", "data_offsets"}
    if not isinstance(entry, dict) or set(entry) != keys:
        raise _damaged(
            location, f"the entry of {name!r} is malformed", ", ".join(sorted(keys)), repr(entry)[:80]
        )
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise _damaged(
            location, f"{name!r} has no valid dtype", ", ".join(map(str, BY_SAFETENSORS)), repr(code)[:80]
        )
    if not _are_counts(shape) or len(shape) > _MOST_AXES:
        raise _damaged(
            location, f"{name!r} has no valid shape", f"up to {_MOST_AXES} sizes", repr(shape)[:80]
        )
    if not _are_counts(offsets) or len(offsets) != 2:
        raise _damaged(location, f"{name!r} has no valid offsets", "[begin, end]", repr(offsets)[:80])
    begin, end = offsets
    if code not in BY_SAFETENSORS:
        if end < begin:
            raise _damaged(location, f"{name!r} ends before it begins", "[begin, end]", repr(offsets)[:80])
        return begin, end, name, f"dtype {code}"
    held = BY_SAFETENSORS[code]
    spec = TensorSpec(name, tuple(shape), held.name)
    if math.prod(filter(None, shape)) * held.itemsize > _MOST_BYTES:
        raise _damaged(
            location, f"{name!r} is too large", f"at most {_MOST_BYTES:,} bytes", format_shape(spec.shape)
        )
    if end - begin != spec.nbytes:
        expected = f"{spec.nbytes:,} bytes for {format_shape(spec.shape)} {held.name}"
        raise _damaged(location, f"{name!r} has data of the wrong size", expected, f"{end - begin:,} bytes")
    return begin, end, name, spec


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _damaged(location: str, what: str, expected: str | None = None, got: str | None = None) -> SourceError:
    return SourceError(f"not a valid safetensors file: {what}", where=location, expected=expected, got=got)
