"""Recordings: what a network computed at each endpoint, as whole activations or samples; one ``.npz`` file each.

numpy alone can read the file. Reading and writing recordings does not need TensorFlow.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfpt.errors import SinkError, SourceError, TfptError
from tfpt.formats.numpy.source import plain_arrays
from tfpt.formats.recognition import NUMPY, recognize
from tfpt.io.locations import as_location, is_file
from tfpt.io.output_file import AtomicFile
from tfpt.language.endpoint_steps import Part
from tfpt.tensors import format_shape

# Activations with up to this many values are recorded whole; of larger ones, SAMPLES evenly spread values.
MOST_WHOLE = 2000
SAMPLES = 997

# The name of a network's single input.
INPUT = "input"
FACTS = "recording.json"
_SHAPE, _MEAN, _STEP = ".shape", ".mean_abs", ".step"
_SUFFIXES = (_SHAPE, _MEAN, _STEP)
_ZIP64 = 1 << 31
_HINT = "write one with tfpt record, or with numpy.savez(path, NAME=activation, input=array)"


@dataclass(frozen=True)
class RecordedEndpoint:
    """One recorded activation, in TensorFlow's layout.

    Attributes:
        name: TensorFlow's name of the endpoint.
        shape: The shape of the whole activation.
        values: The whole activation in its shape, or a one-dimensional array of samples.
        mean_abs: The mean absolute value of the whole activation, in float64; ``None`` if unknown.
        step: The distance of the samples in the flattened activation, modulo its size; 1 for a whole activation.
        positions: The positions of the samples in the flattened activation, if they are not evenly spread.

    Example:
        >>> found = RecordedEndpoint.of("relu", np.arange(3000).reshape(2, 1500))
        >>> found.whole, found.values.shape, found.mean_abs
        (False, (997,), 1499.5)
        >>> bool((found.samples_of(np.arange(3000).reshape(2, 1500)) == found.values).all())
        True
    """

    name: str
    shape: tuple[int, ...]
    values: np.ndarray
    mean_abs: float | None
    step: int = 1
    positions: np.ndarray | None = None

    @classmethod
    def of(cls, name: str, array: np.ndarray, *, whole: bool = False) -> RecordedEndpoint:
        """Record an activation: all of it if `whole` or if it has at most 2,000 values, else samples."""
        if whole or array.size <= MOST_WHOLE:
            kept = np.ascontiguousarray(array).reshape(array.shape)
            return cls(name, tuple(array.shape), kept, mean_abs(array))
        step = sample_step(array.size)
        return cls(name, tuple(array.shape), _samples(array, step), mean_abs(array), step)

    @property
    def whole(self) -> bool:
        """Whether `values` is the whole activation."""
        return self.values.shape == self.shape and self.positions is None

    def samples_of(self, array: np.ndarray) -> np.ndarray:
        """The values of another array of the same shape at the positions of `values`, as a one-dimensional array.

        Raises:
            TfptError: The array has another shape.
        """
        if tuple(array.shape) != self.shape:
            raise TfptError(
                f"the array has another shape than the endpoint {self.name}",
                expected=format_shape(self.shape),
                got=format_shape(tuple(array.shape)),
            )
        if self.whole:
            return array.reshape(-1)
        return _samples(array, self.step) if self.positions is None else array.reshape(-1)[self.positions]

    def part(self, index: Part) -> RecordedEndpoint:
        """A part of the activation, as far as its samples are in it.

        Args:
            index: As for numpy: indexes, ranges and an ellipsis.

        Raises:
            SourceError: The activation does not have these axes or indexes, or no sample is in the part.

        Example:
            >>> whole = RecordedEndpoint.of("scores", np.arange(6).reshape(2, 3))
            >>> whole.part((..., slice(1, None))).values.tolist()
            [[1, 2], [4, 5]]
            >>> sampled = RecordedEndpoint.of("scores", np.arange(3000).reshape(1000, 3))
            >>> part = sampled.part((..., slice(1, None)))
            >>> part.shape, bool((part.samples_of(np.arange(3000).reshape(1000, 3)[:, 1:]) == part.values).all())
            ((1000, 2), True)
        """
        size = math.prod(self.shape)
        places = np.arange(size).reshape(self.shape)
        try:
            kept = np.asarray(places[index])
        except IndexError as error:
            raise SourceError(
                f"the recorded activation {self.name} does not have the part that is compared",
                got=format_shape(self.shape),
                expected=str(error),
            ) from None
        if self.whole:
            return RecordedEndpoint.of(self.name, np.asarray(self.values[index]), whole=True)
        sampled = np.arange(SAMPLES) * self.step % size if self.positions is None else self.positions
        inverse = np.full(size, -1)
        inverse[kept.reshape(-1)] = np.arange(kept.size)
        inside = inverse[sampled] >= 0
        if not inside.any():
            raise SourceError(
                f"none of the samples of {self.name} is in the part that is compared",
                got=format_shape(kept.shape),
                hint="tfpt record --whole",
            )
        return RecordedEndpoint(self.name, kept.shape, self.values[inside], None, 1, inverse[sampled][inside])


@dataclass(frozen=True)
class Recording:
    """The inputs and activations of one run of a network.

    Attributes:
        endpoints: The activations by TensorFlow's names, in network order.
        inputs: The network's inputs in TensorFlow's layout; a single input is called ``input``. Empty if the file has
            none.
        facts: How the recording was made, as JSON values: network, format, seed, versions.
        location: Path or URL of the file; empty if it was never written.
    """

    endpoints: dict[str, RecordedEndpoint]
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    location: str = ""


def sample_step(size: int) -> int:
    """The distance between samples of an activation with `size` values.

    It is coprime to the number of values, and so to every axis: samples at a multiple of the number of channels would
    all be from the same channel.

    Example:
        >>> sample_step(2 * 997 * 64), sample_step(64 * 997 * 64)
        (129, 4097)
    """
    step = max(1, size // SAMPLES)
    while math.gcd(step, size) > 1:
        step += 1
    return step


def _samples(array: np.ndarray, step: int) -> np.ndarray:
    return array.reshape(-1)[np.arange(SAMPLES) * step % array.size]


def mean_abs(array: np.ndarray) -> float:
    """The mean absolute value, in float64; 0 for an empty array.

    Example:
        >>> mean_abs(np.int8([-128, 2])), mean_abs(np.complex64([3 + 4j]))
        (65.0, 5.0)
    """
    if not array.size:
        return 0.0
    # The absolute value of the smallest integer of a dtype is not representable in the dtype.
    wide = array.astype(np.float64) if array.dtype.kind == "i" else array
    return float(np.abs(wide).mean(dtype=np.float64))


def read_recording(path: str | os.PathLike[str]) -> Recording:
    """Read a recording; its inputs and whole activations are read-only views of the file if possible.

    Any ``.npz`` of plain arrays is a recording: ``input`` is what the network was fed, every other array a whole
    activation. Pickled objects are refused.

    Args:
        path: A path, or a URL.

    Raises:
        SourceError: The file cannot be read, is damaged or malicious, or contains what a recording cannot contain.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/r.npz"
        >>> np.savez(path, input=np.zeros((1, 5), "f4"), relu=np.ones((1, 3), "f4"))
        >>> recording = read_recording(path)
        >>> list(recording.endpoints), list(recording.inputs), recording.endpoints["relu"].whole
        (['relu'], ['input'], True)
    """
    location = as_location(path)
    arrays, facts = _arrays(location)
    inputs = {name: arrays[name] for name in arrays if name == INPUT or name.startswith(f"{INPUT}.")}
    named = {name.removeprefix(f"{INPUT}."): array for name, array in inputs.items()}
    if len(named) < len(inputs):
        raise _invalid(location, "two inputs have the same name", got=", ".join(inputs))
    endpoints = _endpoints({name: array for name, array in arrays.items() if name not in inputs}, location)
    return Recording(endpoints, named, facts, location)


def write_recording(path: str | os.PathLike[str], recording: Recording, *, overwrite: bool = False) -> None:
    """Write a recording atomically; the same recording always results in the same bytes.

    Raises:
        SinkError: The file exists already or cannot be written, or a name or an array cannot be stored.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/r.npz"
        >>> endpoint = RecordedEndpoint.of("relu", np.ones((1, 3), np.float32))
        >>> write_recording(path, Recording({"relu": endpoint}, facts={"seed": 7}))
        >>> read_recording(path).facts, list(np.load(path))
        ({'seed': 7}, ['relu', 'relu.shape', 'relu.mean_abs', 'recording.json'])
    """
    with AtomicFile(path, overwrite) as file:
        content = _content(recording, str(path))
        try:
            with (
                os.fdopen(os.dup(file.descriptor), "wb") as raw,
                zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive,
            ):
                for name, array in content.items():
                    # ZipInfo has a fixed date; the current one would make two files of one recording differ.
                    entry = zipfile.ZipInfo(f"{name}.npy")
                    with archive.open(entry, "w", force_zip64=array.nbytes >= _ZIP64) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
        except OSError as error:
            raise file.explain(error) from None
        file.commit()


def _arrays(location: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The archive's numeric arrays, in the file's order, and its facts."""
    if is_file(location) and (kind := recognize(location)) is not NUMPY:
        raise _invalid(location, "the file is not a recording", "an .npz file", kind.name, _HINT)
    arrays = plain_arrays(location, texts=(FACTS,))
    text = arrays.pop(FACTS, None)
    return arrays, {} if text is None else _facts(text, location)


def _facts(array: np.ndarray, location: str) -> dict[str, Any]:
    try:
        # NaN and infinity remain text: JSON does not have them, and facts are passed on as JSON.
        facts = (
            json.loads(array.reshape(-1)[0], parse_constant=str, parse_float=_finite_or_text)
            if array.size == 1
            else None
        )
        # Replace lone surrogates, which JSON can represent but files and terminals cannot.
        facts = json.loads(json.dumps(facts, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise _invalid(location, f"its facts ({FACTS}) cannot be read", "a single JSON object as text")
    return facts


def _finite_or_text(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _endpoints(arrays: Mapping[str, np.ndarray], location: str) -> dict[str, RecordedEndpoint]:
    names = [name for name in arrays if not _describes_another(name, arrays)]
    if not names:
        raise _invalid(location, "the recording has no activations", hint=_HINT)
    return {
        name: _endpoint(
            name,
            arrays[name],
            arrays.get(name + _SHAPE),
            arrays.get(name + _MEAN),
            arrays.get(name + _STEP),
            location,
        )
        for name in names
    }


def _describes_another(name: str, arrays: Iterable[str]) -> bool:
    """Whether an array is the shape, mean or sample step of another one."""
    return any(name.endswith(suffix) and name.removesuffix(suffix) in arrays for suffix in _SUFFIXES)


def _endpoint(
    name: str,
    values: np.ndarray,
    shape: np.ndarray | None,
    mean: np.ndarray | None,
    step: np.ndarray | None,
    location: str,
) -> RecordedEndpoint:
    where = f"{location}, endpoint {name}"
    whole = tuple(values.shape)
    if shape is not None:
        if shape.ndim != 1 or shape.dtype.kind not in "iu" or (shape.size and int(shape.min()) < 0):
            got = f"{shape.dtype} {format_shape(tuple(shape.shape))}"
            raise _invalid(where, "its shape cannot be read", "a one-dimensional array of sizes", got)
        whole = tuple(int(size) for size in shape)
    size = math.prod(whole)
    if values.shape != whole and (values.shape != (SAMPLES,) or size <= MOST_WHOLE):
        samples = f", or {SAMPLES} samples" if size > MOST_WHOLE else ""
        expected = f"{format_shape(whole)}{samples}, as {name}{_SHAPE} says"
        got = format_shape(tuple(values.shape))
        raise _invalid(where, "its values do not match its shape", expected, got)
    if mean is not None and (mean.size != 1 or mean.dtype.kind not in "fiu"):
        raise _invalid(where, "its mean cannot be read", "one number", format_shape(tuple(mean.shape)))
    known = mean_abs(values) if values.shape == whole else None
    return RecordedEndpoint(
        name,
        whole,
        values,
        known if mean is None else float(mean.reshape(())),
        1 if values.shape == whole else _step(step, size, where),
    )


def _step(step: np.ndarray | None, size: int, where: str) -> int:
    if step is None:
        return size // SAMPLES  # the step of recordings that do not state it
    if step.size != 1 or step.dtype.kind not in "iu" or not 0 < int(step.reshape(())) < size:
        got = f"{step.dtype} {format_shape(tuple(step.shape))}"
        expected = f"one number from 1 to {size - 1}"
        raise _invalid(where, "the step of its samples cannot be read", expected, got)
    return int(step.reshape(()))


def _content(recording: Recording, where: str) -> dict[str, np.ndarray]:
    """The arrays of the file, by member name."""
    content: dict[str, np.ndarray] = {}

    def add(name: str, array: np.ndarray) -> None:
        if name in content:
            raise SinkError(
                f"two arrays of the recording would be called {name!r}",
                where=where,
                hint="record the endpoint under another name",
            )
        content[name] = _storable(name, array, where)

    for name, endpoint in recording.endpoints.items():
        _refuse_name(name, where)
        add(name, endpoint.values)
        add(name + _SHAPE, np.array(endpoint.shape, np.int64))
        if endpoint.mean_abs is not None:
            add(name + _MEAN, np.float64(endpoint.mean_abs))
        if not endpoint.whole:
            add(name + _STEP, np.int64(endpoint.step))
    for name, array in recording.inputs.items():
        _refuse_name(f"{INPUT}.{name}", where, is_input=True)
        add(INPUT if name == INPUT else f"{INPUT}.{name}", array)
    if recording.facts:
        content[FACTS] = np.array(json.dumps(recording.facts, ensure_ascii=True))
    return content


def _storable(name: str, array: np.ndarray, where: str) -> np.ndarray:
    """The array in a form that every numpy can read: numbers of numpy's own dtypes, in C order."""
    array = np.asarray(array)
    if array.dtype.isbuiltin == 2:
        # numpy would store the small floats of ml_dtypes as raw bytes.
        array = array.astype(np.float32)
    if array.dtype.kind not in "biufc":
        raise SinkError(f"{name} does not contain numbers", where=where, got=str(array.dtype))
    return np.asarray(array, order="C")


def _refuse_name(name: str, where: str, *, is_input: bool = False) -> None:
    """Refuse a name that has another meaning to readers, or that leaves the archive."""
    reserved = name in (INPUT, FACTS) or name.startswith(f"{INPUT}.") or name.endswith(_SUFFIXES)
    if (reserved and not is_input) or name.endswith(_SUFFIXES):
        raise SinkError(
            f"an endpoint of a recording cannot be called {name!r}",
            where=where,
            expected=f"a name that is neither {INPUT} nor {FACTS}, and does not end in {', '.join(_SUFFIXES)}",
        )
    if not name or name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
        raise SinkError(f"the name {name!r} is not possible in an archive", where=where)


def _invalid(
    where: str, what: str, expected: str | None = None, got: str | None = None, hint: str | None = None
) -> SourceError:
    return SourceError(f"not a valid recording: {what}", where=where, expected=expected, got=got, hint=hint)
