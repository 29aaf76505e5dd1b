"""The inputs of a network to be recorded: files and arrays supplied by the user, or values from a seed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tfpt.errors import SourceError
from tfpt.formats.numpy.source import NumpySource
from tfpt.formats.recognition import NUMPY, recognize
from tfpt.io.locations import as_location, is_file
from tfpt.language import mapping as rows
from tfpt.nearest import nearest
from tfpt.networks.inputs import tf_range
from tfpt.networks.recording.generated import (
    FLOATS,
    Kind,
    Sizes,
    is_lengths,
    is_mask,
    is_segments,
    random_integers,
    row_limits,
    shape_from_mapping,
    shape_from_network,
)
from tfpt.networks.recording.recordings import INPUT
from tfpt.networks.running.lookup_tables import Table
from tfpt.networks.running.network import InputSpec
from tfpt.tensors import format_shape

Given = str | os.PathLike[str] | np.ndarray


@dataclass(frozen=True)
class NetworkInputs:
    """The inputs that a network is fed.

    Attributes:
        arrays: The inputs by the network's names.
        facts: The origin of each input, as JSON values.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def named(self) -> dict[str, str]:
        """The network's input names by the names used in a recording, where a single input is called ``input``."""
        return (
            {INPUT: next(iter(self.arrays))}
            if len(self.arrays) == 1
            else {name: name for name in self.arrays}
        )


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a ``.npy`` or ``.npz`` file; for a recording, its inputs. Pickled objects are refused.

    Raises:
        SourceError: The file is not one of these, or is damaged.

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
    kind = recognize(location)
    if kind is not NUMPY:
        raise SourceError(
            "the input is not a numpy file", where=location, expected="a .npy or .npz file", got=kind.name
        )
    source = NumpySource(location)
    names = [name for name in source.specs if name == INPUT or name.startswith(f"{INPUT}.")]
    refused = [name for name in names or source.specs if source.specs[name].dtype in ("string", "variant")]
    if refused or source.skipped:
        raise SourceError(
            "the input is not an array of numbers",
            where=location,
            got=", ".join([*refused, *source.skipped]),
        )
    return {name.removeprefix(f"{INPUT}."): source.read(name) for name in names or source.specs}


def given_inputs(inputs: Given | Mapping[str, Given] | None) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Inputs supplied by the user: array and origin by name; a single one without a name is called ``input``.

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
                    f"the input {name} must be a single array",
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


def match_inputs(
    given: Mapping[str, tuple[np.ndarray, dict[str, Any]]], specs: Mapping[str, InputSpec], where: str
) -> NetworkInputs:
    """Assign the user's inputs to the network's inputs by name, and check their shapes.

    Args:
        given: The result of `given_inputs`.
        specs: All inputs of the network.
        where: The network, for error messages.

    Raises:
        SourceError: A name or a shape does not match the network.
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
        if not spec.accepts(tuple(array.shape)):
            raise SourceError(
                f"the input {known} has another shape than the network's",
                where=str(origin.get("file", "")) or where,
                expected=str(spec),
                got=f"{format_shape(tuple(array.shape))} {array.dtype}",
                hint="inputs must be in TensorFlow's layout: batch first, channels last",
            )
        arrays[known] = array
        facts[known] = {**origin, **_facts(array)}
    missing = [name for name in specs if name not in arrays]
    if missing:
        raise SourceError(
            "the network has inputs that were not supplied",
            where=where,
            expected=", ".join(str(specs[name]) for name in missing),
            got=", ".join(arrays),
            hint=" ".join(f"--input {name}=FILE" for name in missing),
        )
    return NetworkInputs(arrays, facts)


def seeded_inputs(
    specs: Mapping[str, InputSpec],
    mapping: rows.Mapping | None,
    sizes: Sizes,
    seed: int,
    where: str,
    tables: Mapping[str, Table] | None = None,
) -> NetworkInputs:
    """Random values for every input, reproducible from the seed: in the mapping's range, or from -1 to 1.

    Integers are row numbers of the table they index, with as few repetitions as possible; masks are ones followed by
    zeros. If neither the mapping nor the network gives a range, integers are zeros and ones.

    Args:
        tables: The tables that inputs index, by input name.

    Raises:
        SourceError: A size is unknown, or an input is not numeric.
        MappingError: The mapping's input does not match the network's.

    Example:
        >>> fed = seeded_inputs({"x": InputSpec("x", (None, 3), "float32")}, None, Sizes(batch=2), 7, "net.pb")
        >>> fed.arrays["x"].shape, fed.facts["x"]
        ((2, 3), {'seed': 7, 'range': [-1.0, 1.0], 'shape': [2, 3], 'dtype': 'float32'})
    """
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, dict[str, Any]] = {}
    alone = mapping if len(specs) == 1 and mapping is not None else None
    described = alone if alone is not None and alone.input.layout else None
    shapes = {
        name: shape_from_mapping(spec, described, sizes)
        if described
        else shape_from_network(spec, sizes, where)
        for name, spec in specs.items()
    }
    for number, (name, spec) in enumerate(specs.items()):
        shape = shapes[name]
        fact: dict[str, Any]
        draw: Callable[[], Any]
        if spec.dtype in FLOATS:
            low, high = (tf_range(alone) if alone else None) or (-1.0, 1.0)
            draw = partial(np.random.default_rng(seed + number).uniform, low, high, shape)
            random = _allocated(name, shape, draw)
            array = random.astype(np.float32 if spec.dtype == "bfloat16" else spec.dtype)
            fact = {"range": [float(low), float(high)]}
        elif spec.dtype == "bool" or spec.dtype.lstrip("u").startswith("int"):
            stated = None if mapping is None else tf_range(mapping)
            kind, limits = _integer_kind(name, spec, shapes, tables or {}, stated)
            draw = partial(random_integers, kind, shape, spec.dtype, seed + number, limits)
            array = _allocated(name, shape, draw)
            fact = {"range": list(limits), "drawn": kind, "distinct": int(np.unique(array).size)}
            if kind == "rows" and tables and name in tables:
                fact |= {"table": tables[name].name, "rows": tables[name].rows}
        else:
            raise SourceError(
                f"the input {name} has dtype {spec.dtype}, for which no values can be generated",
                where=where,
                expected="numbers",
                hint=f"--feed TENSOR=FILE.npy for a numeric tensor after it (tfpt record --list {where})",
            )
        arrays[name] = array
        facts[name] = {"seed": seed + number, **fact, **_facts(array)}
    return NetworkInputs(arrays, facts)


def _integer_kind(
    name: str,
    spec: InputSpec,
    shapes: Mapping[str, tuple[int, ...]],
    tables: Mapping[str, Table],
    stated: Sequence[float] | None,
) -> tuple[Kind, tuple[int, int]]:
    """The kind of an input's values, the smallest and the largest: only values that the network accepts."""
    shape = shapes[name]
    table = tables.get(name)
    if is_mask(name, spec.dtype):
        return "mask", (0, 1)
    if is_segments(name) and (table is None or table.rows == 2):
        return "segments", (0, 1)
    if is_lengths(name, shape):
        others = [each[1] for each in shapes.values() if len(each) > 1]
        return ("lengths", (1, min(others))) if others else ("bits", (0, 1))
    if table is None and any(other != name and shapes[other] == shape for other in tables):
        # It has the shape of an input of ids but indexes no table: a mask over the ids.
        return "mask", (0, 1)
    most = np.iinfo(spec.dtype).max
    low, high = row_limits(None if table is None else table.rows, stated)
    if stated is None and table is None and spec.dtype == "uint8" and len(shape) > 2:
        high = 255  # an image
    return ("rows", (low, min(high, int(most)))) if high > low else ("bits", (0, 1))


def _allocated(name: str, shape: tuple[int, ...], draw: Callable[[], Any]) -> np.ndarray:
    try:
        return np.asarray(draw())
    except (MemoryError, ValueError) as error:
        raise SourceError(
            f"not enough memory for the input {name}", got=format_shape(shape), hint="use smaller sizes"
        ) from error


def _facts(array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}
