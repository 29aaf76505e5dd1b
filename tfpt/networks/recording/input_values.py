"""What a TensorFlow network is fed to be recorded: a person's files and arrays, or values from a seed."""

from __future__ import annotations

import math
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
from tfpt.networks.recording.input_shapes import FLOATS, Sizes, described_shape, open_shape
from tfpt.networks.recording.random_inputs import Kind, drawn, is_lengths, is_mask, is_segments
from tfpt.networks.recording.recordings import INPUT
from tfpt.networks.running.network import InputSpec
from tfpt.networks.running.tables import Table
from tfpt.tensors import format_shape

Given = str | os.PathLike[str] | np.ndarray


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
    kind = recognize(location)
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
    specs: Mapping[str, InputSpec],
    mapping: rows.Mapping | None,
    sizes: Sizes,
    seed: int,
    where: str,
    tables: Mapping[str, Table] | None = None,
) -> Fed:
    """Values for every input, the same ones for the same seed: as the mapping describes them, else from -1 to 1.

    Whole numbers are rows of the table that they look up, as many different ones as there is room for; masks are ones
    and then zeros. Where neither the mapping nor the network says how far they go, they are zeros and ones.

    Args:
        tables: The tables that are looked up with inputs, by the names of these.

    Raises:
        SourceError: A size is not known, or an input takes no numbers.
        MappingError: The mapping's input is not the network's.

    Example:
        >>> fed = seeded({"x": InputSpec("x", (None, 3), "float32")}, None, Sizes(batch=2), 7, "net.pb")
        >>> fed.arrays["x"].shape, fed.facts["x"]
        ((2, 3), {'seed': 7, 'range': [-1.0, 1.0], 'shape': [2, 3], 'dtype': 'float32'})
    """
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, dict[str, Any]] = {}
    alone = mapping if len(specs) == 1 and mapping is not None else None
    described = alone if alone is not None and alone.input.layout else None
    shapes = {
        name: described_shape(spec, described, sizes) if described else open_shape(spec, sizes, where)
        for name, spec in specs.items()
    }
    for number, (name, spec) in enumerate(specs.items()):
        shape = shapes[name]
        fact: dict[str, Any]
        if spec.dtype in FLOATS:
            low, high = (alone.input.range if alone else None) or (-1.0, 1.0)
            random = _drawn(
                name, shape, partial(np.random.default_rng(seed + number).uniform, low, high, shape)
            )
            array = random.astype(np.float32 if spec.dtype == "bfloat16" else spec.dtype)
            fact = {"range": [float(low), float(high)]}
        elif spec.dtype == "bool" or spec.dtype.lstrip("u").startswith("int"):
            stated = None if mapping is None else mapping.input.range
            kind, limits = _whole_numbers(name, spec, shapes, tables or {}, stated)
            array = _drawn(name, shape, partial(drawn, kind, shape, spec.dtype, seed + number, limits))
            fact = {"range": list(limits), "drawn": kind, "distinct": int(np.unique(array).size)}
            if kind == "rows" and tables and name in tables:
                fact |= {"table": tables[name].name, "rows": tables[name].rows}
        else:
            raise SourceError(
                f"the input {name} takes {spec.dtype}, which no seed gives",
                where=where,
                expected="numbers",
                hint=f"--feed TENSOR=FILE.npy, a tensor behind it that holds numbers (tfpt record --list {where})",
            )
        arrays[name] = array
        facts[name] = {"seed": seed + number, **fact, **_facts(array)}
    return Fed(arrays, facts)


def _whole_numbers(
    name: str,
    spec: InputSpec,
    shapes: Mapping[str, tuple[int, ...]],
    tables: Mapping[str, Table],
    stated: Sequence[float] | None,
) -> tuple[Kind, tuple[int, int]]:
    """Of which kind the values of an input are, the least and the largest: none that the network could not take."""
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
        # Beside ids, and nothing is looked up with it: it says which of them count.
        return "mask", (0, 1)
    most = np.iinfo(spec.dtype).max
    least, largest = (0, 0)
    if stated is not None:
        least, largest = math.ceil(stated[0]), math.floor(stated[1])
        if table is not None:
            least, largest = max(least, 0), min(largest, table.rows - 1)
    if largest <= least and table is not None:
        least, largest = 0, table.rows - 1
    if stated is None and table is None and spec.dtype == "uint8" and len(shape) > 2:
        largest = 255  # a picture
    return ("rows", (least, min(largest, int(most)))) if largest > least else ("bits", (0, 1))


def _drawn(name: str, shape: tuple[int, ...], draw: Callable[[], Any]) -> np.ndarray:
    try:
        return np.asarray(draw())
    except (MemoryError, ValueError) as error:
        raise SourceError(
            f"this machine has no room for the input {name}", got=format_shape(shape), hint="smaller sizes"
        ) from error


def _facts(array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "dtype": str(array.dtype)}
