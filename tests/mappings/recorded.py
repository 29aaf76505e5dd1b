"""Conversions by official converters, recorded as tables: which variable becomes which parameter, and how.

`tests/data/zoo/NAME.tsv` has one line for each parameter of the PyTorch model (parameter, variable, its shape,
operation), found by comparing the values that the official converter wrote with those that it read; then one line for
each variable that the converter does not use (no parameter; its dtype instead of an operation). `NAME.json` is the
configuration. tests/data/zoo/README.md says which converters these are.

`NAME.variants.yaml`, if there is one, describes other models of the family, and the form of the file::

    lost: {decoder.bias: output/bias}           # parameters and their variables that the converter forgets
    alternatives: 'norm/'                       # names and sizes that the mapping does not prescribe
    package: timm                               # of the model's class; its tests need it
    form: bundle                                # a key of FORMS, the default; also of a variant
    variants:
      five layers of another width:
        repeat: {variable: 'layer_(\\d+)/', parameter: 'layer\\.(\\d+)\\.', more: 3}
        sizes: {32: 48}                         # wherever an axis had 32
        without: /adam_                         # unused variables
        config: {num_hidden_layers: 5, hidden_size: 48}
        dtype: bfloat16                         # of the variables in use

A mapping with several tables has `NAME.VERSION.tsv` as well.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401  # numpy knows bfloat16 by it
import numpy as np
import yaml

from tests.conftest import DATA
from tests.mappings.checkpoint_forms import FORMS
from tests.vision import available

FOLDER = DATA / "zoo"

# How a row of the table is carried out, by numpy.
_STEPS: dict[str, Callable[[np.ndarray, list[int]], np.ndarray]] = {
    "transpose": np.transpose,
    "reshape": np.reshape,
    "take0": lambda array, index: array[index[0]],
    "first": lambda array, index: array[: index[0]],
    "part": lambda array, _: (
        array
    ),  # of a parameter made of several variables: the axis along which they are joined
    "flip": np.flip,
    "add": lambda array, number: array + np.float32(number[0]),
    "zero_row": lambda array, index: _without_row(array, index[0]),
}
_CONSTANTS = {"all zero": 0, "all one": 1}


class Line(NamedTuple):
    """A line of a table; without a variable, the shape is that of the parameter."""

    parameter: str
    variable: str
    shape: tuple[int, ...]
    operation: str


@dataclass(frozen=True, eq=False)
class Recorded:
    """A conversion by an official converter.

    Attributes:
        name: The name of the table.
        lines: The table.
        config: The model's configuration.
        form: How the variables are stored, a key of `FORMS`.
        variant: What differs from the recorded model.
        repeated: Whether the variant has more layers than the recorded model.
        dtype: The dtype of the variables in use.
        package: The package of the model's class.
        alternatives: An expression for names of which the mapping takes others as well, or in other sizes.
    """

    name: str
    lines: tuple[Line, ...] = field(repr=False)
    config: dict[str, Any] = field(repr=False)
    form: str = "bundle"
    variant: str = ""
    repeated: bool = False
    dtype: str = "float32"
    package: str = "transformers"
    alternatives: str = "(?!)"

    def __str__(self) -> str:
        return f"{self.name}: {self.variant}" if self.variant else self.name

    @property
    def mapping(self) -> str:
        """The mapping that should do the same."""
        return self.name.partition(".")[0]

    @property
    def has_model(self) -> bool:
        """Whether the package of the model's class is installed; without, names and shapes are those of the rows."""
        return available(self.package)

    @cached_property
    def parameters(self) -> dict[str, list[tuple[str, str]]]:
        """For each parameter of the model the variables that it is made of, each with its operation.

        Without a variable there is one entry, and the operation is a constant in words.
        """
        parts: dict[str, list[tuple[str, str]]] = {}
        for line in self.lines:
            if line.parameter:
                parts.setdefault(line.parameter, []).append((line.variable, line.operation))
        return parts

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each variable."""
        return {line.variable: line.shape for line in self.lines if line.variable}

    @cached_property
    def unused(self) -> frozenset[str]:
        """The variables that the converter does not use."""
        return frozenset(line.variable for line in self.lines if not line.parameter)

    @property
    def used(self) -> tuple[str, ...]:
        """The variables that the converter uses, in the order of the parameters."""
        parts = (part for parts in self.parameters.values() for part in parts)
        return tuple(dict.fromkeys(variable for variable, _ in parts if variable))

    def variables(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Random values for every variable, no two equal."""
        random = np.random.default_rng(seed)
        dtypes = {line.variable: line.operation for line in self.lines if not line.parameter}
        return {
            name: random.normal(size=shape).astype(np.dtype(dtypes.get(name, self.dtype)))
            if dtypes.get(name, "float32") == "float32"
            else np.full(shape, 7, dtypes[name])
            for name, shape in self.shapes.items()
        }

    def write(self, folder: Path, variables: Mapping[str, np.ndarray]) -> Path:
        """The checkpoint of these variables, in the form of the recorded one."""
        return FORMS[self.form](folder, variables)

    def expected(self, variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | None]:
        """What the official converter makes of them; None for what the model itself computes."""
        shapes = {line.parameter: line.shape for line in self.lines if line.parameter}
        return {
            parameter: _joined(
                [
                    (operation, carried_out(operation, variables[variable].astype(np.float32)))
                    for variable, operation in parts
                ]
            )
            if parts[0][0] and parts[0][1] != "computed"
            else np.full(shapes[parameter], _CONSTANTS[parts[0][1]])
            if parts[0][1] in _CONSTANTS
            else None
            for parameter, parts in self.parameters.items()
        }

    def with_more_layers(self, variable: str, parameter: str, more: int) -> Recorded:
        """The same with the last layer repeated: `more` layers of the same variables, numbered on.

        A variable that holds the weights of all layers is that much longer.

        Args:
            variable: An expression whose group is a layer's number in the name of a variable. Variables with a higher
                number than the last layer's are renumbered, as those of a decoder that counts on.
            parameter: The same for the name of a parameter. The last layer is that of the variables of these.
            more: The number of layers to add.
        """
        numbers = [_layer(line, variable, parameter) for line in self.lines]
        of_layers = [
            number
            for line, number in zip(self.lines, numbers, strict=True)
            if number is not None and re.search(parameter, line.parameter)
        ]
        last = max(of_layers)
        lines: list[Line] = []
        for line, number in zip(self.lines, numbers, strict=True):
            if line.operation.startswith("take0") and number is not None:
                line = line._replace(shape=(line.shape[0] + more, *line.shape[1:]))
            if number == last:
                lines += [_renumbered(line, variable, parameter, by) for by in range(more + 1)]
            elif number is not None and number > last:
                lines.append(line._replace(variable=_numbered(variable, line.variable, more)))
            else:
                lines.append(line)
        return replace(self, lines=tuple(lines), repeated=True)

    def with_sizes(self, sizes: Mapping[int, int]) -> Recorded:
        """The same with other sizes, wherever an axis had one of those given."""

        def resized(numbers: re.Match[str]) -> str:
            return ",".join(str(sizes.get(int(number), int(number))) for number in numbers[0].split(","))

        return replace(
            self,
            lines=tuple(
                line._replace(
                    shape=tuple(sizes.get(size, size) for size in line.shape),
                    operation=re.sub(r"(?:(?<=reshape\[)|(?<=first\[))[\d,]+", resized, line.operation),
                )
                for line in self.lines
            ),
        )

    def without(self, pattern: str) -> Recorded:
        """The same without those of the unused variables whose names contain the expression."""
        return replace(
            self,
            lines=tuple(
                line for line in self.lines if line.parameter or not re.search(pattern, line.variable)
            ),
        )


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
    return [read(path.stem) for path in sorted(FOLDER.glob("*.tsv"))]


def variants() -> list[Recorded]:
    """Every variant of the recorded conversions."""
    return [*_all_variants()]


@cache
def _all_variants() -> tuple[Recorded, ...]:
    return tuple(variant for case in recorded() for variant in _variants(case))


@cache
def read(name: str) -> Recorded:
    """The recorded conversion of that name."""
    with (FOLDER / f"{name}.tsv").open() as file:
        lines = tuple(
            Line(row["parameter"], row["variable"], tuple(json.loads(row["shape"])), row["operation"])
            for row in csv.DictReader(file, delimiter="\t")
        )
    config = json.loads((FOLDER / f"{name}.json").read_text())
    facts = _facts(name)
    lost = facts.get("lost", {})
    shapes = {line.variable: line.shape for line in lines}
    lines = tuple(
        Line(line.parameter, lost[line.parameter], shapes[lost[line.parameter]], "id")
        if line.parameter in lost
        else line
        for line in lines
        if line.parameter or line.variable not in lost.values()
    )
    return Recorded(
        name,
        lines,
        config,
        facts.get("form", "bundle"),
        package=facts.get("package", Recorded.package),
        alternatives=facts.get("alternatives", Recorded.alternatives),
    )


@cache
def _facts(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.variants.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def _variants(case: Recorded) -> Iterator[Recorded]:
    for title, facts in _facts(case.name).get("variants", {}).items():
        unknown = facts.keys() - {"repeat", "sizes", "without", "config", "form", "dtype"}
        assert not unknown, f"{case.name}: {title}: {unknown}"
        variant = replace(
            case,
            variant=title,
            config=case.config | facts.get("config", {}),
            form=facts.get("form", case.form),
            dtype=facts.get("dtype", case.dtype),
        )
        repeats = facts.get("repeat", [])
        for repeat in repeats if isinstance(repeats, list) else [repeats]:
            variant = variant.with_more_layers(**repeat)
        variant = variant.with_sizes(facts.get("sizes", {}))
        yield variant.without(facts["without"]) if "without" in facts else variant


def _layer(line: Line, variable: str, parameter: str) -> int | None:
    """The number of the line's layer; a constant, and a part of a variable of all layers, have it in the parameter."""
    if line.variable and not line.operation.startswith("take0"):
        return _number(variable, line.variable)
    return _number(parameter, line.parameter)


def _number(pattern: str, name: str) -> int | None:
    found = re.search(pattern, name)
    return int(found[1]) if found else None


def _numbered(pattern: str, name: str, by: int) -> str:
    """The name with the number in it raised, in as many digits."""
    found = re.search(pattern, name)
    if not found:
        return name
    return f"{name[: found.start(1)]}{int(found[1]) + by:0{len(found[1])}}{name[found.end(1) :]}"


def _renumbered(line: Line, variable: str, parameter: str, by: int) -> Line:
    return line._replace(
        variable=_numbered(variable, line.variable, by),
        parameter=_numbered(parameter, line.parameter, by),
        operation=_numbered(r"^take0\[(\d+)", line.operation, by),
    )


def _joined(parts: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """The parts, joined along the axis that the last step of their operations names."""
    if len(parts) == 1:
        return parts[0][1]
    return np.concatenate([value for _, value in parts], axis=int(parts[0][0][-2]))


def _without_row(array: np.ndarray, row: int) -> np.ndarray:
    changed = array.copy()
    changed[row] = 0
    return changed
