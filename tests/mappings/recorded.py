"""Conversions by official converters, recorded as tables: which variable becomes which parameter, and how.

`tests/data/zoo/NAME.tsv` has one line for each parameter of the PyTorch model (parameter, variable, its shape,
operation), found by comparing the values that the official converter wrote with those that it read; then one line for
each variable that the converter does not use (no parameter; its dtype instead of an operation). `NAME.json` is the
configuration. tests/data/zoo/README.md says which converters these are.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import DATA

FOLDER = DATA / "zoo"

# How a row of the table is carried out, by numpy.
_STEPS: dict[str, Callable[[np.ndarray, list[int]], np.ndarray]] = {
    "transpose": np.transpose,
    "reshape": np.reshape,
    "take0": lambda array, index: array[index[0]],
    "zero_row": lambda array, index: _without_row(array, index[0]),
}


@dataclass(frozen=True)
class Recorded:
    """A conversion by an official converter.

    Attributes:
        name: The mapping that should do the same.
    """

    name: str

    @cached_property
    def _lines(self) -> list[dict[str, str]]:
        with (FOLDER / f"{self.name}.tsv").open() as file:
            return list(csv.DictReader(file, delimiter="\t"))

    @property
    def config(self) -> dict[str, Any]:
        """The model's configuration."""
        return json.loads((FOLDER / f"{self.name}.json").read_text())

    @cached_property
    def parameters(self) -> dict[str, tuple[str, str]]:
        """For each parameter of the model its variable and the operation; or no variable, and a constant in words."""
        return {
            line["parameter"]: (line["variable"], line["operation"])
            for line in self._lines
            if line["parameter"]
        }

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each variable."""
        return {line["variable"]: _shape(line["shape"]) for line in self._lines if line["variable"]}

    @cached_property
    def unused(self) -> frozenset[str]:
        """The variables that the converter does not use."""
        return frozenset(line["variable"] for line in self._lines if not line["parameter"])

    def variables(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Random values for every variable, no two equal."""
        random = np.random.default_rng(seed)
        dtypes = {line["variable"]: line["operation"] for line in self._lines if not line["parameter"]}
        return {
            name: random.normal(size=shape).astype(np.float32)
            if dtypes.get(name, "float32") == "float32"
            else np.full(shape, 7, dtypes[name])
            for name, shape in self.shapes.items()
        }

    def expected(self, variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | None]:
        """What the official converter makes of them; None for what the model itself computes."""
        return {
            parameter: carried_out(operation, variables[variable])
            if variable
            else self._constant(parameter, operation)
            for parameter, (variable, operation) in self.parameters.items()
        }

    def _constant(self, parameter: str, words: str) -> np.ndarray | None:
        shape = next(_shape(line["shape"]) for line in self._lines if line["parameter"] == parameter)
        values = {"all zero": 0, "all one": 1}
        return np.full(shape, values[words]) if words in values else None


def carried_out(operation: str, array: np.ndarray) -> np.ndarray:
    """An operation of a table: steps separated by bars, such as ``transpose(1,2,0)|reshape[32,32]``.

    Example:
        >>> carried_out("transpose(1,0)|reshape[6]", np.arange(6).reshape(2, 3)).tolist()
        [0, 3, 1, 4, 2, 5]
    """
    for step in operation.split("|") if operation != "id" else ():
        found = re.fullmatch(r"(\w+)[(\[]([\d,]*)[)\]]", step)
        assert found is not None, step
        array = _STEPS[found[1]](array, [int(number) for number in found[2].split(",")])
    return array


def recorded() -> list[Recorded]:
    """Every recorded conversion."""
    return [Recorded(path.stem) for path in sorted(FOLDER.glob("*.tsv"))]


def write_npz(path: Path, variables: Mapping[str, np.ndarray]) -> Path:
    np.savez(path, **variables)  # type: ignore[arg-type]
    return path


def _without_row(array: np.ndarray, row: int) -> np.ndarray:
    changed = array.copy()
    changed[row] = 0
    return changed


def _shape(text: str) -> tuple[int, ...]:
    return tuple(json.loads(text))
