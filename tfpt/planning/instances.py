"""Match rows to names: the variables and parameters that a row connects, once for each set of field values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tfpt.language.mapping import Copy, Row
from tfpt.language.name_index import NameIndex
from tfpt.language.templates import Value
from tfpt.language.tree import Position
from tfpt.operations.layout import LayoutError
from tfpt.tensors import TensorSpec

Key = frozenset[tuple[str, Value]]

# The most missing indices reported for one stack: where a training step is mistaken for an index, there are millions.
_HOLES = 100


@dataclass
class Instance:
    """One row with one set of field values.

    Attributes:
        row: The row.
        values: The field values, without the stacking index.
        reads: The variables that it needs, in the order in which they are joined.
        absent: Those of `reads` that the checkpoint does not have.
        writes: The parameters it writes.
        found: Whether a variable matched, rather than only a parameter.
        rivals: Pairs of variables with the same place in `reads`: only an uninformative field distinguishes them.
    """

    row: Row
    values: dict[str, Value]
    reads: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    found: bool = False
    rivals: list[tuple[str, str]] = field(default_factory=list)


def instances_of(
    row: Row, variables: NameIndex, specs: Mapping[str, TensorSpec], parameters: NameIndex
) -> list[Instance]:
    """Every instance of a row, those found through variables first.

    Args:
        row: The row.
        variables: The names of the checkpoint.
        specs: Their shapes, which determine into how many pieces a row splits a variable.
        parameters: The names of the model.
    """
    if not isinstance(row, Copy):
        return _constants(row, parameters)
    instances = _from_variables(row, variables)
    for instance in instances.values():
        _name_writes(row, instance, specs, parameters)
    for key, values, names in _wanted(row, parameters):
        if key in instances:
            # The variable cannot be split, since others are missing or its shape does not fit: take the model's names.
            instances[key].writes = instances[key].writes or names
        else:
            wanted = Instance(row, values, writes=names)
            _name_reads(row, wanted, [{} for _ in row.tf])
            instances[key] = wanted
    return list(instances.values())


def place_constants(by_row: Sequence[tuple[Row, list[Instance]]]) -> None:
    """Fill the constants of a layer only where the layer exists: where a variable matched another row of its scope.

    Rows of layers inside the layer count too, and for a layer without variables those of the layer around it. Without
    this a scope would fill parameters of another scope's layer.
    """
    needed = {
        row.scopes[:depth]
        for row, _ in by_row
        if not isinstance(row, Copy)
        for depth in range(1, len(row.scopes) + 1)
    }
    by_scope: dict[tuple[Position, ...], list[Instance]] = {}
    for row, instances in by_row:
        for depth in range(1, len(row.scopes) + 1) if isinstance(row, Copy) else ():
            if row.scopes[:depth] in needed:
                by_scope.setdefault(row.scopes[:depth], []).extend(instances)
    present: dict[tuple[tuple[Position, ...], frozenset[str]], dict[frozenset[str], set[Key]]] = {}
    for row, instances in by_row:
        if isinstance(row, Copy):
            continue
        prefixes = (row.scopes[:depth] for depth in range(len(row.scopes), 0, -1))
        scopes = next((prefix for prefix in prefixes if prefix in by_scope), None)
        if scopes is None:
            continue
        fields = row.pt[0].fields
        if (scopes, fields) not in present:
            present[scopes, fields] = _present(by_scope[scopes], fields)
        for instance in instances:
            instance.found = any(
                _restricted(instance.values, shared) in keys
                for shared, keys in present[scopes, fields].items()
            )


def _present(siblings: Sequence[Instance], fields: frozenset[str]) -> dict[frozenset[str], set[Key]]:
    """The field values for which variables were found, by the fields that they share with a constant."""
    present: dict[frozenset[str], set[Key]] = {}
    for sibling in siblings:
        if sibling.found:
            # An index that splits a sibling's variable does not identify the layer: only shared fields count.
            shared = fields.intersection(sibling.values)
            present.setdefault(shared, set()).add(_restricted(sibling.values, shared))
    return present


def _restricted(values: Mapping[str, Value], names: frozenset[str]) -> Key:
    return frozenset((name, value) for name, value in values.items() if name in names)


def _constants(row: Row, parameters: NameIndex) -> list[Instance]:
    instances = []
    for template in row.pt:
        matches = parameters.matches(template)
        if not matches and not template.fields and template.renders and not row.optional:
            matches = [(template.render({}) or template.text, {})]
        instances += [Instance(row, values, writes=[name], found=True) for name, values in matches]
    return instances


def _from_variables(row: Copy, variables: NameIndex) -> dict[Key, Instance]:
    found: dict[Key, tuple[dict[str, Value], list[dict[int, str]]]] = {}
    rivals: dict[Key, list[tuple[str, str]]] = {}
    for place, template in enumerate(row.tf):
        for name, values in variables.matches(template):
            position = values.pop(row.index) if row.stacks else 0
            assert isinstance(position, int)
            key = frozenset(values.items())
            if key not in found:
                found[key] = values, [{} for _ in row.tf]
            _, places = found[key]
            first = places[place].setdefault(position, name)
            if first != name:
                rivals.setdefault(key, []).append((first, name))
    instances: dict[Key, Instance] = {}
    for key, (values, places) in found.items():
        instance = Instance(row, values, found=True, rivals=rivals.get(key, []))
        _name_reads(row, instance, places)
        instances[key] = instance
    return instances


def _name_reads(row: Copy, instance: Instance, places: list[dict[int, str]]) -> None:
    """Set `reads` and `absent`: the names found, and the expected names where none was found."""
    for template, names in zip(row.tf, places, strict=True):
        # A stack extends to its highest index: a missing lower index is an absent variable.
        holes = (position for position in range(max(names, default=0) + 1) if position not in names)
        absent = {}
        for position in islice(holes, _HOLES):
            values: dict[str, Value] = dict(instance.values)
            if row.stacks:
                values[row.index] = position
            absent[position] = template.render(values) or template.text
        instance.absent += absent.values()
        instance.reads += [name for _, name in sorted({**names, **absent}.items())]


def _name_writes(
    row: Copy, instance: Instance, specs: Mapping[str, TensorSpec], parameters: NameIndex
) -> None:
    if not row.splits:
        instance.writes = [
            template.render_in(instance.values, parameters) or template.text for template in row.pt
        ]
        return
    for position in range(_length(row, instance, specs)):
        values: dict[str, Value] = {**instance.values, row.index: position}
        instance.writes.append(row.pt[0].render_in(values, parameters) or row.pt[0].text)


def _length(row: Copy, instance: Instance, specs: Mapping[str, TensorSpec]) -> int:
    """How many parameters the variable is split into: the size of the first axis of the result."""
    if instance.absent:
        return 0
    try:
        return row.transform.count_pieces([specs[name].shape for name in instance.reads])
    except LayoutError:
        return 0  # reported when the planner binds it again


def _wanted(row: Copy, parameters: NameIndex) -> list[tuple[Key, dict[str, Value], list[str]]]:
    """The parameters that the row would write, with the field values of each."""
    wanted: dict[Key, tuple[dict[str, Value], list[str]]] = {}
    for template in row.pt:
        for name, values in parameters.matches(template):
            if row.splits:
                values.pop(row.index)
            key = frozenset(values.items())
            wanted.setdefault(key, (values, []))[1].append(name)
    return [(key, values, names) for key, (values, names) in wanted.items()]
