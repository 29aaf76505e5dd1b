"""Comparison of two sets of tensors: through a mapping, or name by name."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tfpt.checking.histograms import Histogram, histogram
from tfpt.errors import TfptError
from tfpt.execution.jobs import prepare
from tfpt.execution.translate import values_of
from tfpt.formats import Source, open_source
from tfpt.nearest import nearest
from tfpt.planning import Finding, Keep, Plan
from tfpt.tensors import TensorSpec, format_shape

# Values compared at a time: keeps a comparison, in float64 and with temporaries, under about 50 MB.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class TensorDiff:
    """How much two tensors of the same name and shape differ.

    Attributes:
        name: The parameter, or the variable.
        spec: Its shape and dtype on the left side.
        max_abs: The largest absolute difference; infinite where only one side is NaN or infinite.
        mean_abs: The mean absolute difference.
        relative: `max_abs` relative to the largest finite absolute value of the left side.
        cosine: The cosine of the angle between the two, as vectors of their finite values; 1 if both are all zero.
        equal: Whether all values are the same numbers; 0 equals -0, and NaN equals NaN.
        identical: Whether all values are bit-identical and of the same dtype.
        zero_signs: How many positions have 0 on one side and -0 on the other.
        nan_bits: How many positions have NaNs of different bits.
        work: What the mapping did to the left side before the comparison.
        histogram: The values of both sides, if that was asked for.
    """

    name: str
    spec: TensorSpec
    max_abs: float
    mean_abs: float
    relative: float
    cosine: float
    equal: bool
    identical: bool
    zero_signs: int = 0
    nan_bits: int = 0
    work: str = ""
    histogram: Histogram | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "shape": list(self.spec.shape),
            "dtype": self.spec.dtype,
            "max_abs": _number(self.max_abs),
            "mean_abs": _number(self.mean_abs),
            "relative": _number(self.relative),
            "cosine": _number(self.cosine),
            "equal": self.equal,
            "identical": self.identical,
            "zero_signs": self.zero_signs,
            "nan_bits": self.nan_bits,
            "work": self.work,
        }


@dataclass(frozen=True)
class Diff:
    """What differs between two sides.

    Attributes:
        left, right: What was compared, as the user named it; `right` is empty if no values were compared.
        findings: Names, shapes and dtypes that differ, and the findings of the plan.
        tensors: The values compared, worst first.
        tolerance: The relative difference up to which two tensors count as the same.
        plan: The plan behind a comparison through a mapping.
        left_tensors, right_tensors: Everything that the two sides contain, by name, whether it was compared or not;
            `right_tensors` is empty if no values were compared.
    """

    left: str
    right: str
    findings: tuple[Finding, ...]
    tensors: tuple[TensorDiff, ...]
    tolerance: float = 0.0
    plan: Plan | None = None
    left_tensors: Mapping[str, TensorSpec] = field(default_factory=dict)
    right_tensors: Mapping[str, TensorSpec] = field(default_factory=dict)

    @cached_property
    def different(self) -> tuple[TensorDiff, ...]:
        """The tensors that differ by more than the tolerance."""
        return tuple(tensor for tensor in self.tensors if not self._agrees(tensor))

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.findings and not self.different

    def _agrees(self, tensor: TensorDiff) -> bool:
        return tensor.equal or tensor.relative <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        return {
            "left": self.left,
            "right": self.right,
            "same": self.same,
            "tolerance": _number(self.tolerance),
            "summary": {
                "compared": len(self.tensors),
                "equal": sum(tensor.equal for tensor in self.tensors),
                "identical": sum(tensor.identical for tensor in self.tensors),
                "different": len(self.different),
                "findings": len(self.findings),
            },
            "findings": [finding.to_json() for finding in self.findings],
            "notes": [note.to_json() for note in self.plan.notes] if self.plan else [],
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


def diff(
    left: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    right: str | os.PathLike[str] | None = None,
    *,
    mapping: str | os.PathLike[str] | None = None,
    tolerance: float = 0.0,
    verify_checksums: bool = True,
    dequantize: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    trust: bool = False,
    use_model: bool = True,
    histograms: bool = False,
) -> Diff:
    """See `tfpt.api.diff`."""
    if mapping is not None:
        job = prepare(
            mapping,
            left,
            settings=settings,
            config=config,
            trust=trust,
            use_model=use_model,
            verify_checksums=verify_checksums,
            dequantize=dequantize,
        )
        with closing(job.source):
            if right is None:
                return diff_plan(job.plan, job.source)
            with closing(open_source(right, verify_checksums=verify_checksums)) as weights:
                if weights.side != "pt":
                    raise TfptError(
                        "with a mapping, the second file must be PyTorch weights",
                        where=str(right),
                        expected="a .safetensors, .pth or .pt file",
                        got=weights.format,
                    )
                return diff_through(job.plan, job.source, weights, tolerance=tolerance, histograms=histograms)
    if settings or config is not None or not use_model:
        option = "settings require" if settings else "a configuration requires"
        raise TfptError(
            f"{option if settings or config is not None else '--no-model requires'} a mapping",
            hint=f"tfpt diff --mapping MAPPING {left} {right or ''}".rstrip(),
        )
    if right is None:
        raise TfptError(
            "a single file cannot be compared",
            expected="a mapping, or a second file of the same kind",
            got=str(left),
            hint=f"tfpt diff --mapping MAPPING {left}",
        )
    opened: dict[str, Any] = {"verify_checksums": verify_checksums, "dequantize": dequantize}
    if isinstance(left, Mapping):
        raise TfptError(
            "several files are compared through the mapping that declares them", expected="mapping="
        )
    with closing(open_source(left, **opened)) as first, closing(open_source(right, **opened)) as second:
        if first.side != second.side:
            raise TfptError(
                "TensorFlow and PyTorch files can only be compared through a mapping",
                got=f"{left} ({first.format}) and {right} ({second.format})",
                hint=f"tfpt diff --mapping MAPPING {left} {right}",
            )
        return diff_files(first, second, tolerance=tolerance, histograms=histograms)


def diff_plan(plan: Plan, source: Source) -> Diff:
    """The findings of a plan, without values."""
    return Diff(plan.source, "", plan.findings, (), plan=plan, left_tensors=source.specs)


def diff_through(
    plan: Plan, source: Source, weights: Source, *, tolerance: float = 0.0, histograms: bool = False
) -> Diff:
    """Compare what a plan would write with the content of a file.

    Tensors whose names or shapes differ are findings; all others are compared value by value.
    """
    findings = [*plan.findings, *_names(plan.writes, weights.specs, "the mapping writes", weights.location)]
    compared = []
    for step in plan.steps:
        comparable = [
            (index, spec)
            for index, spec in enumerate(step.writes)
            if spec.name in weights.specs and weights.specs[spec.name].shape == spec.shape
        ]
        if isinstance(step, Keep) or not comparable:
            continue
        values = values_of(step, source)
        for index, spec in comparable:
            compared.append(
                compare(spec, values[index], weights.read(spec.name), step.work, histograms=histograms)
            )
            weights.release(spec.name)
        for read in step.reads:
            source.release(read.name)
    names = (plan.source, weights.location)
    return _sorted(names, (source, weights), findings, compared, tolerance, plan)


def diff_files(left: Source, right: Source, *, tolerance: float = 0.0, histograms: bool = False) -> Diff:
    """Compare two files of the same kind, name by name."""
    findings = _names(left.specs, right.specs, left.location, right.location)
    compared = []
    for name, spec in left.specs.items():
        if name in right.specs and right.specs[name].shape == spec.shape:
            compared.append(compare(spec, left.read(name), right.read(name), histograms=histograms))
            left.release(name)
            right.release(name)
    names = (left.location, right.location)
    return _sorted(names, (left, right), findings, compared, tolerance, None)


def compare(
    spec: TensorSpec, left: np.ndarray, right: np.ndarray, work: str = "", *, histograms: bool = False
) -> TensorDiff:
    """How much two arrays of the same shape differ.

    Example:
        >>> spec = TensorSpec("w", (2,), "float32")
        >>> result = compare(spec, np.float32([3, 4]), np.float32([3, 5]))
        >>> result.max_abs, result.mean_abs, result.relative, round(result.cosine, 4)
        (1.0, 0.5, 0.25, 0.9947)
    """
    if left.dtype.kind == "O" or right.dtype.kind == "O":
        same = left.tolist() == right.tolist()
        apart = 0.0 if same else math.inf
        return TensorDiff(spec.name, spec, apart, apart, apart, float(same), same, same, work=work)
    greatest = total = scale = product = left_square = right_square = 0.0
    equal, identical, zero_signs, nan_bits = True, left.dtype == right.dtype, 0, 0
    for first, second in _chunks(left, right):
        a, b = _wide(first), _wide(second)
        both = (a == b) | (np.isnan(a) & np.isnan(b))
        equal = equal and bool(both.all())
        if not _same_bits(first, second):
            identical = False
            zero_signs += _other_zeros(a, b)
            nan_bits += _other_nans(first, second)
        with np.errstate(invalid="ignore", over="ignore"):
            apart_values = np.where(both, 0.0, np.abs(a - b))
        apart_values[np.isnan(apart_values)] = math.inf
        greatest = max(greatest, float(apart_values.max(initial=0.0)))
        total += float(apart_values.sum())
        a, b = np.where(np.isfinite(a), a, 0), np.where(np.isfinite(b), b, 0)
        scale = max(scale, float(np.abs(a).max(initial=0.0)))
        product += float(np.real(np.vdot(a, b)))
        left_square += float(np.real(np.vdot(a, a)))
        right_square += float(np.real(np.vdot(b, b)))
    norm = math.sqrt(left_square) * math.sqrt(right_square)
    cosine = product / norm if norm else float(left_square == right_square)
    relative = 0.0 if greatest == 0 else greatest / scale if scale else math.inf
    mean = total / left.size if left.size else 0.0
    cosine = 1.0 if equal else cosine
    counts = histogram(left, right) if histograms else None
    return TensorDiff(
        spec.name,
        spec,
        greatest,
        mean,
        relative,
        cosine,
        equal,
        identical,
        zero_signs,
        nan_bits,
        work,
        counts,
    )


def _same_bits(first: np.ndarray, second: np.ndarray) -> bool:
    return first.dtype == second.dtype and np.array_equal(_bytes(first), _bytes(second))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint8)


def _other_zeros(first: np.ndarray, second: np.ndarray) -> int:
    """How many zeros differ in sign; the parts of complex numbers are counted separately."""
    count = 0
    for a, b in _parts(first, second):
        count += int(np.count_nonzero((a == 0) & (b == 0) & (np.signbit(a) != np.signbit(b))))
    return count


def _other_nans(first: np.ndarray, second: np.ndarray) -> int:
    """How many positions have NaNs of different bits; 0 for different dtypes, whose bits cannot be compared."""
    if first.dtype != second.dtype:
        return 0
    count = 0
    for a, b in _parts(first, second):
        bits = (np.ascontiguousarray(part).view(f"u{part.itemsize}") for part in (a, b))
        count += int(np.count_nonzero(np.isnan(_wide(a)) & np.isnan(_wide(b)) & (next(bits) != next(bits))))
    return count


def _parts(first: np.ndarray, second: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The numbers themselves, or real and imaginary parts."""
    if first.dtype.kind != "c" and second.dtype.kind != "c":
        return [(first, second)]
    return [(first.real, second.real), (first.imag, second.imag)]


def _wide(values: np.ndarray) -> np.ndarray:
    """In float64 or complex128; integers beyond 2**53 in longdouble, so that neighboring values stay distinct."""
    if values.dtype.kind == "c":
        return values.astype(np.complex128)
    return values.astype(
        np.longdouble if values.dtype.kind in "iu" and values.dtype.itemsize == 8 else np.float64
    )


def _chunks(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    first, second = left.reshape(-1), right.reshape(-1)
    for start in range(0, first.size, _CHUNK):
        yield first[start : start + _CHUNK], second[start : start + _CHUNK]


def _names(
    left: Mapping[str, TensorSpec], right: Mapping[str, TensorSpec], left_name: str, right_name: str
) -> list[Finding]:
    findings = []
    only_right = [name for name in right if name not in left]
    for name, spec in left.items():
        other = right.get(name)
        if other is None:
            close = tuple(nearest(name, only_right))
            findings.append(
                Finding("missing", f"{name} is not in {right_name}", name, got=str(spec), nearest=close)
            )
        elif other.shape != spec.shape:
            findings.append(
                _unlike("shape", name, format_shape(spec.shape), format_shape(other.shape), left_name)
            )
        elif other.dtype != spec.dtype:
            findings.append(_unlike("dtype", name, spec.dtype, other.dtype, left_name))
    only_left = [name for name in left if name not in right]
    for name in only_right:
        close = tuple(nearest(name, only_left))
        what = f"{name} is only in {right_name}"
        findings.append(Finding("extra", what, name, got=str(right[name]), nearest=close))
    return findings


def _unlike(kind: str, name: str, left: str, right: str, left_name: str) -> Finding:
    return Finding(
        kind, f"the {kind} of {name} differs", name, expected=f"{left}, as in {left_name}", got=right
    )


def _sorted(
    names: tuple[str, str],
    sides: tuple[Source, Source],
    findings: Iterable[Finding],
    compared: list[TensorDiff],
    tolerance: float,
    plan: Plan | None,
) -> Diff:
    worst: Callable[[TensorDiff], tuple[bool, float, float]] = lambda t: (t.equal, -t.relative, t.cosine)  # noqa: E731
    tensors = tuple(sorted(compared, key=worst))
    left, right = (side.specs for side in sides)
    return Diff(*names, tuple(findings), tensors, tolerance, plan, left, right)


def _number(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else str(value)
