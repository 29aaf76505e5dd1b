"""One entry of a TensorFlow.js manifest: the description of a weight, and how its bytes are decoded.

The rules: tensorflowjs/python/tensorflowjs/read_weights.py and quantization.py, and of `decodeWeights` in
tfjs-core/src/io/io_utils.ts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfpt.formats.source import Quantized
from tfpt.formats.tfjs.shards import Shards
from tfpt.io.limits import TFJS_STRINGS
from tfpt.tensors import TensorSpec, dtype

# The dtypes of the two libraries, and how each is stored: little-endian, one byte for each bool.
_STORED = {
    name: np.dtype(code)
    for name, code in (
        ("float32", "<f4"),
        ("float16", "<f2"),
        ("int32", "<i4"),
        ("uint16", "<u2"),
        ("uint8", "u1"),
        ("bool", "u1"),
        ("complex64", "<c8"),
    )
}
STRING = "string"
_INTEGERS = ("uint8", "uint16")
# numpy before 2.0 supports 32 axes.
_MOST_AXES = 32
_MOST_ELEMENTS = 1 << 48
# Quantized values become float64 temporarily: at most this many at once.
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Affine:
    """Integers that represent ``integer * scale + minimum``."""

    scale: float
    minimum: float

    def described(self) -> Quantized:
        """As reports and plans show it."""
        return Quantized((self.scale,), scheme="minimum", minimums=(self.minimum,))


@dataclass(frozen=True)
class Weight:
    """The description of one weight in a manifest.

    Attributes:
        spec: Its name, shape and dtype, as tensorflowjs returns it.
        stored: The dtype of its bytes.
        affine: How its integers represent real numbers; None if they do not.
        group: What it belongs to according to the writer: ``model``, ``optimizer``, or empty.
        obstacle: Why its values cannot be read, whatever its bytes are; None if they can.
    """

    spec: TensorSpec
    stored: str
    affine: Affine | None = None
    group: str = ""
    obstacle: str | None = None

    @property
    def nbytes(self) -> int | None:
        """Its size in bytes; None for strings and unknown dtypes, where the manifest does not say."""
        held = _STORED.get(self.stored)
        return None if held is None else self.spec.size * held.itemsize

    @property
    def as_stored(self) -> TensorSpec:
        """Its spec if quantized integers are not dequantized."""
        return self.spec if self.affine is None else TensorSpec(self.spec.name, self.spec.shape, self.stored)

    def values(self, raw: npt.NDArray[np.uint8], dequantize: bool) -> npt.NDArray[np.generic]:
        """Its values, decoded from its bytes: a view of them if possible. Not for strings."""
        held = _STORED[self.stored]
        # Weights of all sizes are concatenated without padding.
        aligned = raw.copy() if raw.size and raw.ctypes.data % held.alignment else raw
        values = aligned.view(held).astype(held.newbyteorder("="), copy=False)
        wanted = dtype(self.spec.dtype).numpy
        if self.stored == "bool":
            values = values != 0
        elif self.affine is not None and dequantize:
            values = _real(values, self.affine, np.dtype(wanted))
        elif self.affine is None and self.stored != self.spec.dtype:
            values = values.astype(wanted)
        values = values.reshape(self.spec.shape)
        values.flags.writeable = False
        return values


def read_weight(entry: object) -> Weight:
    """The weight that a manifest entry describes.

    Raises:
        ValueError: The entry is invalid.

    Example:
        >>> entry = {"name": "w", "shape": [2], "dtype": "float32",
        ...     "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1}}
        >>> weight = read_weight(entry)
        >>> str(weight.spec), weight.nbytes, str(weight.affine.described())
        ('w [2] float32', 2, 'scale 0.5, minimum -1')
        >>> weight.values(np.array([0, 3], np.uint8), dequantize=True).tolist()
        [-1.0, 0.5]
    """
    if not isinstance(entry, dict):
        raise ValueError(f"a weight is described by a {type(entry).__name__}, not by an object")
    name, shape, kind = entry.get("name"), entry.get("shape"), entry.get("dtype")
    if not isinstance(name, str) or not name:
        raise ValueError(f"a weight has no name: {str(entry)[:120]}")
    if not _is_shape(shape):
        raise ValueError(f"the shape of {name!r} is invalid: {str(shape)[:120]}")
    if not isinstance(kind, str):
        raise ValueError(f"the dtype of {name!r} is not a string: {str(kind)[:120]}")
    group = entry.get("group")
    group = group if isinstance(group, str) else ""
    known = kind if kind in _STORED or kind == STRING else "float32"
    spec = TensorSpec(name, tuple(shape), known)  # type: ignore[arg-type]
    if kind not in _STORED and kind != STRING:
        return Weight(
            spec, "unknown", None, group, f"its dtype {kind[:40]!r} is not a dtype of TensorFlow.js"
        )
    how = entry.get("quantization")
    if not how:
        return Weight(spec, kind, None, group)
    stored = str(how.get("dtype"))[:40] if isinstance(how, dict) else "unknown"
    if kind == STRING or stored not in ("float16", *_INTEGERS):
        stored = STRING if kind == STRING else "unknown"
        return Weight(spec, stored, None, group, f"its quantization is unknown: {str(how)[:80]}")
    if kind not in (("float32",) if stored == "float16" else ("float32", "int32")):
        return Weight(spec, stored, None, group, f"{kind} cannot be quantized as {stored}")
    if stored == "float16":
        return Weight(spec, stored, None, group)
    affine = _affine(how, stored, kind)
    if affine is None:
        obstacle = f"its scale and minimum do not yield {kind}: {str(how)[:80]}"
        return Weight(spec, stored, None, group, obstacle)
    return Weight(spec, stored, affine, group)


def _is_shape(shape: object) -> bool:
    if not isinstance(shape, list) or len(shape) > _MOST_AXES:
        return False
    if not all(type(size) is int and size >= 0 for size in shape):
        return False
    return math.prod(size or 1 for size in shape) <= _MOST_ELEMENTS


def _affine(how: dict[str, object], stored: str, kind: str) -> Affine | None:
    numbers = []
    for value in (how.get("scale"), how.get("min")):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if (
            isinstance(value, int) and abs(value) > 1 << 128
        ):  # too large for a float32, and possibly for a float64
            return None
        numbers.append(float(value))
    scale, minimum = numbers
    least = float(np.finfo(np.float32).max if kind == "float32" else np.iinfo(np.int32).max)
    ends = (minimum, np.iinfo(stored).max * scale + minimum)
    # False also if one of them is NaN.
    if not all(abs(end) <= least for end in ends) or not math.isfinite(scale):
        return None
    return Affine(scale, minimum)


def _real(integers: npt.NDArray[np.generic], affine: Affine, wanted: np.dtype) -> npt.NDArray[np.generic]:
    """In float64, rounded once, as in both libraries."""
    real = np.empty(integers.size, wanted)
    for begin in range(0, integers.size, _AT_ONCE):
        values = integers[begin : begin + _AT_ONCE].astype(np.float64) * affine.scale + affine.minimum
        real[begin : begin + _AT_ONCE] = np.round(values) if wanted.kind == "i" else values
    return real


# Lengths are read through a window: otherwise each would be a separate read.
_WINDOW = 64 << 10


def end_of_strings(shards: Shards, begin: int, count: int) -> int | None:
    """Where the last of `count` strings from `begin` on ends; None if the bytes end before it.

    Each string follows its length of four bytes, little-endian.

    Raises:
        ValueError: There are more than tfpt reads.
    """
    # Both writers store nothing if there are no strings; tensorflowjs' reader skips four bytes, by mistake.
    if 4 * count > shards.end - begin:
        return None
    if count > TFJS_STRINGS:
        raise ValueError(f"{count:,} strings are more than {TFJS_STRINGS:,}")
    window, start, at = b"", begin, begin
    for _ in range(count):
        if at + 4 > shards.end:
            return None
        if at + 4 > start + len(window):
            to = min(at + _WINDOW, shards.end)
            if shards.lacking(at, to) is not None:
                to = at + 4
                if shards.lacking(at, to) is not None:
                    return None
            window, start = shards.read(at, to).tobytes(), at
        at += 4 + int.from_bytes(window[at - start : at - start + 4], "little")
    return at if at <= shards.end else None


def decode_strings(raw: bytes, count: int) -> list[bytes]:
    """The `count` strings in `raw`, whose size `end_of_strings` found.

    Raises:
        ValueError: Their lengths have changed.

    Example:
        >>> decode_strings(b"\\x02\\0\\0\\0ab\\0\\0\\0\\0", 2)
        [b'ab', b'']
    """
    strings = []
    at = 0
    for _ in range(count):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        strings.append(raw[at + 4 : end])
        at = end
    if at != len(raw):
        raise ValueError("the lengths of the strings changed since the file was opened")
    return strings
