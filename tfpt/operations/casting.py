"""Casts between dtypes: rounded once, to the nearest value; values that the new dtype cannot represent are counted.

numpy and ml_dtypes round float64 twice on the way to bfloat16 or float8 (via float32), silently turn 1e5 into infinity
or NaN, and wrap integers around. `cast` rounds once, and `loss` reports the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import numpy.typing as npt

from tfpt.tensors import BY_NUMPY, dtype, is_exact

# Values processed at a time, so that intermediate results stay in the cache.
_CHUNK = 1 << 18

# A long double with at least 64 bits of mantissa represents every integer and every float64.
_LONG = np.finfo(np.longdouble).nmant >= 63
# From narrowest to widest; the first that represents every value is used.
_CARRIERS = (np.float32, np.float64, np.int64, np.uint64, *((np.longdouble,) if _LONG else ()))
_COMPLEX_CARRIERS = (np.complex64, np.complex128, *((np.clongdouble,) if _LONG else ()))


@dataclass(frozen=True)
class Loss:
    """Values that a dtype cannot represent.

    Attributes:
        count: How many.
        largest: The one furthest from 0, as text.
    """

    count: int
    largest: str


def cast(values: np.ndarray, held: np.dtype) -> np.ndarray:
    """The values in another dtype, rounded once: to nearest, ties to even.

    Floats are truncated to integers; a real dtype keeps the real part of complex numbers. The memory order is kept.
    The result for values out of range depends on the machine: see `loss`.

    Example:
        >>> wide = np.array([1.00390625 + 2**-40])  # a little more than halfway between two values of bfloat16
        >>> float(cast(wide, np.dtype(ml_dtypes.bfloat16))[0]), float(wide.astype(ml_dtypes.bfloat16)[0])
        (1.0078125, 1.0)
    """
    if values.dtype == held:
        return values
    with np.errstate(all="ignore"):
        if _is_complex(values.dtype) and not _is_complex(held):
            values = values.real
        if held.kind in "iub" and values.dtype.kind == "V" and not _is_whole(values.dtype):
            values = values.astype(np.float32)
        if _is_narrow(held):
            values = _in_float32(values)
        return values.astype(held, order="K", copy=False)


def loss(before: np.ndarray, after: np.ndarray) -> Loss | None:
    """The values of `before` that the dtype of `after` cannot represent; `after` is ``cast(before, after.dtype)``.

    Rounding does not count: 0.1 in float16, or 0.7 truncated to 0 in an integer. What counts: finite values that became
    infinite or NaN, infinities that became NaN, values out of an integer's range, for bool all but 0 and 1, and for
    real dtypes numbers with an imaginary part.

    Example:
        >>> before = np.float32([1e5, -2e5, 3])
        >>> loss(before, cast(before, np.dtype(np.float16)))
        Loss(count=2, largest='-200000.0')
        >>> loss(before, cast(before, np.dtype(np.int32))) is None
        True
    """
    if before.dtype == after.dtype or _holds_all(before.dtype, after.dtype):
        return None
    if _is_float(after.dtype) and not _is_complex(before.dtype) and not _any_unlike_numbers(after):
        return None
    count, largest = 0, None
    for first, second in _chunks(before, after):
        lost = _lost(first, second)
        number = int(np.count_nonzero(lost))
        if not number:
            continue
        count += number
        found = first[lost]
        sizes = np.abs(_wide(found))
        sizes[np.isnan(sizes)] = math.inf
        place = int(np.argmax(sizes))
        if largest is None or sizes[place] > largest[0]:
            largest = (sizes[place], str(found[place]))
    return None if largest is None else Loss(count, largest[1])


def holds(name: str, value: bool | int | float) -> bool:
    """Whether a dtype can represent a constant; it may be rounded, as long as it stays finite.

    Example:
        >>> holds("float16", 0.1), holds("float16", 1e5), holds("uint8", -1), holds("int64", 0.5), holds("bool", 1)
        (True, False, False, False, True)
    """
    held = dtype(name).numpy
    if held is None or held.kind == "O":
        return False
    if held.kind == "b":
        return value in (0, 1)
    if not _is_float(held):
        limits = ml_dtypes.iinfo(held)  # type: ignore[no-untyped-call]
        whole = isinstance(value, int) or (math.isfinite(value) and value == int(value))
        return bool(whole and limits.min <= int(value) <= limits.max)
    before = np.array([_as_float(value)])
    if np.isinf(before) and isinstance(value, int):
        return False
    return loss(before, cast(before, held)) is None


def constant(value: bool | int | float, held: np.dtype) -> np.ndarray:
    """The constant in a dtype that can represent it, as an array without axes.

    Example:
        >>> constant(2**63 - 1, np.dtype(np.int64)), constant(0.1, np.dtype(np.float16))
        (array(9223372036854775807), array(0.1, dtype=float16))
    """
    if held.kind in "iub" or _is_long(held):
        return np.array(value if held.kind not in "iu" else int(value), held)
    return cast(np.array([_as_float(value)]), held).reshape(())


def carrier(dtypes: Iterable[np.dtype], constants: Iterable[float] = ()) -> np.dtype | None:
    """A dtype that represents every value of several dtypes, and some constants, exactly; None if none does.

    Example:
        >>> bfloat16, float16 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16)
        >>> carrier([bfloat16]), carrier([bfloat16, float16]), carrier([float16, np.dtype(np.int32)])
        (dtype(bfloat16), dtype('float32'), dtype('float64'))
    """
    wanted, numbers = list(dict.fromkeys(dtypes)), list(constants)
    if len(wanted) == 1 and not numbers:
        return wanted[0]
    general = _COMPLEX_CARRIERS if any(map(_is_complex, wanted)) else _CARRIERS
    for candidate in (*wanted, *map(np.dtype, general)):
        if all(_holds_all(one, candidate) for one in wanted) and all(
            _is_value(number, candidate) for number in numbers
        ):
            return candidate
    return None


def computing(dtypes: Iterable[np.dtype]) -> np.dtype:
    """The dtype in which values of these dtypes are scaled and added to: float64, or complex128."""
    return np.dtype(np.complex128 if any(map(_is_complex, dtypes)) else np.float64)


def _is_complex(held: np.dtype) -> bool:
    return held.kind == "c"


def _is_whole(held: np.dtype) -> bool:
    return held.kind in "iu" or (held.kind == "V" and "int" in held.name)


def _is_float(held: np.dtype) -> bool:
    return held.kind in "fc" or (held.kind == "V" and not _is_whole(held))


def _is_narrow(held: np.dtype) -> bool:
    return _is_float(held) and held.itemsize < 4


def _is_long(held: np.dtype) -> bool:
    return held in (np.dtype(np.longdouble), np.dtype(np.clongdouble)) and held not in BY_NUMPY


def _holds_all(source: np.dtype, target: np.dtype) -> bool:
    if source == target or _is_long(target):
        return source == target or _is_complex(target) or not _is_complex(source)
    if _is_long(source) or not {source, target} <= BY_NUMPY.keys():
        return False
    return is_exact(BY_NUMPY[source].name, BY_NUMPY[target].name)


def _is_value(number: float, held: np.dtype) -> bool:
    """Whether a dtype represents this number exactly."""
    if _is_long(held):
        return True
    if not holds(BY_NUMPY[held].name, number):
        return False
    there = constant(number, held)
    # Python compares integers with floats exactly.
    same = there.item() if held.kind in "iub" else there.real.astype(np.float64).item()
    return bool(same == number) or math.isnan(number)


def _as_float(value: bool | int | float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond float64
        return math.inf if value > 0 else -math.inf


def _in_float32(values: np.ndarray) -> np.ndarray:
    """The values in float32, rounded so that rounding them again, to fewer bits, gives the nearest value.

    Rounding to odd: a value that float32 cannot represent becomes the one of its two neighbors whose last bit is set.
    S. Boldo and G. Melquiond, Emulation of FMA and correctly rounded sums, IEEE Trans. Computers 57 (2008).
    """
    if values.dtype == np.float32 or _is_narrow(values.dtype) or values.dtype.kind == "b":
        return values.astype(np.float32, order="K", copy=False)
    if values.dtype.itemsize < 4:  # integers of up to 16 bits are exact in float32
        return values.astype(np.float32, order="K")
    if values.dtype.kind in "iu":
        values = _to_odd_float64(values)
    elif _is_long(values.dtype):
        values = _to_odd(values, np.dtype(np.float64))
    return _to_odd(values, np.dtype(np.float32))


def _to_odd(values: np.ndarray, held: np.dtype) -> np.ndarray:
    rounded = values.astype(held, order="K")
    back = rounded.astype(values.dtype, order="K")
    even = (rounded.view(f"u{held.itemsize}") & 1) == 0
    wrong = even & (back != values) & np.isfinite(rounded)
    if wrong.any():
        toward = np.where(back < values, np.inf, -np.inf).astype(held)
        np.nextafter(rounded, toward, out=rounded, where=wrong)
    return rounded


def _to_odd_float64(integers: np.ndarray) -> np.ndarray:
    if integers.dtype.itemsize < 8:
        return integers.astype(np.float64, order="K")
    negative = integers < 0
    # The smallest int64 cannot be negated: its bits, read as unsigned, are its absolute value.
    size = np.where(negative, -integers, integers).astype(np.uint64)
    odd = ((size >> np.uint64(11)) | ((size & np.uint64(0x7FF)) != 0)) << np.uint64(11)
    floats = np.where(size < 1 << 53, size, odd).astype(np.float64)
    return np.where(negative, -floats, floats)


def _any_unlike_numbers(values: np.ndarray) -> bool:
    """Whether any value is infinite or NaN."""
    flat = values.ravel("K")
    if values.dtype.itemsize == 1:
        table = ~_finite(np.arange(256, dtype=np.uint8).view(values.dtype))
        return any(bool(table[part.view(np.uint8)].any()) for part in _parts(flat))
    if values.dtype.itemsize == 2:
        exponent = np.array([np.inf], np.float32).astype(values.dtype).view(np.uint16)[0]
        return any(bool(((part.view(np.uint16) & exponent) == exponent).any()) for part in _parts(flat))
    return any(not bool(np.isfinite(part).all()) for part in _parts(flat))


def _finite(values: np.ndarray) -> np.ndarray:
    finite: np.ndarray = np.isfinite(values.astype(np.float32) if values.dtype.kind == "V" else values)
    return finite


def _parts(flat: np.ndarray) -> Iterable[np.ndarray]:
    return (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))


def _chunks(first: np.ndarray, second: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    return zip(_parts(first.reshape(-1)), _parts(second.reshape(-1)), strict=True)


def _wide(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        return values.astype(np.longdouble)
    wide = np.complex128 if _is_complex(values.dtype) else np.float64
    return values if _is_long(values.dtype) else values.astype(wide)


def _lost(before: np.ndarray, after: np.ndarray) -> npt.NDArray[np.bool_]:
    """Where the dtype of `after` cannot represent a value of `before`."""
    held = after.dtype
    with np.errstate(all="ignore"):
        lost = np.zeros(before.shape, bool)
        if _is_complex(before.dtype) and not _is_complex(held):
            lost |= before.imag != 0
            before = before.real
        if _is_float(held) and _is_float(before.dtype):
            lost |= _finite(before) & ~_finite(after)
            lost |= ~np.isnan(_wide(before)) & np.isnan(_wide(after))
        elif _is_float(held):
            lost |= ~_finite(after)
        elif held.kind == "b":
            lost |= ~np.isin(_wide(before), (0, 1))
        else:
            lost |= _out_of_range(before, held)
    return lost


def _out_of_range(before: np.ndarray, held: np.dtype) -> np.ndarray:
    limits = ml_dtypes.iinfo(held)  # type: ignore[no-untyped-call]
    if before.dtype.kind in "iu":
        return (before < limits.min) | (before > limits.max)
    whole = np.trunc(_wide(before))
    # float64 cannot represent 2**63 - 1: whatever is below its successor is in range.
    within: np.ndarray = (whole >= float(limits.min)) & (whole < float(limits.max + 1))
    return ~within
