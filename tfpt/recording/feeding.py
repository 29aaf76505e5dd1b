"""What a TensorFlow network is fed to be recorded: a person's files and arrays, or values from a seed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.mapping import rows
from tfpt.nearest import nearest
from tfpt.recording.recordings import INPUT
from tfpt.running.network import InputSpec, format_open_shape
from tfpt.sources.arrays.numpy import NumpySource
from tfpt.sources.formats import NUMPY, recognise
from tfpt.sources.places import as_location, is_file
from tfpt.tensors import format_shape

Given = str | os.PathLike[str] | np.ndarray
_FLOATS = ("float16", "float32", "float64", "bfloat16")
_HINT = "--input F.npy, an array in TensorFlow's layout"


@dataclass(frozen=True)
class Sizes:
    """The sizes of an input that a person has chosen; ``None`` for the network's own, or else the mapping's.

    Attributes:
        batch: Else 1.
        frames: Of a video, or the length of a sequence; else 16.
        size: Height and width.
    """

    batch: int | None = None
    frames: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Fed:
    """What a network is fed.

    Attributes:
        arrays: By the network's names.
        facts: Of each how it came to be, in values of JSON.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def named(self) -> dict[str, str]:
        """The network's names by those in a recording, where a single input is called ``input``."""
        return (
            {INPUT: next(iter(self.arrays))}
            if len(self.arrays) == 1
            else {name: name for name in self.arrays}
        )


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a ``.npy`` or ``.npz`` file; of a recording, its inputs. No pickle is run.

    Raises:
        SourceError: It is no such file, or it is damaged.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/clip.npy"
        >>> np.save(path, np.zeros((1, 7), np.float32))
        >>> {name: array.shape for name, array in read_arrays(path).items()}
        {'clip': (1, 7)}
    """
    location = as_location(path)
    if not is_file(location):
        raise SourceError("there is no such file", where=location, expected="a .npy or .npz file")
    kind = recognise(location)
    if kind is not NUMPY:
        raise SourceError(
            "the input is no numpy file", where=location, expected="a .npy or .npz file", got=kind.name
        )
    source = NumpySource(location)
    names = [name for name in source.specs if name == INPUT or name.startswith(f"{INPUT}.")]
    strange = [name for name in names or source.specs if source.specs[name].dtype in ("string", "variant")]
    if strange or source.skipped:
        raise SourceError(
            "the input is no array of numbers",
            where=location,
            got=", ".join([*strange, *source.skipped]),
        )
    return {name.removeprefix(f"{INPUT}."): source.read(name) for name in names or source.specs}


def given_inputs(inputs: Given | Mapping[str, Given] | None) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """What a person gave: by name the array and where it came from; one without a name is called ``input``.

    Raises:
        SourceError: A file cannot be read.
    """
    if inputs is None:
        return {}
    if isinstance(inputs, Mapping):
        found = {}
        for name, each in inputs.items():
            alone = given_inputs(each)
            if len(alone) != 1:
                raise SourceError(
                    f"the input {name} is one array",
                    got=f"{len(alone)} arrays: {', '.join(alone)}",
                    where=str(each),
                )
            found[name] = next(iter(alone.values()))
        return found
    if isinstance(inputs, str | os.PathLike):
        arrays = read_arrays(inputs)
        origin = {"file": os.fspath(inputs)}
        if len(arrays) == 1:
            return {INPUT: (next(iter(arrays.values())), origin)}
        return {name: (array, origin) for name, array in arrays.items()}
    return {INPUT: (np.asarray(inputs), {})}


def matched(
    given: Mapping[str, tuple[np.ndarray, dict[str, Any]]], specs: Mapping[str, InputSpec], where: str
) -> Fed:
    """What a person gave under the network's own names, each shape compared.

    Args:
        given: What `given_inputs` returns.
        specs: All that the network is to be fed.
        where: The network, for errors.

    Raises:
        SourceError: A name or a shape is not the network's.
    """
    arrays, facts = {}, {}
    for name, (array, origin) in given.items():
        known = name
        if name == INPUT and INPUT not in specs and len(specs) == 1:
            known = next(iter(specs))
        if known not in specs:
            raise SourceError(
                f"the network has no input {name}" if name != INPUT else "the network has several inputs",
                where=where,
                expected=", ".join(map(str, specs.values())) or "no input",
                nearest=nearest(name, specs),
                hint=" ".join(f"--input {each}=FILE" for each in specs) or None,
            )
        spec = specs[known]
        if not spec.takes(tuple(array.shape)):
            raise SourceError(
                f"the input {known} has another shape than the network's",
                where=str(origin.get("file", "")) or where,
                expected=str(spec),
                got=f"{format_shape(tuple(array.shape))} {array.dtype}",
                hint="inputs are in TensorFlow's layout, the channels last, with the batch in front",
            )
        arrays[known] = array
        facts[known] = {**origin, **_facts(array)}
    missing = [name for name in specs if name not in arrays]
    if missing:
        raise SourceError(
            "the network has inputs that were not given",
            where=where,
            expected=", ".join(str(specs[name]) for name in missing),
            got=", ".join(arrays),
            hint=" ".join(f"--input {name}=FILE" for name in missing),
        )
    return Fed(arrays, facts)


def seeded(
    specs: Mapping[str, InputSpec], mapping: rows.Mapping | None, sizes: Sizes, seed: int, where: str
) -> Fed:
    """Values for every input, the same ones for the same seed: as the mapping describes them, else from -1 to 1.

    Raises:
        SourceError: A size is not known, or an input takes no numbers.
        MappingError: The mapping's input is not the network's.

    Example:
        >>> fed = seeded({"x": InputSpec("x", (None, 3), "float32")}, None, Sizes(batch=2), 7, "net.pb")
        >>> fed.arrays["x"].shape, fed.facts["x"]
        ((2, 3), {'seed': 7, 'range': [-1.0, 1.0], 'shape': [2, 3], 'dtype': 'float32'})
    """
    arrays, facts = {}, {}
    for number, (name, spec) in enumerate(specs.items()):
        described = mapping if len(specs) == 1 and mapping is not None and mapping.input.layout else None
        shape = _described_shape(spec, described, sizes) if described else _shape(spec, sizes, where)
        if spec.dtype in _FLOATS:
            low, high = (described.input.range if described else None) or (-1.0, 1.0)
            random = _drawn(name, shape, partial(np.random.default_rng(seed + number).uniform, low, high))
            array = random.astype(np.float32 if spec.dtype == "bfloat16" else spec.dtype)
            limits = [float(low), float(high)]
        elif spec.dtype.lstrip("u").startswith("int"):
            # Zeros and ones: indices, masks and segments are these in any network.
            random = _drawn(name, shape, partial(np.random.default_rng(seed + number).integers, 0, 2))
            array = random.astype(spec.dtype)
            limits = [0, 1]
        else:
            raise SourceError(
                f"the input {name} takes {spec.dtype}, which no seed gives",
                where=where,
                expected="numbers",
                hint=f"--feed TENSOR=FILE.npy, a tensor behind it that holds numbers (tfpt record --list {where})",
            )
        arrays[name] = array
        facts[name] = {"seed": seed + number, "range": limits, **_facts(array)}
    return Fed(arrays, facts)


def _drawn(name: str, shape: tuple[int, ...], draw: Callable[..., Any]) -> np.ndarray:
    try:
        return np.asarray(draw(size=shape))
    except (MemoryError, ValueError) as error:
        raise SourceError(
            f"this machine has no room for the input {name}", got=format_shape(shape), hint="smaller sizes"
        ) from error


def _facts(array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}


def _described_shape(spec: InputSpec, mapping: rows.Mapping, sizes: Sizes) -> tuple[int, ...]:
    """The shape that a mapping's ``input:`` says, with the sizes that the network leaves no choice of."""
    from tfpt.inputs import input_axes, input_shape

    axes = input_axes(mapping)
    if spec.shape is not None and len(spec.shape) != len(axes):
        raise SourceError(
            f"the network's input {spec.name} has other axes than the mapping {mapping.name} says",
            where=str(mapping.path),
            expected=f"layout: {mapping.input.layout}",
            got=str(spec),
            hint="--input F.npy",
        )
    own = dict(zip(axes, spec.shape or [None] * len(axes), strict=True))
    chosen = {"b": sizes.batch, "t": sizes.frames, "h": sizes.size, "w": sizes.size}
    shape = input_shape(
        mapping,
        batch=sizes.batch or own.get("b") or 1,
        frames=sizes.frames or own.get("t") or 16,
        size=sizes.size or own.get("h") or own.get("w"),
        channels=own.get("c"),
    )
    shape = tuple(
        own[axis] or size if not chosen.get(axis) else size for axis, size in zip(axes, shape, strict=True)
    )
    if not spec.takes(shape):
        raise SourceError(
            f"the network's input {spec.name} has sizes of its own",
            where=str(mapping.path),
            expected=format_open_shape(spec.shape),
            got=format_shape(shape),
            hint="leave out --batch, --frames and --size",
        )
    return shape


def _shape(spec: InputSpec, sizes: Sizes, where: str) -> tuple[int, ...]:
    """The network's own shape, its open sizes filled: the batch first, then frames, then height and width."""
    if spec.shape is None:
        raise SourceError(
            f"the network does not say the shape of its input {spec.name}", where=where, hint=_HINT
        )
    axes = len(spec.shape)
    choices = ([sizes.batch or 1] + [sizes.size] * axes)[:axes]
    if axes in (3, 5):
        choices[1] = sizes.frames or 16
    shape = [choice if size is None else size for size, choice in zip(spec.shape, choices, strict=True)]
    if None in shape:
        raise SourceError(
            f"the network leaves sizes of its input {spec.name} open",
            where=where,
            expected=str(spec),
            hint=f"--size N, or {_HINT}",
        )
    return tuple(int(size or 0) for size in shape)
