"""The parameters that rows state by themselves, where neither a model nor a manifest is used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tfpt.formats.source import Quantized
from tfpt.language.mapping import Copy, Fill, Ignore, Keep, Row
from tfpt.language.templates import Value
from tfpt.language.tree import Position
from tfpt.operations.casting import carrier
from tfpt.operations.layout import LayoutError
from tfpt.planning.averages import Variables
from tfpt.planning.claims import settle
from tfpt.planning.findings import Finding
from tfpt.planning.fitting import encodes_numbers
from tfpt.planning.instances import Instance
from tfpt.tensors import BY_NUMPY, DTYPES, TensorSpec, is_exact

# Dtypes of PyTorch for variables of a dtype that PyTorch does not have, such as int4.
_WIDER = ("int8", "uint8", "int16", "float16", "bfloat16", "float32", "float64")


def stated_parameters(
    by_row: Sequence[tuple[Row, Sequence[Instance]]],
    ignore: tuple[Ignore, ...],
    variables: Variables,
    quantized: Mapping[str, Quantized],
) -> tuple[dict[str, TensorSpec], list[Finding]]:
    """What the rows write, by name in natural order, and a finding for each row that says too little.

    Shapes are those that the rows give the variables. Dtypes are those of the variables, or of the rows. A constant has
    the `shape` that its row states, or the shape and dtype of the parameter that it is `like`.

    Args:
        by_row: The rows in the scope that fits, with the instances that the variables give.
        ignore: The variables left out.
        variables: The variables as rows see them.
        quantized: Variables whose integers encode real numbers, by the name under which they are read.
    """
    copies = [(row, found) for row, found in by_row if isinstance(row, Copy)]
    active = settle([each for _, found in copies for each in found], ignore, variables.specs).active
    known: dict[str, TensorSpec] = {}
    for instance in active:
        if not instance.absent:
            for spec in _written(instance, variables, quantized):
                known.setdefault(spec.name, spec)
    constants = _Constants(known, copies)
    for row, _ in by_row:
        if not isinstance(row, Copy):
            constants.add(row)
    constants.settle()
    return dict(sorted(known.items(), key=lambda item: _natural(item[0]))), constants.findings


def note_unchecked(where: str) -> Finding:
    """The note that names and shapes of the PyTorch side were not checked."""
    return Finding(
        "unchecked",
        "names, shapes and dtypes of the PyTorch side were not checked: they are those that the rows give",
        where=where,
        got="--no-model",
        hint="without --no-model, the manifest or the model is compared with them",
    )


def _written(
    instance: Instance, variables: Variables, quantized: Mapping[str, Quantized]
) -> Iterable[TensorSpec]:
    row = instance.row
    assert isinstance(row, Copy)
    reads = [variables.specs[name] for name in instance.reads]
    try:
        shapes = row.transform.bind([spec.shape for spec in reads], len(instance.writes)).shapes
    except LayoutError:
        return ()  # reported when the planner binds it again
    encoded = any(encodes_numbers(spec, quantized.get(variables.read_name(spec.name))) for spec in reads)
    dtype = row.dtype or ("float32" if encoded else _common([spec.dtype for spec in reads]))
    return [TensorSpec(name, shape, dtype) for name, shape in zip(instance.writes, shapes, strict=True)]


def _common(names: Sequence[str]) -> str:
    """A dtype of PyTorch for values of these dtypes; where there is none, the planner reports why."""
    first, *others = dict.fromkeys(names)
    if others:
        numbers = [held for name in names if (held := DTYPES[name].numpy) is not None and held.kind != "O"]
        joined = carrier(numbers) if len(numbers) == len(names) else None
        first = first if joined is None else BY_NUMPY[joined].name
    if DTYPES[first].torch is not None:
        return first
    return next((wider for wider in _WIDER if is_exact(first, wider)), first)


class _Constants:
    """Adds the constants of a mapping to the parameters that are known."""

    def __init__(
        self, known: dict[str, TensorSpec], copies: Iterable[tuple[Row, Sequence[Instance]]]
    ) -> None:
        self.known = known
        self.findings: list[Finding] = []
        self._waiting: dict[str, tuple[Fill, str]] = {}
        self._layers: dict[tuple[Position, ...], list[Instance]] = {}
        self._values: dict[tuple[tuple[Position, ...], frozenset[str]], list[dict[str, Value]]] = {}
        for row, instances in copies:
            for depth in range(1, len(row.scopes) + 1):
                layer = self._layers.setdefault(row.scopes[:depth], [])
                layer += (each for each in instances if each.found)

    def add(self, row: Row) -> None:
        """Add what a row of constants writes, where its layer occurs; a finding if its names are not known."""
        prefixes = (row.scopes[:depth] for depth in range(len(row.scopes), 0, -1))
        scopes = next((prefix for prefix in prefixes if prefix in self._layers), ())
        if scopes and not self._layers[scopes]:
            return  # the layer does not occur in the checkpoint
        places = {template: self._places(scopes, template.fields) for template in row.pt}
        missing = [template for template, values in places.items() if not values]
        if row.optional and not scopes:
            return
        if missing and (row.optional or row.fallback):
            return
        if isinstance(row, Keep) or missing:
            self.findings.append(
                Finding(
                    "unknown-model",
                    f"{missing[0] if missing else row.pt[0]} cannot be written without a model",
                    name=str(row.pt[0]),
                    where=row.where,
                    row=str(row),
                    expected="a constant of a layer that the checkpoint has, with shape: or like:",
                    got="keep:, the model's own value"
                    if isinstance(row, Keep)
                    else "a name with fields that no variable has",
                    hint="a model or a manifest, and no --no-model",
                )
            )
            return
        assert isinstance(row, Fill)
        for template, found in places.items():
            for values in found:
                name = template.render(values)
                if name is not None and name not in self.known:
                    like = row.like.render(values) if row.like is not None else None
                    self._waiting.setdefault(name, (row, like or ""))

    def _places(self, scopes: tuple[Position, ...], fields: frozenset[str]) -> list[dict[str, Value]]:
        """The values of some fields wherever a layer occurs; empty if its variables do not have these fields."""
        if not scopes:
            return [] if fields else [{}]
        if (scopes, fields) not in self._values:
            distinct: dict[frozenset[tuple[str, Value]], dict[str, Value]] = {}
            for instance in self._layers[scopes]:
                if fields <= instance.values.keys():
                    values = {name: instance.values[name] for name in fields}
                    distinct.setdefault(frozenset(values.items()), values)
            self._values[scopes, fields] = list(distinct.values())
        return self._values[scopes, fields]

    def settle(self) -> None:
        """Give each constant its shape and dtype; a finding for each that has none."""
        tried: set[str] = set()
        for name in self._waiting:
            chain: list[str] = []  # constants that are like one another
            while name in self._waiting and name not in tried:
                tried.add(name)
                chain.append(name)
                name = self._waiting[name][1]
            for each in reversed(chain):
                row, like = self._waiting[each]
                spec = self._spec(each, row, self.known.get(like))
                if spec is not None:
                    self.known[each] = spec
        for name, (row, like) in self._waiting.items():
            if name in self.known:
                continue
            shape = "shape" if row.shape is None else "dtype"
            other = f"like: {like}, which no row writes" if like else f"no {shape}:"
            self.findings.append(
                Finding(
                    "unknown-model",
                    f"the {shape} of the constant {name} is not known without a model",
                    name=name,
                    where=row.where,
                    row=str(row),
                    expected="shape: and dtype:, or like: with a parameter that another row writes",
                    got=other,
                )
            )

    @staticmethod
    def _spec(name: str, row: Fill, like: TensorSpec | None) -> TensorSpec | None:
        shape = row.shape if row.shape is not None or like is None else like.shape
        dtype = row.dtype if row.dtype is not None or like is None else like.dtype
        return None if shape is None or dtype is None else TensorSpec(name, shape, dtype)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts layer_2 before layer_10."""
    return [
        (bool(part) and part.isdecimal(), int(part) if part.isdecimal() and part.isascii() else 0, part)
        for part in re.split(r"([0-9]{1,18})", name)
    ]
