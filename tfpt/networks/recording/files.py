"""Recordings in files: one ``.npz`` that numpy alone can read."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfpt.errors import SinkError, SourceError
from tfpt.formats.numpy.archive import plain_arrays
from tfpt.formats.recognition import NUMPY, recognize
from tfpt.io.locations import as_location, is_file
from tfpt.io.output_file import AtomicFile
from tfpt.networks.recording.recordings import (
    INPUT,
    MOST_WHOLE,
    SAMPLES,
    RecordedEndpoint,
    Recording,
    mean_abs,
)
from tfpt.tensors import format_shape

FACTS = "recording.json"
_SHAPE, _MEAN, _STEP = ".shape", ".mean_abs", ".step"
_SUFFIXES = (_SHAPE, _MEAN, _STEP)
_ZIP64 = 1 << 31
_HINT = "write one with tfpt record, or with numpy.savez(path, NAME=activation, input=array)"


def read_recording(path: str | os.PathLike[str]) -> Recording:
    """Read a recording; its inputs and whole activations are read-only views of the file where they can be.

    Any ``.npz`` of plain arrays is one: each array a whole activation, ``input`` what the network was fed. No pickle
    is ever run.

    Args:
        path: A path, or a URL.

    Raises:
        SourceError: The file cannot be read, is damaged or hostile, or holds what no recording holds.

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
        raise _wrong(location, "two inputs are called alike", got=", ".join(inputs))
    endpoints = _endpoints({name: array for name, array in arrays.items() if name not in inputs}, location)
    return Recording(endpoints, named, facts, location)


def write_recording(path: str | os.PathLike[str], recording: Recording, *, overwrite: bool = False) -> None:
    """Write a recording; the file appears whole or not at all, and the same recording gives the same bytes.

    Raises:
        SinkError: The file exists already, cannot be written, or a name or an array cannot be held.

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
                    # A date of its own would make two files of one recording differ.
                    entry = zipfile.ZipInfo(f"{name}.npy")
                    with archive.open(entry, "w", force_zip64=array.nbytes >= _ZIP64) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
        except OSError as error:
            raise file.explain(error) from None
        file.commit()


def _arrays(location: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The archive's arrays of numbers in its order, and its facts."""
    if is_file(location) and (kind := recognize(location)) is not NUMPY:
        raise _wrong(location, "the file is no recording", "an .npz file", kind.name, _HINT)
    arrays = plain_arrays(location, texts=(FACTS,))
    text = arrays.pop(FACTS, None)
    return arrays, {} if text is None else _facts(text, location)


def _facts(array: np.ndarray, location: str) -> dict[str, Any]:
    try:
        # What is no number stays text: JSON has no such numbers, and facts are passed on in JSON.
        facts = (
            json.loads(array.reshape(-1)[0], parse_constant=str, parse_float=_finite_or_text)
            if array.size == 1
            else None
        )
        # Half a character that JSON can spell, and no file or terminal can hold.
        facts = json.loads(json.dumps(facts, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise _wrong(location, f"its facts ({FACTS}) cannot be read", "one text, an object of JSON")
    return facts


def _finite_or_text(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _endpoints(arrays: Mapping[str, np.ndarray], location: str) -> dict[str, RecordedEndpoint]:
    names = [name for name in arrays if not _belongs(name, arrays)]
    if not names:
        raise _wrong(location, "the recording holds no activation", hint=_HINT)
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


def _belongs(name: str, arrays: Iterable[str]) -> bool:
    """Whether an array says something of another: an endpoint's shape, its mean, or where its samples are."""
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
            raise _wrong(where, "its shape cannot be read", "sizes along one axis", got)
        whole = tuple(int(size) for size in shape)
    size = math.prod(whole)
    if values.shape != whole and (values.shape != (SAMPLES,) or size <= MOST_WHOLE):
        samples = f", or {SAMPLES} samples" if size > MOST_WHOLE else ""
        expected = f"{format_shape(whole)}{samples}, as {name}{_SHAPE} says"
        got = format_shape(tuple(values.shape))
        raise _wrong(where, "its values do not fit its shape", expected, got)
    if mean is not None and (mean.size != 1 or mean.dtype.kind not in "fiu"):
        raise _wrong(where, "its mean cannot be read", "one number", format_shape(tuple(mean.shape)))
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
        return size // SAMPLES  # recordings that do not say have it so
    if step.size != 1 or step.dtype.kind not in "iu" or not 0 < int(step.reshape(())) < size:
        got = f"{step.dtype} {format_shape(tuple(step.shape))}"
        raise _wrong(where, "the step of its samples cannot be read", f"one number from 1 to {size - 1}", got)
    return int(step.reshape(()))


def _content(recording: Recording, where: str) -> dict[str, np.ndarray]:
    """The arrays of the file, by the names of its members."""
    content: dict[str, np.ndarray] = {}

    def add(name: str, array: np.ndarray) -> None:
        if name in content:
            raise SinkError(
                f"two arrays of a recording would be called {name!r}",
                where=where,
                hint="record the endpoint under another name",
            )
        content[name] = _plain(name, array, where)

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


def _plain(name: str, array: np.ndarray, where: str) -> np.ndarray:
    """As numpy can store it and everybody read it: numbers, in order."""
    array = np.asarray(array)
    if array.dtype.isbuiltin == 2:
        # The small floats of ml_dtypes, of which numpy would store nothing but their bytes.
        array = array.astype(np.float32)
    if array.dtype.kind not in "biufc":
        raise SinkError(f"{name} holds no numbers", where=where, got=str(array.dtype))
    return np.asarray(array, order="C")


def _refuse_name(name: str, where: str, *, is_input: bool = False) -> None:
    """Refuse a name that a reader would take for something else, or that leaves the archive."""
    reserved = name in (INPUT, FACTS) or name.startswith(f"{INPUT}.") or name.endswith(_SUFFIXES)
    if (reserved and not is_input) or name.endswith(_SUFFIXES):
        raise SinkError(
            f"no endpoint of a recording may be called {name!r}",
            where=where,
            expected=f"a name that is neither {INPUT} nor {FACTS}, and does not end in {', '.join(_SUFFIXES)}",
        )
    if not name or name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
        raise SinkError(f"the name {name!r} cannot stand in an archive", where=where)


def _wrong(
    where: str, what: str, expected: str | None = None, got: str | None = None, hint: str | None = None
) -> SourceError:
    return SourceError(f"not a valid recording: {what}", where=where, expected=expected, got=got, hint=hint)
