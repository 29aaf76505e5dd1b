"""Checkpoints of random weights that fit a mapping, for trying things out without the published file."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tfpt.errors import MappingError, SinkError
from tfpt.execution.sinks.bundle import write_bundle
from tfpt.language.mapping import Copy, Ema, Row
from tfpt.language.mapping import Mapping as TfptMapping
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import PT_SEPARATOR, TF_SEPARATOR, Field, Template, join
from tfpt.operations.combine import Combine
from tfpt.operations.function import Apply
from tfpt.operations.inversion import source_shapes
from tfpt.operations.layout import LayoutError
from tfpt.operations.product import Product
from tfpt.planning import PlanError, make_plan
from tfpt.planning.instances import Instance, instances_of
from tfpt.tensors import TensorSpec, dtype, is_integer


def sample_specs(mapping: TfptMapping, targets: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    """The variables from which the mapping writes exactly `targets`, in its first scope.

    Raises:
        MappingError: The mapping does not determine the size of a variable: axes or pieces are merged without sizes.
    """
    return {name: variable.spec for name, variable in _invert(mapping, targets).items()}


def write_sample(
    mapping: TfptMapping,
    targets: Mapping[str, TensorSpec],
    prefix: Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
) -> int:
    """Write the checkpoint `prefix` in TensorFlow's V2 format; the same seed gives the same values.

    Kernels are normal with variance 2 / fan-in, variances uniform in [0.5, 1.5], everything else is small, so that
    activations keep their magnitude through the layers.

    Returns:
        The number of variables written.

    Raises:
        MappingError: See `sample_specs`.
        SinkError: The checkpoint exists, or the files cannot be written.
    """
    if not overwrite and Path(f"{prefix}.index").exists():
        raise SinkError("the checkpoint exists already", where=f"{prefix}.index", hint="--force replaces it")
    found = _invert(mapping, targets)
    specs = {name: variable.spec for name, variable in found.items()}
    plan = make_plan(mapping, specs, targets, source=str(prefix))
    if not plan.ok:
        raise PlanError(plan)

    def maker(variable: _Variable) -> Callable[[], np.ndarray]:
        return lambda: _values(variable, seed)

    rows = ((variable.spec, maker(variable)) for variable in found.values())
    write_bundle(prefix, rows, overwrite=overwrite)
    return len(found)


@dataclass(frozen=True)
class _Variable:
    """A variable of a sample.

    Attributes:
        spec: Its shape and dtype.
        parameter: The first parameter that it feeds.
        sign: 1 or -1 if its values must have this sign, for a function that is not defined for others.
        functions: What the row applies to it, if nothing comes before.
    """

    spec: TensorSpec
    parameter: TensorSpec
    sign: int = 0
    functions: Apply | None = None


def _invert(mapping: TfptMapping, targets: Mapping[str, TensorSpec]) -> dict[str, _Variable]:
    parameters, nothing = NameIndex(targets, PT_SEPARATOR), NameIndex((), TF_SEPARATOR)
    candidates: dict[str, list[_Candidate]] = {}
    again: list[_Candidate] = []
    for row in mapping.alternatives[0].rows:
        if not isinstance(row, Copy) or row.fallback:
            continue
        for instance in instances_of(row, nothing, {}, parameters):
            candidate = _Candidate(
                row, instance, [targets[name] for name in instance.writes if name in targets]
            )
            if row.tied:
                again.append(candidate)
                continue
            for name in instance.writes:
                candidates.setdefault(name, []).append(candidate)
    chosen = {id(each): each for each in map(_best, candidates.values())}
    known = _known([*chosen.values(), *again])
    found: dict[str, _Variable] = {}
    for candidate in chosen.values():
        row, first = candidate.row, candidate.writes[0]
        signs = _signs(row)
        for place, (name, shape) in enumerate(candidate.sources(known).items()):
            spec = TensorSpec(name, shape, _dtype(row, first))
            sign = signs[place % len(signs)]
            functions = row.transform.functions if row.transform.join is None else None
            found.setdefault(name, _Variable(spec, first, sign, functions))
    for candidate in again:
        _read_again(found, candidate)
    found.update(_averages(found, mapping.alternatives[0].ema))
    return dict(sorted(found.items()))


def _averages(found: Mapping[str, _Variable], ema: Ema | None) -> dict[str, _Variable]:
    """The moving averages that a mapping requires of its variables, by their names."""
    if ema is None or ema.use != "require":
        return {}
    names = NameIndex(found, TF_SEPARATOR)
    excepted = {name for template in ema.exclude for name, _ in names.each_match(template)}
    averages: dict[str, _Variable] = {}
    for name, variable in found.items():
        if name not in excepted and name.startswith(join(ema.scope, "", TF_SEPARATOR)):
            path = name.removeprefix(f"{ema.scope}{TF_SEPARATOR}" if ema.scope else "")
            parts = [
                part if isinstance(part, str) else path if part.kind == "path" else _discarded(part)
                for part in ema.tf.parts
            ]
            average = "".join(parts)
            averages[average] = replace(variable, spec=replace(variable.spec, name=average))
    return averages


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A row that would write these parameters, by their names."""

    row: Copy
    instance: Instance
    writes: list[TensorSpec]

    @cached_property
    def fits(self) -> bool:
        """Whether variables of some shape become parameters of these shapes."""
        try:
            shapes = list(self.sources().values())
            wanted = tuple(spec.shape for spec in self.writes)
            return self.row.transform.for_outputs(wanted).bind(shapes, len(wanted)).shapes == wanted
        except (LayoutError, MappingError):
            return False

    def sources(self, known: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, tuple[int, ...]]:
        return _sources(self.row, self.instance, self.writes, known)


def _best(candidates: list[_Candidate]) -> _Candidate:
    """Of the rows that write one parameter, the most literal one whose shapes fit; rows that override others first."""
    ordered = sorted(candidates, key=lambda found: (not found.row.overrides, _openness(found.row)))
    return next((candidate for candidate in ordered if candidate.fits), ordered[0])


def _known(candidates: Iterable[_Candidate]) -> dict[str, tuple[int, ...]]:
    """The shapes of variables of products, as far as other rows that read them determine these."""
    factors: set[str] = set()
    others: list[_Candidate] = []
    for candidate in candidates:
        if isinstance(candidate.row.transform.join, Product):
            factors.update(_name(template, candidate.instance) for template in candidate.row.tf)
        elif candidate.writes:
            others.append(candidate)
    known: dict[str, tuple[int, ...]] = {}
    if factors:
        for candidate in others:
            if not candidate.row.stacks and factors.isdisjoint(
                _name(template, candidate.instance) for template in candidate.row.tf
            ):
                continue
            with suppress(MappingError):
                for name, shape in candidate.sources().items():
                    known.setdefault(name, shape)
    return known


def _read_again(found: dict[str, _Variable], candidate: _Candidate) -> None:
    """Make variables fit a further row that reads them: long enough for its slices, and in its functions' domain."""
    row, instance = candidate.row, candidate.instance
    signs = _signs(row)
    if row.stacks or not (row.transform.slices or any(signs)):
        return
    shapes: Mapping[str, tuple[int, ...]] = {}
    if row.transform.slices and len(candidate.writes) == len(instance.writes):
        with suppress(MappingError):  # the row that claims the variable determines its size
            shapes = candidate.sources()
    for place, template in enumerate(row.tf):
        name = _name(template, instance)
        variable = found.get(name)
        if variable is None:
            continue
        shape = variable.spec.shape
        if len(shapes.get(name, ())) == len(shape):
            shape = tuple(map(max, shape, shapes[name]))
        sign = variable.sign or signs[place % len(signs)]
        found[name] = replace(variable, spec=replace(variable.spec, shape=shape), sign=sign)


def _signs(row: Copy) -> list[int]:
    """For each variable the sign that its values must have, or 0."""
    transform = row.transform
    if transform.fold is not None:
        return [int(part == "variance") for part in transform.fold.batch_norm]
    if transform.functions is None or not transform.functions.partial:
        return [0]
    if isinstance(transform.join, Combine):
        return [1 if number > 0 else -1 for number in transform.join.numbers]
    return [1]


def _openness(row: Row) -> int:
    """The number of fields in a row's names: of two rows that write a parameter, the more literal one is used."""
    return sum(isinstance(part, Field) for template in row.pt for part in template.parts)


def _dtype(row: Copy, parameter: TensorSpec) -> str:
    """Variables that a row computes with are floating-point, even if the parameter is not."""
    whole = is_integer(parameter.dtype) or parameter.dtype == "bool"
    return "float32" if row.transform.computes and whole else parameter.dtype


def _sources(
    row: Copy, instance: Instance, writes: list[TensorSpec], known: Mapping[str, tuple[int, ...]] | None
) -> dict[str, tuple[int, ...]]:
    try:
        shapes = source_shapes(
            row.transform,
            [spec.shape for spec in writes],
            None if row.stacks else len(row.tf),
            None if known is None else [known.get(_name(template, instance)) for template in row.tf],
        )
    except LayoutError as error:
        names = " and ".join(map(str, row.tf))
        raise MappingError(
            f"the row does not determine the size of {names}: {error.what}",
            where=row.where,
            expected="axes: with the size of every axis that the layout merges",
        ) from error
    if not row.stacks:
        return {_name(template, instance): shape for template, shape in zip(row.tf, shapes, strict=True)}
    return {
        _name(row.tf[0], Instance(row, {**instance.values, row.index: position})): shape
        for position, shape in enumerate(shapes)
    }


def _name(template: Template, instance: Instance) -> str:
    """The variable's name; discarded text is the first word of a choice, otherwise 0."""
    known = template.render(instance.values)
    if known is not None:
        return known
    parts = [part if isinstance(part, str) or part.name else _discarded(part) for part in template.parts]
    return Template(template.text, template.separator, tuple(parts)).render(instance.values) or template.text


def _discarded(field: Field) -> str:
    if field.spelled:
        return field.spelled[0]
    return "" if field.counter else "0" * max(1, field.width)


def _values(variable: _Variable, seed: int) -> np.ndarray:
    spec, parameter = variable.spec, variable.parameter
    held = dtype(spec.dtype).numpy
    assert held is not None
    random = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
    leaf = parameter.name.rpartition(PT_SEPARATOR)[2]
    if held.kind in "iub":
        values = np.zeros(spec.shape)
    elif variable.sign:
        values = random.uniform(0.5, 1.5, spec.shape) * variable.sign
        if variable.functions is not None:
            values = variable.functions.argument(values)
    elif leaf == "running_var":
        values = random.uniform(0.5, 1.5, spec.shape)
    elif len(parameter.shape) > 1:
        values = random.normal(0.0, math.sqrt(2 / max(1, math.prod(parameter.shape[1:]))), spec.shape)
    elif leaf == "weight":
        values = 1 + random.normal(0.0, 0.1, spec.shape)
    else:
        values = random.normal(0.0, 0.1, spec.shape)
    return values.astype(held)
